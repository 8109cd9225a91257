r"""Layers of "Hyperbolic Neural Networks++" (Shimizu, Mukuta, Harada, arXiv:2006.08210).

Their parameters are Euclidean: a direction z_k, as a length and a vector (weight normalisation),
and an offset r_k for each output. Points are rows, the last axis; in convolutions, as in torch's,
the channels are axis 1.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import unfold

from zoo.errors import ConfigError
from zoo.functional.poincare import beta_ratio
from zoo.layers.hyperbolic.poincare_space import FlatSpace, PoincareSpace


class Directions(nn.Module):
    """The directions z_k and offsets r_k of hyperplanes.

    Args:
        in_channels: of the points.
        out_channels: hyperplanes.
        std: standard deviation of the initial directions' entries.
        bias: learns offsets, zero at first.
        weight_norm: holds each direction as a length and a vector; plain columns otherwise.

    Raises:
        ConfigError: no input or no output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        std: float,
        bias: bool = True,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ConfigError(
                f"in_channels={in_channels}, out_channels={out_channels}: both must be at least 1"
            )
        z = torch.randn(in_channels, out_channels) * std
        self.vector = nn.Parameter(z)
        self.length = nn.Parameter(z.norm(dim=0)) if weight_norm else None
        self.offset = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self) -> Float[Tensor, "inputs outputs"]:
        """The directions, one per column."""
        if self.length is None:
            return self.vector
        tiny = torch.finfo(self.vector.dtype).tiny
        size = self.vector.square().sum(0).clamp(min=tiny).sqrt()
        return self.vector * (self.length / size)

    @torch.no_grad()
    def set(self, z: Float[Tensor, "inputs outputs"], r: Tensor | None = None) -> None:
        """Takes given directions and offsets."""
        self.vector.copy_(z)
        if self.length is not None:
            self.length.copy_(z.norm(dim=0))
        if r is not None and self.offset is not None:
            self.offset.copy_(r)


class PoincareLinear(nn.Module):
    """HNN++'s linear layer (eq. 7).

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        space: where they live.
        bias: learns offsets.
        weight_norm: holds directions as lengths and vectors.
        parts: points that the output is to be split into; each starts out with the norm that a
            layer for it alone would have.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        bias: bool = True,
        weight_norm: bool = True,
        parts: int = 1,
    ) -> None:
        super().__init__()
        std = (2 * max(in_channels, 1) * max(out_channels, 1) / parts) ** -0.5
        self.space = space
        self.planes = Directions(
            in_channels, out_channels, std=std, bias=bias, weight_norm=weight_norm
        )

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """New points."""
        return self.space.fully_connected(x, self.planes(), self.planes.offset)


class PoincareLogits(nn.Module):
    """HNN++'s unidirectional multinomial logistic regression (eq. 6).

    Args:
        in_channels: of the points.
        out_channels: classes.
        space: where the points live.
        bias: learns offsets.
        weight_norm: holds directions as lengths and vectors.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        bias: bool = True,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        self.space = space
        self.planes = Directions(
            in_channels,
            out_channels,
            std=max(in_channels, 1) ** -0.5,
            bias=bias,
            weight_norm=weight_norm,
        )

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Signed distances to the hyperplanes, scaled."""
        return self.space.unidirectional_logits(x, self.planes(), self.planes.offset)


class PoincareConv1d(nn.Module):
    """Convolution along sequences of points: beta-concatenation of the window, then linear.

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        kernel_size: points in a window.
        space: where they live.
        stride: steps between windows.
        padding: origins added at each end.
        bias: learns offsets.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        space: PoincareSpace | FlatSpace,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.window = (1, kernel_size)
        self.map = _Patches(
            in_channels, out_channels, self.window, space, (1, stride), (0, padding), bias
        )

    def forward(self, x: Float[Tensor, "batch inputs steps"]) -> Float[Tensor, "batch outputs new"]:
        """New points; channels are axis 1."""
        out: Tensor = self.map(x[:, :, None])
        return out[:, :, 0]


class PoincareConv2d(nn.Module):
    """Convolution over images of points: beta-concatenation of the patch, then linear.

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        kernel_size: points along both sides of a patch.
        space: where they live.
        stride: steps between patches.
        padding: origins added at each side.
        bias: learns offsets.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        space: PoincareSpace | FlatSpace,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        window, strides, sides = ((n, n) for n in (kernel_size, stride, padding))
        self.map = _Patches(in_channels, out_channels, window, space, strides, sides, bias)

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        """New points; channels are axis 1."""
        out: Tensor = self.map(x)
        return out


class _Patches(nn.Module):
    """Patches to points, for both convolutions."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: tuple[int, int],
        space: PoincareSpace | FlatSpace,
        stride: tuple[int, int],
        padding: tuple[int, int],
        bias: bool,
    ) -> None:
        super().__init__()
        inputs = in_channels * math.prod(window)
        self.window, self.stride, self.padding = window, stride, padding
        self.ratio = beta_ratio(inputs, in_channels) if inputs else 1.0
        self.linear = PoincareLinear(inputs, out_channels, space, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        space = self.linear.space
        sizes = zip(x.shape[2:], self.window, self.stride, self.padding, strict=True)
        sides = [(n + 2 * pad - k) // step + 1 for n, k, step, pad in sizes]
        if min(sides) < 1:
            raise ConfigError(
                f"a window of {self.window} does not fit into {tuple(x.shape[2:])} points with "
                f"padding {self.padding}"
            )
        logs = space.log0(x.movedim(1, -1)).movedim(-1, 1) * self.ratio
        patches = unfold(logs, self.window, padding=self.padding, stride=self.stride)
        out: Tensor = self.linear(space.exp0(patches.mT))  # (batch, patches, outputs)
        image: Tensor = out.mT.unflatten(-1, sides)
        return image
