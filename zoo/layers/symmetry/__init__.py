"""Symmetry for models that have none, or not enough: averages over frames, penalties, augmentation.

`FrameAveraging` makes any model equivariant; `EquivariancePenalty` draws it towards symmetries;
`InvarianceConstraint` augments as much as a bound on the loss of transformed samples needs.
"""

from zoo.layers.symmetry._actions import Action, Laws, read_group, read_law
from zoo.layers.symmetry._averaging import FrameAveraging, FrameKind
from zoo.layers.symmetry._constraint import (
    GroupTransform,
    ImageTransform,
    InvarianceConstraint,
    Transform,
)
from zoo.layers.symmetry._penalty import EquivariancePenalty
from zoo.layers.symmetry._spaces import TensorLinear, TensorSpace

__all__ = [
    "Action",
    "EquivariancePenalty",
    "FrameAveraging",
    "FrameKind",
    "GroupTransform",
    "ImageTransform",
    "InvarianceConstraint",
    "Laws",
    "TensorLinear",
    "TensorSpace",
    "Transform",
    "read_group",
    "read_law",
]
