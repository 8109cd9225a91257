r"""Convolutions of the Lorentz model on images.

Bdeir, Schwethelm, Landwehr, Fully Hyperbolic Convolutional Neural Networks for Computer Vision,
arXiv:2303.15919. A pixel is a point of the hyperboloid <x, x>_L = -1/c. Images here are
(batch, channels, height, width) and hold the space coordinates only: time is
x_0 = sqrt(1/c + |x_s|^2), so points can't leave the hyperboloid, torch's own convolutions do the
work, and zero padding is padding with the origin. What this makes of the paper's layers:

- activation, residual connection, flatten and "direct concatenation" act on space and recompute
  time: they are the functions one has in Euclidean space (the authors' flatten has a sign wrong for
  c other than one; there is nothing to get wrong here);
- the fully connected layer is y_s = W [x_0, x_s] + b. The authors keep a row of W for the time of
  the output too, which they throw away; it is not made here;
- a convolution is that layer on the concatenated window, whose time is
  sqrt(sum_i x_0i^2 - (N - 1)/c) = sqrt(1/c + sum_i |x_si|^2).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from zoo.errors import ConfigError
from zoo.functional import lorentz
from zoo.functional.precision import check_precision


class LorentzFullyConnected(nn.Module):
    """y_s = W x_s + w x_0 + b.

    Args:
        in_features: dimension of the space of the input.
        out_features: of the output.
        c: absolute curvature.
    """

    def __init__(self, in_features: int, out_features: int, *, c: float = 1.0) -> None:
        super().__init__()
        self.c = c
        bound = 1.0 / math.sqrt(in_features + 1)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.time = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Space coordinates of the output.

        Args:
            x: space coordinates.

        Raises:
            DeviceError: half precision.
        """
        time = torch.sqrt(x.square().sum(-1, keepdim=True) + 1.0 / self.c)
        out = F.linear(x, self.weight, self.bias)
        check_precision("LorentzFullyConnected", out)
        return out + self.time * time


class LorentzConv2d(nn.Module):
    """Convolution: the fully connected layer on windows.

    Args:
        in_channels: dimension of the space of the input pixels.
        out_channels: of the output pixels.
        kernel_size: height and width of the window.
        stride: of the window.
        padding: rows and columns of origins around the image.
        bias: adds b.
        c: absolute curvature.
    """

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        c: float = 1.0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, kernel_size, stride) < 1 or padding < 0 or not c > 0:
            raise ConfigError(
                f"in_channels={in_channels}, out_channels={out_channels}, kernel_size="
                f"{kernel_size}, stride={stride}, padding={padding}, c={c}: sizes, stride and c "
                "must be positive, the padding not negative"
            )
        self.c, self.stride, self.padding, self.kernel_size = c, stride, padding, kernel_size
        bound = math.sqrt(2.0 / (in_channels * kernel_size**2))  # the authors'
        size = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(size).uniform_(-bound, bound))
        self.time = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))
        self.bias: nn.Parameter | None = None
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound))

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Space coordinates of the output.

        Args:
            x: space coordinates of pixels.
        """
        return self._convolved(x, stride=self.stride, padding=self.padding)

    def _convolved(self, x: Tensor, **window: Any) -> Tensor:
        size = self.kernel_size
        ones = x.new_ones(1, 1, size, size)
        square = F.conv2d(x.square().sum(1, keepdim=True), ones, **window)
        time = torch.sqrt(square + 1.0 / self.c)  # of the window as one point
        out = F.conv2d(x, self.weight, self.bias, **window)
        check_precision("LorentzConv2d", out)
        return out + self.time[:, None, None] * time


class LorentzConvTranspose2d(LorentzConv2d):
    """Transposed convolution: origins between the pixels and around them, then a convolution.

    Args:
        in_channels: as of `LorentzConv2d`, like all that isn't named below.
        stride: of the pixels in the larger image.
        padding: rows and columns that are cut off the result's rim.
        output_padding: rows and columns of origins added below and to the right; below the stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
        c: float = 1.0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            bias=bias,
            c=c,
        )
        if padding >= kernel_size or not 0 <= output_padding < max(stride, 2):
            raise ConfigError(
                f"padding={padding} must be below the kernel size {kernel_size}, and "
                f"output_padding={output_padding} below the stride {stride}"
            )
        self.output_padding = output_padding

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Space coordinates of the output.

        Args:
            x: space coordinates of pixels.
        """
        batch, channels, height, width = x.shape
        rows, columns = ((n - 1) * self.stride + 1 for n in (height, width))
        spread = x.new_zeros(batch, channels, rows, columns)
        spread[:, :, :: self.stride, :: self.stride] = x
        rim = self.kernel_size - 1 - self.padding
        more = rim + self.output_padding
        return self._convolved(F.pad(spread, (rim, more, rim, more)))


class LorentzGlobalPool(nn.Module):
    """The Lorentz centroid of all pixels.

    Args:
        c: absolute curvature.
    """

    def __init__(self, *, c: float = 1.0) -> None:
        super().__init__()
        self.c = c

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels"]:
        """Space coordinates of one point per image.

        Args:
            x: space coordinates of pixels.
        """
        points = lorentz.lift(x.flatten(2).permute(2, 0, 1), c=self.c)  # (pixels, batch, point)
        return lorentz.centroid(points, c=self.c)[..., 1:]
