"""What the methods behind `TensorProduct` have in common: weights, normalisation, measurement."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from zoo.functional.clebsch_gordan import wigner_3j
from zoo.layers.constants import ConstantModule
from zoo.layers.equivariant import _multilinear
from zoo.layers.equivariant._legs import Irrep, Leg, Legs

#: an entry of a leg, and which of its kinds
Kind = tuple[int, int]
#: numbers that a piece's largest intermediate may hold: a few MB, what a cache keeps
PIECE = 1 << 19


class Method(ConstantModule, ABC):
    """One way to multiply; works on component-first rows (components, channels, batch).

    Args:
        legs: both inputs and the output, sorted by `key`.
    """

    #: whether weights may differ from sample to sample
    per_sample_weights = True
    #: rows of the weights, for each channel
    weight_rows: int
    #: irreps that come out before weights sum them up, for each channel
    outputs: int
    #: (channel, sample) pairs worked on at once
    columns: int
    #: rows of the product
    out_size: int
    #: c_ijk of every triple of entries with weights of one, float64: the path's map is
    #: c_ijk sqrt(2 l3 + 1) w_ijk
    coefficients: Tensor

    def __init__(self, legs: Legs) -> None:
        super().__init__()
        self.legs = legs

    @staticmethod
    def key(irrep: Irrep) -> Any:
        """By what the rows of the output are sorted."""
        return (irrep.p, irrep.l)

    @classmethod
    def input_key(cls, irrep: Irrep) -> Any:
        """By what the rows of the inputs are sorted."""
        return cls.key(irrep)

    @staticmethod
    def expresses(a: Irrep, b: Irrep, c: Irrep) -> bool:
        """Whether this method couples a and b to c where the group allows it."""
        return True

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The product of rows.

        Args:
            x: (components, channels, batch).
            y: (components, channels, batch).
            w: (weight rows, channels or 1, batch or 1), or None for weights of one.
        """

    @abstractmethod
    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The product of a piece, see `_multilinear`."""

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> _multilinear.Gradients:
        """Derivatives of <g, product>, by differentiating the product where a method has no own."""
        return _multilinear.traced_adjoint(self, x, y, w, g)

    def measured(self) -> Tensor:
        """The coefficients of this module with weights of one, in its precision.

        By Wigner and Eckart the components m1 = 0 of x against all of y tell everything.
        """
        first, second, out = self.legs
        like = next(b for b in self.buffers() if b.is_floating_point())
        x = like.new_zeros(first.dim, 1, len(first.entries), second.dim)
        for i, (rows, entry) in enumerate(zip(first.rows, first.entries, strict=True)):
            x[rows.start + entry.l, 0, i] = 1
        y = torch.eye(second.dim).to(like)[:, None, None].expand(-1, 1, len(first.entries), -1)
        with torch.no_grad():
            z = self(x.flatten(2), y.flatten(2), None)
        z = z.reshape(out.dim, len(first.entries), second.dim)
        found = like.new_zeros([len(leg.entries) for leg in self.legs])
        for i, j, k in self.legs.triples():
            a, b, c = first.entries[i], second.entries[j], out.entries[k]
            w = wigner_3j(a.l, b.l, c.l)[a.l].to(like)  # (m2, m3), sum of squares 1 / (2 l1 + 1)
            block = z[out.rows[k], i, second.rows[j]]
            found[i, j, k] = (block.T * w).sum() * a.dim / math.sqrt(c.dim)
        return found


class DegreeWeighted(Method):
    """Methods that weigh irreps, not paths: w1 those of x, w2 those of y, w3 those of the output.

    The weight of a path is the product of three numbers. An irrep may take part in several kinds,
    each with a weight of its own; the rows that a method multiplies are those of all kinds.

    Args:
        legs: both inputs and the output.
        kinds: for each leg the (entry, kind) whose rows the method works on, in its order.
        largest: numbers that one column of the largest intermediate holds.
    """

    rows1: Tensor
    rows2: Tensor
    rows3: Tensor
    weights1: Tensor
    weights2: Tensor
    weights3: Tensor
    scale: Tensor

    def __init__(self, legs: Legs, kinds: tuple[list[Kind], ...], largest: int) -> None:
        super().__init__(legs)
        self.columns = max(PIECE // largest, 16)
        self.plain = [
            members == [(i, 0) for i in leg.order] for leg, members in zip(legs, kinds, strict=True)
        ]
        self.weight_rows = 0
        for name, leg, members in zip("123", legs, kinds, strict=True):
            rows = [torch.arange(leg.rows[i].start, leg.rows[i].stop) for i, _ in members]
            place = {kind: n + self.weight_rows for n, kind in enumerate(sorted(members))}
            owner = [place[i, kind] for i, kind in members for _ in range(leg.entries[i].dim)]
            self.register_buffer(f"rows{name}", torch.cat(rows), persistent=False)
            self.register_buffer(f"weights{name}", torch.tensor(owner), persistent=False)
            self.weight_rows += len(members)
        self.out_size = len(self.rows3)
        self.outputs = len(kinds[2])
        self.register_constant("scale", lambda: torch.ones(1, 1, 1, dtype=torch.float64))

    def normalize(self) -> None:
        """Gives the output's components variance one when those of the inputs have it."""
        leg = self.legs.out
        raw = self.double().measured()
        variance = raw.square().sum((0, 1))
        factor = torch.where(variance > 1e-20, variance.clamp(min=1e-20).rsqrt(), 1.0)
        self.coefficients = torch.where(raw.abs() > 1e-12, raw * factor, 0.0)
        entry_of_row = torch.tensor([i for i in leg.order for _ in range(leg.entries[i].dim)])
        rows = factor[entry_of_row][self.rows3].reshape(-1, 1, 1)
        self.register_constant("scale", lambda: rows.clone())
        self.to(torch.get_default_dtype())

    def forward(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The product of rows."""
        x = self._spread(x, w, self.rows1, self.weights1, self.plain[0])
        y = self._spread(y, w, self.rows2, self.weights2, self.plain[1])
        z = _multilinear.apply(self, x, y, None)
        z = z * (self.scale if w is None else w.index_select(0, self.weights3) * self.scale)
        if self.plain[2]:
            return z
        return z.new_zeros(self.legs.out.dim, *z.shape[1:]).index_add(0, self.rows3, z)

    @staticmethod
    def _spread(x: Tensor, w: Tensor | None, rows: Tensor, weights: Tensor, plain: bool) -> Tensor:
        x = x if plain else x.index_select(0, rows)
        return x if w is None else x * w.index_select(0, weights)


def single_kinds(legs: Legs) -> tuple[list[Kind], ...]:
    """Every entry in one kind, in the order of the rows."""
    return tuple([(i, 0) for i in leg.order] for leg in legs)


def grouped(leg: Leg, key: Any) -> dict[Any, tuple[slice, list[int]]]:
    """Rows and entries of each value of a key that the leg is sorted by."""
    out: dict[Any, tuple[slice, list[int]]] = {}
    for i in leg.order:
        value, rows = key(leg.entries[i]), leg.rows[i]
        span, members = out.get(value, (rows, []))
        out[value] = (slice(span.start, rows.stop), [*members, i])
    return out
