"""Groups of matrices that act on R^n, and so on its tensor powers.

S_n, A_n, O(n), SO(n) and Sp(n) have no size of their own: n comes with the call. Groups given by
generators act on the one R^n of their matrices.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest

#: elements of a permutation group that are listed at most
LISTED = 50_000
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
        if len(own):
            for k in torch.randint(len(own), (_STEPS,), generator=generator).tolist():
                result = own[k] @ result
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


class SymmetricGroup(Group):
    """S_n: all permutations of the coordinates."""

    name = "S(n)"
    permutes = True

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """A transposition and a cycle."""
        self.check(n)
        swap, cycle = np.arange(n), np.roll(np.arange(n), -1)
        swap[:2] = swap[:2][::-1]
        return permutation_matrices(np.stack([swap, cycle])[: n - 1])

    def random_element(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n n"]:
        """A uniform permutation."""
        self.check(n)
        return permutation_matrices(torch.randperm(n, generator=generator).numpy()[None])[0]


class AlternatingGroup(Group):
    """A_n: the even permutations."""

    name = "A(n)"
    permutes = True

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """Cycles of the first two coordinates and another."""
        self.check(n)
        cycles = np.tile(np.arange(n), (max(n - 2, 0), 1))
        for row, cycle in enumerate(cycles):
            cycle[[0, 1, row + 2]] = [1, row + 2, 0]
        return permutation_matrices(cycles)


class OrthogonalGroup(Group):
    """O(n): rotations and reflections."""

    name = "O(n)"

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """A reflection."""
        self.check(n)
        signs = torch.ones(n, dtype=torch.float64)
        signs[0] = -1.0
        return torch.diag(signs)[None]

    def lie_algebra(self, n: int) -> Float[Tensor, "count n n"]:
        """Rotations in the planes of two consecutive axes."""
        return _plane_rotations(n)

    def random_element(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n n"]:
        """Uniform, by the QR decomposition of a Gaussian matrix."""
        self.check(n)
        return _haar(n, generator)


class SpecialOrthogonalGroup(Group):
    """SO(n): rotations."""

    name = "SO(n)"

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """None: the group is connected."""
        self.check(n)
        return torch.zeros(0, n, n, dtype=torch.float64)

    def lie_algebra(self, n: int) -> Float[Tensor, "count n n"]:
        """Rotations in the planes of two consecutive axes."""
        return _plane_rotations(n)

    def random_element(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n n"]:
        """Uniform."""
        self.check(n)
        turn = _haar(n, generator)
        if torch.linalg.det(turn) < 0:
            turn[:, 0] *= -1
        return turn


class SymplecticGroup(Group):
    """Sp(n), n even: matrices with g^T J g = J, where J = [[0, I], [-I, 0]]."""

    name = "Sp(n)"
    orthogonal = False

    def check(self, n: int) -> None:
        """Refuses odd n.

        Raises:
            ConfigError: for an n that is odd or below 2.
        """
        super().check(n)
        if n % 2:
            raise ConfigError(f"{self} acts on spaces of even dimension; n={n} is odd")

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """None: the group is connected."""
        self.check(n)
        return torch.zeros(0, n, n, dtype=torch.float64)

    def lie_algebra(self, n: int) -> Float[Tensor, "count n n"]:
        """J S for the symmetric matrices S of a basis."""
        self.check(n)
        rows, columns = torch.triu_indices(n, n)
        symmetric = torch.zeros(len(rows), n, n, dtype=torch.float64)
        every = torch.arange(len(rows))
        symmetric[every, rows, columns] = 1.0
        symmetric[every, columns, rows] = 1.0
        return symplectic_form(n) @ symmetric

    def random_element(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n n"]:
        """The exponential of a random element of the Lie algebra; of moderate size."""
        lie = self.lie_algebra(n)
        steps = torch.randn(len(lie), 1, 1, dtype=torch.float64, generator=generator)
        element: Tensor = torch.linalg.matrix_exp((0.5 / n) * (steps * lie).sum(dim=0))
        return element


class PermutationGroup(Group):
    """A group of permutations of n coordinates, given by generators.

    Args:
        generators: permutations p, i -> p[i], of 0 to n - 1, one at least; the identity alone for
            the trivial group.

    Raises:
        ConfigError: for rows that aren't permutations of one length.
    """

    name = "permutations"
    permutes = True

    size: int

    def __init__(self, generators: Sequence[Sequence[int] | np.ndarray] | np.ndarray) -> None:
        rows = [np.asarray(row) for row in generators]
        if not rows:
            raise ConfigError("a permutation group needs a generator; the identity at the least")
        size = len(rows[0]) if rows[0].ndim == 1 else 0
        for row in rows:
            if row.shape != (size,) or size == 0 or sorted(row.tolist()) != list(range(size)):
                raise ConfigError(
                    f"{row.tolist()} is no permutation of 0 to {max(size, 1) - 1}: each number "
                    "once, all generators of one length"
                )
        self.size = size
        self.permutations = np.stack(rows).astype(np.int64)

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """The permutations as matrices."""
        self.check(n)
        return permutation_matrices(self.permutations)

    def elements(self, limit: int = LISTED) -> np.ndarray | None:
        """All elements (order, n), or None where there are more than `limit`."""
        seen = {np.arange(self.size).tobytes()}
        front = [np.arange(self.size)]
        every = list(front)
        while front:
            found = []
            for element in front:
                for generator in self.permutations:
                    product = generator[element]
                    if product.tobytes() not in seen:
                        seen.add(product.tobytes())
                        found.append(product)
            every += found
            if len(every) > limit:
                return None
            front = found
        return np.stack(every)

    def __repr__(self) -> str:
        return f"a group of permutations of {self.size}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermutationGroup) and np.array_equal(
            self.permutations, other.permutations
        )

    def __hash__(self) -> int:
        return hash(self.permutations.tobytes())


class MatrixGroup(Group):
    """Any group of invertible matrices, given by generators.

    Args:
        generators: elements (count, n, n).
        lie_algebra: elements X (count, n, n) whose exponentials exp(t X) are in the group as well.

    Raises:
        ConfigError: for matrices that aren't square, finite, invertible and of one size, or none.
    """

    name = "matrices"

    def __init__(
        self,
        generators: Float[Tensor, "..."] | None = None,
        lie_algebra: Float[Tensor, "..."] | None = None,
    ) -> None:
        given = [x for x in (generators, lie_algebra) if x is not None and x.numel()]
        if not given:
            raise ConfigError("a matrix group needs generators or elements of its Lie algebra")
        n = given[0].shape[-1]
        for matrices in given:
            if matrices.ndim != 3 or tuple(matrices.shape[1:]) != (n, n):
                raise ConfigError(
                    f"generators have the shapes {[tuple(x.shape) for x in given]}; expected "
                    "(count, n, n) with one n"
                )
        kept = [x.detach().to("cpu", torch.float64) for x in given]
        if not all(bool(torch.isfinite(x).all()) for x in kept):
            raise ConfigError("generators hold numbers that aren't finite")
        empty = torch.zeros(0, n, n, dtype=torch.float64)
        self._own = kept[0] if given[0] is generators else empty
        self._lie = kept[-1] if given[-1] is lie_algebra else empty
        smallest = torch.linalg.svdvals(self._own)[:, -1] if len(self._own) else torch.ones(1)
        if float(smallest.min()) < 1e-10:
            raise ConfigError("a generator is singular: elements of a group are invertible")
        self.size = n
        turns = (self._own.mT @ self._own - torch.eye(n, dtype=torch.float64)).abs()
        skew = (self._lie + self._lie.mT).abs()
        self.orthogonal = all(x.numel() == 0 or float(x.max()) < 1e-10 for x in (turns, skew))

    def generators(self, n: int) -> Float[Tensor, "count n n"]:
        """As given."""
        self.check(n)
        return self._own.clone()

    def lie_algebra(self, n: int) -> Float[Tensor, "count n n"]:
        """As given."""
        self.check(n)
        return self._lie.clone()

    def __repr__(self) -> str:
        return f"a group of matrices of size {self.size}"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


GROUPS: dict[str, type[Group]] = {
    "S": SymmetricGroup,
    "A": AlternatingGroup,
    "O": OrthogonalGroup,
    "SO": SpecialOrthogonalGroup,
    "Sp": SymplecticGroup,
}


def as_group(group: Group | type[Group] | str) -> Group:
    """A group, from itself, its class, or its name.

    Args:
        group: a `Group`; the class of a family; or "S", "A", "O", "SO", "Sp" ("O(n)" is also
            understood).

    Raises:
        ConfigError: for another name, or a class that needs generators.
    """
    if isinstance(group, Group):
        return group
    if isinstance(group, str):
        found = GROUPS.get(group.removesuffix("(n)"))
        if found is None:
            raise ConfigError(f"no family of groups is called {group!r}: {nearest(group, GROUPS)}")
        return found()
    if group not in GROUPS.values():
        raise ConfigError(f"{group.__name__} is given by generators: make one first")
    return group()


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


def _plane_rotations(n: int) -> Tensor:
    lie = torch.zeros(max(n - 1, 0), n, n, dtype=torch.float64)
    every = torch.arange(n - 1)
    lie[every, every, every + 1], lie[every, every + 1, every] = -1.0, 1.0
    return lie


def _haar(n: int, generator: torch.Generator | None) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    turn: Tensor = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)
    return turn
