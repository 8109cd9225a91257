"""Contractions of two tensors as matrix products, with axes ordered so that little is copied.

A step takes a large tensor A and a small one B. Where the summed axes of A lie side by side, it is
one product of matrices: (before, summed, after) of A with (new, summed) of B gives (before, new,
after), in which nothing of A is moved. In which order axes stand decides whether the next step is
such a product too; the orders are searched for the least cost, in numbers copied: many small
products cost as much as copies do, and each call as much as copying thousands of numbers.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["right", "left", "batch", "scale", "einsum"]
#: orders of axes that are looked at, in all steps together
_TRIED: Final = 3000
#: in numbers copied: a call of einsum, one matrix of a batch of them
_CALL, _MATRIX = 5000, 1500


@dataclass(frozen=True)
class Step:
    """Two tensors contracted to one, which is appended to the list; the two are removed.

    Attributes:
        first: place of the first tensor in the list, before the second.
        second: of the second.
        equation: of the two, for einsum.
        operations: multiply-adds.
        scales: whether the marked index takes part.
        kind: A times B transposed ("right"), B times A ("left") or times each matrix of A
            ("batch"), B and A entry by entry ("scale"), or "einsum".
        swapped: whether the second is the large tensor A.
        moved: axes of A, where they have to be moved; else empty.
        large: shape of A as one matrix or a batch of them; -1 for what has the marked index.
        small: axes of B: new ones, then summed ones.
        rows: shape of B as a matrix (for "scale" against A).
        result: shape of the result; -1 for the marked index.
        turned: axes of the result, where it has to be turned at the end; else empty.
    """

    first: int
    second: int
    equation: str
    operations: int
    scales: bool
    kind: Kind = "einsum"
    swapped: bool = False
    moved: tuple[int, ...] = ()
    large: tuple[int, ...] = ()
    small: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    result: tuple[int, ...] = ()
    turned: tuple[int, ...] = ()

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """The contraction of the two."""
        if self.kind == "einsum":
            return torch.einsum(self.equation, first, second)
        a, b = (second, first) if self.swapped else (first, second)
        b = b.permute(self.small).reshape(self.rows)
        out = a * b if self.kind == "scale" else self._product(a, b)
        return out.permute(self.turned) if self.turned else out

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        """Of matrices, or of a batch of them."""
        a = (a.permute(self.moved) if self.moved else a).reshape(self.large)
        if self.kind == "right":
            out = functional.linear(a, b)
        elif self.kind == "left":
            out = b @ a
        else:
            out = torch.bmm(b.expand(len(a), -1, -1), a)
        return out.reshape(self.result)


def arrange(
    terms: Sequence[str],
    output: str,
    sizes: dict[str, int],
    pairs: Sequence[tuple[int, int]],
    marked: str,
) -> list[Step]:
    """Steps for contractions in a given order, with the axes of what is in between.

    Args:
        terms: indices of each tensor.
        output: indices of the result.
        sizes: of the indices.
        pairs: places in the list of tensors, from which both are removed and to which the result
            is appended.
        marked: an index that steps tell of, and whose size may be another when they are made.
    """
    search = _Search(output, sizes, tuple(pairs), marked)
    search.visit(tuple(terms), 0, 0, ())
    assert search.best is not None  # einsum can do every step
    return list(search.best)


@dataclass
class _Search:
    """Depth first over orders of axes, cheapest first, within a number of them."""

    output: str
    sizes: dict[str, int]
    pairs: tuple[tuple[int, int], ...]
    marked: str
    best: tuple[Step, ...] | None = None
    lowest: float = math.inf
    tried: int = 0

    def visit(
        self, terms: tuple[str, ...], number: int, cost: int, steps: tuple[Step, ...]
    ) -> None:
        """All ways to go on from here that may be better than the best."""
        if number == len(self.pairs):
            self.best, self.lowest = steps, cost
            return
        i, j = sorted(self.pairs[number])
        rest = tuple(term for k, term in enumerate(terms) if k not in (i, j))
        wanted = set(self.output).union(*rest)
        final = number == len(self.pairs) - 1
        options = sorted(self._options(terms[i], terms[j], wanted, final), key=lambda o: o[0])
        both = set(terms[i] + terms[j])
        for copied, result, details in options:
            self.tried += 1
            if self.best is not None and (cost + copied >= self.lowest or self.tried > _TRIED):
                return
            step = Step(
                i,
                j,
                f"{terms[i]},{terms[j]}->{result}",
                math.prod(self.sizes[c] for c in both),
                self.marked != "" and self.marked in both,
                **details,
            )
            self.visit((*rest, result), number + 1, cost + copied, (*steps, step))

    def _size(self, indices: str) -> int:
        return math.prod(self.sizes[c] for c in indices)

    def _flat(self, indices: str) -> int:
        """Size of an axis that holds several; open if the marked one is among them."""
        return -1 if self.marked and self.marked in indices else self._size(indices)

    def _options(
        self, first: str, second: str, wanted: set[str], final: bool
    ) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Cost, indices of the result, fields of the step."""
        natural = "".join(dict.fromkeys(c for c in first + second if c in wanted))
        both = set(first) & set(second)
        alone = {c for c in {*first, *second} - both if c not in wanted}
        plain = len(set(first)) == len(first) and len(set(second)) == len(second) and not alone
        swapped = self._size(second) > self._size(first)
        if self.marked and (self.marked in first) != (self.marked in second):
            swapped = self.marked in second
        a, b = (second, first) if swapped else (first, second)
        if plain and both and not both & wanted:
            for cost, result, details in self._products(a, b, both):
                yield self._ended(cost, result, {**details, "swapped": swapped}, final)
        if plain and set(b) <= set(a) and both <= wanted:
            small = tuple(b.index(c) for c in a if c in b)
            rows = tuple(self.sizes[c] if c in b else 1 for c in a)
            details = {"kind": "scale", "swapped": swapped, "small": small, "rows": rows}
            if self.marked not in b or not self.marked:
                yield self._ended(self._size(a), a, details, final)
        # einsum moves what it has to
        cost = _CALL + self._size(first) + self._size(second) + self._size(natural)
        yield cost, self.output if final else natural, {}

    def _ended(
        self, cost: int, result: str, details: dict[str, Any], final: bool
    ) -> tuple[int, str, dict[str, Any]]:
        """The last result is turned to the order that was asked for."""
        details["result"] = tuple(self._flat(c) for c in result)
        if not final or result == self.output:
            return cost, result, details
        details["turned"] = tuple(result.index(c) for c in self.output)
        return cost + self._size(result), self.output, details

    def _products(
        self, a: str, b: str, both: set[str]
    ) -> Iterator[tuple[int, str, dict[str, Any]]]:
        new = [c for c in b if c not in both]
        frees = itertools.permutations(new) if len(new) <= 3 else [tuple(new)]
        for order, free in itertools.product(self._orders(a, both), map("".join, frees)):
            start = next(k for k, c in enumerate(order) if c in both)
            summed = order[start : start + len(both)]
            before, after = order[:start], order[start + len(both) :]
            cost = self._size(a) if order != a else 0
            if b not in (free + summed, summed + free):
                cost += self._size(b)
            details: dict[str, Any] = {
                "moved": tuple(a.index(c) for c in order) if order != a else (),
                "small": tuple(b.index(c) for c in free + summed),
                "rows": (self._size(free), self._size(summed)),
            }
            if not after:
                details |= {"kind": "right", "large": (self._flat(before), self._size(summed))}
            elif not before:
                details |= {"kind": "left", "large": (self._size(summed), self._flat(after))}
            else:
                cost += _MATRIX * self._size(before)
                large = (self._flat(before), self._size(summed), self._flat(after))
                details |= {"kind": "batch", "large": large}
            yield cost, before + free + after, details

    def _orders(self, a: str, both: set[str]) -> list[str]:
        """Orders of the large tensor's axes in which those to be summed lie side by side."""
        places = [k for k, c in enumerate(a) if c in both]
        summed = "".join(a[k] for k in places)
        others = "".join(c for c in a if c not in both)
        found = [a] if places[-1] - places[0] + 1 == len(places) else []
        rest = [others]
        if self.marked and self.marked in others:
            bare = others.replace(self.marked, "")
            rest += [self.marked + bare, bare + self.marked]
        found += [order for each in rest for order in (each + summed, summed + each)]
        return list(dict.fromkeys(found))
