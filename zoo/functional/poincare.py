r"""Hyperbolic space as the Poincaré ball, of any curvature -c with c > 0.

The ball has the radius 1 / sqrt(c) and the metric lambda_x^2 <u, v>, lambda_x = 2 / (1 - c|x|^2)
(Ganea et al., Hyperbolic Neural Networks, arXiv:1805.09112; Ungar's gyrovector spaces).

Numerics, where this departs from the textbook's formulas though not from their values:

- distances are 2 / sqrt(c) asinh(sqrt(u)) of the separation u = c|x - y|^2 / ((1 - c|x|^2)
  (1 - c|y|^2)), which neither saturates nor cancels for close points;
- exp, log and the gyrovector operations are written in squares of norms, so they are smooth at
  zero and at the origin with all their derivatives;
- transport and gyration are written in the difference of their points, and tend to the identity
  without cancellation;
- results are kept at norms of at most 1 - 2 eps (in units of the radius, eps of the precision), a
  distance of 16 (float32) or 36 (float64) from the origin for c = 1, close to all that the
  format can tell apart; half precision is refused.

Points are rows: every function works over the last axis and broadcasts over the others. `c` is a
float, or a scalar tensor through which gradients flow. A point outside of the ball by more than
rounding raises `ManifoldError` (on a GPU, only where `check` is called).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional._poincare_kernels import (
    Curvature,
    gap,
    mobius_sum,
    outside,
    separation,
    square,
)
from zoo.functional._poincare_mean import mean, midpoint, mixed
from zoo.functional._poincare_origin import (
    exp0,
    log0,
    mobius_matvec,
    mobius_scalar,
    project,
    root,
    tanh_factor,
)
from zoo.functional._poincare_planes import (
    beta_concat,
    beta_ratio,
    beta_split,
    fully_connected,
    hyperplane_logits,
    unidirectional_logits,
)
from zoo.functional.precision import check_precision
from zoo.functional.squares import asinh, asinhc, safe_sqrt

__all__ = [
    "Curvature",
    "beta_concat",
    "beta_ratio",
    "beta_split",
    "check",
    "conformal_factor",
    "dist",
    "dist0",
    "exp",
    "exp0",
    "fully_connected",
    "geodesic",
    "gyration",
    "hyperplane_logits",
    "inner",
    "log",
    "log0",
    "mean",
    "midpoint",
    "mixed",
    "mobius_add",
    "mobius_matvec",
    "mobius_scalar",
    "norm",
    "origin",
    "project",
    "random",
    "riemannian_gradient",
    "square_dist",
    "transport",
    "transport0",
    "unidirectional_logits",
]


def check(
    x: Float[Tensor, "*batch dim"],
    *,
    where: str = "poincare.check",
    c: Curvature = 1.0,
    project: bool = False,
) -> Float[Tensor, "*batch dim"]:
    """The points, once they are known to lie in the ball.

    Args:
        x: points.
        where: names the caller in the message.
        c: the curvature is -c.
        project: moves points outside to the largest norm instead of refusing them.

    Raises:
        ManifoldError: a point outside of the ball (its norm is named), or one that is not finite.
        DeviceError: half precision.
    """
    check_precision(where, x)
    root(c)
    if not bool(torch.isfinite(x).all()):
        raise ManifoldError(f"{where}: a point with an infinite or undefined coordinate")
    if project:
        return _project(x, c=c)
    if bool((c * square(x.detach()) >= 1).any()):
        raise outside(where, x, c)
    return x


_project = project


def origin(
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch dim"]:
    """The centre of the ball, in a tensor of the given shape."""
    root(c)
    return torch.zeros(shape, dtype=dtype, device=device)


def random(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    scale: float = 1.0,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch dim"]:
    """Points whose distance from the origin has the root mean square `scale`.

    exp0 of normal vectors; the dimension is the last number of the shape.
    """
    v = torch.randn(shape, generator=generator, dtype=dtype, device=device)
    return exp0(v * (0.5 * scale * shape[-1] ** -0.5), c=c)


def conformal_factor(
    x: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*batch 1"]:
    """lambda_x = 2 / (1 - c|x|^2)."""
    check_precision("poincare.conformal_factor", x)
    root(c)
    return 2 / gap(x, c)


def inner(
    x: Float[Tensor, "*#batch dim"],
    u: Float[Tensor, "*#batch dim"],
    v: Float[Tensor, "*#batch dim"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*shape"]:
    """The metric, lambda_x^2 <u, v>, of tangent vectors at x."""
    return (conformal_factor(x, c=c).square() * u * v).sum(-1)


def norm(
    x: Float[Tensor, "*#batch dim"], v: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape"]:
    """The length of a tangent vector at x, whose gradient at v = 0 is zero."""
    return safe_sqrt(inner(x, v, v, c=c))


def riemannian_gradient(
    x: Float[Tensor, "*#batch dim"], grad: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """The Riemannian gradient at x of a function with this Euclidean gradient, grad / lambda^2."""
    return grad / conformal_factor(x, c=c).square()


def mobius_add(
    x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """The gyrovector sum of x and y (arXiv:1805.09112, eq. 7); -x is the inverse of x."""
    check_precision("poincare.mobius_add", x, y)
    root(c)
    return mobius_sum(x, y, c)


def square_dist(
    x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape"]:
    """The squared distance, smooth with all derivatives where the points meet."""
    check_precision("poincare.square_dist", x, y)
    root(c)
    u = separation(x, y, c)[..., 0]
    return 4 / c * u * asinhc(u).square()


def dist(
    x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape"]:
    """The distance; its gradient is zero where the points meet."""
    check_precision("poincare.dist", x, y)
    return 2 / root(c) * asinh(safe_sqrt(separation(x, y, c)[..., 0]))


def dist0(x: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch"]:
    """The distance from the origin."""
    return dist(x, torch.zeros_like(x), c=c)


def exp(
    x: Float[Tensor, "*#batch dim"], v: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """The exponential map at x (arXiv:1805.09112, lemma 2)."""
    check_precision("poincare.exp", x, v)
    root(c)
    half = 1 / gap(x, c)  # lambda / 2
    return mobius_sum(x, half * tanh_factor(c * half.square() * square(v)) * v, c)


def log(
    x: Float[Tensor, "*#batch dim"], y: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """The tangent vector at x that `exp` takes to y.

    With m = -x + y in the Möbius sense, artanh(sqrt(c)|m|) / (sqrt(c)|m|) is written as
    asinh(sqrt(u)) sqrt(1 + u) / sqrt(u) of the separation u, which does not saturate.
    """
    check_precision("poincare.log", x, y)
    root(c)
    u = separation(x, y, c)
    return gap(x, c) * asinhc(u) * torch.sqrt(1 + u) * mobius_sum(-x, y, c)


def geodesic(
    x: Float[Tensor, "*#batch dim"],
    y: Float[Tensor, "*#batch dim"],
    t: float | Float[Tensor, "*#batch"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*shape dim"]:
    """The point at the fraction t of the way from x to y.

    Args:
        x: where t = 0.
        y: where t = 1.
        t: a number, or one per pair.
        c: the curvature is -c.
    """
    return exp(x, (t[..., None] if isinstance(t, Tensor) else t) * log(x, y, c=c), c=c)


def gyration(
    u: Float[Tensor, "*#batch dim"],
    v: Float[Tensor, "*#batch dim"],
    w: Float[Tensor, "*#batch dim"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*shape dim"]:
    """gyr[u, v] w, the rotation with u + (v + w) = (u + v) + gyr[u, v] w in the Möbius sense."""
    check_precision("poincare.gyration", u, v, w)
    root(c)
    return _turned(-v, u, w, c)


def transport(
    x: Float[Tensor, "*#batch dim"],
    y: Float[Tensor, "*#batch dim"],
    v: Float[Tensor, "*#batch dim"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*shape dim"]:
    """Parallel transport of v along the geodesic from x to y, lambda_x / lambda_y gyr[y, -x] v."""
    check_precision("poincare.transport", x, y, v)
    root(c)
    return gap(y, c) / gap(x, c) * _turned(x, y, v, c)


def transport0(
    x: Float[Tensor, "*#batch dim"], v: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """Parallel transport from the origin to x, (1 - c|x|^2) v."""
    return 2 / conformal_factor(x, c=c) * v


def _turned(x: Tensor, y: Tensor, v: Tensor, c: Curvature) -> Tensor:
    """gyr[y, -x] v, written in d = y - x.

    v + 2c/D ((alpha <d, v> - sigma <x, v>) x - ((beta + sigma) <x, v> + c|x|^2 <d, v>) d), with
    alpha, beta, D and sigma = c|d|^2 of the Möbius sum of y and -x.
    """
    d = y - x
    alpha, beta, sigma = gap(x, c), gap(y, c), c * square(d)
    by_d, by_x = (d * v).sum(-1, keepdim=True), (x * v).sum(-1, keepdim=True)
    along_x = alpha * by_d - sigma * by_x
    along_d = (beta + sigma) * by_x + (1 - alpha) * by_d
    return v + 2 * c / (sigma + alpha * beta) * (along_x * x - along_d * d)
