"""Channel mixing that commutes with rotations."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional.cartesian import SIZES


class ComponentLinear(nn.Module):
    """One bias-free map of the channels for each irreducible group of components.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in SIZES)

    def forward(self, x: Float[Tensor, "9 atoms channels"]) -> Float[Tensor, "9 atoms channels"]:
        """Maps each group by its own matrix."""
        # one split, not three slices: its backward is one concatenation
        return torch.cat([m(part) for m, part in zip(self.maps, x.split(SIZES), strict=True)])
