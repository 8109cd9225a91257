"""Cellular sheaves on graphs: restriction maps, their Laplacian, and its action on features.

A sheaf gives each node a stalk R^d and each end of an edge a d x d restriction map. Laplacians are
kept as blocks of nodes and edges, and act by them; only `assemble` makes one sparse matrix of them.
"""

from zoo.functional.sheaf.diffusion import apply, assemble
from zoo.functional.sheaf.graph import degrees, undirected_pairs
from zoo.functional.sheaf.laplacian import (
    SheafLaplacian,
    bundle_laplacian,
    diagonal_laplacian,
    fixed_laplacian,
    general_laplacian,
    transport_laplacian,
)
from zoo.functional.sheaf.orthogonal import (
    METHODS,
    Orthogonal,
    cayley,
    euler,
    householder,
    matrix_exp,
    orthogonal,
    parameter_count,
)
from zoo.functional.sheaf.pattern import Pattern
from zoo.functional.sheaf.transport import local_bases, random_transports, transports

__all__ = [
    "METHODS",
    "Orthogonal",
    "Pattern",
    "SheafLaplacian",
    "apply",
    "assemble",
    "bundle_laplacian",
    "cayley",
    "degrees",
    "diagonal_laplacian",
    "euler",
    "fixed_laplacian",
    "general_laplacian",
    "householder",
    "local_bases",
    "matrix_exp",
    "orthogonal",
    "parameter_count",
    "random_transports",
    "transport_laplacian",
    "transports",
    "undirected_pairs",
]
