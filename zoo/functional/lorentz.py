r"""The Lorentz (hyperboloid) model of hyperbolic space, of any curvature.

Points x = (x_0, x_s) in R^(n+1) with <x, x>_L = -x_0^2 + |x_s|^2 = -1/c and x_0 > 0; time comes
first, the sectional curvature is -c. With X = sqrt(c) x on the unit hyperboloid:

- Distance. sinh^2(d sqrt(c) / 2) = u, u = |W - V|^2 (1 + X_0) (1 + Y_0) / 4 with the half-angle
  coordinates W = X_s / (1 + X_0), V = Y_s / (1 + Y_0). Nothing is subtracted but W - V: it equals
  the asinh form with <x - y, x - y>_L (Mishne et al., arXiv:2211.00181, discuss why acosh fails),
  and keeps its precision to twice the radius, 17 in float32 and 37 in float64.
- log_x(y) = r / sinh(r) ((y - x) - 2 u x) with r = d sqrt(c); exp_x(v) = cosh(r) x + sinh(r)/r v.
- Lengths of tangent vectors are taken after transport to the origin (`frame`), not as a
  difference of squares.
- Transport. v + c <y, v>_L / (1 - c <x, y>_L) (x + y): no division by a distance.
- At the origin only the spatial part is used: exp0(u) has x_s = sinh(r)/r u; log0 is its inverse
  by asinh of |x_s|, never by acosh of x_0.

Everything is written in squares of norms, so values and derivatives of first and second order are
finite at coincident points, at zero tangents and at the origin. Tangent vectors longer than
`RADIUS` (in units of 1 / sqrt(c)) are shortened to it, beyond which cosh would overflow; the
points there are no longer distinct in any case. A point off the hyperboloid by more than rounding
raises `ManifoldError` and c <= 0 a `ConfigError` (on a GPU, only where `check` is called).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional._curvature import curvature_root
from zoo.functional._lorentz_points import (
    Curvature,
    check,
    complete,
    frame,
    half_square,
    lift,
    normalize,
    on_it,
    origin,
    product,
    project,
    project_tangent,
    separation,
    spread,
    unframe,
)
from zoo.functional._weights import check_weights
from zoo.functional.precision import check_precision
from zoo.functional.squares import asinhc, cosh_root, safe_sqrt, sinhc

__all__ = [
    "Curvature",
    "RADIUS",
    "centroid",
    "check",
    "complete",
    "curvature_root",
    "dist",
    "dist0",
    "exp",
    "exp0",
    "frame",
    "from_poincare",
    "geodesic",
    "half_square",
    "inner",
    "lift",
    "log",
    "log0",
    "mean",
    "normalize",
    "origin",
    "product",
    "project",
    "project_tangent",
    "random",
    "square_dist",
    "to_poincare",
    "transport",
    "unframe",
]

#: the longest tangent vector that exp follows: fourth powers of cosh(r) stay finite
RADIUS = {torch.float32: 20.0, torch.float64: 160.0}


def inner(
    x: Float[Tensor, "*x point"],
    u: Float[Tensor, "*u point"],
    v: Float[Tensor, "*v point"],
    *,
    c: Curvature = 1.0,
) -> Tensor:
    """Riemannian inner product of tangent vectors at x.

    On tangent vectors it is the Lorentz product <u, v>_L; taken in `frame`, nothing cancels.

    Args:
        x: base points.
        u: tangent vectors there.
        v: tangent vectors there.
        c: absolute curvature.
    """
    on_it("lorentz.inner", x, c=c)
    return (frame(x, u, c=c) * frame(x, v, c=c)).sum(-1)


def random(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    scale: float = 1.0,
    c: Curvature = 1.0,
) -> Tensor:
    """Points whose distance from the origin has the root mean square `scale`.

    exp0 of normal vectors.

    Args:
        shape: of the points, the last axis n + 1.
        generator: of the random numbers.
        dtype: of the result.
        device: of the result.
        scale: of the distances.
        c: absolute curvature.
    """
    size = (*shape[:-1], shape[-1] - 1)
    u = torch.randn(size, generator=generator, dtype=dtype, device=device)
    return exp0(u * (scale * max(size[-1], 1) ** -0.5), c=c)


def _shorten(v: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors and their squared lengths in units of the curvature, cut at `RADIUS`."""
    limit = RADIUS[v.dtype] ** 2
    factor = torch.where(square > limit, torch.rsqrt(square.clamp(min=limit) / limit), 1.0)
    return v * factor, square.clamp(max=limit)


