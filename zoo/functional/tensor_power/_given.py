"""Groups given by generators: of permutations, and of any matrices."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._groups import Group, permutation_matrices

#: elements of a permutation group that are listed at most
LISTED = 50_000


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
