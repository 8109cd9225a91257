"""Features into the frames of edges and back, without a copy of the features per edge.

Wigner matrices are block-diagonal: at lmax = 6, mmax = 2 only 235 of 29 x 49 entries aren't zero.
With these entries as the weights of a sparse matrix, gathering and rotating, or rotating back and
summing onto the nodes, are one product each,

    into:  y[e, r] = sum_c D_e[r, c] x[node_e, c]
    onto:  x[n, c] = sum_{e: node_e = n} sum_r D_e[r, c] y[e, r]

and `embedding_bag` is that product. The derivatives of the two, and of the third function

    match: d[e, rc] = sum_channels y[e, r] x[node_e, c]

are again among the three, so derivatives of every order follow. On other devices than the CPU, and
where the model is traced, dense products per edge are used.
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
        parts = num_nodes, lmax, mmax, entries
        self._ends = [_Ends(node[:, None], *parts) for node in edge_index]
        self._both = _Ends(edge_index.T, *parts)

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

    def gather_both(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "edges kept twice_channels"]:
        """The features of source and target side by side, in the frame of the edge.

        The same as `gather` of either, joined along the channels, without the copy.

        Args:
            x: features of the nodes, degree-major.
        """
        self._check(x.shape[:2], (self.num_nodes, (self.lmax + 1) ** 2))
        if _is_fused(x):
            return _into(x, self.entries.to(x.dtype), self._both)
        return torch.cat([self.gather(x, end) for end in (0, 1)], dim=2)

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
        self._check(y.shape[:2], (self.entries.shape[0], self._ends[end].kept))
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
    """Where the sparse product is the faster one, and can be used."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class _Ends:
    """Ends of the edges: where entries, rows and nodes meet, as indices of `embedding_bag`.

    With one end of each edge, or with several whose features lie side by side in a row.
    """

    def __init__(
        self, nodes: Tensor, num_nodes: int, lmax: int, mmax: int, entries: Tensor
    ) -> None:
        self.nodes, self.num_nodes = nodes, num_nodes  # (edges, ends)
        self.edges, self.ends = nodes.shape
        self.pattern = tables.pattern(lmax, mmax)
        self.size, self.kept = len(self.pattern.row), len(self.pattern.row_begins)
        self.coefficients = (lmax + 1) ** 2
        largest = max(nodes.numel() * self.size, num_nodes * self.coefficients)
        self.dtype = torch.int32 if largest < INDEX_LIMIT else torch.int64
        self._held = entries.detach()

    @functools.cached_property
    def by_row(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ends and entries sorted by row and end, (ends entries,); where each sum begins."""
        ends = torch.arange(self.ends)
        key = (self.pattern.row * self.ends + ends[:, None]).flatten()
        order = torch.argsort(key, stable=True)
        count = torch.bincount(key)
        return order // self.size, order % self.size, count.cumsum(0) - count

    @functools.cached_property
    def into(self) -> tuple[Tensor, Tensor]:
        """For each entry its row among the nodes' coefficients; where each edge's rows begin."""
        end, entry, first = self.by_row
        base = (self.nodes * self.coefficients).to(self.dtype)
        index = base.index_select(1, end) + self.pattern.column[entry].to(self.dtype)
        edges = torch.arange(self.edges, dtype=self.dtype) * len(end)
        return index.flatten(), (edges[:, None] + first.to(self.dtype)).flatten()

    @functools.cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """For each end and entry its row among those of nodes, and among those of edges."""
        base = (self.nodes * self.coefficients).to(self.dtype)
        index = base[:, :, None] + self.pattern.column.to(self.dtype)
        edges = torch.arange(self.edges, dtype=self.dtype) * (self.kept * self.ends)
        ends = torch.arange(self.ends, dtype=self.dtype)
        row = (self.pattern.row * self.ends).to(self.dtype)
        bags = edges[:, None, None] + ends[:, None] + row  # (edges, ends, entries)
        return index.flatten(), bags.flatten()

    @functools.cached_property
    def onto(self) -> tuple[Tensor, Tensor, Tensor]:
        """Entries sorted by node and column: their places, their rows, where each sum begins."""
        p, node = self.pattern, self.nodes.flatten()
        count = torch.bincount(node, minlength=self.num_nodes)
        first = count.cumsum(0) - count
        order = torch.argsort(node, stable=True)
        rank = torch.empty_like(order)  # of an end among those at its node
        rank[order] = torch.arange(len(order)) - first[node[order]]
        # the nodes before, then the columns before, then the ends before, then the entry itself
        place = (first[node] * self.size)[:, None] + p.within
        place.addcmul_(count[node][:, None], p.below).addcmul_(rank[:, None], p.height)
        row = _put(self.places[1], place)
        begins = first[:, None] * self.size + count[:, None] * p.column_begins
        return place, row, begins.flatten().to(self.dtype)

    @functools.cached_property
    def _spread(self) -> Tensor:
        return self._held.index_select(1, self.by_row[1])

    @functools.cached_property
    def _sorted(self) -> Tensor:
        return _put(self._held[:, None].expand(-1, self.ends, -1), self.onto[0])

    def _is_held(self, entries: Tensor) -> bool:
        same = entries.data_ptr() == self._held.data_ptr()
        return same and entries.dtype == self._held.dtype

    def spread(self, entries: Tensor) -> Tensor:
        """Entries in the order of `into`; those of the rotation itself are put there once."""
        if self.ends == 1:
            return entries
        if self._is_held(entries):
            return self._spread
        return entries.index_select(1, self.by_row[1])

    def sort(self, entries: Tensor) -> Tensor:
        """Entries in the order of `onto`; those of the rotation itself are put there once."""
        if self._is_held(entries):
            return self._sorted
        return _put(entries[:, None].expand(-1, self.ends, -1), self.onto[0])


def _put(values: Tensor, place: Tensor) -> Tensor:
    out = torch.empty(place.numel(), dtype=values.dtype)
    return out.scatter_(0, place.flatten(), values.flatten())


def _bags(index: Tensor, table: Tensor, begins: Tensor, weights: Tensor) -> Tensor:
    out: Tensor = embedding_bag(
        index, table, begins, mode="sum", per_sample_weights=weights.flatten()
    )
    return out


class _Into(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, entries: Tensor, ends: _Ends) -> Any:
        ctx.save_for_backward(x, entries)
        ctx.ends = ends
        index, begins = ends.into
        table = x.detach().reshape(-1, x.shape[2])
        out = _bags(index, table, begins, ends.spread(entries.detach()))
        return out.view(ends.edges, ends.kept, ends.ends * x.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, entries = ctx.saved_tensors
        of_x = _onto(grad, entries, ctx.ends) if ctx.needs_input_grad[0] else None
        of_entries = _match(grad, x, ctx.ends) if ctx.needs_input_grad[1] else None
        return of_x, of_entries, None


class _Onto(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, entries: Tensor, ends: _Ends) -> Any:
        ctx.save_for_backward(y, entries)
        ctx.ends = ends
        _, rows, begins = ends.onto
        channels = y.shape[2] // ends.ends
        table = y.detach().reshape(-1, channels)
        out = _bags(rows, table, begins, ends.sort(entries.detach()))
        return out.view(ends.num_nodes, ends.coefficients, channels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, entries = ctx.saved_tensors
        of_y = _into(grad, entries, ctx.ends) if ctx.needs_input_grad[0] else None
        of_entries = _match(y, grad, ctx.ends) if ctx.needs_input_grad[1] else None
        return of_y, of_entries, None


class _Match(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, ends: _Ends) -> Any:
        ctx.save_for_backward(y, x)
        ctx.ends = ends
        # what autograd calls for the weights of `embedding_bag`; through it, the sums would be made
        index, bags = ends.places
        rows, table = y.detach().reshape(-1, x.shape[2]), x.detach().reshape(-1, x.shape[2])
        begins = ends.into[1]
        out = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            rows, table, index, begins, bags, 0
        ).view(ends.edges, ends.ends, ends.size)
        return out[:, 0] if ends.ends == 1 else out.sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, x = ctx.saved_tensors
        of_y = _into(x, grad, ctx.ends) if ctx.needs_input_grad[0] else None
        of_x = _onto(y, grad, ctx.ends) if ctx.needs_input_grad[1] else None
        return of_y, of_x, None


_into: Callable[[Tensor, Tensor, _Ends], Tensor] = _Into.apply
_onto: Callable[[Tensor, Tensor, _Ends], Tensor] = _Onto.apply
_match: Callable[[Tensor, Tensor, _Ends], Tensor] = _Match.apply
