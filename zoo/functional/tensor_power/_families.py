"""The families S_n, A_n, O(n), SO(n) and Sp(n), each for every n."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.tensor_power._groups import Group, permutation_matrices, symplectic_form


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
    if not isinstance(group, type):
        raise ConfigError(f"{group!r} is no group: expected a Group or one of {', '.join(GROUPS)}")
    if group not in GROUPS.values():
        raise ConfigError(f"{group.__name__} is given by generators: make one first")
    return group()


def _plane_rotations(n: int) -> Tensor:
    lie = torch.zeros(max(n - 1, 0), n, n, dtype=torch.float64)
    every = torch.arange(n - 1)
    lie[every, every, every + 1], lie[every, every + 1, every] = -1.0, 1.0
    return lie


def _haar(n: int, generator: torch.Generator | None) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    turn: Tensor = q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)
    return turn
