r"""Linear maps and convolutions whose weights are multivectors.

Brandstetter, van den Berg, Welling, Gupta, *Clifford neural layers for PDE modeling*, ICLR 2023
(arXiv:2209.04934): y_o = sum_i x_i w_oi, over channels and the places of the kernel, with the
geometric product. The weight stands on the right, as in the authors' code; `side="left"` puts it on
the left. Any signature, where their package ends at three generators.

With Cl(0, 1) this is a complex layer, with Cl(0, 2) a quaternion one.
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import Side, check_multivectors, check_rows, product_matrix
from zoo.layers.clifford.linear import check_channels

Padding = Literal["zeros", "circular"]
_CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


class CliffordLinear(nn.Module):
    """y_o = sum over inputs of x_i w_oi, plus a multivector.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        bias: adds a learnt multivector to each channel.
        side: of the weight in the product.
    """

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = True,
        side: Side = "right",
    ) -> None:
        super().__init__()
        check_channels("CliffordLinear", in_channels, out_channels)
        self.algebra = algebra
        self.side: Side = side
        self.weight = nn.Parameter(torch.empty(algebra.blades, out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(algebra.blades, out_channels)) if bias else None
        _start(self.weight, self.bias, in_channels * algebra.blades)

    def forward(
        self, x: Float[Tensor, "*batch inputs blades"]
    ) -> Float[Tensor, "*batch outputs blades"]:
        """Multivectors of the output's channels.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        blades, outputs, inputs = self.weight.shape
        check_rows("CliffordLinear", x, inputs, blades)
        matrix = product_matrix(self.weight, self.algebra, side=self.side)
        flat = x.mT.reshape(*x.shape[:-2], blades * inputs)
        bias = None if self.bias is None else self.bias.flatten()
        out = functional.linear(flat, matrix.reshape(blades * outputs, blades * inputs), bias)
        return out.reshape(*x.shape[:-2], blades, outputs).mT


class _CliffordConv(nn.Module):
    """Shared by the convolutions on lines, planes and volumes."""

    dims: ClassVar[int]

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Padding = "zeros",
        side: Side = "right",
    ) -> None:
        super().__init__()
        title = type(self).__name__
        check_channels(title, in_channels, out_channels, groups)
        if in_channels % groups or out_channels % groups:
            raise ConfigError(
                f"{title}: {in_channels} and {out_channels} channels don't divide into {groups} "
                "groups; take a number that divides both"
            )
        if padding_mode not in ("zeros", "circular"):
            raise ConfigError(f"{title}: padding_mode={padding_mode!r}; 'zeros' or 'circular'")
        self.algebra, self.in_channels, self.groups = algebra, in_channels, groups
        self.side: Side = side
        self.padding_mode: Padding = padding_mode
        size = per_axis(title, "kernel_size", kernel_size, self.dims, 1)
        self.stride = per_axis(title, "stride", stride, self.dims, 1)
        self.padding = per_axis(title, "padding", padding, self.dims, 0)
        self.dilation = per_axis(title, "dilation", dilation, self.dims, 1)
        self.weight = nn.Parameter(
            torch.empty(algebra.blades, out_channels, in_channels // groups, *size)
        )
        self.bias = nn.Parameter(torch.empty(algebra.blades, out_channels)) if bias else None
        _start(self.weight, self.bias, in_channels // groups * algebra.blades * math.prod(size))

    def forward(
        self, x: Float[Tensor, "batch inputs *grid blades"]
    ) -> Float[Tensor, "batch outputs *other blades"]:
        """Multivectors on the grid behind the convolution.

        Raises:
            UnsupportedInputError: for other channels, blades or axes.
        """
        title, blades, groups = type(self).__name__, self.algebra.blades, self.groups
        check_multivectors(title, x, self.in_channels, blades, dims=self.dims)
        flat = x.unflatten(1, (groups, -1)).movedim(-1, 2).flatten(1, 3)
        out = convolve(
            flat,
            self._kernel(),
            None if self.bias is None else self.bias.unflatten(1, (groups, -1)).movedim(1, 0),
            dims=self.dims,
            padding_mode=self.padding_mode,
            padding=self.padding,
            stride=self.stride,
            dilation=self.dilation,
            groups=groups,
        )
        result: Tensor = out.unflatten(1, (groups, blades, -1)).movedim(2, -1).flatten(1, 2)
        return result

    def _kernel(self) -> Tensor:
        """Rows (group, blade, output), columns (blade, input of the group), places."""
        matrix = product_matrix(self.weight, self.algebra, side=self.side)
        grouped = matrix.unflatten(1, (self.groups, -1)).movedim(1, 0)
        result: Tensor = grouped.flatten(0, 2).flatten(1, 2)
        return result


class CliffordConv1d(_CliffordConv):
    """Convolution along a line.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: places, one number or one per axis; so stride, padding, dilation.
        stride: between places of the output.
        padding: places added on each side.
        dilation: between places of the kernel.
        groups: of channels that see only each other; each group holds whole multivectors.
        bias: adds a learnt multivector to each channel.
        padding_mode: "zeros", or "circular" for periodic grids.
        side: of the weight in the product.
    """

    dims = 1


class CliffordConv2d(_CliffordConv):
    """Convolution on a plane; arguments as for `CliffordConv1d`."""

    dims = 2


class CliffordConv3d(_CliffordConv):
    """Convolution in a volume; arguments as for `CliffordConv1d`."""

    dims = 3


def convolve(
    x: Float[Tensor, "batch inputs *grid"],
    kernel: Float[Tensor, "outputs inputs_of_group *size"],
    bias: Tensor | None,
    *,
    dims: int,
    padding_mode: Padding = "zeros",
    padding: Sequence[int] = (0,),
    **options: Sequence[int] | int,
) -> Float[Tensor, "batch outputs *other"]:
    """torch's convolution of any dimension, with periodic grids.

    Args:
        x: numbers on a grid.
        kernel: of the convolution.
        bias: one number per output, in any shape.
        dims: axes of the grid.
        padding_mode: see `CliffordConv1d`.
        padding: places added on each side of each axis.
        options: stride, dilation, groups.
    """
    bias = None if bias is None else bias.reshape(-1)
    if padding_mode == "circular":
        sides = [side for places in reversed(padding) for side in (places, places)]
        return _CONV[dims](functional.pad(x, sides, mode="circular"), kernel, bias, **options)
    return _CONV[dims](x, kernel, bias, padding=tuple(padding), **options)


def per_axis(
    title: str, name: str, value: int | Sequence[int], dims: int, least: int
) -> tuple[int, ...]:
    """One number for each axis.

    Raises:
        ConfigError: for another number of them, or one that is too small.
    """
    found = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(found) != dims or min(found) < least:
        raise ConfigError(
            f"{title}: {name}={value!r}; expected a number >= {least}, or {dims} of them"
        )
    return found


def _start(weight: Tensor, bias: Tensor | None, fan_in: int) -> None:
    """Uniform within 1 / sqrt(inputs times blades times places), as the authors do."""
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound)
