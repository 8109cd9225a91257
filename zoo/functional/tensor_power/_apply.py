"""A diagram applied to a tensor, without a matrix of n^l by n^k entries.

Three steps (Pearce-Crump, arXiv:2304.14165; for S_n Godfrey et al., arXiv:2303.06208): inputs are
contracted to the indices that reach the output, where an epsilon or J joins if the diagram has one;
the result is written to a generalised diagonal of zeros; indices that only outputs have are
broadcast along it.
"""

import functools
import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._diagrams import Diagram
from zoo.functional.tensor_power._groups import symplectic_form

#: n of the largest epsilon, which has n^n entries
LARGEST_EPSILON = 6


def apply_diagram(
    x: Float[Tensor, "*axes"], diagram: Diagram, order_out: int, *, n: int | None = None
) -> Float[Tensor, "*out_axes"]:
    """The map of a diagram.

    Args:
        x: (..., n, ..., n) with as many last axes as the diagram has inputs.
        diagram: of `order_out` outputs.
        order_out: l.
        n: of the space, needed where the diagram has no inputs.

    Returns:
        (..., n, ..., n) with l last axes.

    Raises:
        ConfigError: for axes of other lengths, or an epsilon that does not fit n or has n > 6.
    """
    size = space(x, sum(map(len, diagram.blocks)) - order_out, n)
    compact, places = contract(x, diagram, order_out, size)
    return diagonal(compact, places, order_out, size)


def contract(
    x: Float[Tensor, "*axes"], diagram: Diagram, order_out: int, n: int
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The part of a diagram before its diagonal.

    Args:
        x: as for `apply_diagram`.
        diagram: of `order_out` outputs.
        order_out: l.
        n: of the space.

    Returns:
        A tensor with one axis, of length n, or 1 where it is to be broadcast, for each index of the
        output, and the output's axes that have it.
    """
    plan = _plan(diagram, order_out)
    legs = len(diagram.legs)
    tables = [
        (symplectic_form(n) if kind == "form" else alternating(legs, n)).to(x)
        for kind in plan.tables
    ]
    compact = torch.einsum(plan.equation, x, *tables)
    for _ in range(len(plan.places) - plan.kept):
        compact = compact.unsqueeze(-1)
    return compact, list(plan.places)


def diagonal(
    x: Float[Tensor, "*axes"], places: Sequence[Sequence[int]], order: int, n: int
) -> Float[Tensor, "*out_axes"]:
    """Zeros but for a generalised diagonal, which holds x.

    Args:
        x: (..., one axis of length n, or 1 to be broadcast, for each of `places`).
        places: axes of the result which each axis of x runs along.
        order: axes of the result.
        n: their length.

    Returns:
        (..., n, ..., n).
    """
    lead = x.ndim - len(places)
    ordered = sorted(range(len(places)), key=lambda k: places[k][0])
    x = x.permute(*range(lead), *(lead + k for k in ordered))
    x = x.expand(*x.shape[:lead], *[n] * len(places))
    if len(places) == order:
        return x
    out = x.new_zeros(*x.shape[:lead], *[n] * order)
    along_diagonal(out, [places[k] for k in ordered], lead).copy_(x)
    return out


def along_diagonal(x: Tensor, places: Sequence[Sequence[int]], lead: int) -> Tensor:
    """A generalised diagonal as a view, one axis for each of `places`, in the order given."""
    names = list(range(x.ndim - lead))  # which axis of x each last axis of the view is
    for place in places:
        for other in place[1:]:
            first, second = names.index(place[0]), names.index(other)
            x = x.diagonal(dim1=lead + first, dim2=lead + second)
            names = [name for name in names if name not in (place[0], other)] + [place[0]]
    return x.permute(*range(lead), *(lead + names.index(place[0]) for place in places))


def space(x: Tensor, order_in: int, n: int | None) -> int:
    """The n of a tensor of this order.

    Raises:
        ConfigError: for axes of several lengths, or another than `n`, or none at all.
    """
    found = {int(size) for size in x.shape[x.ndim - order_in :]} if order_in else set()
    sizes = found | (set() if n is None else {n})
    if x.ndim < order_in or len(sizes) != 1:
        raise ConfigError(
            f"a tensor of shape {tuple(x.shape)} with n={n}: expected {order_in} last axes of one "
            "length, equal to n if that is given, as it must be for order 0"
        )
    return sizes.pop()


@dataclass(frozen=True)
class _Plan:
    """An einsum, its further operands, and the axes of the output which its indices run along."""

    equation: str
    tables: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]
    kept: int


@functools.lru_cache(maxsize=4096)
def _plan(diagram: Diagram, order_out: int) -> _Plan:
    letters = iter(string.ascii_letters)
    inputs: dict[int, str] = {}
    outputs: dict[str, list[int]] = {}
    reached: list[str] = []
    operands: list[tuple[str, str]] = []
    legs = ""
    for number, block in enumerate(diagram.blocks):
        upper = [v for v in block if v < order_out]
        lower = [v for v in block if v >= order_out]
        letter = next(letters)
        if diagram.symplectic and not (upper and lower):
            second = next(letters)
            operands.append(("form", letter + second))
            inputs |= dict(zip(lower, (letter, second), strict=False))
            outputs |= {name: [v] for name, v in zip((letter, second), upper, strict=False)}
            reached += [letter, second] if upper else []
            continue
        inputs |= dict.fromkeys(lower, letter)
        if number in diagram.legs:
            legs += letter
        if upper:
            outputs[letter] = upper
            reached += [letter] if lower or number in diagram.legs else []
    operands += [("epsilon", legs)] if legs else []
    source = "".join(inputs[v] for v in sorted(inputs))
    terms = ["..." + source, *(names for _, names in operands)]
    ordered = [*reached, *(name for name in outputs if name not in reached)]
    return _Plan(
        f"{','.join(terms)}->...{''.join(reached)}",
        tuple(kind for kind, _ in operands),
        tuple(tuple(outputs[name]) for name in ordered),
        len(reached),
    )


def alternating(legs: int, n: int) -> Float[Tensor, "*axes"]:
    """The epsilon of a diagram with n legs, or with n - 1, its last index summed over; float64.

    Raises:
        ConfigError: for another number of legs, or n > 6.
    """
    if n > LARGEST_EPSILON:
        raise ConfigError(f"n={n}: an alternating tensor is made for n up to {LARGEST_EPSILON}")
    if legs not in (n - 1, n):
        raise ConfigError(f"a diagram with {legs} legs needs n={legs} or {legs + 1}, not {n}")
    table = epsilon(n)
    return table if legs == n else table.sum(dim=-1)


def epsilon(n: int) -> Float[Tensor, "*axes"]:
    """The alternating tensor (n, ..., n) of order n in float64: signs of permutations."""
    table = torch.zeros([n] * n, dtype=torch.float64)
    for order in permutations(range(n)):
        swaps = sum(a > b for k, a in enumerate(order) for b in order[k + 1 :])
        table[order] = -1.0 if swaps % 2 else 1.0
    return table
