r"""The log-Euclidean metric of SPD matrices: a flat one, in which log is an isometry.

    <U, V>_X = alpha tr(U' V') + beta tr U' tr V',   U' = D log(X)[U]

(Arsigny et al., SIAM J. Matrix Anal. Appl. 29, 328, 2007; alpha, beta as in `affine_invariant`).
Power deformations leave it as it is. alpha and beta change lengths only.

Symmetry is not looked at: the symmetric part of every matrix is taken. `check` refuses matrices
that are not symmetric.
"""

from jaxtyping import Float
from torch import Tensor

from zoo.functional._weights import matrix_shares
from zoo.functional.spd import matrix
from zoo.functional.spd._eigen import eigen
from zoo.functional.spd._metric import Number, invariant, origin, random, root, scalar
from zoo.functional.spd._points import check, project

__all__ = [
    "check",
    "dist",
    "exp",
    "geodesic",
    "inner",
    "log",
    "mean",
    "origin",
    "project",
    "random",
    "transport",
]


def exp(
    x: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """End of the geodesic that leaves X with velocity V: exp(log X + D log(X)[V])."""
    decomposed = eigen(x)
    logarithm = decomposed.log().matrix()
    return matrix.exp(logarithm + matrix.differential_log(decomposed, v))


def log(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """Velocity at X of the geodesic that reaches Y at time 1: D exp(log X)[log Y - log X].

    Symmetry is taken for granted, see the module.
    """
    logarithm = matrix.log(x)
    return matrix.differential_exp(logarithm, matrix.log(y) - logarithm)


def dist(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch"]:
    """Length of log X - log Y.

    Symmetry is taken for granted, see the module.
    """
    difference = matrix.log(x) - matrix.log(y)
    return root(invariant(difference, difference, alpha, beta))


def inner(
    x: Float[Tensor, "*#batch n n"],
    u: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch"]:
    """The metric at X."""
    decomposed = eigen(x)
    u, v = (matrix.differential_log(decomposed, w) for w in (u, v))
    return invariant(u, v, alpha, beta)


def transport(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """V carried in parallel from X to Y, along any path: D exp(log Y)[D log(X)[V]]."""
    return matrix.differential_exp(matrix.log(y), matrix.differential_log(x, v))


def geodesic(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    t: float | Float[Tensor, "*times"],
    *,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """The point at time t of the geodesic from X (t = 0) to Y (t = 1)."""
    begin = matrix.log(x)
    return matrix.exp(begin + scalar(t) * (matrix.log(y) - begin))


def mean(
    points: Float[Tensor, "points *batch n n"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    steps: int = 1,
    tol: float | None = None,
    init: Float[Tensor, "*batch n n"] | None = None,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """Fréchet mean over the first axis: exp(sum_i w_i log X_i).

    Symmetry is taken for granted, see the module.

    Args:
        points: SPD matrices.
        weights: one per point, or per point and batch entry; normalised. None: equal ones.
        steps: without influence: the mean is a closed form; so are the remaining ones.
        tol: see steps.
        init: see steps.
        alpha: see steps.
        beta: see steps.
    """
    return matrix.exp((matrix_shares("mean", points, weights) * matrix.log(points)).sum(0))
