r"""The Bures-Wasserstein metric of SPD matrices: optimal transport between centred Gaussians.

    <U, V>_X = tr(U L_X[V]) / 2,   X L_X[V] + L_X[V] X = V,
    d^2(X, Y) = tr X + tr Y - 2 tr (X^1/2 Y X^1/2)^1/2

(Bhatia, Jain and Lim, Expo. Math. 37, 165, 2019; Malagò, Montrucchio and Pistone, Inf. Geom. 1,
137, 2018). With X = L L^T and S = (L^T Y L)^1/2 the optimal map from X to Y is T = L^-T S L^-1,
log_X Y = T X + X T - 2 X, and the distance is |(T - I) L|, which loses no digits where X is close
to Y. The metric with `theta` is the pull-back along X -> X^theta divided by theta^2.

exp_X(V) exists where I + L_X[V] is positive definite. Parallel transport has a closed form only
where X and Y commute; `transport` integrates its equation, `to_origin` and `from_origin` are the
closed forms with the identity at one end.

Symmetry is not looked at, which would slow distances down: of the first matrix and of a mean's
first guess one triangle is read, of the others, or with `theta` other than 1 of all, the symmetric
part. `check` refuses matrices that are not symmetric.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional._weights import matrix_shares
from zoo.functional.spd import matrix
from zoo.functional.spd._bures_transport import carry, from_origin, product_root, to_origin
from zoo.functional.spd._checks import cholesky, eigvalsh, refuse_indefinite, symmetrise
from zoo.functional.spd._deform import (
    deform,
    deform_vector,
    magnitude,
    restore,
    restore_vector,
)
from zoo.functional.spd._metric import (
    Number,
    congruence,
    iterate,
    origin,
    random,
    root,
    scalar,
    trace_product,
)
from zoo.functional.spd._points import check, project

__all__ = [
    "check",
    "dist",
    "exp",
    "from_origin",
    "geodesic",
    "inner",
    "log",
    "mean",
    "origin",
    "project",
    "random",
    "to_origin",
    "transport",
]


def exp(
    x: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """End of the geodesic that leaves X with velocity V: (I + L_X[V]) X (I + L_X[V]).

    Raises:
        ManifoldError: I + L_X[V] is not positive definite: the geodesic leaves the manifold before
            time 1.
    """
    point = deform(x, theta)
    moved = matrix.lyapunov(point, deform_vector(x, v, theta))
    moved = moved + torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    where = "exp: I + L_X[V], whose sign says whether the geodesic exists,"
    refuse_indefinite(eigvalsh(moved.detach(), where), where)
    return restore(symmetrise(congruence(moved, point)), theta)


def log(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Velocity at X of the geodesic that reaches Y at time 1: T X + X T - 2 X.

    Symmetry is taken for granted, see the module.
    """
    point = deform(x, theta)
    factor = cholesky(point, where="log: the first matrix")
    half = _mapped(factor, deform(y, theta), "log: the second matrix") @ factor.mT
    return restore_vector(point, half + half.mT - 2.0 * point, theta)


def dist(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """|(T - I) L| / |theta|.

    Symmetry is taken for granted, see the module.
    """
    factor = cholesky(deform(x, theta), where="dist: the first matrix")
    way = _mapped(factor, deform(y, theta), "dist: the second matrix") - factor
    return root(trace_product(way, way)) / magnitude(theta)


def inner(
    x: Float[Tensor, "*#batch n n"],
    u: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """The metric at X."""
    u, v = (deform_vector(x, w, theta) for w in (u, v))
    solved = matrix.lyapunov(deform(x, theta), v)
    return 0.5 * trace_product(symmetrise(u), solved) / (theta * theta)


def transport(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
    pieces: int | None = None,
) -> Float[Tensor, "*batch n n"]:
    """V carried in parallel along the geodesic from X to Y.

    Args:
        x: where V is tangent.
        y: where to.
        v: tangent vectors.
        theta: power of the deformation.
        pieces: parts of the geodesic that are integrated one after the other, by a method of order
            16; None for as many as rounding asks for, more the farther X is from Y.
    """
    target = deform(y, theta)
    carried = carry(deform(x, theta), target, deform_vector(x, v, theta), pieces)
    return restore_vector(target, carried, theta)


def geodesic(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    t: float | Float[Tensor, "*times"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """The point at time t of the geodesic from X (t = 0) to Y (t = 1)."""
    factor = cholesky(deform(x, theta), where="geodesic: the first matrix")
    end = _mapped(factor, deform(y, theta), "geodesic: the second matrix")
    moved = factor + scalar(t) * (end - factor)
    return restore(moved @ moved.mT, theta)


def mean(
    points: Float[Tensor, "points *batch n n"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    steps: int = 200,
    tol: float | None = None,
    init: Float[Tensor, "*batch n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Fréchet mean over the first axis: M <- T M T, T the mean of the optimal maps from M.

    Symmetry is taken for granted, see the module.

    The iteration is that of Álvarez-Esteban et al., J. Math. Anal. Appl. 441, 744, 2016.

    Args:
        points: SPD matrices.
        weights: one per point, or per point and batch entry; normalised. None: equal ones.
        steps: at most so many; 1 is what batch norms take.
        tol: stop when |sum_i w_i log_M X_i|_M is below it; None: 100 units of the last place.
        init: first guess; None for the arithmetic mean.
        theta: power of the deformation.
    """
    points = deform(points, theta)
    w = matrix_shares("mean", points, weights)
    start = (w * points).sum(0) if init is None else deform(init, theta)

    def step(point: Tensor, fraction: Tensor | None) -> tuple[Tensor, Tensor]:
        factor = cholesky(point, where="mean")
        roots = (w * product_root(factor, points, "mean: the points")).sum(0)
        way = torch.linalg.solve_triangular(factor.mT, roots, upper=True) - factor
        length = trace_product(way, way).detach().sqrt()
        moved = factor + (way if fraction is None else scalar(fraction) * way)
        return moved @ moved.mT, length

    return restore(iterate(start, step, steps=steps, tol=tol), theta)


def _mapped(factor: Tensor, y: Tensor, where: str) -> Tensor:
    """T L = L^-T (L^T Y L)^1/2."""
    half = product_root(factor, y, where)
    out: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return out
