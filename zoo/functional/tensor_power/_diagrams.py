"""Diagrams: labelled structures on l output and k input vertices, each an equivariant map.

Vertices 0 to l - 1 are the axes of the output, l to l + k - 1 those of the input. All vertices of a
block have one index; entries of the map are

    W[i_0 ... i_{l+k-1}] = product of deltas over blocks x epsilon(indices of the legs),

the epsilon only where there are legs: blocks that carry the signs of an alternating tensor. With
n - 1 legs its last index is summed over.

- Partition diagrams (S_n): set partitions.
- Brauer diagrams (O(n), Sp(n)): perfect matchings; for Sp(n), pairs on one side carry J.
- Brauer-Grood diagrams (SO(n)): n free vertices, the legs, and pairs.
- Jellyfish (A_n): partitions into n or n - 1 blocks, all of them legs.

Sources: Pearce-Crump, arXiv:2212.08648 (S_n), 2301.10152 (A_n), 2212.08630 (O, SO, Sp).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from zoo.errors import ConfigError
from zoo.functional.tensor_power._counts import check_orders, stirling
from zoo.functional.tensor_power._families import (
    AlternatingGroup,
    OrthogonalGroup,
    SpecialOrthogonalGroup,
    SymmetricGroup,
    SymplecticGroup,
    as_group,
)
from zoo.functional.tensor_power._groups import Group

Block = tuple[int, ...]
#: diagrams that are listed at most
MOST = 200_000


@dataclass(frozen=True)
class Diagram:
    """One map.

    Attributes:
        blocks: of the vertices, each in ascending order, in the order of their first vertices.
        legs: numbers of the blocks that carry the epsilon.
        symplectic: whether pairs on one side carry J instead of delta.
    """

    blocks: tuple[Block, ...]
    legs: tuple[int, ...] = ()
    symplectic: bool = False

    def sides(self, order_out: int) -> tuple[list[int], list[int], list[int]]:
        """Numbers of the blocks with outputs only, with both, and with inputs only."""
        top, cross, bottom = [], [], []
        for number, block in enumerate(self.blocks):
            if block[-1] < order_out:
                top.append(number)
            elif block[0] >= order_out:
                bottom.append(number)
            else:
                cross.append(number)
        return top, cross, bottom


def set_partitions(m: int, max_blocks: int | None = None) -> Iterator[tuple[Block, ...]]:
    """Partitions of 0 to m - 1 into blocks, at most `max_blocks` of them."""
    most = m if max_blocks is None else max_blocks

    def extend(vertex: int, blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
        if vertex == m:
            yield blocks
            return
        for place, block in enumerate(blocks):
            yield from extend(vertex + 1, (*blocks[:place], (*block, vertex), *blocks[place + 1 :]))
        if len(blocks) < most:
            yield from extend(vertex + 1, (*blocks, (vertex,)))

    yield from extend(0, ())


def perfect_matchings(vertices: int | Block) -> Iterator[tuple[Block, ...]]:
    """Partitions of some vertices, or of 0 to m - 1, into pairs; none of an odd number."""
    every = tuple(range(vertices)) if isinstance(vertices, int) else vertices
    if not every:
        yield ()
        return
    first, *rest = every
    for place, partner in enumerate(rest):
        others = tuple(rest[:place] + rest[place + 1 :])
        for pairs in perfect_matchings(others):
            yield ((first, partner), *pairs)


def brauer_grood(m: int, n: int) -> Iterator[Diagram]:
    """Diagrams with n free vertices, the legs; none unless m - n is even and not negative."""
    for free in combinations(range(m), n):
        others = tuple(v for v in range(m) if v not in free)
        for pairs in perfect_matchings(others):
            blocks = tuple(sorted([*pairs, *((v,) for v in free)]))
            yield Diagram(blocks, tuple(blocks.index((v,)) for v in free))


def jellyfish(m: int, n: int) -> Iterator[Diagram]:
    """Partitions into n - 1 or n blocks, all of them legs; none for n = 1, where A_n is S_n."""
    for blocks in set_partitions(m, n):
        if n > 1 and len(blocks) in (n - 1, n):
            yield Diagram(blocks, tuple(range(len(blocks))))


def diagrams(
    group: Group | type[Group] | str, n: int | None, order_in: int, order_out: int
) -> tuple[Diagram, ...]:
    """The diagrams that span the equivariant maps.

    Args:
        group: S_n, A_n, O(n), SO(n) or Sp(n); see `as_group`.
        n: of the space; None for all diagrams of S_n, O(n) or Sp(n) of any n. For S_n, a
            given n leaves out partitions into more blocks, which then depend on the others.
        order_in: k.
        order_out: l.

    Raises:
        ConfigError: for other groups, which have none; for A_n and SO(n) without n; for more
            diagrams than are listed.
    """
    of = as_group(group)
    check_orders(order_in, order_out)
    if n is not None:
        of.check(n)
    count = _count(of, n, order_in + order_out)
    if count > MOST:
        raise ConfigError(
            f"{of} has {count} diagrams of orders {order_in} -> {order_out}; at most {MOST} are "
            "listed. Take lower orders"
        )
    return tuple(_spanning(of, n, order_in + order_out))


def _count(group: Group, n: int | None, m: int) -> int:
    """How many there are."""
    if isinstance(group, (SymmetricGroup, AlternatingGroup)):
        most = m if n is None else min(n, m)
        jelly = isinstance(group, AlternatingGroup) and n != 1
        blocks = [*range(most + 1), *((n - 1, n) if n is not None and jelly else ())]
        return sum(stirling(m, t) for t in blocks)
    pairs = [math.prod(range(k - 1, 0, -2)) * (k % 2 == 0) for k in range(m + 1)]
    free = n is not None and n <= m and isinstance(group, SpecialOrthogonalGroup)
    return pairs[m] + (math.comb(m, n) * pairs[m - n] if free and n is not None else 0)


def _spanning(group: Group, n: int | None, m: int) -> Iterator[Diagram]:
    if isinstance(group, (AlternatingGroup, SpecialOrthogonalGroup)) and n is None:
        raise ConfigError(f"the diagrams of {group} depend on n: say which")
    if isinstance(group, (SymmetricGroup, AlternatingGroup)):
        yield from (Diagram(blocks) for blocks in set_partitions(m, n))
        if isinstance(group, AlternatingGroup) and n is not None:
            yield from jellyfish(m, n)
    elif isinstance(group, (OrthogonalGroup, SpecialOrthogonalGroup, SymplecticGroup)):
        form = isinstance(group, SymplecticGroup)
        yield from (Diagram(pairs, symplectic=form) for pairs in perfect_matchings(m))
        if isinstance(group, SpecialOrthogonalGroup) and n is not None:
            yield from brauer_grood(m, n)
    else:
        raise ConfigError(
            f"{group} has no diagrams here; its maps have the bases of kind 'numerical' and, for "
            "permutations, 'orbit'"
        )
