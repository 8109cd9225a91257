"""From features in spherical harmonics to the vectors and tensors that heads read."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.layers.atomistic import AtomFeatures


def spherical_features(x: Float[Tensor, "atoms coefficients channels"], state: Any) -> AtomFeatures:
    """What heads read of coefficients: degree 0, degree 1 (x, y, z) and degree 2, where there are.

    Args:
        x: coefficients of spherical harmonics.
        state: kept beside them, for heads of the architecture's own.
    """
    vectors = x[:, 1:4].transpose(0, 1) if x.shape[1] >= 4 else None
    return AtomFeatures(scalars=x[:, 0], vectors=vectors, tensors=head_tensors(x), state=state)


def head_tensors(
    x: Float[Tensor, "atoms coefficients channels"],
) -> Float[Tensor, "5 atoms channels"] | None:
    """Degree 2 in the components of `zoo.functional.cartesian`; None where there is none.

    e3nn's components are xz, xy, 2yy - xx - zz, yz, zz - xx, each of unit norm.
    """
    if x.shape[1] < 9:
        return None
    xz, xy, y2, yz, zx = x[:, 4:9].unbind(1)
    half, root = 0.5, math.sqrt(0.75)
    return torch.stack([yz, xz, xy, -root * y2 - half * zx, -half * y2 + root * zx])
