r"""Geometric Clifford algebra networks on fields: U-Net and ResNet of convolutions by rotors.

Ruhe, Gupta, de Keninck, Welling, Brandstetter, *Geometric Clifford algebra networks*, ICML 2023
(arXiv:2302.06594): a field in the plane, such as a pressure and a velocity, is one vector of Cl(3)
at each place; convolutions turn and scale vectors (`zoo.layers.clifford.g3`), norms divide them by
their mean length over groups of channels, gates multiply them by a number of theirs.

- "unet": levels of residual blocks; between levels a convolution of stride 2, back up a transposed
  one, whose result stands beside what the same level had on the way down.
  The first and the last convolution have 3 x 3 places, each with one of 1 x 1 beside it.
- "resnet": two 1 x 1 convolutions, residual blocks, two 1 x 1 convolutions.

Norm and gate come before each convolution of a block. Deviations: widths and depths are arguments;
norms are safe where a group is all zeros; `padding_mode="circular"` for periodic fields, with which
results move along with a field that is moved by whole places: of the ResNet by any number of them,
of the U-Net by multiples of the coarsest step. `geometry="real"` is the same network of
ordinary convolutions, group norms and SiLU on scalar channels.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.clifford import (
    G3Conv2d,
    G3ConvTranspose2d,
    MultivectorGate,
    MultivectorGroupNorm,
)
from zoo.layers.clifford.conjugation import Gate
from zoo.layers.clifford.convolution import Padding
from zoo.models._inputs import SampleBatch, get
from zoo.models._sample import SampleModel
from zoo.models.gcan import Geometry, check_gate
from zoo.registry import register

Network = Literal["unet", "resnet"]


class _Layers:
    """Makes the layers of one geometry."""

    def __init__(self, geometry: Geometry, gate: Gate, padding_mode: Padding) -> None:
        self.clifford = geometry == "clifford"
        self.gate: Gate = gate
        self.padding_mode: Padding = padding_mode

    def conv(self, inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Module:
        """Convolution; a stride of one keeps the grid."""
        if self.clifford:
            return G3Conv2d(
                inputs,
                outputs,
                size,
                stride=stride,
                padding=size // 2,
                padding_mode=self.padding_mode,
                bias=True,
            )
        mode = self.padding_mode
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode=mode)

    def up(self, inputs: int, outputs: int) -> nn.Module:
        """Transposed convolution to a grid twice as fine."""
        step: nn.Module
        if self.clifford:
            step = G3ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=True)
        else:
            step = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        return _OnRing(step) if self.padding_mode == "circular" else step

    def ready(self, channels: int) -> list[nn.Module]:
        """Norm and gate, which stand before a convolution."""
        if self.clifford:
            gate = MultivectorGate(channels, 3, kind=self.gate)
            return [MultivectorGroupNorm(channels, 3), gate]
        return [nn.GroupNorm(1, channels), nn.SiLU()]


class _OnRing(nn.Module):
    """A step up to a grid twice as fine, on a periodic grid."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        for axis in (2, 3):
            size = x.shape[axis]
            ends = x.narrow(axis, size - 1, 1), x.narrow(axis, 0, 1)
            x = torch.cat([ends[0], x, ends[1]], dim=axis)
        finer: Tensor = self.step(x)
        return finer[:, :, 2:-2, 2:-2]


