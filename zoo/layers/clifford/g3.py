r"""Convolutions of vector fields in the geometric algebra of space, by learnt rotations.

Ruhe, Gupta, de Keninck, Welling, Brandstetter, *Geometric Clifford algebra networks*, ICML 2023
(arXiv:2302.06594): vectors (batch, channels, height, width, 3), such as a pressure and a velocity
in the plane, are turned by a rotor and scaled for each pair of channels and place of the kernel:
y_o(p) = sum over i, d of s_oid k_oid x_i(p + d) reverse(k_oid), with k the learnt quaternion over
sqrt(its squares + 1e-4).

A rotation of all vectors of the input is not a rotation of the output. Moving a field by whole grid
points moves the result, where the stride is 1 and the grid periodic.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zoo.layers.clifford._matrix import check_multivectors
from zoo.layers.clifford.conjugation import action_matrices
from zoo.layers.clifford.convolution import Padding, convolve
from zoo.layers.clifford.linear import check_channels

#: vectors of Cl(3)
VECTOR = (1, 2, 3)
EPS = 1e-4
Before = Float[Tensor, "batch inputs height width vector"]
After = Float[Tensor, "batch outputs rows columns vector"]


class _G3(nn.Module):
    """Shared: rotors and sizes for each pair of channels and place, and the constant vectors."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        padding_mode: Padding = "zeros",
    ) -> None:
        super().__init__()
        check_channels(type(self).__name__, in_channels, out_channels, kernel_size, stride)
        self.in_channels, self.stride, self.padding = in_channels, stride, padding
        self.padding_mode: Padding = padding_mode
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.rotor = nn.Parameter(torch.empty(4, *shape))
        self.size = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(3, out_channels)) if bias else None
        bound = 1 / math.sqrt(4 * in_channels * kernel_size**2)
        nn.init.uniform_(self.rotor, -bound, bound)
        nn.init.kaiming_uniform_(self.size, a=math.sqrt(5))
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def matrices(self) -> Float[Tensor, "outputs inputs rows columns 3 3"]:
        """The matrix of each pair of channels at each place."""
        length = (self.rotor.square().sum(0) + EPS).sqrt()
        rotor = (self.rotor / length).movedim(0, -1)
        return self.size[..., None, None] * action_matrices(rotor, (3, 0, 0), VECTOR, VECTOR)

    def _flat(self, x: Before) -> Float[Tensor, "batch flat height width"]:
        check_multivectors(type(self).__name__, x, self.in_channels, 3, dims=2)
        return x.movedim(-1, 1).flatten(1, 2)

    def _bias(self) -> Tensor | None:
        return None if self.bias is None else self.bias.flatten()


class G3Conv2d(_G3):
    """Convolution by rotors.

    Args:
        in_channels: vectors per place of the input.
        out_channels: vectors per place of the output.
        kernel_size: places along each axis.
        stride: between places of the output.
        padding: places added on each side.
        bias: adds a learnt vector to each channel.
        padding_mode: "zeros", or "circular" for periodic grids.
    """

    def forward(self, x: Before) -> After:
        """Vectors on the grid behind the convolution.

        Raises:
            UnsupportedInputError: for another shape.
        """
        matrix = self.matrices().permute(4, 0, 5, 1, 2, 3)
        out = convolve(
            self._flat(x),
            matrix.flatten(2, 3).flatten(0, 1),
            self._bias(),
            dims=2,
            padding_mode=self.padding_mode,
            padding=(self.padding, self.padding),
            stride=self.stride,
        )
        result: Tensor = out.unflatten(1, (3, -1)).movedim(1, -1)
        return result


class G3ConvTranspose2d(_G3):
    """Transposed convolution by rotors, which refines the grid; zeros outside of it.

    Arguments as for `G3Conv2d`, but for `padding_mode`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias
        )

    def forward(self, x: Before) -> After:
        """Vectors on the finer grid.

        Raises:
            UnsupportedInputError: for another shape.
        """
        matrix = self.matrices().permute(5, 1, 4, 0, 2, 3)  # inputs first
        out = functional.conv_transpose2d(
            self._flat(x),
            matrix.flatten(2, 3).flatten(0, 1),
            self._bias(),
            stride=self.stride,
            padding=self.padding,
        )
        result: Tensor = out.unflatten(1, (3, -1)).movedim(1, -1)
        return result
