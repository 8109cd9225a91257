r"""Parameterised hypercomplex linear maps and convolutions.

Zhang et al., *Beyond fully-connected layers with quaternions*, ICLR 2021 (arXiv:2102.08597), and
Grassucci, Zhang, Comminiello, *PHNNs: lightweight neural networks via parameterized hypercomplex
convolutions* (arXiv:2110.04176): the weight is W = sum over n of A_n kron S_n. The n matrices A_n
(n, n) are learnt, and so is the algebra with them: those of a Clifford algebra of n blades make it
a `CliffordLinear`. About an n-th of the weights of the ordinary layer.

Deviation: the published convolution never adds its bias; here it does (`bias=False` is theirs).
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.precision import check_precision
from zoo.layers.clifford.convolution import convolve, per_axis

Size = int | Sequence[int]


def kronecker_sum(
    rules: Float[Tensor, "n rows columns"], weights: Float[Tensor, "n outputs inputs *kernel"]
) -> Float[Tensor, "all_outputs all_inputs *kernel"]:
    """sum over n of A_n kron S_n, the Kronecker product over channels.

    Args:
        rules: A, (n, n, n) in the layers.
        weights: S, with the places of a kernel behind the channels.
    """
    rows, columns = rules.shape[1:]
    flat = rules.reshape(len(rules), -1).T @ weights.reshape(len(rules), -1)
    blocks = flat.reshape(rows, columns, *weights.shape[1:]).movedim(1, 2)
    return blocks.flatten(0, 1).flatten(1, 2)


class _PH(nn.Module):
    """Shared: A, S and the bias."""

    def __init__(
        self, n: int, in_channels: int, out_channels: int, size: Sequence[int], bias: bool
    ) -> None:
        super().__init__()
        check_divides(type(self).__name__, n, in_channels, out_channels)
        self.n, self.in_channels, self.out_channels = n, in_channels, out_channels
        self.rules = nn.Parameter(torch.empty(n, n, n))
        self.weight = nn.Parameter(torch.empty(n, out_channels // n, in_channels // n, *size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        nn.init.xavier_uniform_(self.rules)
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            bound = 1 / math.sqrt(in_channels * math.prod(size))
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.in_channels}, {self.out_channels}, n={self.n}"


class PHLinear(_PH):
    """Linear map by sum of A_n kron S_n.

    Args:
        n: of the algebra; 4 for the size of quaternions.
        in_channels: of the input, a multiple of n.
        out_channels: of the output, a multiple of n.
        bias: adds a learnt number to each channel.

    Raises:
        ConfigError: for channels that n doesn't divide.
    """

    def __init__(self, n: int, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(n, in_channels, out_channels, (), bias)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Channels of the output.

        Raises:
            UnsupportedInputError: for other channels.
        """
        check_precision("PHLinear", x)
        if x.ndim < 1 or x.shape[-1] != self.in_channels:
            raise UnsupportedInputError(
                f"PHLinear takes (..., {self.in_channels}), not {tuple(x.shape)}"
            )
        return functional.linear(x, kronecker_sum(self.rules, self.weight), self.bias)


class _PHConv(_PH):
    """Shared by the convolutions on lines, planes and volumes."""

    dims: ClassVar[int]

    def __init__(
        self,
        n: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
    ) -> None:
        title = type(self).__name__
        size = per_axis(title, "kernel_size", kernel_size, self.dims, 1)
        super().__init__(n, in_channels, out_channels, size, bias)
        self.stride = per_axis(title, "stride", stride, self.dims, 1)
        self.padding = per_axis(title, "padding", padding, self.dims, 0)
        self.dilation = per_axis(title, "dilation", dilation, self.dims, 1)

    def forward(
        self, x: Float[Tensor, "batch inputs *grid"]
    ) -> Float[Tensor, "batch outputs *other"]:
        """Channels behind the convolution.

        Raises:
            UnsupportedInputError: for other channels or axes.
        """
        title = type(self).__name__
        check_precision(title, x)
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            axes = {1: "n", 2: "h, w", 3: "d, h, w"}[self.dims]
            raise UnsupportedInputError(
                f"{title} takes (batch, {self.in_channels}, {axes}), not {tuple(x.shape)}"
            )
        return convolve(
            x,
            kronecker_sum(self.rules, self.weight),
            self.bias,
            dims=self.dims,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )


class PHConv1d(_PHConv):
    """Convolution along a line by sum of A_n kron S_n.

    Args:
        n: of the algebra; 4 for the size of quaternions.
        in_channels: of the input, a multiple of n.
        out_channels: of the output, a multiple of n.
        kernel_size: places, one number or one per axis; so stride, padding, dilation.
        stride: between places of the output.
        padding: zeros added on each side.
        dilation: between places of the kernel.
        bias: adds a learnt number to each channel; the published code forgets to.

    Raises:
        ConfigError: for channels that n doesn't divide.
    """

    dims = 1


class PHConv2d(_PHConv):
    """Convolution on a plane by sum of A_n kron S_n; arguments as for `PHConv1d`."""

    dims = 2


class PHConv3d(_PHConv):
    """Convolution in a volume by sum of A_n kron S_n; arguments as for `PHConv1d`."""

    dims = 3


def check_divides(where: str, n: int, in_channels: int, out_channels: int) -> None:
    """Refuses channels that don't come in n equal parts.

    Raises:
        ConfigError: names the next numbers that would do.
    """
    if min(n, in_channels, out_channels) < 1:
        raise ConfigError(
            f"{where}: n={n}, in_channels={in_channels}, out_channels={out_channels}; expected "
            "numbers >= 1"
        )
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if value % n:
            near = [m for m in (value // n * n, -(-value // n) * n) if m]
            fit = [d for d in range(1, value + 1) if value % d == 0]
            raise ConfigError(
                f"{where}: {name}={value} is not a multiple of n={n}; take "
                f"{' or '.join(map(str, near))} (fill up with channels of zeros), or n of "
                f"{', '.join(map(str, fit))}"
            )
