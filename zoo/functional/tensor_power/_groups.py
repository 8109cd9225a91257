"""Groups of matrices that act on R^n, and so on its tensor powers.

S_n, A_n, O(n), SO(n) and Sp(n) have no size of their own: n comes with the call. Groups given by
generators act on the one R^n of their matrices.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError

_STEPS = 30  # of a random word in the generators


class Group(ABC):
    """A group of matrices on R^n.

    Attributes:
        name: what it is called.
        size: the only n that it acts on; None for a family, which acts on any.
        permutes: whether its matrices are permutations, so that pointwise functions commute.
        orthogonal: whether its matrices are orthogonal.
    """

    name: ClassVar[str]
    size: int | None = None
    permutes: ClassVar[bool] = False
    orthogonal: bool = True

    def check(self, n: int) -> None:
        """Refuses an n that the group does not act on.

        Raises:
            ConfigError: saying what it acts on.
        """
        if n < 1:
            raise ConfigError(f"{self}: n={n}; expected 1 or more")
        if self.size is not None and n != self.size:
            raise ConfigError(f"{self} acts on R^{self.size}, not on R^{n}")

    @abstractmethod
    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """Elements which, with the Lie algebra's, generate the group, in float64."""

    def lie_algebra(self, n: int) -> Float[Tensor, "count n n"]:
        """Elements that generate the Lie algebra, in float64; none for finite groups."""
        return torch.zeros(0, n, n, dtype=torch.float64)

    def random_element(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n n"]:
        """A random element in float64: a word in the generators, and an exponential."""
        self.check(n)
        own, lie = self.generators(n), self.lie_algebra(n)
        result = torch.eye(n, dtype=torch.float64)
        if len(own):  # pauses among the steps, or all words would have one parity
            steps = torch.cat([own, result[None]])
            for k in torch.randint(len(steps), (_STEPS,), generator=generator).tolist():
                result = steps[k] @ result
        for k in range(len(lie)):  # one factor each: their products fill the whole group
            step = torch.randn(1, dtype=torch.float64, generator=generator)
            result = torch.linalg.matrix_exp(step * lie[k]) @ result
        return result

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.size is None

    def __hash__(self) -> int:
        return hash(type(self))


def permutation_matrices(permutations: np.ndarray) -> Float[Tensor, "count n n"]:
    """Matrices P with P e_j = e_p[j], in float64, of permutations (count, n)."""
    count, n = permutations.shape
    matrices = torch.zeros(count, n, n, dtype=torch.float64)
    rows = torch.as_tensor(np.ascontiguousarray(permutations))
    matrices[torch.arange(count)[:, None], rows, torch.arange(n)] = 1.0
    return matrices


def symplectic_form(n: int) -> Float[Tensor, "n n"]:
    """J = [[0, I], [-I, 0]] in float64."""
    half = torch.eye(n // 2, dtype=torch.float64)
    zero = torch.zeros_like(half)
    return torch.cat([torch.cat([zero, half], dim=1), torch.cat([-half, zero], dim=1)])


def act(
    element: Float[Tensor, "n n"], x: Float[Tensor, "*axes"], order: int
) -> Float[Tensor, "*axes"]:
    """g (x) ... (x) g applied to the last `order` axes of x.

    Args:
        element: g, in the precision of x.
        x: (..., n, ..., n).
        order: axes that g acts on, counted from the last.
    """
    for axis in range(x.ndim - order, x.ndim):
        x = along(x, element, axis)
    return x


def along(x: Float[Tensor, "*axes"], matrix: Float[Tensor, "n n"], axis: int) -> Tensor:
    """A matrix applied to one axis."""
    moved: Tensor = (x.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)
    return moved
