"""Maps of the Poincaré ball that leave its origin in place."""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional._curvature import curvature_root
from zoo.functional._poincare_kernels import Curvature, gap, largest, square
from zoo.functional.precision import check_precision
from zoo.functional.squares import artanhc, tanhc


def root(c: Curvature) -> Curvature:
    """The square root of a curvature.

    Raises:
        ConfigError: a curvature that is not positive.
    """
    found: Curvature = curvature_root(c)
    return found


def project(
    x: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0, margin: float | None = None
) -> Float[Tensor, "*batch dim"]:
    """Moves points that are too far out to the largest norm, (1 - margin) / sqrt(c).

    Args:
        x: points, or vectors of any length.
        c: the curvature is -c.
        margin: between the outermost points and the boundary, in units of the radius; 2 eps of the
            precision if left out.
    """
    root(c)
    limit = largest(x.dtype) if margin is None else min(1.0 - margin, largest(x.dtype))
    size = c * square(x)
    far = size > limit**2
    return torch.where(far, limit * torch.rsqrt(torch.where(far, size, 1.0)), 1.0) * x


def exp0(v: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch dim"]:
    """The exponential map at the origin, tanh(sqrt(c)|v|) v / (sqrt(c)|v|)."""
    check_precision("poincare.exp0", v)
    root(c)
    return tanh_factor(c * square(v)) * v


def log0(x: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0) -> Float[Tensor, "*batch dim"]:
    """The inverse of `exp0`, artanh(sqrt(c)|x|) x / (sqrt(c)|x|)."""
    check_precision("poincare.log0", x)
    return _artanh_factor(x, c) * x


def mobius_scalar(
    t: float | Float[Tensor, "*#batch"], x: Float[Tensor, "*#batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*shape dim"]:
    """Scalar multiplication, exp0(t log0(x)).

    Args:
        t: the factor, a number or one per point.
        x: points.
        c: the curvature is -c.
    """
    check_precision("poincare.mobius_scalar", x)
    factor = _artanh_factor(x, c) * (t[..., None] if isinstance(t, Tensor) else t)
    return tanh_factor(c * square(x) * factor.square()) * factor * x


def mobius_matvec(
    matrix: Float[Tensor, "out dim"], x: Float[Tensor, "*batch dim"], *, c: Curvature = 1.0
) -> Float[Tensor, "*batch out"]:
    """The matrix of a linear layer acting on points, exp0(M log0(x)) (arXiv:1805.09112, eq. 27)."""
    check_precision("poincare.mobius_matvec", x)
    image = x @ matrix.mT
    factor = _artanh_factor(x, c)
    return tanh_factor(c * square(image) * factor.square()) * factor * image


def tanh_factor(s: Tensor) -> Tensor:
    """tanh(r) / r at s = r^2, such that r times it stays inside of the ball."""
    return torch.minimum(tanhc(s), largest(s.dtype) * torch.rsqrt(s.clamp(min=0.25)))


def _artanh_factor(x: Tensor, c: Curvature) -> Tensor:
    """artanh(r) / r at r = sqrt(c)|x|."""
    root(c)
    return artanhc((1 - gap(x, c)).clamp(max=largest(x.dtype) ** 2))
