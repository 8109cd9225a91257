r"""Convolutions with factorised weights, of shape (outputs, inputs of a group, *kernel).

"factorized" runs three small convolutions instead of one: over channels into the bonds, over
places between bonds, over channels out of them. For CP that is Lebedev et al., ICLR 2015
(arXiv:1412.6553), for Tucker Kim et al., ICLR 2016 (arXiv:1511.06530); in trains and rings the core
of the inputs leads to both of its bonds, one of which is then summed along with the places, or is
multiplied with those of the places beforehand, where that takes less. Groups share the core of the
inputs and that of the places.

"reconstructed" multiplies the kernel out and convolves once. "auto" takes the steps where they need
less than half the operations at the sizes that come, known before running. The attribute can be
changed at any time.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import tensor_network as tn
from zoo.functional.precision import check_precision
from zoo.functional.tensor_network import Rank
from zoo.layers.clifford.convolution import per_axis
from zoo.layers.tensor_network.linear import Contraction, check_contraction, pays
from zoo.layers.tensor_network.weight import FactorizedTensor, MatrixFormat

_CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
#: words for padding: of convolutions, of `pad`
_MODES = {"zeros": "constant"} | {mode: mode for mode in ("reflect", "replicate", "circular")}


class _FactorizedConv(nn.Module):
    """Shared by the convolutions on lines, planes and volumes."""

    dims: ClassVar[int]
    plain: ClassVar[type[nn.Module]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        format: MatrixFormat = "tucker",
        rank: Rank = None,
        contraction: Contraction = "auto",
    ) -> None:
        super().__init__()
        title = type(self).__name__
        counts = (in_channels, out_channels)
        if min(*counts, groups) < 1 or any(count % groups for count in counts):
            raise ConfigError(
                f"{title}: {in_channels} inputs and {out_channels} outputs in {groups} groups; "
                "expected numbers >= 1, the groups dividing both"
            )
        size = per_axis(title, "kernel_size", kernel_size, self.dims, 1)
        fan_in = in_channels // groups * math.prod(size)
        weight = FactorizedTensor(
            (out_channels, in_channels // groups, *size),
            format=format,
            rank=rank,
            std=1 / math.sqrt(3 * fan_in),
        )
        pads = per_axis(title, "padding", padding, self.dims, 0)
        self._set_up(
            weight,
            stride=per_axis(title, "stride", stride, self.dims, 1),
            pads=tuple((p, p) for p in pads),
            dilation=per_axis(title, "dilation", dilation, self.dims, 1),
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,
            contraction=contraction,
        )
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _set_up(
        self,
        weight: FactorizedTensor,
        *,
        stride: tuple[int, ...],
        pads: tuple[tuple[int, int], ...],
        dilation: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        contraction: Contraction,
    ) -> None:
        title = type(self).__name__
        check_contraction(title, contraction)
        if padding_mode not in _MODES:
            raise ConfigError(f"{title}: padding_mode={padding_mode!r}; one of {', '.join(_MODES)}")
        if weight.format.startswith("block"):
            raise ConfigError(
                f"{title}: format={weight.format!r} is for matrices; take 'tt' or 'tr'"
            )
        self.weight, self.contraction = weight, contraction
        self.out_channels, self.in_channels = weight.shape[0], weight.shape[1] * groups
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.pads, self.padding_mode = pads, padding_mode
        self.bias = nn.Parameter(torch.empty(self.out_channels)) if bias else None

    @classmethod
    def from_conv(
        cls,
        conv: nn.Module,
        *,
        format: MatrixFormat = "tucker",
        rank: Rank = None,
        max_error: float | None = None,
        contraction: Contraction = "auto",
    ) -> Self:
        """The nearest layer to a given one, of a rank or within a relative error of its weight.

        Args:
            conv: of torch, of as many axes.
            format, rank, contraction: as above.
            max_error: relative error of the weight to keep, in place of a rank.

        Raises:
            ConfigError: for another layer, or formats or ranks that don't fit.
            DataError: for weights that are not finite.
        """
        cls._check_plain(conv)
        source: Any = conv
        weight = FactorizedTensor.from_tensor(
            source.weight, format=format, rank=rank, max_error=max_error
        )
        made = cls._around(source, weight, contraction)
        if made.bias is not None:
            with torch.no_grad():
                made.bias.copy_(source.bias)
        return made

    @classmethod
    def like_conv(
        cls,
        conv: nn.Module,
        *,
        format: MatrixFormat,
        rank: Rank,
        contraction: Contraction = "auto",
    ) -> Self:
        """A layer in the place of a given one, with fresh weights; arguments as for `from_conv`.

        Raises:
            ConfigError: for another layer, or formats or ranks that don't fit.
        """
        cls._check_plain(conv)
        source: Any = conv
        std = 1 / math.sqrt(3 * math.prod(source.weight.shape[1:]))
        weight = FactorizedTensor(source.weight.shape, format=format, rank=rank, std=std)
        made = cls._around(source, weight, contraction)
        if made.bias is not None:
            nn.init.uniform_(made.bias, -math.sqrt(3) * std, math.sqrt(3) * std)
        return made

    @classmethod
    def _check_plain(cls, conv: nn.Module) -> None:
        if type(conv) is not cls.plain:
            raise ConfigError(
                f"{cls.__name__} takes the place of a {cls.plain.__name__}, not of a "
                f"{type(conv).__name__}"
            )

    @classmethod
    def _around(cls, source: Any, weight: FactorizedTensor, contraction: Contraction) -> Self:
        """A layer with everything but the weight from a convolution of torch."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._set_up(
            weight,
            stride=tuple(source.stride),
            pads=_pads(source),
            dilation=tuple(source.dilation),
            groups=source.groups,
            bias=source.bias is not None,
            padding_mode=source.padding_mode,
            contraction=contraction,
        )
        return made.to(source.weight).train(source.training)

    def operations(self, batch: int, grid: Sequence[int], contraction: Contraction) -> int:
        """Multiply-adds for an input.

        Args:
            batch: its first size.
            grid: its places along each axis.
            contraction: which of the two, or "auto" for the one that is taken.

        Raises:
            ConfigError: for an unknown contraction.
        """
        check_contraction(type(self).__name__, contraction)
        if contraction == "auto":
            factorized = self._counted(batch, grid)
            contraction = "factorized" if factorized else "reconstructed"
        outputs, inputs, *size = self.weight.shape
        after = batch * math.prod(self._places(grid))
        if contraction == "reconstructed" or self.weight.format == "dense":
            return self.weight.operations + after * outputs * inputs * math.prod(size)
        first, middle, per_output, _ = self._bonds()
        last = after * outputs * middle
        if self._merged():
            kernel = first * inputs * (middle * per_output // first) * math.prod(size)
            return kernel + after * self.groups * middle * inputs * math.prod(size) + last
        before = batch * math.prod(grid)
        places = after * self.groups * middle * per_output * math.prod(size)
        return before * self.groups * first * inputs + places + last

    def _merged(self) -> bool:
        """Whether the cores of inputs and places are multiplied: per place, that takes less."""
        if self.weight.format not in ("tt", "tr"):
            return False
        inputs, places = self.weight.shape[1], math.prod(self.weight.shape[2:])
        first, middle, per_output, _ = self._bonds()
        return middle * inputs * places < first * inputs + middle * per_output * places

    def forward(
        self, x: Float[Tensor, "batch inputs *grid"]
    ) -> Float[Tensor, "batch outputs *other"]:
        """Channels behind the convolution.

        Raises:
            UnsupportedInputError: for other channels or axes, or a grid smaller than the kernel.
            DeviceError: in half precision.
        """
        title = type(self).__name__
        check_precision(title, x)
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            axes = {1: "n", 2: "h, w", 3: "d, h, w"}[self.dims]
            raise UnsupportedInputError(
                f"{title} takes (batch, {self.in_channels}, {axes}), not {tuple(x.shape)}"
            )
        if min(self._places(x.shape[2:])) < 1:
            raise UnsupportedInputError(
                f"{title}: a grid of {tuple(x.shape[2:])} places is smaller than the kernel "
                f"{self.weight.shape[2:]} with dilation {self.dilation}"
            )
        if self._factorized(x.shape[0], x.shape[2:]):
            return self._in_steps(x)
        x, padding = self._padded(x)
        return _CONV[self.dims](
            x,
            self.weight.to_tensor(),
            self.bias,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def _factorized(self, batch: int, grid: Sequence[int]) -> bool:
        if self.weight.format == "dense":
            return False
        if self.contraction != "auto" or torch.compiler.is_compiling():  # a trace serves any sizes
            return self.contraction == "factorized"
        return self._counted(batch, grid)

    def _counted(self, batch: int, grid: Sequence[int]) -> bool:
        """Whether the steps pay."""
        factorized = self.operations(batch, grid, "factorized")
        return pays(factorized, self.operations(batch, grid, "reconstructed"))

    def _in_steps(self, x: Tensor) -> Tensor:
        """Into the bonds, over the places, out of the bonds."""
        conv, ones = _CONV[self.dims], (1,) * self.dims
        batch, inner, kernel, outer, groups = x.shape[0], *self._kernels()
        x = x.reshape(batch * self.groups, self.weight.shape[1], *x.shape[2:])
        if inner is not None:
            x, channels = conv(x, inner.reshape(*inner.shape, *ones)), kernel.shape[1] * groups
            # the bond that leads to the outputs goes along like samples
            x = x.reshape(x.shape[0] * (len(inner) // channels), channels, *x.shape[2:])
        x, padding = self._padded(x)
        x = conv(x, kernel, None, self.stride, padding, self.dilation, groups)
        x = x.reshape(batch, self.groups * outer.shape[1], *x.shape[2:])
        return conv(x, outer.reshape(*outer.shape, *ones), self.bias, groups=self.groups)

    def _bonds(self) -> tuple[int, int, int, int]:
        """Channels into and out of the middle convolution, inputs per output there, its groups."""
        rank, format = self.weight.rank, self.weight.format
        if format == "cp":
            return rank[0], rank[0], 1, rank[0]
        if format == "tucker":
            return rank[1], rank[0], rank[1], 1
        start, first, second = (1, *rank)[:3] if format == "tt" else rank[:3]
        return first * second, first * start, second, first

    def _kernels(self) -> tuple[Tensor | None, Tensor, Tensor, int]:
        """Matrix into the bonds, kernel between them, matrix out of them, groups of the kernel."""
        cores, modes = self.weight.tensors(), "abc"[: self.dims]
        if self.weight.format == "cp":
            weights, outputs, inputs, *places = cores
            terms = ",".join(f"{m}r" for m in modes)
            kernel = tn.contract(f"{terms}->r{modes}", *places)
            return inputs.mT, kernel[:, None], outputs * weights, len(weights)
        if self.weight.format == "tucker":
            core, outputs, inputs, *places = cores
            bonds = "xyz"[: self.dims]
            terms = ",".join(m + b for m, b in zip(modes, bonds, strict=True))
            kernel = tn.contract(f"oi{bonds},{terms}->oi{modes}", core, *places)
            return inputs.mT, kernel, outputs, 1
        outputs, inputs, *places = cores  # (s, o, r), (r, i, t), then places from t to s
        chain = "txyz"[: self.dims] + "s"
        terms = ",".join(a + m + b for a, m, b in zip(chain, modes, chain[1:], strict=False))
        outer = outputs.permute(1, 2, 0).flatten(1)  # (o, r s)
        if self._merged():
            kernel = tn.contract(f"rit,{terms}->rsi{modes}", inputs, *places)
            return None, kernel.flatten(0, 1), outer, 1
        kernel = tn.contract(f"{terms}->st{modes}", *places)
        return inputs.movedim(1, 2).flatten(0, 1), kernel, outer, 1  # the first: (r t, i)

    def _places(self, grid: Sequence[int]) -> list[int]:
        """Of the output, along each axis."""
        size = self.weight.shape[2:]
        return [
            (n + sum(pad) - d * (k - 1) - 1) // s + 1
            for n, pad, d, k, s in zip(
                grid, self.pads, self.dilation, size, self.stride, strict=True
            )
        ]

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """The input and what is left for torch to pad with zeros."""
        if self.padding_mode == "zeros" and all(a == b for a, b in self.pads):
            return x, tuple(a for a, _ in self.pads)
        sides = [side for pad in reversed(self.pads) for side in pad]
        return functional.pad(x, sides, mode=_MODES[self.padding_mode]), (0,) * self.dims

    def extra_repr(self) -> str:
        """Shown by print."""
        return (
            f"{self.in_channels}, {self.out_channels}, groups={self.groups}, "
            f"contraction={self.contraction!r}"
        )


def _pads(conv: Any) -> tuple[tuple[int, int], ...]:
    """Places added before and behind each axis by a convolution of torch."""
    if conv.padding == "valid":
        return ((0, 0),) * len(conv.stride)
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in conv.padding)


class FactorizedConv1d(_FactorizedConv):
    """Convolution along a line whose weight is stored in cores.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: places, one number or one per axis; so stride, padding, dilation.
        stride: between places of the output.
        padding: places added on each side.
        dilation: between places of the kernel.
        groups: of channels that see only each other.
        bias: adds a learnt number to each output.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        format: "cp", "tucker", "tt", "tr" (modes: outputs, inputs of a group, places), "dense".
        rank: of the bonds; see `zoo.functional.tensor_network.resolve_rank`.
        contraction: "auto", "factorized" or "reconstructed".

    Raises:
        ConfigError: for channels, groups, formats or ranks that don't fit.
    """

    dims = 1
    plain = nn.Conv1d


class FactorizedConv2d(_FactorizedConv):
    """Convolution on a plane; arguments as for `FactorizedConv1d`."""

    dims = 2
    plain = nn.Conv2d


class FactorizedConv3d(_FactorizedConv):
    """Convolution in a volume; arguments as for `FactorizedConv1d`."""

    dims = 3
    plain = nn.Conv3d
