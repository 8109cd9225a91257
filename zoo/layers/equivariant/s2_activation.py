"""Pointwise nonlinearities of signals on the sphere.

A signal's coefficients are taken to a grid, the activation acts on each value, and the values are
projected back. What the activation creates beyond the grid's band limit comes back as aliasing:
equivariance is approximate, and the error falls as the grid grows.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional.grid_silu import grid_silu
from zoo.layers.equivariant.sphere_grid import SphereGrid

Activation = Callable[[Tensor], Tensor]


class S2Activation(nn.Module):
    """An activation on a grid of the sphere (eSCN, arXiv:2302.03655).

    Args:
        grid: the coefficients' layout and the grid.
        activation: acts on each value; SiLU if None.
    """

    def __init__(self, grid: SphereGrid, activation: Activation | None = None) -> None:
        super().__init__()
        self.grid = grid
        self.activation = nn.functional.silu if activation is None else activation

    def forward(
        self, x: Float[Tensor, "rows coefficients channels"]
    ) -> Float[Tensor, "rows coefficients channels"]:
        """The activated signal's coefficients."""
        return self.rows(x, 0)

    def rows(
        self, x: Float[Tensor, "rows coefficients channels"], first: int
    ) -> Float[Tensor, "rows some channels"]:
        """The activated signal's coefficients from the given one on."""
        if self.activation is nn.functional.silu:
            return grid_silu(x, self.grid.to_matrix, self.grid.from_matrix[first:])
        return self.grid.from_grid(self.activation(self.grid.to_grid(x)))[:, first:]


class SeparableS2Activation(nn.Module):
    """Degrees above 0 from the grid, degree 0 from scalars (EquiformerV2, arXiv:2306.12059).

    Args:
        grid: the coefficients' layout and the grid; degree 0 comes first in both layouts.
        activation: acts on values and scalars; SiLU if None.
    """

    def __init__(self, grid: SphereGrid, activation: Activation | None = None) -> None:
        super().__init__()
        self.pointwise = S2Activation(grid, activation)

    def forward(
        self,
        scalars: Float[Tensor, "rows channels"],
        x: Float[Tensor, "rows coefficients channels"],
    ) -> Float[Tensor, "rows coefficients channels"]:
        """Activated scalars as degree 0, the activated signal above it."""
        first = self.pointwise.activation(scalars)[:, None]
        return torch.cat([first, self.pointwise.rows(x, 1)], dim=1)
