"""Nonlinearities of eSCN: on grids of the sphere as in the paper, or exactly equivariant gates.

Messages come out of the SO(2) convolutions order-major and leave degree by degree, with the rows
m = 0, +1, -1, +2, -2, ... of a degree together, which is how frames take them back.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional import coefficient_degrees, order_major_index
from zoo.layers.constants import ConstantModule
from zoo.layers.equivariant import SphereGrid

Features = Float[Tensor, "rows coefficients channels"]


def by_degree(lmax: int, mmax: int) -> Tensor:
    """Order-major positions of the kept coefficients, degree by degree, m = 0, +1, -1, ..."""
    index = order_major_index(lmax, mmax).tolist()
    place = {position: k for k, position in enumerate(index)}
    orders = [0, *(sign * m for m in range(1, mmax + 1) for sign in (1, -1))]
    return torch.tensor(
        [place[d * d + d + m] for d in range(lmax + 1) for m in orders if abs(m) <= d]
    )


class GridActivation(ConstantModule):
    """SiLU on a grid of the sphere around the edge.

    Args:
        lmax: highest degree.
        mmax: highest order.
        resolution: polar angles and azimuths of the grid.
    """

    there: Tensor
    back: Tensor
    axial_there: Tensor
    axial_back: Tensor

    def __init__(self, lmax: int, mmax: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        grid = SphereGrid(lmax, mmax, resolution=resolution, layout="order").double()
        there, back = grid.to_matrix, grid.from_matrix
        order = by_degree(lmax, mmax)
        # signals of order 0 are the same all along a circle of latitude
        first = there.unflatten(0, resolution)[:, 0, : lmax + 1]
        total = back[: lmax + 1].unflatten(1, resolution).sum(-1)
        self.register_constant("there", lambda: there.clone())
        self.register_constant("back", lambda: back[order])
        self.register_constant("axial_there", lambda: first.clone())
        self.register_constant("axial_back", lambda: total.clone())

    def forward(self, x: Features) -> Features:
        """The activated message."""
        return _through(x, self.there, self.back)

    def axial(self, x: Features) -> Features:
        """The same for messages of order 0 alone, one coefficient for each degree."""
        return _through(x, self.axial_there, self.axial_back)


def _through(x: Tensor, there: Tensor, back: Tensor) -> Tensor:
    values = nn.functional.silu(torch.bmm(there.expand(x.shape[0], -1, -1), x))
    return torch.bmm(back.expand(x.shape[0], -1, -1), values)


class Gate(nn.Module):
    """SiLU of degree 0; the other degrees times sigmoids of linear maps of degree 0.

    Args:
        lmax: highest degree.
        channels: of features.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.gates = nn.Linear(channels, lmax * channels)

    def factors(
        self, scalars: Float[Tensor, "rows channels"]
    ) -> Float[Tensor, "rows degrees channels"]:
        """What each degree is multiplied by; x sigmoid(x) is SiLU."""
        gates = torch.cat([scalars, self.gates(scalars)], dim=-1)
        factors: Tensor = torch.sigmoid(gates).unflatten(-1, (self.lmax + 1, -1))
        return factors


class NodeGate(Gate):
    """A gate of degree-major features."""

    degrees: Tensor

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__(lmax, channels)
        self.register_buffer("degrees", coefficient_degrees(lmax), persistent=False)

    def forward(self, x: Features) -> Features:
        """The gated features."""
        return x * self.factors(x[:, 0]).index_select(1, self.degrees)


class FrameGate(Gate):
    """A gate of messages in the frames of edges: order-major in, degree by degree out.

    Args:
        lmax: highest degree.
        mmax: highest order.
        channels: of features.
    """

    degrees: Tensor
    order: Tensor

    def __init__(self, lmax: int, mmax: int, channels: int) -> None:
        super().__init__(lmax, channels)
        rows = [min(2 * degree, 2 * mmax) + 1 for degree in range(lmax + 1)]
        degrees = torch.repeat_interleave(torch.arange(lmax + 1), torch.tensor(rows))
        self.register_buffer("order", by_degree(lmax, mmax), persistent=False)
        self.register_buffer("degrees", degrees, persistent=False)

    def forward(self, x: Features) -> Features:
        """The gated message."""
        factors = self.factors(x[:, 0]).index_select(1, self.degrees)
        return x.index_select(1, self.order) * factors

    def axial(self, x: Features) -> Features:
        """The same for messages of order 0 alone, one coefficient for each degree."""
        return x * self.factors(x[:, 0])
