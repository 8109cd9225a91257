"""Contraction of several tensors: an order that is chosen, and counted, before anything runs.

The order is the cheapest of all (dynamic programming over subsets) up to eight tensors, and
greedy beyond. Each step contracts two tensors; its operations are the product of the sizes of all
indices of the two, multiply-adds. How steps are carried out is in `_layout.py`.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_network._layout import Step, arrange

EXHAUSTIVE: Final = 8


@dataclass(frozen=True)
class Plan:
    """The steps of a contraction.

    Attributes:
        steps: in their order.
        last: einsum's equation where there is only one tensor.
        squeezed: axes of size 1 of each tensor that are left out; none if empty.
    """

    steps: tuple[Step, ...]
    last: str = ""
    squeezed: tuple[tuple[int, ...], ...] = ()

    @property
    def operations(self) -> int:
        """Multiply-adds of all steps."""
        return sum(step.operations for step in self.steps)

    @property
    def widest(self) -> int:
        """Numbers of the largest result in between, for one entry of the marked index."""
        return max((abs(math.prod(step.result)) for step in self.steps if step.scales), default=1)


@functools.lru_cache(maxsize=4096)
def plan(equation: str, shapes: tuple[tuple[int, ...], ...], marked: str = "") -> Plan:
    """The cheapest order of a contraction.

    Args:
        equation: as for einsum, every index one letter, without "...".
        shapes: of the tensors.
        marked: an index, such as the batch; steps in which it takes part are told. Tensors may
            have another size of it when the plan is run.

    Raises:
        ConfigError: for an equation that doesn't fit the shapes.
    """
    terms, output, sizes = _parse(equation, shapes)
    if len(terms) == 1:
        return Plan((), equation)
    # bonds of rank 1 would only make products look like something else
    thin = {c for c, size in sizes.items() if size == 1 and c not in output + marked}
    squeezed = tuple(tuple(k for k, c in enumerate(term) if c in thin) for term in terms)
    terms = ["".join(c for c in term if c not in thin) for term in terms]
    order = _exhaustive if len(terms) <= EXHAUSTIVE else _greedy
    pairs = order([frozenset(term) for term in terms], frozenset(output), sizes)
    steps = tuple(arrange(terms, output, sizes, pairs, marked))
    return Plan(steps, "", squeezed if thin else ())


def run(steps: Plan, tensors: Sequence[Tensor]) -> Tensor:
    """Carries out a plan."""
    current = list(tensors)
    if not steps.steps:
        return torch.einsum(steps.last, current[0])
    if steps.squeezed:
        current = [t.squeeze(k) if k else t for t, k in zip(current, steps.squeezed, strict=True)]
    for step in steps.steps:
        second = current.pop(step.second)
        current.append(step(current.pop(step.first), second))
    return current[0]


def contract(equation: str, *tensors: Tensor) -> Tensor:
    """einsum of any number of tensors, in the cheapest order.

    Args:
        equation: as for einsum, every index one letter, without "...".
        tensors: of one precision; real ones beside complex ones are cast.

    Raises:
        ConfigError: for an equation that doesn't fit the shapes.
    """
    if len({t.dtype for t in tensors}) > 1:
        common = functools.reduce(torch.promote_types, (t.dtype for t in tensors))
        tensors = tuple(t.to(common) for t in tensors)
    if torch.compiler.is_compiling():  # torch plans by itself there; ours can't be traced
        return torch.einsum(equation, *tensors)
    return run(plan(equation, tuple(tuple(t.shape) for t in tensors)), tensors)


def _parse(
    equation: str, shapes: tuple[tuple[int, ...], ...]
) -> tuple[list[str], str, dict[str, int]]:
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != len(shapes):
        raise ConfigError(
            f"the equation {equation!r} names {len(terms)} tensors and the output after '->'; "
            f"{len(shapes)} were given"
        )
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            raise ConfigError(f"{term!r} of {equation!r} names {len(term)} axes of shape {shape}")
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ConfigError(
                    f"the index {letter!r} of {equation!r} has size {sizes[letter]} and {size}"
                )
    if missing := set(output) - set(sizes):
        raise ConfigError(f"{equation!r} asks for indices that no tensor has: {sorted(missing)}")
    return terms, output, sizes


Indices = frozenset[str]


def _kept(members: Sequence[int], terms: Sequence[Indices], output: Indices) -> Indices:
    """Indices of the contraction of some terms that are still needed."""
    inside = frozenset().union(*(terms[k] for k in members))
    outside = output.union(*(terms[k] for k in range(len(terms)) if k not in members))
    return inside & outside


def _exhaustive(
    terms: list[Indices], output: Indices, sizes: dict[str, int]
) -> list[tuple[int, int]]:
    """Optimal pairs by dynamic programming over subsets of the terms."""

    def size(indices: Indices) -> int:
        return math.prod(sizes[c] for c in indices)

    everything = range(len(terms))
    kept: dict[frozenset[int], Indices] = {}
    cost: dict[frozenset[int], tuple[int, int]] = {}
    split: dict[frozenset[int], tuple[frozenset[int], frozenset[int]]] = {}
    for k in everything:
        kept[frozenset([k])], cost[frozenset([k])] = terms[k], (0, 0)
    for count in range(2, len(terms) + 1):
        for chosen in itertools.combinations(everything, count):
            group = frozenset(chosen)
            kept[group] = _kept(chosen, terms, output)
            for part in _halves(chosen):
                other = group - part
                work = size(kept[part] | kept[other])
                total = (
                    cost[part][0] + cost[other][0] + work,
                    cost[part][1] + cost[other][1] + size(kept[group]),
                )
                if group not in cost or total < cost[group]:
                    cost[group], split[group] = total, (part, other)
    return _in_order(split, frozenset(everything), len(terms))


def _halves(chosen: tuple[int, ...]) -> list[frozenset[int]]:
    """One side of every way to cut a set in two; the side with the first member."""
    first, rest = chosen[0], chosen[1:]
    return [
        frozenset((first, *others))
        for count in range(len(rest))
        for others in itertools.combinations(rest, count)
    ]


def _in_order(
    split: dict[frozenset[int], tuple[frozenset[int], frozenset[int]]],
    root: frozenset[int],
    count: int,
) -> list[tuple[int, int]]:
    """Places in the shrinking list for each contraction of a tree."""
    places = [frozenset([k]) for k in range(count)]
    pairs: list[tuple[int, int]] = []

    def visit(group: frozenset[int]) -> None:
        if group not in split:
            return
        a, b = split[group]
        visit(a)
        visit(b)
        i, j = places.index(a), places.index(b)
        pairs.append((i, j))
        places[:] = [g for k, g in enumerate(places) if k not in (i, j)]
        places.append(group)

    visit(root)
    return pairs


def _greedy(terms: list[Indices], output: Indices, sizes: dict[str, int]) -> list[tuple[int, int]]:
    """Pairs whose result is smallest against what goes into it."""

    def size(indices: Indices) -> int:
        return math.prod(sizes[c] for c in indices)

    current, pairs = list(terms), []
    while len(current) > 1:
        options = []
        for i, j in itertools.combinations(range(len(current)), 2):
            made = _kept((i, j), current, output)
            gain = size(made) - size(current[i]) - size(current[j])
            options.append((gain, size(current[i] | current[j]), i, j, made))
        *_, i, j, made = min(options, key=lambda option: option[:4])
        pairs.append((i, j))
        current = [t for k, t in enumerate(current) if k not in (i, j)] + [made]
    return pairs
