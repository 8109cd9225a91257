"""Radial bases as modules. Centres and widths are part of the weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional import expnorm, expnorm_parameters


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
        for name, value in zip(("means", "betas"), expnorm_parameters(cutoff, size), strict=True):
            value = value.to(torch.get_default_dtype())
            if trainable:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, r: Float[Tensor, " edges"]) -> Float[Tensor, "edges basis"]:
        """Values at distances `r` (Å)."""
        return expnorm(r, self.cutoff, self.means, self.betas)
