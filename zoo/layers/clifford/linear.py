"""Linear maps, activations and normalisations of multivectors.

Ruhe, Brandstetter, Forré, *Clifford group equivariant neural networks*, NeurIPS 2023
(arXiv:2305.11141), section 4. All are equivariant under the Clifford group, as grades and their
quadratic forms are; inputs and outputs are (..., channels, blades).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import check_rows

Multivectors = Float[Tensor, "*batch channels blades"]


class MVLinear(nn.Module):
    """A linear map of channels, with weights of its own for each grade.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        bias: added to the scalars, the only invariants that a constant may be added to.
        by_grade: False uses the same weights for all grades.
    """

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = True,
        by_grade: bool = True,
    ) -> None:
        super().__init__()
        check_channels("MVLinear", in_channels, out_channels)
        self.algebra = algebra
        grades = (algebra.dimension + 1,) if by_grade else ()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *grades))
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1)) if bias else None
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_channels))

    def forward(self, x: Float[Tensor, "*batch inputs blades"]) -> Multivectors:
        """Mixes channels.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        channels = self.weight.shape[1]
        check_rows("MVLinear", x, channels, self.algebra.blades)
        major = clifford.blade_major(x).reshape(x.shape[-1], math.prod(x.shape[:-2]), channels)
        out = self.part(major, slice(None), bias=True)
        return clifford.channels_first(out.reshape(x.shape[-1], *x.shape[:-2], out.shape[-1]))

    def part(
        self, x: Float[Tensor, "blades batch some"], inputs: slice, *, bias: bool
    ) -> Float[Tensor, "blades batch outputs"]:
        """What some of the input's channels give, of blade-major tensors.

        Args:
            x: these channels alone.
            inputs: which ones they are.
            bias: whether it is added.
        """
        weight = self.weight[:, inputs]
        return clifford.grade_linear(x, weight, self.bias if bias else None, self.algebra)


class MVNorm(nn.Module):
    """Divides each grade by its norm, by a learnt amount (equation 14).

    x / (s (|x| - 1) + 1), s the sigmoid of a parameter per channel and grade: s = 0 changes
    nothing. Vectors whose norm is zero but that aren't (light-like ones, in indefinite metrics)
    would grow by 1 / (1 - s); the divisor is kept at or above 1 / `max_growth`.

    Args:
        algebra: of the multivectors.
        channels: of the input.
        max_growth: the largest factor that anything grows by.
    """

    def __init__(self, algebra: Algebra, channels: int, *, max_growth: float = 10.0) -> None:
        super().__init__()
        check_channels("MVNorm", channels)
        if not max_growth >= 1:
            raise ConfigError(f"MVNorm: max_growth is {max_growth}; expected a factor >= 1")
        self.algebra = algebra
        self.max_growth = max_growth
        self.a = nn.Parameter(torch.zeros(channels, algebra.dimension + 1))

    def forward(self, x: Multivectors) -> Multivectors:
        """Normalised multivectors."""
        check_rows("MVNorm", x, len(self.a), self.algebra.blades)
        share = torch.sigmoid(self.a.T)
        return clifford.normalise(x, share, self.algebra, least=1 / self.max_growth)


class MVSiLU(nn.Module):
    """Each grade times the sigmoid of its own invariant (equation 15).

    The invariant of the scalar is the scalar itself, of other grades their quadratic form.

    Args:
        algebra: of the multivectors.
        channels: of the input.
    """

    def __init__(self, algebra: Algebra, channels: int) -> None:
        super().__init__()
        check_channels("MVSiLU", channels)
        self.algebra = algebra
        self.a = nn.Parameter(torch.ones(1, channels, algebra.dimension + 1))
        self.b = nn.Parameter(torch.zeros(1, channels, algebra.dimension + 1))

    def forward(self, x: Multivectors) -> Multivectors:
        """Gated multivectors."""
        check_rows("MVSiLU", x, self.a.shape[1], self.algebra.blades)
        return clifford.gate(x, self.a[0].T, self.b[0].T, self.algebra)


class MVLayerNorm(nn.Module):
    """Divides by the mean over channels of the norm, times a learnt factor per channel.

    Args:
        algebra: of the multivectors.
        channels: of the input.
        max_growth: the largest factor that anything grows by. Where all channels are light-like,
            their norms say nothing about their size; so None stands for 10 where the metric has
            such multivectors, for no limit where all squares are positive.
    """

    def __init__(self, algebra: Algebra, channels: int, *, max_growth: float | None = None) -> None:
        super().__init__()
        check_channels("MVLayerNorm", channels)
        if max_growth is not None and not max_growth >= 1:
            raise ConfigError(f"MVLayerNorm: max_growth is {max_growth}; expected a factor >= 1")
        self.algebra = algebra
        if max_growth is None:
            max_growth = math.inf if min(algebra.squares) > 0 else 10.0
        self.max_growth = max_growth
        self.a = nn.Parameter(torch.ones(1, channels))

    def forward(self, x: Multivectors) -> Multivectors:
        """Normalised multivectors."""
        check_rows("MVLayerNorm", x, self.a.shape[1], self.algebra.blades)
        return clifford.level(x, self.a, self.algebra, least=1 / self.max_growth)


def per_blade(
    values: Float[Tensor, "*batch channels grades"], of: Algebra
) -> Float[Tensor, "*batch channels blades"]:
    """A number per grade as a number per blade."""
    grades = torch.tensor(of.grades, device=values.device)
    return values.movedim(-1, 0).index_select(0, grades).movedim(0, -1)


def check_channels(where: str, *channels: int) -> None:
    """Refuses layers without channels.

    Raises:
        ConfigError: names the layer.
    """
    if min(channels) < 1:
        raise ConfigError(f"{where}: channels are {channels}; expected numbers >= 1")
