"""Parallel transport that is computed from features, or drawn at random; nothing is learnt.

Sheaf Neural Networks with Connection Laplacians (Barbero, Bodnar, Sáez de Ocáriz Borde, Bronstein,
Veličković, Liò, 2022), algorithm 1.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.sheaf.graph import degrees


@torch.no_grad()
def local_bases(
    x: Float[Tensor, "nodes features"], pairs: Int[Tensor, "2 pairs"], size: int
) -> Float[Tensor, "nodes features size"]:
    """Orthonormal bases of the tangent spaces that the neighbours' features span.

    At each node the first `size` left singular vectors of the differences x_u - x_v to its
    neighbours u; nodes with fewer than `size` neighbours are given the nearest others besides.

    Args:
        x: features.
        pairs: of `undirected_pairs`.
        size: of the tangent spaces, the stalks' dimension.

    Raises:
        ConfigError: for more dimensions than features, or than other nodes.
    """
    nodes, features = x.shape
    if not 1 <= size <= features:
        raise ConfigError(
            f"stalks of dimension {size} can't be tangent to features of dimension {features}; "
            f"take a dimension of 1 to {features}"
        )
    if size >= nodes:
        raise ConfigError(
            f"stalks of dimension {size} need {size} neighbours, but the graph has {nodes} nodes"
        )
    ends = torch.cat([pairs, pairs.flip(0)], dim=1)
    order = torch.argsort(ends[0], stable=True)
    counts = degrees(pairs, nodes, torch.float64).long()
    listed = ends[1][order].split(counts.tolist())
    bases = x.new_zeros(nodes, features, size)
    for node, neighbours in enumerate(listed):
        chosen = neighbours
        if len(chosen) < size:
            chosen = torch.cat([chosen, _nearest(x, node, chosen, size - len(chosen))])
        left = torch.linalg.svd((x[chosen] - x[node]).T, full_matrices=False)[0]
        bases[node] = left[:, :size]
    return bases


def _nearest(x: Tensor, node: int, taken: Tensor, count: int) -> Tensor:
    distance = (x - x[node]).square().sum(dim=1)
    distance[node] = torch.inf
    distance[taken] = torch.inf
    return torch.topk(distance, count, largest=False).indices


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
    pairs: Int[Tensor, "2 pairs"],
    nodes: int,
    size: int,
    *,
    kind: Literal["edge", "node"],
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "pairs size size"]:
    """Transports drawn evenly from O(d), the baselines RandEdge and RandNode.

    Args:
        pairs: of `undirected_pairs`.
        nodes: of the graph.
        size: d.
        kind: "edge" draws O_uv for each edge; "node" draws O_v for each node and takes
            O_uv = O_u^T O_v, which has no holonomy.
        generator: of the random numbers; torch's own if None.
        dtype: of the matrices.

    Raises:
        ConfigError: for another kind.
    """
    if kind not in ("edge", "node"):
        raise ConfigError(f"kind={kind!r}: expected edge or node")
    count = pairs.shape[1] if kind == "edge" else nodes
    normal = torch.randn(count, size, size, dtype=torch.float64, generator=generator)
    q, r = torch.linalg.qr(normal)
    # the sign of R's diagonal makes the draw even (Mezzadri, Notices of the AMS 54, 2007)
    drawn: Tensor = (q * torch.diagonal(r, dim1=-2, dim2=-1).sign().unsqueeze(-2)).to(
        pairs.device, dtype
    )
    if kind == "edge":
        return drawn
    out: Tensor = drawn.index_select(0, pairs[0]).mT @ drawn.index_select(0, pairs[1])
    return out
