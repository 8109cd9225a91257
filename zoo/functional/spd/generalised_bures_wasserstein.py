r"""The generalised Bures-Wasserstein metric of SPD matrices, with a metric matrix M.

    d^2(X, Y) = tr M^-1 X + tr M^-1 Y - 2 tr (X M^-1 Y M^-1)^1/2

(Han, Mishra, Jawanpuria and Gao, Riemannian geometry via generalised Bures-Wasserstein, 2023). The
map X -> K^-1 X K^-T, M = K K^T, is an isometry onto `bures_wasserstein`, from which everything is
taken; M = I, or none, is that metric itself. With `theta`, X -> X^theta comes first and lengths
are divided by |theta|.

Symmetry is not looked at, as in `bures_wasserstein`, here of K^-1 X K^-T; `check` refuses matrices
that are not symmetric.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.spd import bures_wasserstein as bures
from zoo.functional.spd._checks import cholesky, naming
from zoo.functional.spd._deform import (
    deform,
    deform_vector,
    magnitude,
    restore,
    restore_vector,
)
from zoo.functional.spd._metric import Number, congruence, origin, random, whiten
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
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """End of the geodesic that leaves X with velocity V; errors as in `bures_wasserstein`."""
    to, back = _isometry(m)
    end = bures.exp(to(deform(x, theta)), to(deform_vector(x, v, theta)))
    return restore(back(end), theta)


def log(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Velocity at X of the geodesic that reaches Y at time 1.

    Symmetry is taken for granted, see the module.
    """
    to, back = _isometry(m)
    point = deform(x, theta)
    with naming(x, "log: the first matrix"), naming(y, "log: the second matrix"):
        way = bures.log(to(point), to(deform(y, theta)))
    return restore_vector(point, back(way), theta)


def dist(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """The distance above, divided by |theta|.

    Symmetry is taken for granted, see the module.
    """
    to, _ = _isometry(m)
    with naming(x, "dist: the first matrix"), naming(y, "dist: the second matrix"):
        length = bures.dist(to(deform(x, theta)), to(deform(y, theta)))
    return length / magnitude(theta)


def inner(
    x: Float[Tensor, "*#batch n n"],
    u: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """The metric at X."""
    to, _ = _isometry(m)
    u, v = (to(deform_vector(x, w, theta)) for w in (u, v))
    return bures.inner(to(deform(x, theta)), u, v) / (theta * theta)


def transport(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
    pieces: int | None = None,
) -> Float[Tensor, "*batch n n"]:
    """V carried in parallel along the geodesic from X to Y; see `bures_wasserstein.transport`."""
    to, back = _isometry(m)
    target = deform(y, theta)
    moved = to(deform_vector(x, v, theta))
    carried = bures.transport(to(deform(x, theta)), to(target), moved, pieces=pieces)
    return restore_vector(target, back(carried), theta)


def geodesic(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    t: float | Float[Tensor, "*times"],
    *,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """The point at time t of the geodesic from X (t = 0) to Y (t = 1)."""
    to, back = _isometry(m)
    return restore(back(bures.geodesic(to(deform(x, theta)), to(deform(y, theta)), t)), theta)


def mean(
    points: Float[Tensor, "points *batch n n"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    steps: int = 200,
    tol: float | None = None,
    init: Float[Tensor, "*batch n n"] | None = None,
    m: Float[Tensor, "n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Fréchet mean over the first axis; arguments as in `bures_wasserstein.mean`.

    Symmetry is taken for granted, see the module.
    """
    to, back = _isometry(m)
    start = None if init is None else to(deform(init, theta))
    moved = to(deform(points, theta))
    return restore(back(bures.mean(moved, weights, steps=steps, tol=tol, init=start)), theta)


def _isometry(m: Tensor | None) -> tuple[partial[Tensor], partial[Tensor]]:
    """X -> K^-1 X K^-T and its inverse."""
    if m is None:
        return partial(torch.clone), partial(torch.clone)
    factor = cholesky(m, where="the metric matrix M")
    return partial(_whiten, factor), partial(congruence, factor)


def _whiten(factor: Tensor, x: Tensor) -> Tensor:
    return whiten(factor.expand(x.shape), x)
