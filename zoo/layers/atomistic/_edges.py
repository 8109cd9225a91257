"""Directed edges: both directions of every pair, or the nearest neighbours of each atom."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.layers.atomistic._features import AtomGraph

#: Å; neighbours whose distances differ by less are equally near. In float32 rounding alone makes
#: differences of 1e-6 to 1e-5
EQUALLY_NEAR = 1e-4
#: no direction of a lattice is at a right angle to this one
GENERIC = (0.5377, 0.6713, 0.5101)


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
        max_neighbors: how many sources each target keeps at most, the nearest ones; all if None.
            Of equally near ones (`EQUALLY_NEAR`), as crystals have them, those that come first
            are kept, of an atom's images those farthest along a fixed direction: the choice does
            not depend on rounding. With a cap the edges are no longer symmetric, and forces jump
            where two neighbours change places.

    Raises:
        ConfigError: if the cap is below 1.
    """
    source, target = torch.cat([graph.pairs, graph.pairs.flip(0)], dim=1)
    vectors = torch.cat([graph.vectors, -graph.vectors])
    distances = torch.cat([graph.distances, graph.distances])
    pairs = graph.distances.shape[0]
    if max_neighbors is None:
        return DirectedEdges(source, target, vectors, distances, pairs)
    if max_neighbors < 1:
        raise ConfigError(f"max_neighbors is {max_neighbors}; expected 1 or more, or None for all")
    counts = torch.bincount(target, minlength=graph.batch.shape[0])
    if not bool((counts > max_neighbors).any()):
        return DirectedEdges(source, target, vectors, distances, pairs)
    order = _nearest_first(source, target, vectors.detach(), distances.detach())
    start = counts.cumsum(0) - counts
    rank = torch.arange(len(order), device=order.device) - start[target[order]]
    kept = order[rank < max_neighbors].sort().values
    return DirectedEdges(source[kept], target[kept], vectors[kept], distances[kept], None)


def _nearest_first(
    source: Int[Tensor, " edges"],
    target: Int[Tensor, " edges"],
    vectors: Float[Tensor, "edges 3"],
    distances: Float[Tensor, " edges"],
) -> Int[Tensor, " edges"]:
    """By target, then by distance; equally near edges by source, then along `GENERIC`."""
    order = distances.argsort(stable=True)
    order = order[target[order].argsort(stable=True)]
    farther = (distances[order].diff() > EQUALLY_NEAR) | (target[order].diff() != 0)
    shell = torch.empty_like(order)
    shell[order] = torch.cat([farther.new_zeros(1), farther]).cumsum(0)
    order = (vectors @ vectors.new_tensor(GENERIC)).argsort(descending=True, stable=True)
    for key in (source, shell):
        order = order[key[order].argsort(stable=True)]
    return order
