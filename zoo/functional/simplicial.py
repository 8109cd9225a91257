r"""Simplicial complexes of points: convex hulls, Rips complexes, and who is next to whom.

A complex of a batch is a tuple of index tensors, one per rank: entry d is (simplices of rank d,
d + 1), the vertices of each in ascending order, vertices numbered through the batch. The lifts look
at positions through the host and have no gradient, as nothing about a complex varies smoothly.

The graph of messages between simplices of all ranks is that of Liu, Ruhe, Eijkelboom, Forré,
*Clifford group equivariant simplicial message passing networks*, ICLR 2024 (arXiv:2402.10011),
section 4.
"""

import itertools
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.complete_graph import complete_edges

Simplices: TypeAlias = tuple[Tensor, ...]
#: of the ranks: a simplex of rank 5 has 720 orderings
MAX_RANK = 4


def hull_complex(
    pos: Float[Tensor, "vertices dim"], counts: Int[Tensor, " samples"], max_rank: int = 2
) -> Simplices:
    """All vertices, and the faces up to a rank of each sample's convex hull.

    Points that don't span the space have no hull: they stay vertices without faces. Facets with
    more corners than a simplex, as a cube has, are cut by Qhull in a way that may change with the
    order of the points.

    Args:
        pos: positions in 2 or more dimensions.
        counts: points of each sample, which follow each other.
        max_rank: of the simplices, at most dim - 1.

    Raises:
        ConfigError: for ranks or dimensions out of range.
    """
    dim = pos.shape[1]
    if dim < 2:
        raise ConfigError(f"hull_complex takes points of 2 or more dimensions, not {dim}")
    _check_rank(max_rank, dim - 1)
    points = pos.detach().cpu().double().numpy()
    ends = np.cumsum(counts.cpu().numpy())
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    facets = [_facets(points[a:b]) + a for a, b in zip(starts, ends, strict=True)]
    joined = np.sort(np.concatenate([np.zeros((0, dim), np.int64), *facets]), axis=1)
    faces = [torch.arange(len(pos), device=pos.device)[:, None]]
    for rank in range(1, max_rank + 1):
        corners = list(itertools.combinations(range(dim), rank + 1))
        rows = torch.from_numpy(joined[:, corners].reshape(-1, rank + 1)).to(pos.device)
        faces.append(rows.unique(dim=0))
    return tuple(faces)


def rips_complex(
    pos: Float[Tensor, "vertices dim"],
    counts: Int[Tensor, " samples"],
    radius: float,
    max_rank: int = 2,
    *,
    max_area: float | None = None,
) -> Simplices:
    """The Vietoris-Rips complex: simplices whose vertices are all within a distance of each other.

    Args:
        pos: positions.
        counts: points of each sample, which follow each other.
        radius: the largest distance, in the units of the positions.
        max_rank: of the simplices.
        max_area: triangles of a larger area are left out; for ranks up to 2.

    Raises:
        ConfigError: for ranks or lengths out of range.
    """
    _check_rank(max_rank, MAX_RANK if max_area is None else 2)
    if not radius > 0 or (max_area is not None and not max_area > 0):
        raise ConfigError(
            f"rips_complex: radius={radius}, max_area={max_area}; expected lengths above zero"
        )
    first, second = complete_edges(counts)
    pairs = torch.stack([first, second], dim=1)[first < second]
    away = pos.detach()[pairs[:, 0]] - pos.detach()[pairs[:, 1]]
    edges = pairs[away.square().sum(-1) <= radius**2]
    faces = cliques(edges, len(pos), max_rank)
    if max_area is None or max_rank < 2:
        return faces
    corners = pos.detach()[faces[2]]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    gram = (u * u).sum(-1) * (v * v).sum(-1) - (u * v).sum(-1).square()
    return *faces[:2], faces[2][gram <= 4 * max_area**2]


