"""Linear maps between tensor powers of R^n that a group of matrices leaves alone.

    basis = tensor_power.equivariant_basis("S", 4, order_in=2, order_out=2)  # 15 maps
    tensor_power.project(weight, basis)  # the equivariant map nearest to a given one

Tensors are (..., n, ..., n), the axes of the order last; maps have the l axes of outputs before the
k of inputs. The layer is `zoo.layers.tensor_power.TensorPowerLinear`.
"""

from zoo.functional.tensor_power._apply import LARGEST_EPSILON, apply_diagram, diagonal, epsilon
from zoo.functional.tensor_power._automorphisms import graph_automorphisms
from zoo.functional.tensor_power._basis import (
    EquivariantBasis,
    Kind,
    dense,
    equivariant_basis,
    project,
)
from zoo.functional.tensor_power._counts import hom_dimension
from zoo.functional.tensor_power._diagrams import (
    Diagram,
    brauer_grood,
    diagrams,
    jellyfish,
    perfect_matchings,
    set_partitions,
)
from zoo.functional.tensor_power._groups import (
    GROUPS,
    AlternatingGroup,
    Group,
    MatrixGroup,
    OrthogonalGroup,
    PermutationGroup,
    SpecialOrthogonalGroup,
    SymmetricGroup,
    SymplecticGroup,
    act,
    as_group,
    symplectic_form,
)

__all__ = [
    "GROUPS",
    "LARGEST_EPSILON",
    "AlternatingGroup",
    "Diagram",
    "EquivariantBasis",
    "Group",
    "Kind",
    "MatrixGroup",
    "OrthogonalGroup",
    "PermutationGroup",
    "SpecialOrthogonalGroup",
    "SymmetricGroup",
    "SymplecticGroup",
    "act",
    "apply_diagram",
    "as_group",
    "brauer_grood",
    "dense",
    "diagonal",
    "diagrams",
    "epsilon",
    "equivariant_basis",
    "graph_automorphisms",
    "hom_dimension",
    "jellyfish",
    "perfect_matchings",
    "project",
    "set_partitions",
    "symplectic_form",
]
