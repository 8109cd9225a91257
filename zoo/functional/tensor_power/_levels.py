"""All diagrams of S_n, O(n) or Sp(n) at once: few pooled tensors, mixed while they are small.

A diagram is how inputs are pooled, a bijection of the c indices that reach the output, and how
those are spread over it. The diagrams with c such indices are all combinations of the three, so
that a layer mixes channels of c-th order tensors once for each c (2 -> 2 of S_n: 15 diagrams, but 6
pooled inputs and 6 outputs).
"""

import functools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.tensor_power._apply import diagonal
from zoo.functional.tensor_power._diagrams import Block, Diagram
from zoo.functional.tensor_power._groups import symplectic_form

Sizes = int | float | Tensor


@dataclass(frozen=True)
class Half:
    """One side of a diagram.

    Attributes:
        blocks: of the side's axes, counted from 0, by their first ones.
        kept: numbers of the blocks that reach the other side.
    """

    blocks: tuple[Block, ...]
    kept: tuple[int, ...]

    @property
    def alone(self) -> int:
        """Blocks that don't reach the other side."""
        return len(self.blocks) - len(self.kept)


@dataclass(frozen=True)
class Level:
    """The diagrams with one number of indices that reach the output.

    Attributes:
        count: of these indices, c.
        inputs: how inputs are pooled.
        outputs: how results are spread.
        orders: bijections; axis p of the result is axis order[p] of what was pooled.
        index: numbers of diagrams (outputs, orders, inputs); -1 where there is none.
    """

    count: int
    inputs: tuple[Half, ...]
    outputs: tuple[Half, ...]
    orders: tuple[tuple[int, ...], ...]
    index: tuple[tuple[tuple[int, ...], ...], ...]


@functools.lru_cache(maxsize=256)
def levels(diagrams: tuple[Diagram, ...], order_out: int) -> tuple[Level, ...]:
    """Diagrams without epsilon, by the number of indices that reach the output.

    Args:
        diagrams: whose numbers the result holds; those with legs are left out.
        order_out: l.

    Returns:
        In ascending order of that number.
    """
    found: dict[int, dict[tuple[Half, tuple[int, ...], Half], int]] = {}
    for number, diagram in enumerate(diagrams):
        if not diagram.legs:
            upper, order, lower = _split(diagram, order_out)
            found.setdefault(len(order), {})[upper, order, lower] = number
    return tuple(_level(count, found[count]) for count in sorted(found))


def _level(count: int, numbers: Mapping[tuple[Half, tuple[int, ...], Half], int]) -> Level:
    uppers, orders, lowers = (tuple(dict.fromkeys(part)) for part in zip(*numbers, strict=True))
    index = tuple(
        tuple(tuple(numbers.get((u, o, w), -1) for w in lowers) for o in orders) for u in uppers
    )
    return Level(count, lowers, uppers, orders, index)


def _split(diagram: Diagram, order_out: int) -> tuple[Half, tuple[int, ...], Half]:
    _, cross, _ = diagram.sides(order_out)
    upper = _half(diagram, cross, range(order_out), 0)
    order_in = sum(map(len, diagram.blocks)) - order_out
    lower = _half(diagram, cross, range(order_out, order_out + order_in), order_out)
    names = [
        _named(diagram, cross, half, shift) for half, shift in ((upper, 0), (lower, order_out))
    ]
    return upper, tuple(names[1].index(name) for name in names[0]), lower


def _half(diagram: Diagram, cross: Sequence[int], side: range, shift: int) -> Half:
    parts = []
    for number, block in enumerate(diagram.blocks):
        own = tuple(v - shift for v in block if v in side)
        parts += [(own, number in cross)] if own else []
    parts.sort()
    return Half(
        tuple(block for block, _ in parts),
        tuple(place for place, (_, reaches) in enumerate(parts) if reaches),
    )


def _named(diagram: Diagram, cross: Sequence[int], half: Half, shift: int) -> list[int]:
    """Numbers of the diagram's blocks that the kept blocks of a half belong to."""
    firsts = [half.blocks[k][0] + shift for k in half.kept]
    return [next(n for n in cross if first in diagram.blocks[n]) for first in firsts]


def pool(
    x: Float[Tensor, "*axes"], half: Half, divisor: Sizes, *, symplectic: bool = False
) -> Tensor:
    """Inputs contracted to the indices that are kept.

    Args:
        x: (..., n, ..., n), the order's axes last.
        half: says how.
        divisor: for each index that is summed over: n for means.
        symplectic: pairs are contracted with J.

    Returns:
        (..., one axis for each kept block).
    """
    order = sum(map(len, half.blocks))
    if len(half.kept) == order:
        return x
    letters = iter(string.ascii_letters)
    names: dict[int, str] = {}
    kept, forms = "", []
    for number, block in enumerate(half.blocks):
        letter = next(letters)
        names |= dict.fromkeys(block, letter)
        if number in half.kept:
            kept += letter
        elif symplectic:
            names[block[1]] = next(letters)
            forms.append(letter + names[block[1]])
    source = "".join(names[axis] for axis in range(order))
    tables = [symplectic_form(x.shape[-1]).to(x) for _ in forms]
    equation = f"{','.join(['...' + source, *forms])}->...{kept}"
    pooled: Tensor = torch.einsum(equation, x, *tables)
    if not half.alone:
        return pooled
    return pooled / _powers(divisor, half.alone, pooled)


def _powers(divisor: Sizes, exponent: int, like: Tensor) -> Tensor | float:
    """divisor^exponent; of one divisor for each sample, along the first axis."""
    if not isinstance(divisor, Tensor):
        return float(divisor) ** exponent
    power = divisor.to(like) ** exponent
    return power.reshape(-1, *[1] * (like.ndim - 1))


def spread(
    parts: Mapping[Half, Tensor], order: int, n: int, *, symplectic: bool = False
) -> Float[Tensor, "*out_axes"]:
    """The sum of results, each spread over a tensor of some order.

    Args:
        parts: half -> (..., one axis for each kept block); small ones first.
        order: of the result.
        n: length of its axes.
        symplectic: pairs that reach no input get J instead of delta.

    Returns:
        (..., n, ..., n).
    """
    if symplectic:
        return torch.stack([_with_forms(half, x, n) for half, x in parts.items()]).sum(dim=0)
    compact: dict[tuple[Block, ...], Tensor] = {}
    for half, x in parts.items():
        lead = x.ndim - len(half.kept)
        for place in range(len(half.blocks)):
            if place not in half.kept:
                x = x.unsqueeze(lead + place)
        before = compact.get(half.blocks)
        compact[half.blocks] = x if before is None else before + x
    total = None
    for blocks, x in sorted(compact.items(), key=lambda item: -len(item[0])):
        spreaded = diagonal(x, blocks, order, n)
        total = spreaded if total is None else total + spreaded
    assert total is not None  # a layer has a diagram at least
    return total.contiguous()


def _with_forms(half: Half, x: Tensor, n: int) -> Tensor:
    letters = iter(string.ascii_letters)
    names: dict[int, str] = {}
    kept, forms = "", []
    for number, block in enumerate(half.blocks):
        own = "".join(next(letters) for _ in block)
        names |= dict(zip(block, own, strict=True))
        if number in half.kept:
            kept += own
        else:
            forms.append(own)
    target = "".join(names[axis] for axis in sorted(names))
    tables = [symplectic_form(n).to(x) for _ in forms]
    out: Tensor = torch.einsum(f"{','.join(['...' + kept, *forms])}->...{target}", x, *tables)
    return out
