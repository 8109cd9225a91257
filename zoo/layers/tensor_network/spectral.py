r"""Convolutions at the low frequencies of a field, with weights in any tensor format.

Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, *Fourier neural operator for
parametric partial differential equations*, ICLR 2021 (arXiv:2010.08895), eq. 4 and 5: the low
Fourier modes of a field are multiplied by one complex matrix each, the others dropped. Kossaifi,
Kovachki, Azizzadenesheli, Anandkumar, *Multi-grid tensorized Fourier neural operator for
high-resolution PDEs*, 2023 (arXiv:2310.00120): all those matrices are one tensor (inputs, outputs,
modes, ..., modes), stored in a factorised format.

Only the kept modes are computed, by multiplying each axis with its waves: with m modes of n places
that is 2 m n multiplications per line, which on a CPU was 1.2 to 3 times as fast as the fast
transform of everything (12 and 16 modes of 85 to 1,024 places). Frequencies on the last axis run
from 0 to m - 1, on others from -m to m - 1, as in the authors' code. Modes are those of the
function, whatever the grid: the same weights serve every resolution, and on a grid too coarse for a
frequency (k >= n / 2) that one is left out.
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError, nearest
from zoo.functional import tensor_network as tn
from zoo.functional.precision import check_precision
from zoo.functional.tensor_network import Rank
from zoo.layers.tensor_network.linear import Contraction, check_contraction, pays
from zoo.layers.tensor_network.weight import FactorizedTensor

Factorization = Literal["tucker", "cp", "tt", "tr"]
_FACTORIZATIONS = ("tucker", "cp", "tt", "tr")


class FactorizedSpectralConv(nn.Module):
    """Multiplies the low frequencies of a field by a complex matrix each.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        n_modes: frequencies kept on each axis (m); on all axes but the last of both signs. One
            number per axis of the grid, one, two or three.
        factorization: format of the weights; None stores every matrix.
        rank: of the format, or the share of the dense number of parameters; see
            `zoo.functional.tensor_network.resolve_rank`. Must be None without a factorization.
        separable: each channel is multiplied by its own numbers and channels aren't mixed.
        contraction: "factorized" multiplies by the cores one by one, "reconstructed" by the whole
            weight; "auto" takes the first where it needs less than half of the operations.

    Raises:
        ConfigError: for sizes below 1, another number of axes, separable layers that change the
            number of channels, unknown words or ranks that don't fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_modes: Sequence[int],
        *,
        factorization: Factorization | None = None,
        rank: Rank = None,
        separable: bool = False,
        contraction: Contraction = "auto",
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, n_modes, factorization, contraction, rank)
        if separable and in_channels != out_channels:
            raise ConfigError(
                f"FactorizedSpectralConv: separable keeps the channels, but in_channels="
                f"{in_channels} and out_channels={out_channels}; make them equal"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.n_modes, self.separable = tuple(n_modes), separable
        self.contraction: Contraction = contraction
        *others, last = self.n_modes
        channels = (in_channels,) if separable else (in_channels, out_channels)
        self.weight = FactorizedTensor(
            (*channels, *(2 * m for m in others), last),
            format=factorization or "dense",
            rank=rank,
            std=math.sqrt(2 / (in_channels + out_channels)),
            is_complex=True,
        )

    def forward(
        self, x: Float[Tensor, "batch inputs *grid"]
    ) -> Float[Tensor, "batch outputs *grid"]:
        """The field, channels first.

        Raises:
            UnsupportedInputError: for other channels or another number of axes, or an empty field.
            DeviceError: in half precision.
        """
        return self.channels_last(x.movedim(1, -1)).movedim(-1, 1)

    def channels_last(
        self, x: Float[Tensor, "batch *grid inputs"]
    ) -> Float[Tensor, "batch *grid outputs"]:
        """The same with channels last, as the layer computes: nothing is copied."""
        check_precision("FactorizedSpectralConv", x)
        grid = x.shape[1:-1]
        if len(grid) != len(self.n_modes) or x.shape[-1] != self.in_channels:
            raise UnsupportedInputError(
                f"FactorizedSpectralConv: {len(grid)} axes and {x.shape[-1]} channels; it takes "
                f"{len(self.n_modes)} axes (n_modes) and {self.in_channels} channels"
            )
        if 0 in x.shape:
            raise UnsupportedInputError(
                f"FactorizedSpectralConv: the field is empty, {tuple(x.shape)}; it needs one "
                "sample and one place at least"
            )
        return _field(self.multiply(low_modes(x, self.n_modes)), grid)

    def multiply(
        self, modes: Complex[Tensor, "batch *modes inputs"]
    ) -> Complex[Tensor, "batch *modes outputs"]:
        """The modes times their matrices."""
        axes = "xyz"[: len(self.n_modes)]
        out = "i" if self.separable else "o"
        weights = "i" if self.separable else "io"
        equation = f"b{axes}i,{weights}{axes}->b{axes}{out}"
        if self._factorized(equation, tuple(modes.shape)):
            return self.weight.contract(equation, modes)
        return torch.einsum(equation, modes, self.weight.to_tensor())

    def _factorized(self, equation: str, shape: tuple[int, ...]) -> bool:
        # in a trace, sizes are symbols, and no order of steps can be planned for them
        planned = self.contraction == "auto" and not torch.compiler.is_compiling()
        if not planned or self.weight.format == "dense":
            return self.contraction == "factorized"
        return _worthwhile(equation, shape, self.weight.format, self.weight.shape, self.weight.rank)


@functools.lru_cache(maxsize=1024)
def _worthwhile(
    equation: str,
    modes: tuple[int, ...],
    form: tn.Format,
    shape: tuple[int, ...],
    rank: tuple[int, ...],
) -> bool:
    """Whether to go through the cores one by one."""
    cores = tuple(tn.core_shapes(form, shape, rank))
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(shape)]
    whole = tn.plan(tn.expand(f"{letters}->{letters}", form), cores).operations
    whole += tn.plan(equation, (modes, shape)).operations
    apart = tn.plan(tn.expand(equation, form), (modes, *cores)).operations
    return pays(apart, whole)


