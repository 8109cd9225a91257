"""Parallel transport that is computed from features, or drawn at random; nothing is learnt.

Sheaf Neural Networks with Connection Laplacians (Barbero, Bodnar, Sáez de Ocáriz Borde, Bronstein,
Veličković, Liò, 2022), algorithm 1.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError

#: entries of the matrices that are decomposed at once
_ENTRIES = 2**22
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@torch.no_grad()
def local_bases(
    x: Float[Tensor, "nodes features"],
    pairs: Int[Tensor, "2 pairs"],
    size: int,
    owner: Int[Tensor, " nodes"] | None = None,
) -> Float[Tensor, "nodes features size"]:
    """Orthonormal bases of the tangent spaces that the neighbours' features span.

    At each node the first `size` left singular vectors of the differences x_u - x_v to its
    neighbours u; nodes with fewer than `size` neighbours are given the nearest others besides. The
    largest entry of each vector is positive, so that numbering nodes otherwise changes nothing
    where the singular values differ. Directions that no neighbour spans (in graphs of `size` nodes
    or fewer, between equal features) are orthonormal and otherwise arbitrary; the CPU chooses them
    on every device, or weights would not mean the same on another one.

    Args:
        x: features.
        pairs: of `undirected_pairs`.
        size: of the tangent spaces, the stalks' dimension.
        owner: the graph of each node, in ascending order; one graph if None.

    Raises:
        ConfigError: for more dimensions than features.
    """
    nodes, features = x.shape
    if not 1 <= size <= features:
        raise ConfigError(
            f"stalks of dimension {size} can't be tangent to features of dimension {features}; "
            f"take a dimension of 1 to {features}"
        )
    there, pairs = x.double().cpu(), pairs.cpu()
    owner = torch.zeros(nodes, dtype=torch.int64) if owner is None else owner.cpu()
    ends = torch.cat([pairs, pairs.flip(0)], dim=1)
    listed = ends[1][torch.argsort(ends[0], stable=True)]
    counts = torch.bincount(pairs.flatten(), minlength=nodes)
    starts = counts.cumsum(0) - counts
    bases = there.new_zeros(nodes, features, size)
    # nodes of similar degree together; none costs more than twice what it needs
    level = counts.clamp(min=size).double().log2().ceil().long()
    for power in torch.unique(level).tolist():
        chosen = torch.nonzero(level == power).flatten()
        for part in chosen.split(max(_ENTRIES // (2**power * features), 1)):
            rows = _differences(there, part, listed, starts, counts, 2**power)
            for place in torch.nonzero(counts[part] < size).flatten().tolist():
                _top_up(rows[place], there, int(part[place]), listed, starts, counts, owner, size)
            vectors = torch.linalg.svd(rows, full_matrices=False).Vh[:, :size]
            largest = vectors.gather(2, vectors.abs().argmax(dim=2, keepdim=True))
            bases[part] = (vectors * torch.where(largest < 0, -1.0, 1.0)).mT
    return bases.to(x)


def _differences(
    x: Tensor, part: Tensor, listed: Tensor, starts: Tensor, counts: Tensor, most: int
) -> Tensor:
    """x_u - x_v for the neighbours u of each node, filled up with zeros (part, most, features)."""
    slots = torch.arange(most, device=x.device)
    real = slots < counts[part, None]
    place = (starts[part, None] + slots)[real]
    rows = x.new_zeros(len(part), most, x.shape[1])
    rows[real] = x[listed[place]] - x[part].repeat_interleave(counts[part], dim=0)
    return rows


def _top_up(
    rows: Tensor,
    x: Tensor,
    node: int,
    listed: Tensor,
    starts: Tensor,
    counts: Tensor,
    owner: Tensor,
    size: int,
) -> None:
    """Adds the nearest nodes of the graph that aren't neighbours, in place."""
    have, start = int(counts[node]), int(starts[node])
    if not have:  # nothing is carried to or from it
        return
    distance = (x - x[node]).square().sum(dim=1)
    distance[owner != owner[node]] = torch.inf
    distance[node] = torch.inf
    distance[listed[start : start + have]] = torch.inf
    found = torch.topk(distance, min(size - have, len(x)), largest=False)
    near = found.indices[found.values.isfinite()]
    rows[have : have + len(near)] = x[near] - x[node]


@torch.no_grad()
def transports(
    bases: Float[Tensor, "nodes features d"], pairs: Int[Tensor, "2 pairs"]
) -> Float[Tensor, "pairs d d"]:
    """O_uv, the orthogonal matrix nearest to B_u^T B_v: from the stalk of v to that of u."""
    u, v = pairs
    left, _, right = torch.linalg.svd(bases.index_select(0, u).mT @ bases.index_select(0, v))
    out: Tensor = left @ right
    return out


@torch.no_grad()
def random_transports(
    x: Float[Tensor, "nodes features"],
    pairs: Int[Tensor, "2 pairs"],
    size: int,
    *,
    kind: Literal["edge", "node"],
    seed: int = 0,
) -> Float[Tensor, "pairs size size"]:
    """Transports drawn evenly from O(d), the baselines RandEdge and RandNode.

    The seed and the features of the nodes (in float32) decide what is drawn, so that neither the
    numbering of nodes nor other graphs in a batch matter; nodes of equal features count as one.

    Args:
        x: features.
        pairs: of `undirected_pairs`.
        size: d.
        kind: "edge" draws O_uv for each edge; "node" draws O_v for each node and takes
            O_uv = O_u^T O_v, which has no holonomy.
        seed: of all draws.

    Raises:
        ConfigError: for another kind.
    """
    if kind not in ("edge", "node"):
        raise ConfigError(f"kind={kind!r}: expected edge or node")
    keys = _keys(x, seed)
    u, v = pairs.cpu().numpy()
    if kind == "edge":
        low, high = np.minimum(keys[u], keys[v]), np.maximum(keys[u], keys[v])
        drawn = _haar(_mixed(low + _mixed(high)), size)
        drawn = np.where((keys[u] <= keys[v])[:, None, None], drawn, drawn.swapaxes(1, 2))
    else:
        frames = _haar(keys, size)
        drawn = frames[u].swapaxes(1, 2) @ frames[v]
    return torch.from_numpy(np.ascontiguousarray(drawn)).to(x)


def _keys(x: Tensor, seed: int) -> np.ndarray:
    """A number for each node, which its features decide (nodes,) uint64."""
    # adding 0 makes one of 0 and -0
    bits = (x.float() + 0.0).cpu().numpy().view(np.uint32).astype(np.uint64)
    keys = np.full(len(x), seed, dtype=np.uint64)
    for column in bits.T:
        keys = _mixed(keys * _GOLDEN + column)
    return keys


def _mixed(z: np.ndarray) -> np.ndarray:
    """Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (mix64)."""
    z = z + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _haar(keys: np.ndarray, size: int) -> np.ndarray:
    """An orthogonal matrix for each key (keys, size, size), drawn evenly."""
    places = np.arange(2 * size * size, dtype=np.uint64) * _GOLDEN
    bits = _mixed(keys[:, None] + _mixed(places))
    flat = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(flat[:, ::2])), 2.0 * np.pi * flat[:, 1::2]
    q, r = np.linalg.qr((radius * np.cos(angle)).reshape(-1, size, size))
    # the sign of R's diagonal makes the draw even (Mezzadri, Notices of the AMS 54, 2007)
    return np.asarray(q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :])
