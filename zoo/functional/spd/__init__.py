"""Geometry of symmetric positive definite (SPD) matrices: their functions and five metrics.

The metrics are the modules `affine_invariant`, `log_euclidean`, `log_cholesky`,
`bures_wasserstein` and `generalised_bures_wasserstein`, with functions of the same names.
"""

from zoo.functional.spd import (
    affine_invariant,
    bures_wasserstein,
    generalised_bures_wasserstein,
    log_cholesky,
    log_euclidean,
)
from zoo.functional.spd._checks import cholesky, refuse_indefinite, symmetrise
from zoo.functional.spd._eigen import Eigen, differential, eigen
from zoo.functional.spd._points import check, project
from zoo.functional.spd.matrix import (
    clamp,
    differential_exp,
    differential_log,
    differential_power,
    exp,
    inv_sqrt,
    inverse,
    log,
    lyapunov,
    power,
    sqrt,
)
from zoo.functional.spd.vectorise import from_vector, to_vector

__all__ = [
    "Eigen",
    "affine_invariant",
    "bures_wasserstein",
    "check",
    "cholesky",
    "clamp",
    "differential",
    "differential_exp",
    "differential_log",
    "differential_power",
    "eigen",
    "exp",
    "from_vector",
    "generalised_bures_wasserstein",
    "inv_sqrt",
    "inverse",
    "log",
    "log_cholesky",
    "log_euclidean",
    "lyapunov",
    "power",
    "project",
    "refuse_indefinite",
    "sqrt",
    "symmetrise",
    "to_vector",
]