# --- transforms ---------------------------------------------------------------------------------


def low_modes(
    x: Float[Tensor, "batch *grid channels"], n_modes: Sequence[int]
) -> Complex[Tensor, "batch *modes channels"]:
    """Fourier coefficients of the low frequencies, of the field's mean size on every grid.

    Args:
        x: a real field on a periodic grid.
        n_modes: m for each axis: frequencies 0 to m - 1 on the last one, on others 0 to m - 1 and
            then -m to -1.
    """
    grid, channels = x.shape[1:-1], x.shape[-1]
    to_modes, _ = _last_waves(grid[-1], n_modes[-1])
    y = torch.matmul(_like(to_modes, x), x)  # (batch, *grid[:-1], 2 m, channels)
    rest = n_modes[-1] * channels
    for axis in reversed(range(len(grid) - 1)):
        # real and imaginary parts beside each other, before the axis that is transformed
        to_modes, _ = _inner_waves(grid[axis], n_modes[axis])
        y = y.reshape(-1, grid[axis], 2, rest).transpose(1, 2).reshape(-1, 2 * grid[axis], rest)
        y = torch.matmul(_like(to_modes, x), y)
        rest *= 2 * n_modes[axis]
    *others, last = n_modes
    y = y.reshape(x.shape[0], 2, *(2 * m for m in others), last, channels)
    return torch.complex(y[:, 0], y[:, 1])


def _field(
    modes: Complex[Tensor, "batch *modes channels"], grid: Sequence[int]
) -> Float[Tensor, "batch *grid channels"]:
    """The real field whose low frequencies these are; see `low_modes`."""
    *others, last = modes.shape[1:-1]
    batch, channels = modes.shape[0], modes.shape[-1]
    y = torch.stack([modes.real, modes.imag], dim=1)
    lead = batch
    for axis, count in enumerate(others):
        _, to_field = _inner_waves(grid[axis], count // 2)
        y = torch.matmul(_like(to_field, y), y.reshape(lead, 2 * count, -1))
        y = y.reshape(lead, 2, grid[axis], -1).transpose(1, 2)
        lead *= grid[axis]
    _, to_field = _last_waves(grid[-1], last)
    y = torch.matmul(_like(to_field, y), y.reshape(lead, 2 * last, channels))
    return y.reshape(batch, *grid, channels)


def _like(waves: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(waves, dtype=x.dtype, device=x.device)


def _angles(size: int, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (frequencies, size); zero where the grid is too coarse for a frequency."""
    # whole numbers below `size`, so that no digit is lost at high frequencies
    turns = np.outer(frequencies, np.arange(size)) % size
    angle = 2 * np.pi * turns / size
    fits = (2 * np.abs(frequencies) < size)[:, None]
    return np.cos(angle) * fits, np.sin(angle) * fits


@functools.lru_cache(maxsize=64)
def _last_waves(size: int, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """From a real line to real and imaginary parts (2 modes, size), and back (size, 2 modes)."""
    cos, sin = _angles(size, np.arange(modes))
    twice = np.where(np.arange(modes) == 0, 1.0, 2.0)  # frequencies below zero are conjugate
    back = np.concatenate([cos.T * twice, -sin.T * twice], axis=1)
    return np.concatenate([cos, -sin]) / size, back


@functools.lru_cache(maxsize=64)
def _inner_waves(size: int, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Between parts (2 size) and parts (4 modes) of complex lines, both ways."""
    cos, sin = _angles(size, np.concatenate([np.arange(modes), np.arange(-modes, 0)]))
    there = np.block([[cos, sin], [-sin, cos]]) / size
    return there, np.block([[cos.T, -sin.T], [sin.T, cos.T]])


# --- checks ---------------------------------------------------------------------------------------


def _check(
    inputs: int,
    outputs: int,
    modes: Sequence[int],
    factorization: str | None,
    contraction: str,
    rank: Rank,
) -> None:
    title = "FactorizedSpectralConv"
    if min(inputs, outputs, *modes) < 1 or not 1 <= len(modes) <= 3:
        raise ConfigError(
            f"{title}: in_channels={inputs}, out_channels={outputs}, n_modes={list(modes)}; "
            "expected numbers >= 1, and one, two or three axes"
        )
    if factorization is not None and factorization not in _FACTORIZATIONS:
        raise ConfigError(f"{title}: factorization: {nearest(factorization, _FACTORIZATIONS)}")
    if factorization is None and rank is not None:
        raise ConfigError(
            f"{title}: rank={rank!r} without a factorization; leave it out, or name one of "
            f"{', '.join(_FACTORIZATIONS)}"
        )
    check_contraction(title, contraction)
    if factorization is None and contraction == "factorized":
        raise ConfigError(
            f"{title}: contraction='factorized' without a factorization; say 'auto', or name one "
            f"of {', '.join(_FACTORIZATIONS)}"
        )
