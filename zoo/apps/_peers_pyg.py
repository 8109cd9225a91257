"""torch-geometric's DimeNet and DimeNet++ as contestants of `zoo bench`.

Their neighbour search and triplets need packages without wheels; both are replaced here by lists
of the same edges and triplets, in plain torch. The mathematics is the peer's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.models import dimenet

from zoo.functional import neighbor_list

#: the published sizes, torch-geometric's words
SIZES: Mapping[str, Mapping[str, Any]] = {
    "dimenet": {
        "hidden_channels": 128,
        "out_channels": 1,
        "num_blocks": 6,
        "num_bilinear": 8,
        "num_spherical": 7,
        "num_radial": 6,
        "output_initializer": "glorot_orthogonal",
    },
    "dimenetpp": {
        "hidden_channels": 128,
        "out_channels": 1,
        "num_blocks": 4,
        "int_emb_size": 64,
        "basis_emb_size": 8,
        "out_emb_channels": 256,
        "num_spherical": 7,
        "num_radial": 6,
        "output_initializer": "glorot_orthogonal",
    },
}


def build(name: str) -> nn.Module:
    """The peer of `dimenet` or `dimenetpp`; its bases take tens of seconds of symbolic algebra."""
    kind: Any = {"dimenet": dimenet.DimeNet, "dimenetpp": dimenet.DimeNetPlusPlus}[name]
    patched: Any = dimenet
    patched.radius_graph, patched.triplets = _edges, _triplets
    model: nn.Module = kind(**SIZES[name])
    return model


def _edges(pos: Tensor, r: float, batch: Tensor, max_num_neighbors: int) -> Tensor:
    return neighbor_list(pos.detach(), r, batch)[0]


def _triplets(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, ...]:
    """Target and source of each edge; atoms i, j, k and edges k -> j, j -> i of each triplet."""
    source, target = edge_index
    order = target.argsort(stable=True)
    counts = torch.bincount(target, minlength=num_nodes)
    first = counts.cumsum(0) - counts
    number = counts[source]  # edges that end where this one begins
    ji = torch.repeat_interleave(torch.arange(len(source)), number)
    offset = torch.arange(len(ji)) - torch.repeat_interleave(number.cumsum(0) - number, number)
    kj = order[first[source[ji]] + offset]
    kept = source[kj] != target[ji]
    kj, ji = kj[kept], ji[kept]
    return target, source, target[ji], source[ji], source[kj], kj, ji
