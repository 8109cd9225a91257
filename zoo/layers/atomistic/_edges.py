"""Directed edges: both directions of every pair, or the nearest neighbours of each atom."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.layers.atomistic._features import AtomGraph


@dataclass
class DirectedEdges:
    """Edges from a source to a target; `vectors` point from the target to the source.

    `pairs` is the number of pairs where the edges are all pairs followed by their reversals, so
    that edge `e + pairs` is edge `e` reversed; None where some were left out.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    vectors: Float[Tensor, "edges 3"]
    distances: Float[Tensor, " edges"]
    pairs: int | None


def directed_edges(graph: AtomGraph, max_neighbors: int | None = None) -> DirectedEdges:
    """Both directions of every pair of a graph.

    Args:
        graph: atoms and pairs.
        max_neighbors: how many sources each target keeps at most, the nearest ones (of equally
            near ones those that come first); all if None. With a cap the edges are no longer
            symmetric, and forces jump where two neighbours change places.

    Raises:
        ConfigError: if the cap is below 1.
    """
    source, target = torch.cat([graph.pairs, graph.pairs.flip(0)], dim=1)
    vectors = torch.cat([graph.vectors, -graph.vectors])
    distances = torch.cat([graph.distances, graph.distances])
    pairs = len(graph.distances)
    if max_neighbors is None:
        return DirectedEdges(source, target, vectors, distances, pairs)
    if max_neighbors < 1:
        raise ConfigError(f"max_neighbors is {max_neighbors}; expected 1 or more, or None for all")
    counts = torch.bincount(target, minlength=len(graph.batch))
    if not bool((counts > max_neighbors).any()):
        return DirectedEdges(source, target, vectors, distances, pairs)
    order = distances.detach().argsort(stable=True)
    order = order[target[order].argsort(stable=True)]  # by target, then by distance
    start = counts.cumsum(0) - counts
    rank = torch.arange(len(order), device=order.device) - start[target[order]]
    kept = order[rank < max_neighbors].sort().values
    return DirectedEdges(source[kept], target[kept], vectors[kept], distances[kept], None)
