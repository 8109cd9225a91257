"""Radial functions of interatomic distances."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

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


def gaussian_parameters(cutoff: float, size: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced centres from 0 to the cutoff (Å), as wide as they are apart, in float64."""
    centres = torch.linspace(0.0, cutoff, size, dtype=torch.float64)
    return centres, -0.5 / (centres[1] - centres[0]).square()