class FieldBlock(nn.Module):
    """Norm, gate and convolution, twice, around which the field is led.

    Args:
        layers: of one geometry.
        inputs: channels.
        outputs: channels.
    """

    def __init__(self, layers: _Layers, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *layers.ready(inputs),
            layers.conv(inputs, outputs, 3),
            *layers.ready(outputs),
            layers.conv(outputs, outputs, 3),
        )
        same = inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else layers.conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The field behind the block, (batch, outputs, rows, columns[, 3])."""
        out: Tensor = self.inner(x) + self.shortcut(x)
        return out


class _UNet(nn.Module):
    def __init__(self, layers: _Layers, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        down, up = [], []
        for level, width in enumerate(widths):
            before = widths[max(level - 1, 0)]
            step = [layers.conv(before, before, 3, 2)] if level else []
            down.append(nn.Sequential(*step, *_column(layers, before, width, blocks)))
        for level in reversed(range(len(widths) - 1)):
            width, below = widths[level], widths[level + 1]
            rest = _column(layers, 2 * width, width, blocks)
            up.append(nn.ModuleList([layers.up(below, width), nn.Sequential(*rest)]))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for part in self.down:
            x = part(x)
            seen.append(x)
        for step, aside in zip(self.up, reversed(seen[:-1]), strict=True):
            finer, rest = cast(nn.ModuleList, step)
            x = rest(torch.cat([aside, finer(x)], dim=1))
        return x


@register("gcan_unet")
class GCANUNet(SampleModel):
    """Maps fields in the plane to fields.

    Args:
        in_channels: numbers at each place of the input, a multiple of 3: vectors one after another.
        out_channels: numbers at each place of the output, a multiple of 3.
        network: "unet" or "resnet".
        hidden_channels: vectors at each place of the finest level; of the real network channels.
        multipliers: of the width, level by level; the grid is halved between levels. Of "resnet"
            the width of each block.
        num_blocks: residual blocks per level and direction, or for each entry of `multipliers`.
        gate: "linear", "sum" or "mean"; see `MultivectorGate`; the real network has none.
        padding_mode: "zeros", or "circular" for periodic fields.
        geometry: "clifford", or "real" for ordinary convolutions.

    Raises:
        ConfigError: for channels that aren't vectors, or no levels.
    """

    domain = "field"

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        network: Network = "unet",
        hidden_channels: int = 8,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 2,
        gate: Gate = "linear",
        padding_mode: Padding = "zeros",
        geometry: Geometry = "clifford",
    ) -> None:
        super().__init__(sample_shape=(in_channels, None, None), outputs=("prediction",))
        _check(in_channels, out_channels, hidden_channels, multipliers, num_blocks)
        check_gate("GCANUNet", geometry, gate)
        self.network: Network = network
        self.levels = len(multipliers) if network == "unet" else 1
        self.clifford = geometry == "clifford"
        #: how many numbers at each place make one channel
        self.parts = 3 if self.clifford else 1
        make = _Layers(geometry, gate, padding_mode)
        widths = [hidden_channels * factor for factor in multipliers]
        first, last, size = widths[0], widths[-1], 1
        body: list[nn.Module]
        if network == "unet":
            last, size = first, 3
            body = [_UNet(make, widths, num_blocks)]
        else:
            body = []
            for before, width in zip([first, *widths], widths, strict=False):
                body += _column(make, before, width, num_blocks)
        self.stem = nn.Sequential(
            make.conv(in_channels // self.parts, first, size), make.conv(first, first, 1)
        )
        self.body = nn.Sequential(*body)
        self.readout = nn.Sequential(
            *make.ready(last),
            make.conv(last, last, 1),
            make.conv(last, out_channels // self.parts, size),
        )

    def check(self, batch: SampleBatch) -> None:
        """Refuses grids that can't be halved as often as needed."""
        grid = tuple(cast(Tensor, get(batch, "x")).shape[2:])
        factor = 2 ** (self.levels - 1)
        if any(side % factor for side in grid):
            fit = tuple(-(-side // factor) * factor for side in grid)
            raise UnsupportedInputError(
                f"{self._title()} has {self.levels} levels and halves the grid {self.levels - 1} "
                f"times; {grid} must be multiples of {factor}: bring fields to {fit}, or take "
                "fewer multipliers"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Fields.

        Args:
            batch: `x` (batch, in_channels, rows, columns).

        Returns:
            `prediction` (batch, out_channels, rows, columns).
        """
        x = cast(dict[str, Tensor], batch)["x"]
        if self.clifford:
            x = x.unflatten(1, (-1, 3)).movedim(2, -1)
        x = self.readout(self.body(self.stem(x)))
        return {"prediction": x.movedim(-1, 2).flatten(1, 2) if self.clifford else x}


def _column(layers: _Layers, inputs: int, outputs: int, count: int) -> list[nn.Module]:
    """Blocks, the first of which changes the width."""
    return [FieldBlock(layers, outputs if k else inputs, outputs) for k in range(count)]


def _check(
    in_channels: int, out_channels: int, hidden: int, multipliers: Sequence[int], blocks: int
) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if value < 3 or value % 3:
            fit = max(3, -(-value // 3) * 3)
            raise ConfigError(
                f"GCANUNet: {name}={value}; fields are vectors of three numbers, so that it must "
                f"be a multiple of 3: fill up with channels of zeros to {fit}"
            )
    if not multipliers or min(hidden, blocks, *multipliers) < 1:
        raise ConfigError(
            f"GCANUNet: hidden_channels={hidden}, multipliers={list(multipliers)}, num_blocks="
            f"{blocks}; expected numbers >= 1, and one level or more"
        )
