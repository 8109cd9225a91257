"""Stateless mathematics: tensors in, tensors out."""

from zoo.functional.cartesian import (
    direction_components,
    from_matrix,
    matrix_product,
    to_matrix,
)
from zoo.functional.clebsch_gordan import clebsch_gordan, wigner_3j
from zoo.functional.gaunt import from_fourier, gaunt, gaunt_coefficient, to_fourier
from zoo.functional.harmonics import spherical_harmonics
from zoo.functional.irreps import (
    channel_irreps,
    coefficient_degrees,
    from_e3nn,
    order_major_index,
    order_sizes,
    to_e3nn,
)
from zoo.functional.manifolds import MANIFOLDS, Manifold, manifold
from zoo.functional.matrix_tensor import matrix_blocks
from zoo.functional.neighbors import edge_vectors, neighbor_list, neighbor_pairs
from zoo.functional.pairs import pair_message
from zoo.functional.radial import (
    bessel_basis,
    cosine_cutoff,
    expnorm,
    expnorm_parameters,
    gaussian_basis,
    gaussian_parameters,
    polynomial_envelope,
)
from zoo.functional.rotate import EdgeRotation
from zoo.functional.scatter import scatter_mean, scatter_sum
from zoo.functional.sphere import (
    aliasing,
    e3nn_grid,
    fibonacci,
    from_grid_matrix,
    gauss_legendre,
    lebedev,
    to_grid_matrix,
)
from zoo.functional.vector_gaunt import vector_harmonics
from zoo.functional.wigner import (
    edge_quaternion,
    quaternion_to_matrix,
    wigner_blocks,
    wigner_entries,
    wigner_matrix,
)

__all__ = [
    "MANIFOLDS",
    "EdgeRotation",
    "Manifold",
    "aliasing",
    "bessel_basis",
    "channel_irreps",
    "clebsch_gordan",
    "coefficient_degrees",
    "cosine_cutoff",
    "direction_components",
    "e3nn_grid",
    "edge_quaternion",
    "edge_vectors",
    "expnorm",
    "expnorm_parameters",
    "fibonacci",
    "from_e3nn",
    "from_fourier",
    "from_grid_matrix",
    "from_matrix",
    "gaunt",
    "gaunt_coefficient",
    "gauss_legendre",
    "gaussian_basis",
    "gaussian_parameters",
    "lebedev",
    "manifold",
    "matrix_blocks",
    "matrix_product",
    "neighbor_list",
    "neighbor_pairs",
    "order_major_index",
    "order_sizes",
    "pair_message",
    "polynomial_envelope",
    "quaternion_to_matrix",
    "scatter_mean",
    "scatter_sum",
    "spherical_harmonics",
    "to_e3nn",
    "to_fourier",
    "to_grid_matrix",
    "to_matrix",
    "vector_harmonics",
    "wigner_3j",
    "wigner_blocks",
    "wigner_entries",
    "wigner_matrix",
]
