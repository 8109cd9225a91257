"""The full Clebsch-Gordan product, summed over coefficients that aren't zero (see `_cg`).

Real harmonics couple only where m3 = +-m1 +-m2. For each order m3 of the output, the products
x_m1 y_m2 that reach it are multiplied by one small matrix, O(L^5) operations in place of O(L^6).
Weights are folded into the matrices, so all samples share them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.layers.equivariant import _multilinear
from zoo.layers.equivariant._cg import PathWeighted, length, per_channel
from zoo.layers.equivariant._legs import Legs
from zoo.layers.equivariant._method import PIECE

#: coefficients below this are zeros of the coupling tensor, up to rounding
TINY = 1e-12


class _Order(NamedTuple):
    """One order m3: the rows of the output, the pairs of rows that reach them, its matrix."""

    out: slice
    pairs: slice
    flat: slice


class SparseCG(PathWeighted):
    """Order after order of the output."""

    per_sample_weights = False
    values: Tensor
    path_of_value: Tensor
    first: Tensor
    second: Tensor
    gather: Tensor
    scatter: Tensor

    def __init__(self, legs: Legs) -> None:
        super().__init__(legs)
        entries, groups = self._entries(), self._rows_by_order()
        parts = [self._group(rows, entries) for rows in groups]
        self.orders = []
        row = pair = flat = 0
        for rows, (pairs, matrix, _) in zip(groups, parts, strict=True):
            self.orders.append(
                _Order(
                    slice(row, row := row + len(rows)),
                    slice(pair, pair := pair + len(pairs)),
                    slice(flat, flat := flat + matrix.numel()),
                )
            )
        values = torch.cat([matrix.flatten() for _, matrix, _ in parts])
        self.register_constant("values", lambda: values.clone())
        pairs = torch.cat([pairs for pairs, _, _ in parts])
        gather = torch.tensor([row for rows in groups for row in rows])
        index = {
            "path_of_value": torch.cat([owner.flatten() for _, _, owner in parts]),
            "first": pairs // legs.in2.dim,
            "second": pairs % legs.in2.dim,
            "gather": gather,  # rows of z, group after group
            "scatter": gather.argsort(),
        }
        for name, value in index.items():
            self.register_buffer(name, value, persistent=False)
        self.columns = max(PIECE // max(length(order.pairs) for order in self.orders), 64)

    def _rows_by_order(self) -> list[list[int]]:
        """Rows of the output with the same m3."""
        groups: dict[int, list[int]] = {}
        for span, entry in zip(self.legs.out.rows, self.legs.out.entries, strict=True):
            for m in range(-entry.l, entry.l + 1):
                groups.setdefault(m, []).append(span.start + entry.l + m)
        return [sorted(groups[m]) for m in sorted(groups)]

    def _group(self, rows: list[int], entries: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Codes of the pairs that reach these rows, their matrix, and the path of each value."""
        lines = torch.tensor(rows)
        mine = {name: part[torch.isin(entries["out"], lines)] for name, part in entries.items()}
        code = mine["first"] * self.legs.in2.dim + mine["second"]
        pairs, place = torch.unique(code, return_inverse=True)
        line = torch.searchsorted(lines, mine["out"])
        matrix = torch.zeros(len(rows), len(pairs), dtype=torch.float64)
        owner = torch.zeros(len(rows), len(pairs), dtype=torch.int64)
        matrix[line, place], owner[line, place] = mine["value"], mine["path"]
        return pairs, matrix, owner

    def _entries(self) -> dict[str, Tensor]:
        """Every coefficient that isn't zero: its rows of x, y and z, its path, its value."""
        names = ("first", "second", "out", "path", "value")
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for n, path in enumerate(self.paths):
            block = self.block(path)
            place = (block.abs() > TINY).nonzero()
            for column, name in enumerate(names[:3]):
                start = self.legs[column].rows[path[column]].start
                found[name].append(place[:, column] + start)
            found["path"].append(torch.full((len(place),), n))
            found["value"].append(block[tuple(place.T)])
        return {name: torch.cat(parts) for name, parts in found.items()}

    def _weighted(self, w: Tensor | None) -> Tensor:
        """Matrices with the weights in, (channels or 1, all of them flattened)."""
        if w is None:
            return self.values[None]
        return self.values * w[:, :, 0].T.index_select(1, self.path_of_value)

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        weighted = self._weighted(w)
        parts = []
        for order in self.orders:
            products = self._pairs(x, self.first, order) * self._pairs(y, self.second, order)
            parts.append(per_channel(self._shape(weighted, order), products))
        return torch.cat(parts).index_select(0, self.scatter)

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> _multilinear.Gradients:
        """Derivatives of <g, z>."""
        gx, gy = torch.zeros_like(x), torch.zeros_like(y)
        weighted = self._weighted(w)
        sorted_g = g.index_select(0, self.gather)
        outer = []
        for order in self.orders:
            xi, yj = self._pairs(x, self.first, order), self._pairs(y, self.second, order)
            gk = sorted_g[order.out]
            back = per_channel(self._shape(weighted, order).transpose(-1, -2), gk)
            gx.index_add_(0, self.first[order.pairs], back * yj)
            gy.index_add_(0, self.second[order.pairs], back.mul_(xi))
            if w is not None:
                products = (xi * yj).permute(1, 2, 0)
                outer.append((gk.transpose(0, 1) @ products).flatten(1))
        if w is None:
            return gx, gy, None
        values = torch.cat(outer, dim=1) * self.values  # (channels, flat)
        gw = values.new_zeros(len(self.paths), len(values))
        gw.index_add_(0, self.path_of_value, values.T)
        return gx, gy, gw.sum_to_size(w.shape[:2])[..., None]

    @staticmethod
    def _pairs(x: Tensor, index: Tensor, order: _Order) -> Tensor:
        return x.index_select(0, index[order.pairs])

    @staticmethod
    def _shape(weighted: Tensor, order: _Order) -> Tensor:
        return weighted[:, order.flat].view(len(weighted), length(order.out), -1)
