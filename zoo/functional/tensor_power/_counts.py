"""Dimensions of spaces of equivariant maps (R^n)^(x)k -> (R^n)^(x)l, in closed form.

They depend on m = k + l alone, as the map is an invariant element of order m:

- S_n: sum over t <= n of the Stirling numbers S(m, t);
- A_n: that and S(m, n) + S(m, n - 1);
- O(n): sum of f^lambda over the partitions of m with even rows, at most n of them; f^lambda counts
  the standard tableaux, by hook lengths; SO(n): and those with exactly n rows, all odd;
- Sp(n): partitions with even columns and at most n rows;
- permutation groups: the number of orbits of m-tuples, by Burnside.

Sources: Maron et al., arXiv:1812.09902 (S_n); Pearce-Crump, arXiv:2212.08648 (S_n), 2301.10152
(A_n), 2212.08630 (O, SO, Sp), 2307.07810 (automorphisms of graphs); Weyl, The classical groups.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np

from zoo.errors import ConfigError
from zoo.functional.tensor_power._families import (
    AlternatingGroup,
    OrthogonalGroup,
    SpecialOrthogonalGroup,
    SymmetricGroup,
    SymplecticGroup,
    as_group,
)
from zoo.functional.tensor_power._given import LISTED, PermutationGroup
from zoo.functional.tensor_power._groups import Group
from zoo.functional.tensor_power._null_space import null_space
from zoo.functional.tensor_power._orbits import orbit_labels


def hom_dimension(group: Group | type[Group] | str, n: int, order_in: int, order_out: int) -> int:
    """Dimension of the space of equivariant linear maps (R^n)^(x)k -> (R^n)^(x)l.

    Args:
        group: see `as_group`.
        n: dimension of the space.
        order_in: k.
        order_out: l.

    Raises:
        ConfigError: for a group that does not act on R^n, negative orders, or orders at which a
            group without a closed formula would need too much memory.
    """
    of = as_group(group)
    of.check(n)
    check_orders(order_in, order_out)
    m = order_in + order_out
    if isinstance(of, SymmetricGroup):
        return _symmetric(m, n)
    if isinstance(of, AlternatingGroup):
        more = stirling(m, n) + stirling(m, n - 1) if n > 1 else 0
        return _symmetric(m, n) + more
    if isinstance(of, (OrthogonalGroup, SpecialOrthogonalGroup)):
        turned = isinstance(of, SpecialOrthogonalGroup)
        return sum(_tableaux(rows) for rows in _integer(m) if _is_orthogonal(rows, n, turned))
    if isinstance(of, SymplecticGroup):
        fits = (rows for rows in _integer(m) if len(rows) <= n and _all_even(_columns(rows)))
        return sum(_tableaux(rows) for rows in fits)
    if isinstance(of, PermutationGroup):
        return _orbits(of, n, m)
    return len(null_space(of, n, order_in, order_out))


def check_orders(order_in: int, order_out: int) -> None:
    """Refuses negative orders.

    Raises:
        ConfigError: naming both.
    """
    if min(order_in, order_out) < 0:
        raise ConfigError(f"order_in={order_in}, order_out={order_out}: expected 0 or more")


@functools.cache
def stirling(m: int, t: int) -> int:
    """The number of partitions of m things into t blocks."""
    if m == t:
        return 1
    if not 0 < t < m:
        return 0
    return t * stirling(m - 1, t) + stirling(m - 1, t - 1)


def _symmetric(m: int, n: int) -> int:
    return sum(stirling(m, t) for t in range(min(m, n) + 1))


def _integer(m: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of m, rows in descending order."""
    if m == 0:
        yield ()
        return
    for first in range(min(m, m if largest is None else largest), 0, -1):
        for rest in _integer(m - first, first):
            yield (first, *rest)


def _columns(rows: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(row > k for row in rows) for k in range(rows[0] if rows else 0))


def _all_even(parts: tuple[int, ...]) -> bool:
    return all(part % 2 == 0 for part in parts)


def _is_orthogonal(rows: tuple[int, ...], n: int, turned: bool) -> bool:
    if len(rows) <= n and _all_even(rows):
        return True
    return turned and len(rows) == n and all(row % 2 for row in rows)


def _tableaux(rows: tuple[int, ...]) -> int:
    """f^lambda, by hook lengths."""
    columns = _columns(rows)
    hooks = (row - j + columns[j] - i - 1 for i, row in enumerate(rows) for j in range(row))
    return math.factorial(sum(rows)) // math.prod(hooks)


def _orbits(group: PermutationGroup, n: int, m: int) -> int:
    elements = group.elements()
    if elements is None:  # too many elements to list; the tuples may be fewer
        return int(orbit_labels(group, n, m, f"with more than {LISTED} elements").max()) + 1
    fixed = (elements == np.arange(n)).sum(axis=1).tolist()
    total: int = sum(int(count) ** m for count in fixed)
    return total // len(elements)
