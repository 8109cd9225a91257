"""Stateless mathematics: tensors in, tensors out."""

from zoo.functional.cartesian import (
    direction_components,
    from_matrix,
    matrix_product,
    to_matrix,
)
from zoo.functional.neighbors import edge_vectors, neighbor_list, neighbor_pairs
from zoo.functional.pairs import pair_message
from zoo.functional.radial import (
    cosine_cutoff,
    expnorm,
    expnorm_parameters,
    gaussian_basis,
    gaussian_parameters,
)
from zoo.functional.scatter import scatter_mean, scatter_sum

__all__ = [
    "cosine_cutoff",
    "direction_components",
    "edge_vectors",
    "expnorm",
    "expnorm_parameters",
    "from_matrix",
    "gaussian_basis",
    "gaussian_parameters",
    "matrix_product",
    "neighbor_list",
    "neighbor_pairs",
    "pair_message",
    "scatter_mean",
    "scatter_sum",
    "to_matrix",
]
