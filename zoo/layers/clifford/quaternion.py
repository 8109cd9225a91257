r"""Layers whose weights are shared by the grades of a quaternion type.

Filimoshina, Shirokov, *GLGENN: a novel parameter-light equivariant neural networks architecture
based on Clifford geometric algebras*, ICML 2025 (arXiv:2506.09625), section 4. The quaternion type
of a grade is its remainder modulo 4; up to three generators types are grades. The types, and which
type the product of two of them has parts in, are kept by every action that keeps grades, so the
layers are equivariant as those of `linear` and `product` are, with fewer weights. Nothing has a
bias, and products stand alone, without a linear map beside them.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import check_rows
from zoo.layers.clifford.linear import Multivectors, MVSiLU, check_channels
from zoo.layers.clifford.product import CEMLP

#: quaternion types of a large algebra
TYPES = 4


class QuaternionLinear(nn.Module):
    """A linear map of channels, with weights of its own for each quaternion type.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
    """

    def __init__(self, algebra: Algebra, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_channels("QuaternionLinear", in_channels, out_channels)
        self.algebra = algebra
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, types(algebra)))
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_channels))

    def forward(self, x: Float[Tensor, "*batch inputs blades"]) -> Multivectors:
        """Mixes channels.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        channels = self.weight.shape[1]
        check_rows("QuaternionLinear", x, channels, self.algebra.blades)
        major = clifford.blade_major(x).reshape(x.shape[-1], math.prod(x.shape[:-2]), channels)
        out = self.part(major, slice(None), bias=True)
        return clifford.channels_first(out.reshape(x.shape[-1], *x.shape[:-2], out.shape[-1]))

    def part(
        self, x: Float[Tensor, "blades batch some"], inputs: slice, *, bias: bool
    ) -> Float[Tensor, "blades batch outputs"]:
        """What some of the input's channels give, of blade-major tensors; see `MVLinear.part`."""
        weight = self.weight[:, inputs].permute(2, 1, 0)
        return torch.bmm(x, weight.index_select(0, _of_blades(self.algebra, x)))


class QuaternionNorm(nn.Module):
    """Divides each quaternion type by its norm, by a learnt amount.

    x / (s (|x| - 1) + 1), s the sigmoid of a parameter per channel and type; s = 1/2 at first.

    Args:
        algebra: of the multivectors.
        channels: of the input.
        max_growth: the largest factor that anything grows by; what `MVNorm` says of it.
    """

    def __init__(self, algebra: Algebra, channels: int, *, max_growth: float = 10.0) -> None:
        super().__init__()
        check_channels("QuaternionNorm", channels)
        if not max_growth >= 1:
            raise ConfigError(f"QuaternionNorm: max_growth is {max_growth}; expected a factor >= 1")
        self.algebra = algebra
        self.max_growth = max_growth
        self.a = nn.Parameter(torch.zeros(channels, types(algebra)))

    def forward(self, x: Multivectors) -> Multivectors:
        """Normalised multivectors."""
        check_rows("QuaternionNorm", x, len(self.a), self.algebra.blades)
        groups = tuple(grade % TYPES for grade in self.algebra.grades)
        share, least = torch.sigmoid(self.a.T), 1 / self.max_growth
        return clifford.normalise(x, share, self.algebra, least=least, groups=groups)


class QuaternionProduct(nn.Module):
    """Geometric product of each channel with a linear map of all, a weight per path of types.

    Args:
        algebra: of the multivectors.
        channels: of input and output.
        normalise: the right factor, by `QuaternionNorm`.
    """

    def __init__(self, algebra: Algebra, channels: int, *, normalise: bool = True) -> None:
        super().__init__()
        self.algebra = algebra
        self.normalization = QuaternionNorm(algebra, channels) if normalise else nn.Identity()
        self.linear_right = QuaternionLinear(algebra, channels, channels)
        numbers = _type_paths(algebra)
        self.weight = nn.Parameter(torch.empty(channels, max(numbers) + 1))
        nn.init.normal_(self.weight, std=1 / math.sqrt(algebra.dimension + 1))

    def forward(self, x: Multivectors) -> Multivectors:
        """Multivectors of degree two in x."""
        right = self.normalization(self.linear_right(x))
        numbers = torch.tensor(_type_paths(self.algebra), device=x.device)
        weight = self.weight.index_select(1, numbers)  # (channels, paths of grades)
        return clifford.weighted_product(x, right, weight, self.algebra)


class QuaternionMLP(CEMLP):
    """Linear map, MVSiLU, product, norm, repeated: `CEMLP` with weights shared by types.

    Arguments as for `CEMLP`.
    """

    def _block(self, algebra: Algebra, before: int, after: int, *, normalise: bool) -> nn.Module:
        return nn.Sequential(
            QuaternionLinear(algebra, before, after),
            MVSiLU(algebra, after),
            QuaternionProduct(algebra, after, normalise=normalise),
            QuaternionNorm(algebra, after),
        )


def types(of: Algebra) -> int:
    """How many quaternion types an algebra has: 4, or one per grade up to three generators."""
    return min(TYPES, of.dimension + 1)


def _of_blades(of: Algebra, like: Tensor) -> Tensor:
    """The quaternion type of each blade (blades,), where `like` is."""
    return torch.tensor([grade % TYPES for grade in of.grades], device=like.device)


@functools.cache
def _type_paths(of: Algebra) -> tuple[int, ...]:
    """The number of the path of types that each of `of.paths` belongs to."""
    pooled = [tuple(grade % TYPES for grade in path) for path in of.paths]
    number = {path: place for place, path in enumerate(sorted(set(pooled)))}
    return tuple(number[path] for path in pooled)
