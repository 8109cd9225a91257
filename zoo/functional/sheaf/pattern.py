"""Where the blocks of a graph's sparse matrices stand: worked out once for all layers."""

import warnings

import torch
from jaxtyping import Int
from torch import Tensor


class Pattern:
    """The two triangles of a graph's adjacency matrix as compressed rows.

    Block matrices are kept as one stack of d x 1 blocks for each column of the blocks: the rows of
    the stack are (i, node), its columns nodes, so that d products with (nodes, channels) make a
    product with d x d blocks, and no index is ever repeated for each number.

    Args:
        pairs: (2, pairs), both ends of every edge.
        nodes: of the graph.
    """

    def __init__(self, pairs: Int[Tensor, "2 pairs"], nodes: int) -> None:
        self.pairs, self.nodes = pairs, nodes
        u, v = pairs
        ascending = bool((u[1:] >= u[:-1]).all())
        #: of the pairs by their first node; None where they are in order
        self.first = None if ascending else torch.argsort(u, stable=True)
        #: of the pairs by their second node
        self.second = torch.argsort(v, stable=True)
        columns = (v if self.first is None else v[self.first], u[self.second])
        self._columns = tuple(column.int() for column in columns)
        self._starts = (_starts(u, nodes), _starts(v, nodes))
        self._stacks: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        with warnings.catch_warnings():  # torch says once that the layout is in beta
            warnings.simplefilter("ignore", UserWarning)
            self.matrix(0, pairs.new_zeros(1, self.count, dtype=torch.float32))

    @property
    def count(self) -> int:
        """Number of pairs."""
        return int(self.pairs.shape[1])

    def matrix(self, triangle: int, values: Tensor) -> Tensor:
        """A sparse matrix (rows nodes, nodes), its values given as (rows, pairs).

        Args:
            triangle: 0 has first nodes for rows, second ones for columns; 1 is the transpose.
            values: of each pair, in the order `first` or `second`.
        """
        stack = len(values)
        starts, columns = self._stacked(triangle, stack)
        shape = (stack * self.nodes, self.nodes)
        return torch.sparse_csr_tensor(
            starts, columns, values.reshape(-1), shape, check_invariants=False
        )

    def _stacked(self, triangle: int, stack: int) -> tuple[Tensor, Tensor]:
        known = self._stacks.get((triangle, stack))
        if known is None:
            starts, columns = self._starts[triangle], self._columns[triangle]
            parts = [starts, *(starts[1:] + k * self.count for k in range(1, stack))]
            known = torch.cat(parts).int(), columns.repeat(stack)
            self._stacks[triangle, stack] = known
        return known


def _starts(rows: Tensor, nodes: int) -> Tensor:
    """Where each row starts (nodes + 1,)."""
    counts = torch.bincount(rows, minlength=nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
