"""Linear maps of spherical features: one matrix per degree, a bias on the scalars."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SO3Linear(nn.Module):
    """x_lm -> W_l x_lm + b delta_l0, the most general equivariant linear map of such features.

    Args:
        lmax: highest degree.
        in_channels: of every degree.
        out_channels: of every degree.
    """

    def __init__(self, lmax: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        bound = 1.0 / math.sqrt(in_channels)
        self.weight = nn.Parameter(torch.empty(lmax + 1, out_channels, in_channels))
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        _, out_channels, in_channels = self.weight.shape
        return f"lmax={self.lmax}, in_channels={in_channels}, out_channels={out_channels}"

    def forward(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "nodes coefficients out_channels"]:
        """The mapped features.

        Args:
            x: features, degree-major.
        """
        blocks = x.split([2 * degree + 1 for degree in range(self.lmax + 1)], dim=1)
        mapped = [self.degree(block, degree) for degree, block in enumerate(blocks)]
        return torch.cat(mapped, dim=1)

    def degree(
        self, x: Float[Tensor, "nodes components channels"], degree: int
    ) -> Float[Tensor, "nodes components out_channels"]:
        """The map of one degree alone, where the others are not needed.

        Args:
            x: the components of that degree.
            degree: which.
        """
        bias = self.bias if degree == 0 else None
        return nn.functional.linear(x, self.weight[degree], bias)
