"""Points of the hyperboloid: products, projections, checks. The geometry is in lorentz.py."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional._curvature import curvature_root
from zoo.functional.precision import check_precision

Curvature = float | Tensor

#: what c <x, x>_L + 1 may be, as a part of 1 + c x_0^2, before a function refuses a point:
#: sqrt(eps) of float32 in both precisions, as points stored in float32 are no better in float64
ROUNDING = 3.5e-4


def product(
    x: Float[Tensor, "*x point"], y: Float[Tensor, "*y point"], *, keepdim: bool = False
) -> Tensor:
    """The Lorentz product <x, y>_L = -x_0 y_0 + x_s . y_s over the last axis.

    Args:
        x: vectors; leading axes broadcast.
        y: vectors; leading axes broadcast.
        keepdim: whether the last axis stays, with length one.
    """
    terms = x * y
    value = terms[..., 1:].sum(-1, keepdim=True) - terms[..., :1]
    return value if keepdim else value[..., 0]


def lift(space: Float[Tensor, "*batch space"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch _"]:
    """The point with these spatial coordinates: x_0 = sqrt(1/c + |x_s|^2).

    Args:
        space: x_s.
        c: absolute curvature.

    Raises:
        ConfigError: c that is not positive.
        DeviceError: half precision.
    """
    check_precision("lorentz.lift", space)
    curvature_root(c)
    time = torch.sqrt(space.square().sum(-1, keepdim=True) + 1.0 / c)
    return torch.cat([time, space], dim=-1)


def origin(
    shape: tuple[int, ...],
    *,
    c: Curvature = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Float[Tensor, "*batch point"]:
    """(1 / sqrt(c), 0, ..., 0).

    Args:
        shape: of the points, the last axis n + 1.
        c: absolute curvature.
        dtype: of the result.
        device: of the result.
    """
    return lift(torch.zeros((*shape[:-1], shape[-1] - 1), dtype=dtype, device=device), c=c)


def project(x: Float[Tensor, "*batch point"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch _"]:
    """The point of the hyperboloid with the same spatial coordinates.

    Args:
        x: numbers, time first.
        c: absolute curvature.
    """
    return lift(x[..., 1:], c=c)


def project_tangent(
    x: Float[Tensor, "*x point"], v: Float[Tensor, "*v point"], *, c: Curvature = 1.0
) -> Tensor:
    """The part of v that is tangent at x: v + c <x, v>_L x.

    Args:
        x: points.
        v: any vectors.
        c: absolute curvature.
    """
    on_it("lorentz.project_tangent", x, c=c)
    return v + c * product(x, v, keepdim=True) * x


def frame(
    x: Float[Tensor, "*x point"], v: Float[Tensor, "*v point"], *, c: Curvature = 1.0
) -> Tensor:
    """Tangent vectors at x, transported to the origin: v_s - v_0 X_s / (1 + X_0).

    The Euclidean length of the result is the vector's length. The Lorentz product says the same
    but cancels at large radius; this has n components and loses nothing.

    Args:
        x: points.
        v: tangent vectors there.
        c: absolute curvature.
    """
    scale = curvature_root(c)
    moved: Tensor = v[..., 1:] - v[..., :1] * (scale * x[..., 1:] / (1.0 + scale * x[..., :1]))
    return moved


def unframe(
    x: Float[Tensor, "*x point"], a: Float[Tensor, "*a space"], *, c: Curvature = 1.0
) -> Tensor:
    """The inverse of `frame`: (0, a) transported from the origin to x.

    Args:
        x: points.
        a: spatial components of tangent vectors at the origin.
        c: absolute curvature.
    """
    scale = curvature_root(c)
    along = scale * (x[..., 1:] * a).sum(-1, keepdim=True)
    space = a + scale * along / (1.0 + scale * x[..., :1]) * x[..., 1:]
    return torch.cat([along.expand_as(space[..., :1]), space], dim=-1)


def half_square(
    x: Float[Tensor, "*x point"], y: Float[Tensor, "*y point"], *, c: Curvature = 1.0
) -> Tensor:
    """u = sinh^2(sqrt(c) d(x, y) / 2) = -(1 + c <x, y>_L) / 2, without cancellation.

    Args:
        x: points.
        y: points.
        c: absolute curvature.
    """
    on_it("lorentz.half_square", x, y, c=c)
    return separation(x, y, c)


def separation(x: Tensor, y: Tensor, c: Curvature) -> Tensor:
    """`half_square` of points that are known to lie on the hyperboloid."""
    scale = curvature_root(c)
    from_x, from_y = 1.0 + scale * x[..., :1], 1.0 + scale * y[..., :1]
    difference = x[..., 1:] / from_x - y[..., 1:] / from_y
    size: Tensor = from_x[..., 0] * from_y[..., 0]
    u: Tensor = 0.25 * c * difference.square().sum(-1) * size
    return u


def complete(x: Float[Tensor, "*x point"], space: Float[Tensor, "*v space"]) -> Tensor:
    """The tangent vector at x with these spatial components: v_0 = x_s . v_s / x_0.

    Args:
        x: points.
        space: v_s.
    """
    time = (x[..., 1:] * space).sum(-1, keepdim=True) / x[..., :1]
    return torch.cat([time, space.expand(*time.shape[:-1], space.shape[-1])], dim=-1)


def normalize(
    a: Float[Tensor, "*batch point"],
    *,
    total: float | Tensor | None = None,
    c: Curvature = 1.0,
) -> Tensor:
    """A future-directed timelike vector scaled onto the hyperboloid: a / sqrt(c |<a, a>_L|).

    A vector that isn't timelike, such as the empty sum, becomes the origin.

    Args:
        a: vectors, usually weighted sums of points.
        total: the sum of those weights, (*batch, 1) or a number. The length of such a sum is at
            least total / sqrt(c), which replaces it where rounding has taken it below.
        c: absolute curvature.
    """
    square = -product(a, a, keepdim=True)
    if total is not None:
        square = torch.maximum(square, torch.as_tensor(total, dtype=a.dtype).square() / c)
    timelike = square > torch.finfo(a.dtype).tiny
    space = a[..., 1:] * torch.rsqrt(c * torch.where(timelike, square, 1.0))
    return lift(torch.where(timelike, space, 0.0), c=c)


def check(
    x: Float[Tensor, "*batch point"],
    *,
    where: str,
    c: Curvature = 1.0,
    tolerance: float | None = None,
    project: bool = False,
) -> Tensor:
    """The points, once they are known to lie on the hyperboloid.

    Args:
        x: points, time first.
        where: names the function or layer in the message.
        c: absolute curvature.
        tolerance: of <x, x>_L c + 1, as a part of c x_0^2, the size of what cancels there;
            sqrt(eps) of the precision if not given.
        project: recomputes time from space instead of refusing points.

    Raises:
        ConfigError: c that is not positive.
        DeviceError: half precision.
        ManifoldError: names the worst point's norm.
    """
    check_precision(where, x)
    curvature_root(c)
    if x.shape[-1] < 2:
        raise ManifoldError(f"{where}: a point has a time and at least one space coordinate")
    if project and bool(x.isfinite().all()):
        return lift(x[..., 1:], c=c)
    bound = math.sqrt(torch.finfo(x.dtype).eps) if tolerance is None else tolerance
    norms = product(x, x).detach().flatten()
    sizes = (1.0 + torch.as_tensor(c).detach() * x[..., 0].detach().square()).flatten()
    defects = ((norms * c + 1.0).abs() / sizes).detach()
    bad = ~(defects <= bound) | ~(x[..., 0] > 0).flatten()
    if bool(bad.any()):
        worst = int(torch.where(bad, defects.nan_to_num(math.inf), -1.0).argmax())
        raise ManifoldError(
            f"{where}: {int(bad.sum())} of {len(norms)} points are off the hyperboloid: point "
            f"{worst} has <x, x>_L = {float(norms[worst]):.6g}, expected {-1.0 / float(c):.6g} "
            f"with a positive time coordinate (tolerance {bound:.2g}); pass project=True or "
            "lorentz.project(x, c=...) to recompute time from space knowingly"
        )
    return x


def spread(weights: Tensor, points: Tensor) -> Tensor:
    """Weights (points,) or (points, *batch) as (points, 1, ...) or as they are."""
    if weights.ndim == 1:
        return weights.reshape(-1, *(1,) * (points.ndim - 2))
    return weights


def on_it(where: str, *points: Tensor, c: Curvature) -> None:
    """Refuses points that are off the hyperboloid, as cheaply as that can be.

    What is not finite passes, as it does where nothing is looked at: on a GPU, where this would
    wait for the device, and in compiled graphs. There `check` has to be called.

    Args:
        where: names the function in the message.
        points: of any shapes.
        c: absolute curvature.

    Raises:
        ConfigError: c that is not positive.
        DeviceError: half precision.
        ManifoldError: names the worst point's norm.
    """
    check_precision(where, *points)
    curvature_root(c)
    with torch.no_grad():
        for x in points:
            if x.is_cuda or torch.compiler.is_compiling():
                continue
            scaled = c * x[..., 0].square()
            off = c * x[..., 1:].square().sum(-1) - scaled + 1.0
            if bool(((off.abs() > ROUNDING * (1.0 + scaled)) | (x[..., 0] <= 0)).any()):
                check(x, where=where, c=c, tolerance=ROUNDING)
