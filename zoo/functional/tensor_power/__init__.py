"""Linear maps between tensor powers of R^n that a group of matrices leaves alone.

    basis = tensor_power.equivariant_basis("S", 4, order_in=2, order_out=2)  # 15 maps
    tensor_power.project(weight, basis)  # the equivariant map nearest to a given one

Tensors are (..., n, ..., n), the axes of the order last; maps have the l axes of outputs before the
k of inputs. The layer is `zoo.layers.tensor_power.TensorPowerLinear`.
"""

from zoo.functional.tensor_power._apply import (
    LARGEST_EPSILON,
    apply_diagram,
    contract,
    diagonal,
    epsilon,
)
from zoo.functional.tensor_power._automorphisms import graph_automorphisms
from zoo.functional.tensor_power._basis import (
    EquivariantBasis,
    Kind,
    check_memory,
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
from zoo.functional.tensor_power._families import (
    GROUPS,
    AlternatingGroup,
    OrthogonalGroup,
    SpecialOrthogonalGroup,
    SymmetricGroup,
    SymplecticGroup,
    as_group,
)
from zoo.functional.tensor_power._given import MatrixGroup, PermutationGroup
from zoo.functional.tensor_power._groups import Group, act, symplectic_form
from zoo.functional.tensor_power._levels import Half, Level, levels, pool, spread

__all__ = [
    "GROUPS",
    "LARGEST_EPSILON",
    "AlternatingGroup",
    "Diagram",
    "EquivariantBasis",
    "Group",
    "Half",
    "Kind",
    "Level",
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
    "check_memory",
    "contract",
    "dense",
    "diagonal",
    "diagrams",
    "epsilon",
    "equivariant_basis",
    "graph_automorphisms",
    "hom_dimension",
    "jellyfish",
    "levels",
    "perfect_matchings",
    "pool",
    "project",
    "set_partitions",
    "spread",
    "symplectic_form",
]
