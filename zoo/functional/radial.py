"""Radial functions of interatomic distances."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError

#: exp of this is 9e-27: nothing to a sum of order one, even in float64, and not denormal
SMALLEST_EXPONENT = -60.0


def cosine_cutoff(r: Float[Tensor, "*shape"], cutoff: float) -> Float[Tensor, "*shape"]:
    """Behler's cutoff, (1 + cos(pi r / cutoff)) / 2 below the cutoff and 0 beyond.

    Value and slope vanish at the cutoff; the second derivative jumps there.

    Args:
        r: distances (Å).
        cutoff: (Å).
    """
    return torch.where(r < cutoff, 0.5 * (torch.cos(r * (math.pi / cutoff)) + 1.0), 0.0)


def expnorm(
    r: Float[Tensor, " edges"],
    cutoff: float,
    means: Float[Tensor, " basis"],
    betas: Float[Tensor, " basis"],
) -> Float[Tensor, "edges basis"]:
    """Gaussians in exp(-alpha r), times the cosine cutoff (PhysNet, arXiv:1902.08408).

    e_k(r) = phi(r) exp(-beta_k (exp(-alpha r) - mu_k)^2) with alpha = 5 / cutoff.

    Args:
        r: distances (Å).
        cutoff: (Å).
        means: mu_k.
        betas: beta_k.
    """
    envelope = cosine_cutoff(r, cutoff)
    distance = torch.exp(r * (-5.0 / cutoff))[:, None] - means
    # the tails would be denormal numbers, which slow every later product down by a quarter
    exponent = (-betas * distance.square()).clamp(min=SMALLEST_EXPONENT)
    return envelope[:, None] * torch.exp(exponent)


def expnorm_parameters(cutoff: float, size: int) -> tuple[Tensor, Tensor]:
    """Means and betas that cover [0, cutoff] evenly in exp(-r), in float64.

    mu_k from exp(-cutoff) to 1; beta = (2 / size (1 - exp(-cutoff)))^-2.
    """
    low = math.exp(-cutoff)
    means = torch.linspace(low, 1.0, size, dtype=torch.float64)
    betas = torch.full((size,), (2.0 / size * (1.0 - low)) ** -2, dtype=torch.float64)
    return means, betas


def gaussian_basis(
    r: Float[Tensor, " edges"],
    centres: Float[Tensor, " basis"],
    coefficient: Float[Tensor, ""],
) -> Float[Tensor, "edges basis"]:
    """Gaussians exp(c (r - r_k)^2) of distances; no cutoff is applied.

    Args:
        r: distances (Å).
        centres: r_k (Å).
        coefficient: c (1/Å^2), negative: -1 / (2 width^2).
    """
    exponent = coefficient * (r[:, None] - centres).square()
    return torch.exp(exponent.clamp(min=SMALLEST_EXPONENT))  # no denormal tails


def gaussian_parameters(cutoff: float, size: int, width: float = 1.0) -> tuple[Tensor, Tensor]:
    """Evenly spaced centres from 0 to the cutoff (Å) and the coefficient, in float64.

    Args:
        cutoff: (Å).
        size: number of functions, at least 2.
        width: standard deviation of the Gaussians in units of their spacing.

    Raises:
        ConfigError: fewer than two functions, or a width that is not positive.
    """
    if size < 2 or width <= 0:
        raise ConfigError(
            f"size={size}, width={width}: evenly spaced Gaussians need size >= 2 and width > 0"
        )
    centres = torch.linspace(0.0, cutoff, size, dtype=torch.float64)
    return centres, -0.5 / (width * (centres[1] - centres[0])).square()


def bessel_basis(
    r: Float[Tensor, " edges"], cutoff: float, frequencies: Float[Tensor, " basis"]
) -> Float[Tensor, "edges basis"]:
    """sqrt(2 / cutoff) sin(f_n r / cutoff) / r (DimeNet, arXiv:2003.03123).

    With f_n = n pi these are orthonormal on the ball of radius cutoff, and vanish on its surface.
    Finite with all derivatives at r = 0. No envelope is applied.

    Args:
        r: distances (Å).
        cutoff: (Å).
        frequencies: f_n.
    """
    angle = r[:, None] * (frequencies / cutoff)
    small = angle.abs() < 1e-2
    square = angle.square()
    series = 1 - square / 6 * (1 - square / 20)  # to 2e-16 where it is used
    safe = torch.where(small, 1.0, angle)
    return (
        math.sqrt(2.0 / cutoff)
        / cutoff
        * frequencies
        * torch.where(small, series, torch.sin(safe) / safe)
    )


def polynomial_envelope(
    r: Float[Tensor, "*shape"], cutoff: float, power: int = 5
) -> Float[Tensor, "*shape"]:
    """The polynomial that goes from 1 at r = 0 to 0 at the cutoff with two derivatives zero there.

    u(x) = 1 - (p+1)(p+2)/2 x^p + p (p+2) x^(p+1) - p (p+1)/2 x^(p+2), x = r / cutoff, zero beyond
    (DimeNet, arXiv:2003.03123, there over x). Evaluated as (1-x)^3 sum_{k<p} C(k+2, 2) x^k,
    which is the same, and positive up to the cutoff in every precision.

    Args:
        r: distances (Å).
        cutoff: (Å).
        power: p; the first p - 1 derivatives vanish at r = 0.

    Raises:
        ConfigError: a power below one.
    """
    if power < 1:
        raise ConfigError(f"power={power}: the envelope needs a power of at least 1")
    x = (r / cutoff).clamp(max=1.0)
    series = torch.full_like(x, math.comb(power + 1, 2))
    for k in range(power - 2, -1, -1):
        series = series * x + math.comb(k + 2, 2)
    return (1 - x).pow(3) * series
