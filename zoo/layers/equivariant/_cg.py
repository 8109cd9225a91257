"""The full Clebsch-Gordan product: every path that the group allows, each with its own weight.

    z^k = sum_ij w_ijk sqrt((2 l_k + 1) / n_k) sum_m1m2 w3j_m1m2m x^i_m1 y^j_m2

with n_k the number of paths into the irrep k, e3nn's normalisations "component" and "element".
Here the sum is dense: for each pair (i, j) all products x_m1 y_m2, times one matrix that holds
every k; where the whole is small, all pairs at once. `_cg_sparse` sums the same in another order.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.functional.clebsch_gordan import clebsch_gordan
from zoo.layers.equivariant import _multilinear
from zoo.layers.equivariant._legs import Irrep, Legs
from zoo.layers.equivariant._method import PIECE, Method

#: sizes of in1 times in2 times out up to which one matrix for everything is faster than many
SMALL = 4096


class PathWeighted(Method):
    """Paths (i, j, k) in the order of their weights, and their coefficients."""

    def __init__(self, legs: Legs) -> None:
        super().__init__(legs)
        self.paths = legs.triples()
        self.out_size = legs.out.dim
        self.weight_rows = self.outputs = len(self.paths)
        fan_in = [0] * len(legs.out.entries)
        for _, _, k in self.paths:
            fan_in[k] += 1
        self._scale = [1 / math.sqrt(max(count, 1)) for count in fan_in]
        sizes = [len(leg.entries) for leg in legs]
        self.coefficients = torch.zeros(sizes, dtype=torch.float64)
        for path in self.paths:
            self.coefficients[path] = self._scale[path[2]]

    @classmethod
    def input_key(cls, irrep: Irrep) -> Any:
        """As they come."""
        return 0

    def block(self, path: tuple[int, int, int]) -> Tensor:
        """The map of a path at weight one, (m1, m2, m3), float64."""
        a, b, c = (leg.entries[n] for leg, n in zip(self.legs, path, strict=True))
        return clebsch_gordan(a.l, b.l, c.l) * self._scale[path[2]]

    def forward(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The product of rows."""
        return _multilinear.apply(self, x, y, w)


class _Pair(NamedTuple):
    """Rows of x, y and z that a pair of irreps ties together, and where its matrix lies."""

    first: slice
    second: slice
    out: slice
    #: rows in the table of all matrices' rows, and places in the flat table
    rows: slice
    flat: slice
    #: the paths, in the order of their rows
    members: list[int]


