"""Undirected edges of a graph, each once."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import DataError


def undirected_pairs(
    edge_index: Int[Tensor, "2 edges"], nodes: int, *, warn: bool = True
) -> Int[Tensor, "2 pairs"]:
    """Each edge of an undirected graph once, the smaller node first, in lexicographic order.

    A sheaf needs undirected edges without duplicates, so that graphs are made so. Self-loops are
    left out: both ends of one have the same map, and nothing flows along it.

    Args:
        edge_index: edges in both directions.
        nodes: of the graph.
        warn: whether a `UserWarning` says what was changed.

    Returns:
        Pairs (u, v) with u < v.

    Raises:
        DataError: for nodes outside [0, nodes).
    """
    if edge_index.shape[1] and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < nodes:
        raise DataError(
            f"edge_index holds the nodes {int(edge_index.min())}..{int(edge_index.max())}; a graph "
            f"of {nodes} nodes has 0..{nodes - 1}"
        )
    low, high = edge_index.amin(dim=0), edge_index.amax(dim=0)
    proper = low != high
    code = (low * nodes + high)[proper]
    kept = torch.unique(code)
    if warn:
        _say(edge_index[:, proper], nodes, kept)
    return torch.stack([kept // max(nodes, 1), kept % max(nodes, 1)])


def _say(edges: Tensor, nodes: int, kept: Tensor) -> None:
    found = torch.unique(edges[0] * nodes + edges[1])
    duplicates = edges.shape[1] - len(found)
    single = 2 * len(kept) - len(found)
    changes = [
        f"{count} {what}"
        for count, what in (
            (duplicates, "duplicated edges were left out"),
            (single, "edges had one direction only and got the other"),
        )
        if count
    ]
    if changes:
        warnings.warn(
            f"a sheaf needs an undirected graph: {'; '.join(changes)}. To avoid this, give every "
            "edge once in each direction, for instance by torch_geometric.utils.to_undirected",
            stacklevel=3,
        )


def degrees(
    pairs: Int[Tensor, "2 pairs"], nodes: int, dtype: torch.dtype
) -> Float[Tensor, " nodes"]:
    """Number of edges at every node."""
    return torch.bincount(pairs.flatten(), minlength=nodes).to(dtype)
