"""Edges between all nodes of each graph of a batch."""

import torch
from jaxtyping import Int
from torch import Tensor


def complete_edges(counts: Int[Tensor, " graphs"]) -> Int[Tensor, "2 edges"]:
    """All ordered pairs of different nodes of the same graph.

    Args:
        counts: nodes of each graph, 0 or more; the nodes are numbered graph by graph.

    Returns:
        Row 0 ascends, and row 1 within it: n (n - 1) pairs for each graph of n nodes.
    """
    ends = counts.cumsum(0)
    owner = torch.repeat_interleave(counts)
    first, others = (ends - counts)[owner], (counts - 1)[owner]  # of each node
    nodes = torch.arange(owner.shape[0], device=counts.device)
    row = torch.repeat_interleave(nodes, others)
    place = torch.arange(row.shape[0], device=counts.device) - (others.cumsum(0) - others)[row]
    column = first[row] + place
    return torch.stack([row, column + (column >= row)])
