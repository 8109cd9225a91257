"""The irreps of a tensor product, and their way between e3nn's layout and component-first rows.

A leg is one of the three spaces. All its irreps have the same multiplicity, the channels. e3nn lays
them out irrep after irrep, channels times components; inside a product they are rows
(components, channels, batch), the irreps sorted as the method wants them.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from e3nn import o3
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import COUPLING_LIMIT


class Irrep(NamedTuple):
    """Degree and parity (1 or -1)."""

    l: int  # noqa: E741
    p: int

    @property
    def dim(self) -> int:
        """Components, 2 l + 1."""
        return 2 * self.l + 1

    @property
    def kind(self) -> int:
        """1 if inversion acts as on the coefficients of a function, -1 for pseudo-functions."""
        return -self.p if self.l % 2 else self.p

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p > 0 else 'o'}"


class Leg:
    """One of the three spaces.

    Args:
        irreps: with the same multiplicity throughout.
        name: of the argument, for messages.
        key: by which a method sorts irreps.

    Raises:
        ConfigError: unreadable or empty irreps, different multiplicities, a degree beyond the
            tables.
    """

    def __init__(self, irreps: Any, name: str, key: Callable[[Irrep], Any]) -> None:
        self.irreps = as_irreps(irreps, name)
        self.channels = _channels(self.irreps, name)
        self.entries = [Irrep(part.ir.l, part.ir.p) for part in self.irreps]
        #: positions of the entries, sorted
        self.order = sorted(range(len(self.entries)), key=lambda i: (key(self.entries[i]), i))
        self.sizes = [self.entries[i].dim for i in self.order]
        self.dim = sum(self.sizes)
        #: numbers in a row of e3nn's layout
        self.width = self.dim * self.channels
        self.lmax = max(entry.l for entry in self.entries)
        self._in_order = self.order == sorted(self.order)
        rows, start = {}, 0
        for i, size in zip(self.order, self.sizes, strict=True):
            rows[i] = slice(start, start + size)
            start += size
        #: rows of each entry
        self.rows = [rows[i] for i in range(len(self.entries))]

    def to_rows(self, x: Tensor, channels: int) -> Tensor:
        """(batch, irreps.dim) of e3nn to (components, channels, batch); one channel serves all."""
        if self.channels == 1 and self._in_order:
            rows = x.t().contiguous().unsqueeze(1)
        else:
            parts = x.split([part.dim for part in self.irreps], dim=-1)
            blocks = [
                parts[i].unflatten(-1, (self.channels, self.entries[i].dim)).permute(2, 1, 0)
                for i in self.order
            ]
            rows = torch.cat(blocks)
        return rows if channels == self.channels else rows.expand(-1, channels, -1)

    def from_rows(self, rows: Tensor) -> Tensor:
        """(components, channels, batch) to (batch, irreps.dim) of e3nn."""
        if self.channels == 1 and self._in_order:
            return rows.squeeze(1).t().contiguous()
        parts: list[Tensor | None] = [None] * len(self.order)
        for i, block in zip(self.order, rows.split(self.sizes), strict=True):
            parts[i] = block.permute(2, 1, 0).flatten(1)  # (batch, channels * components)
        return torch.cat([part for part in parts if part is not None], dim=-1)


class Legs(NamedTuple):
    """Both inputs and the output."""

    in1: Leg
    in2: Leg
    out: Leg

    def triples(self) -> list[tuple[int, int, int]]:
        """Entries (i, j, k) that rotations and inversions allow to couple, in this order."""
        return [
            (i, j, k)
            for i, a in enumerate(self.in1.entries)
            for j, b in enumerate(self.in2.entries)
            for k, c in enumerate(self.out.entries)
            if allowed(a, b, c)
        ]

    def describe(self, triple: tuple[int, int, int]) -> str:
        """For messages: 1o x 1o -> 2e."""
        i, j, k = triple
        return f"{self.in1.entries[i]} x {self.in2.entries[j]} -> {self.out.entries[k]}"


def allowed(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """Whether the group lets a and b couple to c: triangle rule and parity."""
    return abs(a.l - b.l) <= c.l <= a.l + b.l and a.p * b.p == c.p


def as_irreps(irreps: Any, name: str) -> o3.Irreps:
    """Reads irreps, without those of multiplicity zero.

    Raises:
        ConfigError: unreadable, or none.
    """
    if isinstance(irreps, Iterable) and not isinstance(irreps, str):
        irreps = list(irreps)
    parsed = _parsed(irreps, name).remove_zero_multiplicities()
    if not len(parsed):
        raise ConfigError(f"{name}={str(irreps)!r} holds no irreps; write for example '8x0e+8x1o'")
    return parsed


def _parsed(irreps: Any, name: str) -> o3.Irreps:
    try:
        return o3.Irreps(irreps)
    except (ValueError, TypeError, AssertionError, IndexError) as problem:
        raise ConfigError(
            f"{name}={irreps!r} can't be read as irreps; write for example '8x0e+8x1o'"
        ) from problem


def _channels(irreps: o3.Irreps, name: str) -> int:
    multiplicities = {part.mul for part in irreps}
    if len(multiplicities) > 1:
        raise ConfigError(
            f"{name}={irreps} has multiplicities {sorted(multiplicities)}; a tensor product works "
            "channel by channel and needs one multiplicity throughout (put a Linear before it)"
        )
    highest = max(part.ir.l for part in irreps)
    if highest > COUPLING_LIMIT:
        raise ConfigError(
            f"{name}={irreps} has degree {highest}, beyond the tables, which end at "
            f"{COUPLING_LIMIT}; lower lmax"
        )
    return int(multiplicities.pop())
