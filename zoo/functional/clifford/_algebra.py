"""Clifford algebras Cl(p, q, r): blades, signs and the paths of grades through a product.

Generators e1 to ep square to +1, the next q to -1, the last r to 0. Blades are in short-lex order:
by grade, then lexicographic (1, e1, ..., en, e12, e13, ...). Everything is computed once per
signature, in integers and float64.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from zoo.errors import ConfigError

#: the largest p + q + r: 256 blades, 65,536 pairs of them
LIMIT = 8

#: left grade, output grade, right grade
Path = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Algebra:
    """The tables of one signature; get it from `algebra`, which builds each only once.

    Attributes:
        signature: (p, q, r).
        metric: squares of the generators.
        masks: of each blade, the generators in it as bits.
        grades: of each blade.
        sizes: number of blades of each grade.
        squares: of each blade, the product of its generators' squares: reverse(e) e.
        signs: (blades, blades), sign of e_i e_k; the product is `signs[i, k] e_{target[i, k]}`.
        target: (blades, blades), which blade the product is.
        paths: of grades through the geometric product, sorted by (left, output, right).
    """

    signature: tuple[int, int, int]
    metric: tuple[int, ...]
    masks: tuple[int, ...]
    grades: tuple[int, ...]
    sizes: tuple[int, ...]
    squares: tuple[int, ...]
    signs: np.ndarray
    target: np.ndarray
    paths: tuple[Path, ...]

    @property
    def dimension(self) -> int:
        """The number of generators, n = p + q + r."""
        return len(self.metric)

    @property
    def blades(self) -> int:
        """The number of blades, 2^n."""
        return len(self.masks)

    def slice(self, grade: int) -> slice:
        """Where the blades of a grade stand.

        Raises:
            ConfigError: for a grade that the algebra doesn't have.
        """
        if not 0 <= grade <= self.dimension:
            raise ConfigError(
                f"grade {grade} is not one of Cl{self.signature}: 0..{self.dimension}"
            )
        start = sum(self.sizes[:grade])
        return slice(start, start + self.sizes[grade])

    def names(self) -> list[str]:
        """Of the blades: 1, e1, e2, ..., e12, ..."""
        words = [
            "".join(str(v + 1) for v in range(self.dimension) if mask >> v & 1)
            for mask in self.masks
        ]
        return [f"e{word}" if word else "1" for word in words]


def algebra(p: int, q: int = 0, r: int = 0) -> Algebra:
    """The Clifford algebra with p generators of square +1, q of square -1 and r of square 0.

    Raises:
        ConfigError: for negative numbers, none at all, or p + q + r > 8; it says how much memory
            the tables would take.
    """
    n = p + q + r
    if min(p, q, r) < 0 or n == 0:
        raise ConfigError(f"Cl({p}, {q}, {r}): a signature has numbers >= 0, one of them positive")
    if n > LIMIT:
        raise ConfigError(
            f"Cl({p}, {q}, {r}) has p + q + r = {n} > {LIMIT}: one number per multivector becomes "
            f"2^{n} = {2**n:,}, and its tables would take {_size(4**n * 16)}, one product "
            f"{4**n:,} multiplications; take p + q + r <= {LIMIT}"
        )
    return _build(int(p), int(q), int(r))


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count = -(-count // 1024)
    return f"{count:,} {unit}"


@functools.cache
def _build(p: int, q: int, r: int) -> Algebra:
    metric = (1,) * p + (-1,) * q + (0,) * r
    n = p + q + r
    chosen = [c for grade in range(n + 1) for c in itertools.combinations(range(n), grade)]
    masks = np.array([sum(1 << v for v in c) for c in chosen])
    grades = np.array([len(c) for c in chosen])
    squares = _squares(masks, metric)
    place = np.empty(2**n, dtype=np.int64)
    place[masks] = np.arange(2**n)
    left, right = masks[:, None], masks[None, :]
    signs = _swaps(left, right, n) * _squares(left & right, metric)
    target = place[left ^ right]
    i, k = np.nonzero(signs)
    paths = sorted(set(zip(grades[i], grades[target[i, k]], grades[k], strict=True)))
    for table in (signs, target):
        table.setflags(write=False)
    return Algebra(
        signature=(p, q, r),
        metric=metric,
        masks=tuple(int(m) for m in masks),
        grades=tuple(int(g) for g in grades),
        sizes=tuple(int(s) for s in np.bincount(grades)),
        squares=tuple(int(s) for s in squares),
        signs=signs,
        target=target,
        paths=tuple((int(a), int(b), int(c)) for a, b, c in paths),
    )


def _squares(masks: np.ndarray, metric: tuple[int, ...]) -> np.ndarray:
    """The product of the squares of the generators in each mask."""
    result = np.ones(masks.shape, dtype=np.int64)
    for v, square in enumerate(metric):
        result = np.where(masks >> v & 1, result * square, result)
    return result


def _swaps(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    """(-1)^(swaps that sort the generators of left, then right)."""
    count = np.zeros(np.broadcast_shapes(left.shape, right.shape), dtype=np.int64)
    for v in range(n):  # generators of the right factor pass all later ones of the left
        later = sum((left >> u & 1 for u in range(v + 1, n)), start=np.zeros_like(count))
        count = count + np.where(right >> v & 1, later, 0)
    return 1 - 2 * (count % 2)
