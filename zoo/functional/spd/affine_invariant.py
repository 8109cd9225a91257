r"""The affine-invariant metric of SPD matrices and its power deformations.

    <U, V>_X = alpha tr(X^-1 U X^-1 V) + beta tr(X^-1 U) tr(X^-1 V),

invariant under X -> A X A^T for every invertible A (Pennec, Fillard and Ayache, IJCV 66, 41, 2006;
alpha, beta: Thanwerdas and Pennec, Differ. Geom. Appl. 81, 101867, 2022). With X = L L^T and
A = L^-1 Y L^-T the logarithm is L log(A) L^T, and everything else follows by one Cholesky factor
and one symmetric eigendecomposition. The metric with `theta` is the pull-back along X -> X^theta
divided by theta^2; for theta -> 0 it tends to the log-Euclidean one. alpha and beta change lengths
only: geodesics, means and transport are those of alpha = 1, beta = 0. Required: theta not 0,
alpha > 0, beta > -alpha / n.

Symmetry is not looked at, which would slow distances down: of the first matrix and of a mean's
first guess one triangle is read, of the others the symmetric part or, by distances without
gradients, one triangle of A; with `theta` other than 1 the symmetric part of all. `check` refuses
matrices that are not symmetric.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional._weights import matrix_shares
from zoo.functional.spd import matrix
from zoo.functional.spd._checks import cholesky, eigvalsh, naming, refuse_indefinite, symmetrise
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
    invariant,
    iterate,
    origin,
    random,
    root,
    scalar,
    trace_product,
    whiten,
)
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
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """End of the geodesic that leaves X with velocity V: L exp(L^-1 V L^-T) L^T."""
    v = deform_vector(x, v, theta)
    factor = cholesky(deform(x, theta), where="exp: the point")
    return restore(congruence(factor, matrix.exp(whiten(factor, v))), theta)


def log(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """Velocity at X of the geodesic that reaches Y at time 1: L log(L^-1 Y L^-T) L^T.

    Symmetry is taken for granted, see the module.
    """
    point = deform(x, theta)
    factor = cholesky(point, where="log: the first matrix")
    with naming(y, "log: the second matrix"):
        way = matrix.log(whiten(factor, deform(y, theta)))
    return restore_vector(point, congruence(factor, way), theta)


def dist(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch"]:
    """sqrt(alpha |log A|^2 + beta (log det A)^2) / |theta|, A = L^-1 Y L^-T.

    Symmetry is taken for granted, see the module.

    Without gradients the eigenvalues of A are enough; with them its logarithm is taken, whose
    derivatives are right at repeated eigenvalues, so at X = Y.
    """
    factor = cholesky(deform(x, theta), where="dist: the first matrix")
    with naming(y, "dist: the second matrix"):
        square = _square(whiten(factor, deform(y, theta)), alpha, beta)
    return root(square) / magnitude(theta)


def _square(inside: Tensor, alpha: Number, beta: Number) -> Tensor:
    if torch.is_grad_enabled() and inside.requires_grad:
        logarithm = matrix.log(inside)
        return invariant(logarithm, logarithm, alpha, beta)
    where = "dist: the second matrix, seen from the first"
    values = eigvalsh(inside, where)
    refuse_indefinite(values, where)
    logs = values.log()
    return alpha * logs.square().sum(-1) + beta * logs.sum(-1).square()


def inner(
    x: Float[Tensor, "*#batch n n"],
    u: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch"]:
    """The metric at X."""
    factor = cholesky(deform(x, theta), where="inner: the point")
    u, v = (whiten(factor, deform_vector(x, w, theta)) for w in (u, v))
    return invariant(u, v, alpha, beta) / (theta * theta)


def transport(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """V carried in parallel along the geodesic from X to Y: E V E^T, E = L sqrt(A) L^-1."""
    target = deform(y, theta)
    factor = cholesky(deform(x, theta), where="transport: the first matrix")
    with naming(y, "transport: the second matrix"):
        half = matrix.sqrt(whiten(factor, target))
    inside = whiten(factor, deform_vector(x, v, theta))
    return restore_vector(target, congruence(factor @ half, inside), theta)


def geodesic(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    t: float | Float[Tensor, "*times"],
    *,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """The point at time t of the geodesic from X (t = 0) to Y (t = 1): L A^t L^T."""
    factor = cholesky(deform(x, theta), where="geodesic: the first matrix")
    with naming(y, "geodesic: the second matrix"):
        inside = matrix.power(whiten(factor, deform(y, theta)), t)
    return restore(congruence(factor, inside), theta)


def mean(
    points: Float[Tensor, "points *batch n n"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    steps: int = 100,
    tol: float | None = None,
    init: Float[Tensor, "*batch n n"] | None = None,
    theta: Number = 1.0,
    alpha: Number = 1.0,
    beta: Number = 0.0,
) -> Float[Tensor, "*batch n n"]:
    """Fréchet mean over the first axis, by Karcher's iteration M <- exp_M(sum_i w_i log_M X_i).

    Symmetry is taken for granted, see the module.

    Args:
        points: SPD matrices.
        weights: one per point, or per point and batch entry; normalised. None: equal ones.
        steps: at most so many; 1 is what batch norms take.
        tol: stop when |sum_i w_i log_M X_i|_M is below it; None: 100 units of the last place.
        init: first guess; None for the arithmetic mean.
        theta: power of the deformation.
        alpha: of the metric; without influence.
        beta: of the metric; without influence.
    """
    points = deform(points, theta)
    w = matrix_shares("mean", points, weights)
    start = (w * points).sum(0) if init is None else deform(init, theta)

    def step(point: Tensor, fraction: Tensor | None) -> tuple[Tensor, Tensor]:
        factor = cholesky(point, where="mean")
        with naming(points, "mean: the points"):
            way = (w * matrix.log(whiten(factor, points))).sum(0)
        length = trace_product(way, way).detach().sqrt()
        taken = way if fraction is None else scalar(fraction) * way
        return symmetrise(congruence(factor, matrix.exp(taken))), length

    return restore(iterate(start, step, steps=steps, tol=tol), theta)