def exp0(u: Float[Tensor, "*batch space"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch _"]:
    """exp at the origin of the tangent vector (0, u): the Euclidean parametrisation.

    Args:
        u: spatial components; all of R^n is allowed.
        c: absolute curvature.

    Raises:
        DeviceError: half precision.
    """
    check_precision("lorentz.exp0", u)
    u, square = _shorten(u, c * u.square().sum(-1, keepdim=True))
    return lift(sinhc(square) * u, c=c)


def log0(x: Float[Tensor, "*batch point"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch _"]:
    """The spatial components of log at the origin; the inverse of `exp0`.

    Args:
        x: points.
        c: absolute curvature.
    """
    on_it("lorentz.log0", x, c=c)
    space = x[..., 1:]
    return asinhc(c * space.square().sum(-1, keepdim=True)) * space


def exp(
    x: Float[Tensor, "*x point"], v: Float[Tensor, "*v point"], *, c: Curvature = 1.0
) -> Tensor:
    """The end of the geodesic from x with velocity v.

    Args:
        x: points.
        v: tangent vectors at x.
        c: absolute curvature.

    Raises:
        DeviceError: half precision.
    """
    on_it("lorentz.exp", x, c=c)
    v, square = _shorten(v, c * frame(x, v, c=c).square().sum(-1, keepdim=True))
    space = (cosh_root(square) * x + sinhc(square) * v)[..., 1:]
    # steps from a far point can add up to more than a square can hold: stop at RADIUS
    limit = math.sinh(RADIUS[x.dtype]) / curvature_root(c)
    size = space.detach().abs().amax(-1, keepdim=True)
    return lift(space * (limit / torch.clamp(size, min=limit)), c=c)


def log(
    x: Float[Tensor, "*x point"], y: Float[Tensor, "*y point"], *, c: Curvature = 1.0
) -> Tensor:
    """The tangent vector at x whose geodesic reaches y at time one.

    Args:
        x: points.
        y: points.
        c: absolute curvature.
    """
    on_it("lorentz.log", x, y, c=c)
    u = separation(x, y, c)[..., None]
    ratio = asinhc(u) / torch.sqrt(1.0 + u)  # r / sinh r
    return complete(x, ratio * ((y - x) - 2.0 * u * x)[..., 1:])


def square_dist(
    x: Float[Tensor, "*x point"], y: Float[Tensor, "*y point"], *, c: Curvature = 1.0
) -> Tensor:
    """Squared geodesic distance, with zero gradient at coincident points.

    Args:
        x: points.
        y: points.
        c: absolute curvature.
    """
    on_it("lorentz.square_dist", x, y, c=c)
    u = separation(x, y, c)
    return 4.0 / c * u * asinhc(u).square()


def dist(
    x: Float[Tensor, "*x point"], y: Float[Tensor, "*y point"], *, c: Curvature = 1.0
) -> Tensor:
    """Geodesic distance; its gradient at coincident points, where it has a kink, is zero.

    Args:
        x: points.
        y: points.
        c: absolute curvature.

    Raises:
        ConfigError: c that is not positive, in all functions of this module.
        DeviceError: half precision.
        ManifoldError: points off the hyperboloid, in all functions that take points.
    """
    on_it("lorentz.dist", x, y, c=c)
    u = separation(x, y, c)
    return safe_sqrt(4.0 / c * u * asinhc(u).square())


def dist0(x: Float[Tensor, "*x point"], *, c: Curvature = 1.0) -> Tensor:
    """Distance from the origin, by the spatial part alone.

    Args:
        x: points.
        c: absolute curvature.
    """
    on_it("lorentz.dist0", x, c=c)
    square = x[..., 1:].square().sum(-1)
    return safe_sqrt(square * asinhc(c * square).square())


def transport(
    x: Float[Tensor, "*x point"],
    y: Float[Tensor, "*y point"],
    v: Float[Tensor, "*v point"],
    *,
    c: Curvature = 1.0,
) -> Tensor:
    """Parallel transport of v along the geodesic from x to y.

    Args:
        x: points.
        y: points.
        v: tangent vectors at x.
        c: absolute curvature.
    """
    on_it("lorentz.transport", x, y, c=c)
    scale = 2.0 * (1.0 + separation(x, y, c)[..., None])  # 1 - c <x, y>_L
    moved = v + c * product(y, v, keepdim=True) / scale * (x + y)
    return complete(y, moved[..., 1:])


def geodesic(
    x: Float[Tensor, "*x point"],
    y: Float[Tensor, "*y point"],
    t: float | Tensor,
    *,
    c: Curvature = 1.0,
) -> Tensor:
    """The point at time t of the geodesic with x at zero and y at one.

    Args:
        x: points.
        y: points.
        t: time, a number or one for each point.
        c: absolute curvature.
    """
    on_it("lorentz.geodesic", x, y, c=c)
    if isinstance(t, Tensor):
        t = t[..., None]
    return exp(x, t * log(x, y, c=c), c=c)


def centroid(
    points: Float[Tensor, "points *batch point"],
    weights: Float[Tensor, "points *batch"] | Float[Tensor, " points"] | None = None,
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch point"]:
    """The Lorentz centroid, which minimises the weighted sum of -1 - c <x, m>_L.

    m = a / sqrt(c |<a, a>_L|), a = sum_i w_i x_i: in closed form, and equivariant under all
    isometries (Law et al., ICML 2019; HyboNet, arXiv:2105.14686).

    Args:
        points: along the first axis.
        weights: not negative, not all zero; equal ones if not given.
        c: absolute curvature.
    """
    on_it("lorentz.centroid", points, c=c)
    if weights is None:
        return normalize(points.mean(0), total=1.0, c=c)
    weights = spread(weights, points)[..., None]
    return normalize((weights * points).sum(0), total=weights.sum(0), c=c)


def mean(
    points: Float[Tensor, "points *batch point"],
    weights: Float[Tensor, "points *batch"] | Float[Tensor, " points"] | None = None,
    *,
    steps: int = 64,
    tol: float | None = None,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch point"]:
    """The Fréchet mean: the minimiser of the weighted sum of squared distances.

    Karcher's flow m <- exp_m(s sum_i w_i log_m x_i) from the centroid. The step s is one over
    sum_i w_i r_i coth(r_i), which bounds the Hessian, so that it converges from anywhere.

    Args:
        points: along the first axis.
        weights: not negative, not all zero; equal ones if not given.
        steps: at most.
        tol: stop once no step is longer than this (in units of 1 / sqrt(c)); four times the
            precision if not given.
        c: absolute curvature.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    check_weights("lorentz.mean", points, weights, axes=1)
    on_it("lorentz.mean", points, c=c)
    if weights is None:
        weights = torch.ones_like(points[..., 0])
    weights = spread(weights, points)
    share = (weights / weights.sum(0))[..., None]
    stop = 4.0 * torch.finfo(points.dtype).eps if tol is None else tol
    m = centroid(points, weights, c=c)
    for _ in range(steps):
        towards = log(m, points, c=c)
        square = c * inner(m, towards, towards, c=c)[..., None]
        bound = (share * cosh_root(square) / sinhc(square)).sum(0)  # r coth r
        step = (share * towards).sum(0) / bound
        moved = (c * inner(m, step, step, c=c)).detach()
        m = exp(m, step, c=c)
        if moved.numel() == 0 or float(moved.max()) <= stop**2:
            break
    return m


def to_poincare(x: Float[Tensor, "*batch point"], *, c: Curvature = 1.0) -> Tensor:
    """The same points in the Poincaré ball of the same curvature: x_s / (1 + sqrt(c) x_0).

    Args:
        x: points of the hyperboloid, of any shape.
        c: absolute curvature; the ball has radius 1 / sqrt(c).
    """
    on_it("lorentz.to_poincare", x, c=c)
    ball: Tensor = x[..., 1:] / (1.0 + curvature_root(c) * x[..., :1])
    return ball


def from_poincare(p: Float[Tensor, "*batch space"], *, c: Curvature = 1.0) -> Tensor:
    """The same points on the hyperboloid: x_s = 2 p / (1 - c |p|^2).

    Args:
        p: points of the Poincaré ball, of any shape.
        c: absolute curvature; the ball has radius 1 / sqrt(c).

    Raises:
        ManifoldError: a point on or outside the rim, whose norm is named.
    """
    curvature_root(c)
    gap = 1.0 - c * p.square().sum(-1, keepdim=True)
    if not bool((gap > 0).all()):
        worst: Any = float(p.detach().square().sum(-1).max().sqrt())
        raise ManifoldError(
            f"lorentz.from_poincare: the norm {worst:.9g} is not below the radius "
            f"{1.0 / math.sqrt(float(c)):.9g} of the ball of curvature -{float(c):.6g}; "
            "pull points inside with poincare.project(p, c=...)"
        )
    return lift(2.0 * p / gap, c=c)