class DenseCG(PathWeighted):
    """Pair after pair of irreps, or all at once."""

    matrices: Tensor
    path_of_row: Tensor
    whole: Tensor
    path_of_value: Tensor

    def __init__(self, legs: Legs) -> None:
        super().__init__(legs)
        self.pairs = self._pairs()
        owners = [n for pair in self.pairs for n in self._owners(pair)]
        self.register_constant("matrices", self._matrices)
        self.register_buffer("path_of_row", torch.tensor(owners), persistent=False)
        widest = (2 * legs.in1.lmax + 1) * (2 * legs.in2.lmax + 1)
        self.small = legs.in1.dim * legs.in2.dim * legs.out.dim <= SMALL
        if self.small:
            self.register_constant("whole", lambda: self._table()[0])
            self.register_buffer("path_of_value", self._table()[1], persistent=False)
            widest = max(widest, legs.in1.dim * legs.in2.dim)
        self.columns = max(PIECE // widest, 64)

    def _pairs(self) -> list[_Pair]:
        by_pair: dict[tuple[int, int], list[int]] = {}
        for n, (i, j, _) in enumerate(self.paths):
            by_pair.setdefault((i, j), []).append(n)
        pairs, row, flat = [], 0, 0
        for (i, j), members in by_pair.items():
            # sorted by parity and degree, the outputs of a pair follow each other without a gap
            spans = sorted((self._out(n) for n in members), key=lambda span: span.start)
            members = sorted(members, key=lambda n: self._out(n).start)
            first, second = self.legs.in1.rows[i], self.legs.in2.rows[j]
            out = slice(spans[0].start, spans[-1].stop)
            rows = slice(row, row := row + length(out))
            size = length(out) * length(first) * length(second)
            pairs.append(_Pair(first, second, out, rows, slice(flat, flat := flat + size), members))
        return pairs

    def _out(self, path: int) -> slice:
        return self.legs.out.rows[self.paths[path][2]]

    def _owners(self, pair: _Pair) -> list[int]:
        """The path of each row of a pair's matrix."""
        return [n for n in pair.members for _ in range(length(self._out(n)))]

    def _matrices(self) -> Tensor:
        """Per pair (m3 of all k, m1 m2), flattened one after another."""
        parts = [
            torch.cat([self.block(self.paths[n]).flatten(0, 1).T for n in pair.members]).flatten()
            for pair in self.pairs
        ]
        return torch.cat(parts)

    def _table(self) -> tuple[Tensor, Tensor]:
        """One matrix for everything, (out, in1 in2), and the path of each of its values."""
        sizes = (self.out_size, self.legs.in1.dim, self.legs.in2.dim)
        values = torch.zeros(sizes, dtype=torch.float64)
        owners = torch.zeros(sizes, dtype=torch.int64)
        for n, path in enumerate(self.paths):
            i, j, k = (leg.rows[m] for leg, m in zip(self.legs, path, strict=True))
            values[k, i, j] = self.block(path).permute(2, 0, 1)
            owners[k, i, j] = n
        return values.flatten(1), owners.flatten()

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        if self.small and (w is None or w.shape[2] == 1):
            return per_channel(self._weighted(w), (x[:, None] * y).flatten(0, 1))
        out = x.new_zeros(self.out_size, *x.shape[1:])
        flat = out.flatten(1)
        rows = None if w is None else w.index_select(0, self.path_of_row)
        for pair in self.pairs:
            products = (x[pair.first, None] * y[pair.second]).flatten(2).flatten(0, 1)
            matrix = self._matrix(pair, rows)
            if rows is None or _folds(rows):
                flat[pair.out].addmm_(matrix, products)
            else:
                coupled = (matrix @ products).view(-1, *x.shape[1:])
                out[pair.out].addcmul_(coupled, rows[pair.rows])
        return out

    def _matrix(self, pair: _Pair, rows: Tensor | None) -> Tensor:
        """A pair's matrix, (m3 of all k, m1 m2), with weights that serve all columns in it."""
        matrix = self.matrices[pair.flat].view(length(pair.rows), -1)
        if rows is None or not _folds(rows):
            return matrix
        return matrix * rows[pair.rows, :, 0]

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> _multilinear.Gradients:
        """Derivatives of <g, z>."""
        if self.small and (w is None or w.shape[2] == 1):
            return self._whole_adjoint(x, y, w, g)
        gx, gy = torch.zeros_like(x), torch.zeros_like(y)
        rows = None if w is None else w.index_select(0, self.path_of_row)
        found = []
        for pair in self.pairs:
            xi, yj, gk = x[pair.first], y[pair.second], g[pair.out]
            if rows is not None:
                products = (xi[:, None] * yj).flatten(2).flatten(0, 1)
                found.append(self._weight_gradient(pair, products, gk, rows))
                if not _folds(rows):
                    gk = gk * rows[pair.rows]
            matrix = self._matrix(pair, rows)
            back = (matrix.T @ gk.flatten(1)).view(len(xi), len(yj), *gk.shape[1:])
            gx[pair.first] += (back * yj).sum(1)
            gy[pair.second] += (back * xi[:, None]).sum(0)
        if w is None:
            return gx, gy, None
        return gx, gy, torch.zeros_like(w).index_add_(0, self.path_of_row, torch.cat(found))

    def _weight_gradient(self, pair: _Pair, products: Tensor, gk: Tensor, rows: Tensor) -> Tensor:
        """For each row of a pair's matrix, its share of the derivative by the path's weight."""
        matrix = self._matrix(pair, None)
        if _folds(rows):
            return ((gk.flatten(1) @ products.T) * matrix).sum(1)[:, None, None]
        coupled = (matrix @ products).view(gk.shape).mul_(gk)
        return coupled.sum_to_size(len(gk), *rows.shape[1:])

    def _weighted(self, w: Tensor | None) -> Tensor:
        """The matrix of everything with the weights in, (channels or 1, out, in1 in2)."""
        if w is None:
            return self.whole[None]
        if self.weight_rows == 1:
            return self.whole * w[0, :, :, None]
        weights = w[:, :, 0].t().index_select(1, self.path_of_value)
        return self.whole * weights.view(-1, *self.whole.shape)

    def _whole_adjoint(
        self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor
    ) -> _multilinear.Gradients:
        back = per_channel(self._weighted(w).transpose(-1, -2), g)
        back = back.view(len(x), len(y), *x.shape[1:])
        gx, gy = (back * y).sum(1), (back * x[:, None]).sum(0)
        if w is None:
            return gx, gy, None
        products = (x[:, None] * y).flatten(0, 1)
        if x.shape[1] == 1:
            outer = (g[:, 0] @ products[:, 0].t())[None]
        else:
            outer = g.transpose(0, 1) @ products.permute(1, 2, 0)
        outer = (outer * self.whole).flatten(1)  # (channels, out in1 in2)
        if self.weight_rows == 1:
            return gx, gy, outer.sum(1)[None, :, None]
        gw = torch.zeros_like(w[:, :, 0]).index_add_(0, self.path_of_value, outer.t())
        return gx, gy, gw[..., None]


def _folds(rows: Tensor) -> bool:
    """Whether one set of weights serves all columns."""
    return rows[0].numel() == 1


def length(span: slice) -> int:
    """How many rows a slice holds."""
    return int(span.stop - span.start)


def per_channel(matrix: Tensor, x: Tensor) -> Tensor:
    """Matrices (channels or 1, out, in) times (in, channels, batch)."""
    if len(matrix) == 1:
        return (matrix[0] @ x.flatten(1)).view(-1, *x.shape[1:])
    return (matrix @ x.transpose(0, 1)).transpose(0, 1)
