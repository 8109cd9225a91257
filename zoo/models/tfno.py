r"""Tensorised Fourier neural operators: maps between functions, on grids of any resolution.

Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, *Fourier neural operator for
parametric partial differential equations*, ICLR 2021 (arXiv:2010.08895): the field and its places
are lifted to more channels, four layers v -> sigma(W v + b + K v) follow, without sigma in the
last, and a network of one hidden layer reads each place. K multiplies the low Fourier modes by a
complex matrix each. Kossaifi, Kovachki, Azizzadenesheli, Anandkumar, *Multi-grid tensorized
Fourier neural operator for high-resolution PDEs*, 2023 (arXiv:2310.00120): these matrices as one
tensor in Tucker's format, here for each layer its own. `factorization=None` is the Fourier neural
operator itself.

Deviations: sigma is GELU, as in the authors' later code, and there are no batch norms, which that
code removed (the paper has ReLU and batch norms); weights start with the variance 2 / (inputs +
outputs), those of the authors' first code, uniform in [0, 1 / (inputs outputs)], start the integral
operator near zero. The domain decomposition (multi-grid) of the second paper is left out, and so
are its layer norms, soft gates and perceptrons between layers.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from zoo.errors import ConfigError, nearest
from zoo.layers.tensor_network import Contraction, FactorizedSpectralConv
from zoo.layers.tensor_network.spectral import Factorization
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Coordinates = Literal["none", "periodic", "closed"]
_COORDINATES = ("none", "periodic", "closed")


class _Layer(nn.Module):
    """An integral operator beside a linear map at each place."""

    def __init__(self, channels: int, spectral: FactorizedSpectralConv) -> None:
        super().__init__()
        self.spectral = spectral
        self.linear = nn.Linear(channels, channels)

    def forward(
        self, x: Float[Tensor, "batch *grid channels"]
    ) -> Float[Tensor, "batch *grid channels"]:
        out: Tensor = self.linear(x) + self.spectral.channels_last(x)
        return out


@register("tfno")
class TFNO(SampleModel):
    """Maps fields on a line, in the plane or in space to fields.

    Args:
        in_channels: numbers at each place of the input.
        out_channels: numbers at each place of the output.
        n_modes: frequencies kept on each axis of the grid, of both signs on all but the last.
        hidden_channels: numbers at each place in between.
        num_layers: integral operators.
        projection_channels: width of the hidden layer that reads each place.
        factorization: format of the weights of an integral operator: "tucker", "cp", "tt" or "tr";
            None stores a matrix per frequency.
        rank: share of the dense number of parameters, or numbers for the bonds; None for a tenth.
        separable: integral operators don't mix channels.
        contraction: "auto", "factorized" or "reconstructed", see `FactorizedSpectralConv`.
        coordinates: what is appended to the field: "closed" for places from 0 to 1, both ends
            among the points; "periodic" for 0 to 1 without the last one; "none" for a network that
            moves along with periodic fields.
        padding: zeros appended to each axis, a share of its length, and cut off at the end: for
            fields that are not periodic.

    Raises:
        ConfigError: for sizes below 1, a padding outside of [0, 1], or what the layers refuse.
    """

    domain = "field"

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        n_modes: Sequence[int] = (12, 12),
        hidden_channels: int = 32,
        num_layers: int = 4,
        projection_channels: int = 128,
        factorization: Factorization | None = "tucker",
        rank: int | float | Sequence[int] | None = None,
        separable: bool = False,
        contraction: Contraction = "auto",
        coordinates: Coordinates = "closed",
        padding: float = 0.0,
    ) -> None:
        axes = len(n_modes)
        shape = (in_channels, *[None] * axes)
        super().__init__(sample_shape=shape, outputs=("prediction",))
        sizes = (in_channels, hidden_channels, num_layers, projection_channels)
        _check(sizes, coordinates, padding)
        self.coordinates: Coordinates = coordinates
        moves = coordinates == "none" and padding == 0.0
        self.symmetry = "T(grid)" if moves else "none"
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        self.padding, self.width = padding, hidden_channels
        self.projection_channels = projection_channels
        places = 0 if coordinates == "none" else axes
        self.lifting = nn.Linear(in_channels + places, hidden_channels)
        self.layers = nn.ModuleList(
            _Layer(
                hidden_channels,
                FactorizedSpectralConv(
                    hidden_channels,
                    hidden_channels,
                    n_modes,
                    factorization=factorization,
                    rank=rank,
                    separable=separable,
                    contraction=contraction,
                ),
            )
            for _ in range(num_layers)
        )
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A network of one hidden layer at each place."""
        wide = self.projection_channels
        return nn.Sequential(nn.Linear(self.width, wide), nn.GELU(), nn.Linear(wide, out_channels))

    def blocks(self) -> list[nn.Module]:
        """The lifting, the integral operators, the head."""
        return [self.lifting, *self.layers, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Fields.

        Args:
            batch: `x` (batch, in_channels, *grid).

        Returns:
            `prediction` (batch, out_channels, *grid).
        """
        x = cast(dict[str, Tensor], batch)["x"].movedim(1, -1)
        grid = x.shape[1:-1]
        x = self.lifting(torch.cat([x, *self._places(x)], dim=-1))
        x = self._padded(x)
        for number, layer in enumerate(self.layers):
            x = layer(gelu(x) if number else x)
        for axis, size in enumerate(grid):
            x = x.narrow(axis + 1, 0, size)
        return {"prediction": self.head(x).movedim(-1, 1)}

    def _places(self, x: Float[Tensor, "batch *grid channels"]) -> list[Tensor]:
        """A coordinate per axis, (batch, *grid, 1)."""
        if self.coordinates == "none":
            return []
        lines = []
        for size in x.shape[1:-1]:
            steps = max(size - (self.coordinates == "closed"), 1)
            lines.append(torch.arange(size, dtype=x.dtype, device=x.device) / steps)
        planes = torch.meshgrid(*lines, indexing="ij")
        return [plane[..., None].expand(x.shape[0], *plane.shape, 1) for plane in planes]

    def _padded(self, x: Float[Tensor, "batch *grid channels"]) -> Tensor:
        more = [round(self.padding * size) for size in x.shape[1:-1]]
        if not any(more):
            return x
        return pad(x, [0, 0, *(n for count in reversed(more) for n in (0, count))])


def _check(sizes: Sequence[int], coordinates: str, padding: float) -> None:
    if min(sizes) < 1 or not 0.0 <= padding <= 1.0:
        raise ConfigError(
            f"TFNO: in_channels, hidden_channels, num_layers, projection_channels={sizes}, padding="
            f"{padding}; expected numbers >= 1, and a padding from 0 to 1"
        )
    if coordinates not in _COORDINATES:
        raise ConfigError(f"TFNO: coordinates: {nearest(coordinates, _COORDINATES)}")
