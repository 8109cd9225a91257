"""Products as lists of signed terms: what is compiled from the sparse table of an algebra.

Every product here is a bilinear map z_row = sum of s x_i y_k over the terms of the row, one row per
output blade (plain products) or one per output blade and path of grades (weighted ones). Turned
round, the same terms give both derivatives.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoo.functional.clifford._algebra import Algebra, algebra

Kind = Literal["geometric", "wedge", "inner", "left", "regressive"]
#: (place in the first operand, place in the second, whether the sign is +)
Term = tuple[int, int, bool]
#: terms of each output
Lists = tuple[tuple[Term, ...], ...]
#: (place in the second operand, rows, places in the first operand, signs)
Group = tuple[int, Tensor, Tensor, Tensor]
#: the most terms that are written out one by one: those of five generators
UNROLLED = 1024


@dataclass(frozen=True, eq=False)
class Plan:
    """One bilinear product.

    Attributes:
        z: terms (i, k) of each row.
        x: terms (row, k) of the derivative by each x_i.
        y: terms (row, i) of the derivative by each y_k.
        blade: the output blade of each row.
        path: the path of each row, 0 for plain products.
    """

    z: Lists
    x: Lists
    y: Lists
    blade: tuple[int, ...]
    path: tuple[int, ...]

    @functools.cached_property
    def large(self) -> bool:
        """Whether there are so many terms that they are taken many at a time."""
        return sum(map(len, self.z)) > UNROLLED

    @functools.cached_property
    def grouped(self) -> dict[str, tuple[Group, ...]]:
        """The terms of `z`, `x` and `y` grouped by their second operand."""
        sides = {"z": self.z, "x": self.x, "y": self.y}
        return {name: _grouped(lists) for name, lists in sides.items()}


@dataclass(frozen=True, eq=False)
class Weighted:
    """The terms of a product with a weight per path, turned each way.

    Attributes:
        z: rows (path, output blade, terms (i, k)).
        x: rows (path, left blade, terms (output, k)).
        y: rows (path, right blade, terms (output, i)).
    """

    z: tuple[tuple[int, int, tuple[Term, ...]], ...]
    x: tuple[tuple[int, int, tuple[Term, ...]], ...]
    y: tuple[tuple[int, int, tuple[Term, ...]], ...]


@dataclass(frozen=True, eq=False)
class Square:
    """The whole table of the geometric product, an entry for each left and output blade.

    Attributes:
        right: (blades^2,), the right factor that takes the left blade to the output.
        path: (blades^2,), the path of grades.
        sign: (blades^2,), in float64; 0 where generators of square 0 meet.
    """

    right: Tensor
    path: Tensor
    sign: Tensor


def square(of: Algebra) -> Square:
    """The table of the geometric product by left and output blade."""
    return _square(*of.signature)


def plain(of: Algebra, kind: Kind) -> Plan:
    """A product with one row per output blade."""
    return _plain(*of.signature, kind)


def by_path(of: Algebra) -> Plan:
    """The geometric product with one row per output blade and path, sorted by blade, then path."""
    return _by_path(*of.signature)


def weighted(of: Algebra) -> Weighted:
    """The geometric product for weights per path."""
    return _weighted(*of.signature)


@functools.cache
def _plain(p: int, q: int, r: int, kind: Kind) -> Plan:
    of = algebra(p, q, r)
    return _plan(_terms(of, kind), of.blades, range(of.blades), [0] * of.blades)


@functools.cache
def _by_path(p: int, q: int, r: int) -> Plan:
    of = algebra(p, q, r)
    number = {path: place for place, path in enumerate(of.paths)}
    # with generators of square 0 some rows have no terms; they stay, so that each blade of a grade
    # has the same paths
    keys = [
        (j, place)
        for j in range(of.blades)
        for place, path in enumerate(of.paths)
        if path[1] == of.grades[j]
    ]
    rows = {key: row for row, key in enumerate(keys)}
    terms = [
        (i, k, rows[j, number[of.grades[i], of.grades[j], of.grades[k]]], sign)
        for i, k, j, sign in _terms(of, "geometric")
    ]
    return _plan(terms, of.blades, [j for j, _ in keys], [path for _, path in keys])


@functools.cache
def _weighted(p: int, q: int, r: int) -> Weighted:
    of = algebra(p, q, r)
    number = {path: place for place, path in enumerate(of.paths)}
    z, x, y = (defaultdict[tuple[int, int], list[Term]](list) for _ in range(3))
    for i, k, j, sign in _terms(of, "geometric"):
        path = number[of.grades[i], of.grades[j], of.grades[k]]
        z[path, j].append((i, k, sign > 0))
        x[path, i].append((j, k, sign > 0))
        y[path, k].append((j, i, sign > 0))
    rows = [
        tuple((path, blade, _positive_first(terms)) for (path, blade), terms in sorted(d.items()))
        for d in (z, x, y)
    ]
    return Weighted(*rows)


@functools.cache
def _square(p: int, q: int, r: int) -> Square:
    of = algebra(p, q, r)
    number = {path: place for place, path in enumerate(of.paths)}
    right, path = (np.zeros((of.blades, of.blades), dtype=np.int64) for _ in range(2))
    sign = np.zeros((of.blades, of.blades))
    for i in range(of.blades):
        for k in range(of.blades):
            j = of.target[i, k]
            right[i, j], sign[i, j] = k, of.signs[i, k]
            path[i, j] = number.get((of.grades[i], of.grades[j], of.grades[k]), 0)
    return Square(*(torch.from_numpy(table.reshape(-1)) for table in (right, path, sign)))


def _terms(of: Algebra, kind: Kind) -> list[tuple[int, int, int, int]]:
    """(left, right, output, sign) of every non-zero term."""
    if kind == "regressive":
        return _regressive(of)
    i, k = np.nonzero(of.signs)
    j = of.target[i, k]
    grades = np.array(of.grades)
    a, b, c = grades[i], grades[k], grades[j]
    keep = {
        "geometric": np.ones_like(i, dtype=bool),
        "wedge": c == a + b,
        "inner": (c == np.abs(a - b)) & (a > 0) & (b > 0),
        "left": c == b - a,
    }[kind]
    columns = (i[keep], k[keep], j[keep], of.signs[i, k][keep])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _regressive(of: Algebra) -> list[tuple[int, int, int, int]]:
    """The wedge of right complements, brought back by the left complement; no metric enters."""
    free = algebra(0, 0, of.dimension)  # its product is the wedge
    place = {mask: b for b, mask in enumerate(of.masks)}
    complement = [place[of.masks[-1] ^ mask] for mask in of.masks]
    right = [int(free.signs[b, complement[b]]) for b in range(of.blades)]
    terms = []
    for a in range(of.blades):
        for b in range(of.blades):
            u, v = complement[a], complement[b]
            if not free.signs[u, v]:
                continue
            w = int(free.target[u, v])
            j = complement[w]
            sign = right[a] * right[b] * int(free.signs[u, v]) * int(free.signs[j, w])
            terms.append((a, b, j, sign))
    return terms


def _plan(
    terms: list[tuple[int, int, int, int]], blades: int, targets: Sequence[int], path: Sequence[int]
) -> Plan:
    z: list[list[Term]] = [[] for _ in targets]
    x: list[list[Term]] = [[] for _ in range(blades)]
    y: list[list[Term]] = [[] for _ in range(blades)]
    for i, k, row, sign in terms:
        z[row].append((i, k, sign > 0))
        x[i].append((row, k, sign > 0))
        y[k].append((row, i, sign > 0))
    first, second, third = (tuple(map(_positive_first, lists)) for lists in (z, x, y))
    return Plan(first, second, third, blade=tuple(targets), path=tuple(path))


def _positive_first(terms: list[Term]) -> tuple[Term, ...]:
    """A row starts with a product that needs no change of sign, where it has one."""
    return tuple(sorted(terms, key=lambda term: not term[2]))


def _grouped(lists: Lists) -> tuple[Group, ...]:
    by: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for row, terms in enumerate(lists):
        for u, v, positive in terms:
            by[v].append((row, u, 1 if positive else -1))
    groups = []
    for v, found in sorted(by.items()):
        rows, places, signs = torch.tensor(found).unbind(1)
        groups.append((v, rows.contiguous(), places.contiguous(), signs.to(torch.float64)))
    return tuple(groups)
