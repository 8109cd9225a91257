"""The kinds of adapters, and their settings; see `zoo.layers.adapters`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest


@dataclass(frozen=True)
class AdapterConfig:
    """How weights are adapted.

    Attributes:
        kind: "tucker" or "lora".
        rank: r of the module's docstring; of each weight at most what its axes allow.
        scale: s.
        dropout: part of the core's entries, or of LoRA's components, left out of each step.
        targets: shell patterns of parameter names; those that begin with "-" leave names out. If
            there are none, all that is worth it: see `zoo.layers.adapters`.
    """

    kind: str = "lora"
    rank: int = 8
    scale: float = 1.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no adapter is called {self.kind!r}; {nearest(self.kind, KINDS)}")
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ConfigError(
                f"the rank of an adapter is a whole number, at least 1, not {self.rank}"
            )
        if not math.isfinite(self.scale) or self.scale == 0:
            raise ConfigError(f"the scale of an adapter is a number but 0, not {self.scale}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"the dropout of an adapter is in [0, 1), not {self.dropout}")


class Adapter(nn.Module, ABC):
    """W + s ΔW of one weight, as a parametrisation.

    Args:
        shape: of the weight.
        rank: r.
        scale: s.
        dropout: part of the change that a training step leaves out.
        generator: of the initial factors.
    """

    def __init__(
        self,
        shape: Sequence[int],
        rank: int,
        *,
        scale: float = 1.0,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.rank = tuple(shape), rank
        self.scale, self.dropout = scale, dropout
        self.build(generator)

    @abstractmethod
    def build(self, generator: torch.Generator | None) -> None:
        """Makes the parameters."""

    @staticmethod
    @abstractmethod
    def size(shape: Sequence[int], rank: int) -> int:
        """How many numbers an adapter of a weight holds."""

    @abstractmethod
    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The adapted weight."""

    def _draw(self, *shape: int, generator: torch.Generator | None) -> nn.Parameter:
        """Normal numbers of standard deviation 1/sqrt(2 r)."""
        draw = torch.randn(shape, generator=generator, dtype=torch.float64)
        return nn.Parameter((draw / math.sqrt(2 * self.rank)).to(torch.get_default_dtype()))


class TuckerAdapter(Adapter):
    """A core of rank r in each axis, and one matrix for each longer axis.

    Attributes:
        core: G, zero at first.
        factors: U^n (I_n, r) by the number n of the axis.
    """

    def build(self, generator: torch.Generator | None) -> None:
        """Makes core and factors."""
        self.core = nn.Parameter(torch.zeros([min(n, self.rank) for n in self.shape]))
        long = [axis for axis, n in enumerate(self.shape) if n > self.rank]
        self.factors = nn.ParameterDict(
            {
                str(axis): self._draw(self.shape[axis], self.rank, generator=generator)
                for axis in long
            }
        )
        self._plain = len(self.shape) == 2 and long == [0, 1]

    @staticmethod
    def size(shape: Sequence[int], rank: int) -> int:
        """Entries of the core and of the matrices."""
        return math.prod(min(n, rank) for n in shape) + sum(n * rank for n in shape if n > rank)

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """W + s G ×_1 U^1 ... ×_N U^N."""
        change = F.dropout(self.core, self.dropout, self.training) if self.dropout else self.core
        if self._plain:
            left, right = self.factors["0"], self.factors["1"]
            return torch.addmm(weight, left @ change, right.mT, alpha=self.scale)
        for axis, factor in self.factors.items():
            moved = change.movedim(int(axis), -1) @ factor.mT
            change = moved.movedim(-1, int(axis))
        return torch.add(weight, change, alpha=self.scale)


class LoraAdapter(Adapter):
    """A product of two thin matrices.

    Attributes:
        up: B (rows, r), zero at first.
        down: A (r, columns).
    """

    def build(self, generator: torch.Generator | None) -> None:
        """Makes both matrices."""
        rows, columns = matrix_form(self.shape)
        self.up = nn.Parameter(torch.zeros(rows, self.rank))
        self.down = self._draw(self.rank, columns, generator=generator)

    @staticmethod
    def size(shape: Sequence[int], rank: int) -> int:
        """Entries of both matrices."""
        return rank * sum(matrix_form(shape))

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """W + s B A."""
        down: Tensor = self.down
        if self.dropout and self.training:
            kept = F.dropout(down.new_ones(self.rank, 1), self.dropout)
            down = down * kept
        matrix = weight.reshape(self.up.shape[0], -1)  # (rows, columns)
        return torch.addmm(matrix, self.up, down, alpha=self.scale).reshape(weight.shape)


KINDS: Mapping[str, type[Adapter]] = {"tucker": TuckerAdapter, "lora": LoraAdapter}


def matrix_form(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a weight read as a matrix, cut where their sum is least."""
    cuts = [(math.prod(shape[:k]), math.prod(shape[k:])) for k in range(1, len(shape))]
    return min(cuts, key=sum)
