"""Radial bases as modules. Centres and widths are part of the weights."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional import (
    bessel_basis,
    expnorm,
    expnorm_parameters,
    gaussian_basis,
    gaussian_parameters,
)


def _hold(module: nn.Module, values: dict[str, Tensor], *, trainable: bool) -> None:
    """Makes them parameters, or buffers that enter checkpoints, in the default precision."""
    for name, value in values.items():
        value = value.to(torch.get_default_dtype())
        if trainable:
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)


class ExpNormBasis(nn.Module):
    """The exponential-normal basis of PhysNet (arXiv:1902.08408).

    Args:
        cutoff: (Å).
        size: number of functions.
        trainable: whether centres and widths are parameters.
    """

    means: Tensor
    betas: Tensor

    def __init__(self, cutoff: float, size: int, *, trainable: bool = False) -> None:
        super().__init__()
        self.cutoff = cutoff
        means, betas = expnorm_parameters(cutoff, size)
        _hold(self, {"means": means, "betas": betas}, trainable=trainable)

    def forward(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges basis"]:
        """Values at distances `r` (Å)."""
        return expnorm(r, self.cutoff, self.means, self.betas)


class GaussianBasis(nn.Module):
    """Evenly spaced Gaussians from 0 to the cutoff; no envelope.

    Args:
        cutoff: (Å).
        size: number of functions.
        width: standard deviation in units of the spacing.
        trainable: whether centres and width are parameters.
    """

    centres: Tensor
    coefficient: Tensor

    def __init__(
        self, cutoff: float, size: int, *, width: float = 1.0, trainable: bool = False
    ) -> None:
        super().__init__()
        centres, coefficient = gaussian_parameters(cutoff, size, width)
        _hold(self, {"centres": centres, "coefficient": coefficient}, trainable=trainable)

    def forward(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges basis"]:
        """Values at distances `r` (Å)."""
        return gaussian_basis(r, self.centres, self.coefficient)


class BesselBasis(nn.Module):
    """The spherical Bessel functions of degree zero (DimeNet, arXiv:2003.03123); no envelope.

    Args:
        cutoff: (Å).
        size: number of functions.
        trainable: whether frequencies are parameters.
    """

    frequencies: Tensor

    def __init__(self, cutoff: float, size: int, *, trainable: bool = False) -> None:
        super().__init__()
        self.cutoff = cutoff
        frequencies = math.pi * torch.arange(1, size + 1, dtype=torch.float64)
        _hold(self, {"frequencies": frequencies}, trainable=trainable)

    def forward(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges basis"]:
        """Values at distances `r` (Å)."""
        return bessel_basis(r, self.cutoff, self.frequencies)
