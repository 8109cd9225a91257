"""Features into the frames of edges and back, without a copy of the features per edge.

Wigner matrices are block-diagonal: at lmax = 6, mmax = 2 only 235 of 29 x 49 entries aren't zero.
With these entries as the weights of a sparse matrix, gathering and rotating, or rotating back and
summing onto the nodes, are one product each,

    into:  y[e, r] = sum_c D_e[r, c] x[node_e, c]
    onto:  x[n, c] = sum_{e: node_e = n} sum_r D_e[r, c] y[e, r]

and `embedding_bag` is that product. The derivatives of the two, and of the third function

    match: d[e, rc] = sum_channels y[e, r] x[node_e, c]

are again among the three, so derivatives of every order follow. On other devices than the CPU
dense products per edge are used.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding_bag

from zoo.errors import ConfigError
from zoo.functional import _wigner_tables as tables
from zoo.functional.irreps import check_degrees
from zoo.functional.wigner import dense_matrix

#: indices are 32 bits where they fit
INDEX_LIMIT = 2**31 - 1


class EdgeRotation:
    """The rotations into the frames of edges, ready for any number of features.

    Args:
        entries: of the Wigner matrices, see `wigner_entries`.
        edge_index: the two ends of each edge, in any order.
        num_nodes: number of nodes.
        lmax: highest degree.
        mmax: highest order in the frames.
    """

    def __init__(
        self,
        entries: Float[Tensor, "edges entries"],
        edge_index: Int[Tensor, "2 edges"],
        num_nodes: int,
        lmax: int,
        mmax: int,
    ) -> None:
        self.entries, self.edge_index, self.num_nodes = entries, edge_index, num_nodes
        self.lmax, self.mmax = lmax, mmax
        self._ends = [_End(node, num_nodes, lmax, mmax, entries) for node in edge_index]

    @functools.cached_property
    def matrix(self) -> Float[Tensor, "edges kept coefficients"]:
        """The dense Wigner matrices."""
        return dense_matrix(self.entries, self.lmax, self.mmax)

    def gather(
        self, x: Float[Tensor, "nodes coefficients channels"], end: int = 0
    ) -> Float[Tensor, "edges kept channels"]:
        """The features of a node, in the frame of the edge: D @ x[edge_index[end]].

        Args:
            x: features of the nodes, degree-major.
            end: 0 for the source of each edge, 1 for its target.

        Returns:
            Order-major features of the edges.
        """
        self._check(x.shape[:2], (self.num_nodes, (self.lmax + 1) ** 2))
        if _is_fused(x):
            return _into(x, self.entries.to(x.dtype), self._ends[end])
        return self.matrix.to(x.dtype) @ x[self.edge_index[end]]

    def scatter(
        self, y: Float[Tensor, "edges kept channels"], end: int = 1
    ) -> Float[Tensor, "nodes coefficients channels"]:
        """Out of the frames and summed over the edges of each node: sum_e D_e.mT @ y_e.

        Args:
            y: order-major features of the edges.
            end: the node an edge adds to: 0 its source, 1 its target.

        Returns:
            Degree-major features of the nodes.
        """
        self._check(y.shape[:2], (len(self.entries), self._ends[end].kept))
        if _is_fused(y):
            return _onto(y, self.entries.to(y.dtype), self._ends[end])
        back = self.matrix.to(y.dtype).mT @ y
        return back.new_zeros(self.num_nodes, *back.shape[1:]).index_add(
            0, self.edge_index[end], back
        )

    def narrow(self, mmax: int) -> "EdgeRotation":
        """The same frames with fewer orders.

        Args:
            mmax: highest order to keep, at most that of this rotation.
        """
        check_degrees(self.mmax, mmax)
        count = len(tables.pattern(self.lmax, mmax).row)  # order-major: the lowest orders are first
        parts = self.entries[:, :count], self.edge_index, self.num_nodes
        return EdgeRotation(*parts, self.lmax, mmax)

    def _check(self, found: tuple[int, ...], expected: tuple[int, int]) -> None:
        if tuple(found) != expected:
            raise ConfigError(
                f"features of shape {tuple(found)} + (channels,), expected {expected} + (channels,)"
                f" for lmax={self.lmax}, mmax={self.mmax}"
            )


def _is_fused(x: Tensor) -> bool:
    """Where the sparse product is the faster one."""
    return x.device.type == "cpu"


class _End:
    """One end of the edges: where entries, rows and nodes meet, as indices of `embedding_bag`."""

    def __init__(self, node: Tensor, num_nodes: int, lmax: int, mmax: int, entries: Tensor) -> None:
        self.node, self.num_nodes = node, num_nodes
        self.pattern = tables.pattern(lmax, mmax)
        self.size, self.kept = len(self.pattern.row), len(self.pattern.row_begins)
        self.coefficients = (lmax + 1) ** 2
        largest = max(len(node) * self.size, num_nodes * self.coefficients)
        self.dtype = torch.int32 if largest < INDEX_LIMIT else torch.int64
        self._held = entries.detach()

    @functools.cached_property
    def into(self) -> tuple[Tensor, Tensor]:
        """For each entry its row among the nodes' coefficients; where each edge's rows begin."""
        base = (self.node * self.coefficients).to(self.dtype)
        edges = torch.arange(len(self.node), dtype=self.dtype) * self.size
        index = base[:, None] + self.pattern.column.to(self.dtype)
        begins = edges[:, None] + self.pattern.row_begins.to(self.dtype)
        return index.flatten(), begins.flatten()

    @functools.cached_property
    def bags(self) -> Tensor:
        """The row of each entry among those of all edges."""
        edges = torch.arange(len(self.node), dtype=self.dtype) * self.kept
        return (edges[:, None] + self.pattern.row.to(self.dtype)).flatten()

    @functools.cached_property
    def onto(self) -> tuple[Tensor, Tensor, Tensor]:
        """Entries sorted by node and column: their places, their rows, where each sum begins."""
        p, node = self.pattern, self.node
        count = torch.bincount(node, minlength=self.num_nodes)
        first = count.cumsum(0) - count
        order = torch.argsort(node, stable=True)
        rank = torch.empty_like(order)  # of an edge among those of its node
        rank[order] = torch.arange(len(order)) - first[node[order]]
        # the nodes before, then the columns before, then the edges before, then the entry itself
        place = (first[node] * self.size)[:, None] + p.within
        place.addcmul_(count[node][:, None], p.below).addcmul_(rank[:, None], p.height)
        row = _put(self.bags, place)
        begins = first[:, None] * self.size + count[:, None] * p.column_begins
        return place, row, begins.flatten().to(self.dtype)

    @functools.cached_property
    def _sorted(self) -> Tensor:
        return _put(self._held, self.onto[0])

    def sort(self, entries: Tensor) -> Tensor:
        """Entries in the order of `onto`; those of the rotation itself are sorted once."""
        same = entries.data_ptr() == self._held.data_ptr() and entries.dtype == self._held.dtype
        return self._sorted if same else _put(entries, self.onto[0])


def _put(values: Tensor, place: Tensor) -> Tensor:
    out = torch.empty(values.numel(), dtype=values.dtype)
    return out.scatter_(0, place.flatten(), values.flatten())


def _bags(index: Tensor, table: Tensor, begins: Tensor, weights: Tensor) -> Tensor:
    out: Tensor = embedding_bag(
        index, table, begins, mode="sum", per_sample_weights=weights.flatten()
    )
    return out


class _Into(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, entries: Tensor, end: _End) -> Any:
        ctx.save_for_backward(x, entries)
        ctx.end = end
        index, begins = end.into
        out = _bags(index, x.detach().reshape(-1, x.shape[2]), begins, entries.detach())
        return out.view(len(entries), end.kept, x.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, entries = ctx.saved_tensors
        of_x = _onto(grad, entries, ctx.end) if ctx.needs_input_grad[0] else None
        of_entries = _match(grad, x, ctx.end) if ctx.needs_input_grad[1] else None
        return of_x, of_entries, None


class _Onto(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, entries: Tensor, end: _End) -> Any:
        ctx.save_for_backward(y, entries)
        ctx.end = end
        _, rows, begins = end.onto
        table = y.detach().reshape(-1, y.shape[2])
        out = _bags(rows, table, begins, end.sort(entries.detach()))
        return out.view(end.num_nodes, end.coefficients, y.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, entries = ctx.saved_tensors
        of_y = _into(grad, entries, ctx.end) if ctx.needs_input_grad[0] else None
        of_entries = _match(y, grad, ctx.end) if ctx.needs_input_grad[1] else None
        return of_y, of_entries, None


class _Match(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, end: _End) -> Any:
        ctx.save_for_backward(y, x)
        ctx.end = end
        # what autograd calls for the weights of `embedding_bag`; through it, the sums would be made
        index, begins = end.into
        rows, table = y.detach().reshape(-1, y.shape[2]), x.detach().reshape(-1, x.shape[2])
        out = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            rows, table, index, begins, end.bags, 0
        )
        return out.view(len(y), end.size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, x = ctx.saved_tensors
        of_y = _into(x, grad, ctx.end) if ctx.needs_input_grad[0] else None
        of_x = _onto(y, grad, ctx.end) if ctx.needs_input_grad[1] else None
        return of_y, of_x, None


_into: Callable[[Tensor, Tensor, _End], Tensor] = _Into.apply
_onto: Callable[[Tensor, Tensor, _End], Tensor] = _Onto.apply
_match: Callable[[Tensor, Tensor, _End], Tensor] = _Match.apply
