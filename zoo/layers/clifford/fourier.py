r"""Clifford Fourier layers: products with multivectors at the low frequencies of a field.

Brandstetter, van den Berg, Welling, Gupta, *Clifford neural layers for PDE modeling*, ICLR 2023
(arXiv:2209.04934). A multivector in the plane or in space is a sum e_b z_b of blades times complex
numbers z_b = x_b + x_c I, with I the pseudoscalar and c the complement of b; each z_b has an
ordinary Fourier transform, and frequencies are multiplied by weights.

The authors' code multiplies by the weight from the right, and takes every e_b I to be +e_c. That is
not a convolution: in the plane I anticommutes with vectors, in space e2 I = -e13, so that a moved
field gives something else than the moved result. `form="equivariant"` multiplies from the left,
with the right signs; then moving the field by whole grid points moves the result (exactly, on
periodic grids). It needs I^2 = -1. `form="published"` is what published weights need; in space the
authors' package 0.1.1 also copies one corner of the frequencies to another, which ours doesn't.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import check_multivectors, product_matrix
from zoo.layers.clifford.convolution import per_axis
from zoo.layers.clifford.linear import check_channels

Form = Literal["published", "equivariant"]


class _CliffordSpectralConv(nn.Module):
    """Shared by the layers in the plane and in space."""

    dims: ClassVar[int]

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        out_channels: int,
        modes: int | Sequence[int],
        *,
        form: Form = "published",
    ) -> None:
        super().__init__()
        title = type(self).__name__
        check_channels(title, in_channels, out_channels)
        if algebra.dimension != self.dims:
            raise ConfigError(
                f"{title}: Cl{algebra.signature} has {algebra.dimension} generators; the fields of "
                f"this layer have {self.dims} axes, one for each"
            )
        square = int(algebra.signs[-1, -1])
        if form == "equivariant" and square != -1:
            raise ConfigError(
                f"{title}: form='equivariant' needs a pseudoscalar of square -1; that of "
                f"Cl{algebra.signature} has {square}. Take Cl(2), Cl(3), or form='published'"
            )
        self.algebra, self.in_channels = algebra, in_channels
        self.form: Form = form
        self.modes = per_axis(title, "modes", modes, self.dims, 1)
        scale = 1 / (in_channels * out_channels)
        corners = [2 * count for count in self.modes]
        self.weight = nn.Parameter(
            scale * torch.rand(algebra.blades, out_channels, in_channels, *corners)
        )

    def forward(
        self, x: Float[Tensor, "batch inputs *grid blades"]
    ) -> Float[Tensor, "batch outputs *grid blades"]:
        """Fields whose high frequencies are cut.

        Raises:
            UnsupportedInputError: for other channels, blades or axes, or a grid with fewer points
                than frequencies.
        """
        title, blades = type(self).__name__, self.algebra.blades
        check_multivectors(title, x, self.in_channels, blades, dims=self.dims)
        grid = x.shape[2:-1]
        places = [self._places(axis, size) for axis, size in enumerate(grid)]
        low = torch.meshgrid(*[p.to(x.device) for p in places], indexing="ij")
        axes = tuple(range(-self.dims, 0))
        pairs = torch.fft.fftn(self._pairs(x), dim=axes)[..., *low]
        wide = self._multivectors(pairs)  # (batch, inputs, *modes, blades)
        side: Literal["left", "right"] = "left" if self.form == "equivariant" else "right"
        matrix = product_matrix(self.weight, self.algebra, side=side)
        product = _at_each_place(wide, matrix)
        full = pairs.new_zeros(x.shape[0], product.shape[1], blades // 2, *grid)
        full[..., *low] = self._pairs(product)
        return self._multivectors(torch.fft.ifftn(full, dim=axes))

    def _places(self, axis: int, size: int) -> Tensor:
        count = self.modes[axis]
        if 2 * count > size:
            raise UnsupportedInputError(
                f"{type(self).__name__}: axis {axis} of the grid has {size} points, too few for "
                f"{count} frequencies of each sign; take modes <= {size // 2} or a finer grid"
            )
        return torch.cat([torch.arange(count), torch.arange(size - count, size)])

    def _signs(self, like: Tensor) -> Tensor:
        """Of e_b I = s e_c for each pair."""
        half = self.algebra.blades // 2
        if self.form == "published":
            return like.new_ones(half)
        return like.new_tensor(self.algebra.signs[:half, -1].astype(float))

    def _pairs(
        self, x: Float[Tensor, "batch channels *grid blades"]
    ) -> Complex[Tensor, "batch channels pairs *grid"]:
        """Blades and their complements as complex numbers."""
        half = x.shape[-1] // 2
        parts = torch.complex(x[..., :half], x.flip(-1)[..., :half] * self._signs(x))
        return parts.movedim(-1, 2)

    def _multivectors(
        self, z: Complex[Tensor, "batch channels pairs *grid"]
    ) -> Float[Tensor, "batch channels *grid blades"]:
        last = z.movedim(2, -1)
        return torch.cat([last.real, (last.imag * self._signs(last.imag)).flip(-1)], dim=-1)


def _at_each_place(
    x: Float[Tensor, "batch inputs *modes blades"],
    matrix: Float[Tensor, "blades outputs blades inputs *modes"],
) -> Float[Tensor, "batch outputs *modes blades"]:
    """A matrix of its own for each frequency."""
    blades, outputs, _, inputs, *modes = matrix.shape
    rows = x.movedim(-1, 1).reshape(x.shape[0], blades * inputs, math.prod(modes))
    by_mode = matrix.reshape(blades * outputs, blades * inputs, math.prod(modes)).permute(2, 1, 0)
    out = torch.bmm(rows.permute(2, 0, 1), by_mode)  # (modes, batch, blades outputs)
    return out.permute(1, 2, 0).reshape(x.shape[0], blades, outputs, *modes).movedim(1, -1)


class CliffordSpectralConv2d(_CliffordSpectralConv):
    """Fourier layer on fields in the plane, for algebras of two generators.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        modes: how many low frequencies of each sign are kept, one number or one per axis.
        form: "published", or "equivariant" under translations of the grid.
    """

    dims = 2


class CliffordSpectralConv3d(_CliffordSpectralConv):
    """Fourier layer on fields in space, for algebras of three generators.

    Arguments as for `CliffordSpectralConv2d`.
    """

    dims = 3