def cliques(edges: Int[Tensor, "edges 2"], vertices: int, max_rank: int = 2) -> Simplices:
    """The clique complex of a graph: every set of vertices that are all joined.

    Args:
        edges: pairs with the smaller number first, in ascending order, each once.
        vertices: how many there are.
        max_rank: of the simplices.

    Raises:
        ConfigError: for a rank out of range.
    """
    _check_rank(max_rank, MAX_RANK)
    faces = [torch.arange(vertices, device=edges.device)[:, None]]
    if max_rank == 0:
        return tuple(faces)
    keys = edges[:, 0] * vertices + edges[:, 1]  # ascending
    later = torch.bincount(edges[:, 0], minlength=vertices)  # neighbours with a larger number
    starts = later.cumsum(0) - later
    faces.append(edges)
    for _ in range(2, max_rank + 1):
        last = faces[-1][:, -1]
        rows = torch.repeat_interleave(later[last])
        place = torch.arange(len(rows), device=edges.device)
        place = place - torch.repeat_interleave(later[last].cumsum(0) - later[last], later[last])
        found = edges[starts[last][rows] + place, 1]
        grown = torch.cat([faces[-1][rows], found[:, None]], dim=1)
        joined = torch.isin(grown[:, :-1] * vertices + found[:, None], keys).all(1)
        faces.append(grown[joined])
    return tuple(faces)


def boundary(faces: Simplices, rank: int) -> Int[Tensor, "simplices corners"]:
    """For each simplex of a rank, the number of each of its faces among those of the rank below.

    Args:
        faces: a complex, in which every face of a simplex is there, each simplex once.
        rank: 1 or more.

    Returns:
        Entry k of a row is the face that lacks the k-th vertex.
    """
    above, below = faces[rank], faces[rank - 1]
    corners = [[m for m in range(rank + 1) if m != k] for k in range(rank + 1)]
    rows = above[:, corners].reshape(-1, rank)
    _, number = torch.cat([below, rows]).unique(dim=0, return_inverse=True)
    place = number.new_zeros(len(number))
    place[number[: len(below)]] = torch.arange(len(below), device=number.device)
    found: Tensor = place[number[len(below) :]]
    return found.reshape(len(above), rank + 1)


def message_edges(
    faces: Simplices, counts: Int[Tensor, " samples"], *, legacy: bool = False
) -> Int[Tensor, "2 edges"]:
    """Which simplex hears of which: row 1 receives from row 0.

    Vertices hear of all vertices of their sample; simplices of the same higher rank of each other
    where they are faces of one simplex; simplices and their faces of each other.

    Args:
        faces: a complex of a batch. Simplices are numbered rank after rank.
        counts: vertices of each sample.
        legacy: as the authors' code has it, where the first vertex of every edge of the complex
            hears of the second twice, which changes means over neighbours.
    """
    starts = np.cumsum([0, *(len(rows) for rows in faces)]).tolist()
    found = [complete_edges(counts)]
    if legacy and len(faces) > 1:
        found.append(faces[1].T)
    for rank in range(1, len(faces)):
        below = boundary(faces, rank) + starts[rank - 1]
        above = torch.arange(len(below), device=below.device)[:, None] + starts[rank]
        pairs = torch.stack([above.expand_as(below).reshape(-1), below.reshape(-1)])
        found += [pairs, pairs.flip(0)]
        if rank > 1:
            order = list(itertools.permutations(range(rank + 1), 2))
            found.append(below[:, order].reshape(-1, 2).T)
    return torch.cat(found, dim=1).flip(0)  # they were (receiver, sender)


def orderings(rank: int) -> list[tuple[int, ...]]:
    """All orders of the vertices of a simplex of a rank."""
    return list(itertools.permutations(range(rank + 1)))


def _facets(points: np.ndarray) -> np.ndarray:
    """Vertices of the facets of one hull (facets, dim); none where the points don't span."""
    dim = points.shape[1]
    if len(points) <= dim:
        return np.zeros((0, dim), dtype=np.int64)
    try:
        return np.asarray(ConvexHull(points).simplices, dtype=np.int64)
    except QhullError:
        return np.zeros((0, dim), dtype=np.int64)


def _check_rank(max_rank: int, limit: int) -> None:
    if not 0 <= max_rank <= min(limit, MAX_RANK):
        raise ConfigError(f"max_rank is {max_rank}; expected 0..{min(limit, MAX_RANK)}")
