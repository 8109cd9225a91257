r"""Trees in hyperbolic space: Sarkar's construction, and how good an embedding is.

- Sarkar, Low Distortion Delaunay Embedding of Trees in Hyperbolic Plane, GD 2011; in more
  dimensions as in De Sa, Gu, Ré, Sala, arXiv:1804.03329: every node puts its children at a fixed
  distance tau, in directions that are far apart from each other and from its parent's.
- Mean average precision and distortion as defined there.

Precision. Coordinates about the root resolve angles of 1e-16 only, which limits the radius to 37
(`zoo.functional.radius`); De Sa et al. compute with thousands of bits. Here each node is a
distance and a direction in the frame of each of its ancestors, moved up edge by edge by the laws
of cosines and sines, and the distance of two nodes is taken in the frame of the last ancestor
that they share, where their directions are far apart: float64 keeps 1e-12 of it at any depth.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, shortest_path
from torch import Tensor

from zoo.errors import ConfigError, DataError
from zoo.functional.radius import representable_radius

#: how far inside the limit of float64 the outermost node is put: e^-7 of a distance is lost there
MARGIN = 7.0
#: cosh of it, squared, is a float64
LARGEST = 300.0


@dataclass(frozen=True)
class SarkarTree:
    """A tree embedded by Sarkar's construction, curvature -1.

    Attributes:
        tangents: z of each node, with the point exp0(z); float64.
        distances: of all pairs of nodes, at full precision; float64.
        scale: tau, the length of an edge.
        root: the node at the origin.
    """

    tangents: Float[Tensor, "nodes dimension"]
    distances: Float[Tensor, "nodes nodes"]
    scale: float
    root: int


def graph_distances(
    edge_index: Int[Tensor, "2 edges"], num_nodes: int
) -> Float[Tensor, "nodes nodes"]:
    """Lengths of shortest paths in an undirected graph, float64; infinite between components.

    Args:
        edge_index: pairs of nodes, in one direction or both.
        num_nodes: of the graph.
    """
    steps = shortest_path(_adjacency(edge_index, num_nodes), directed=False, unweighted=True)
    distances: Tensor = torch.from_numpy(steps)
    return distances


def mean_average_precision(
    distances: Float[Tensor, "nodes nodes"], edge_index: Int[Tensor, "2 edges"]
) -> float:
    """How well the nearest points of each node are its neighbours; one is perfect.

    The mean over nodes a, and over neighbours b of a, of the share of a's neighbours among the
    points that are no farther from a than b. Ties count against the embedding; nodes without
    neighbours don't count.

    Args:
        distances: between the embedded nodes.
        edge_index: edges of the graph, in one direction or both.

    Raises:
        DataError: a graph without edges, or distances that are not finite.
    """
    n = len(distances)
    if edge_index.shape[1] == 0:
        raise DataError("mean average precision needs at least one edge; the graph has none")
    if not bool(distances.isfinite().all()):
        raise DataError("mean average precision: some distances are not finite")
    linked = torch.zeros(n, n, dtype=torch.bool, device=distances.device)
    linked[edge_index[0], edge_index[1]] = True
    linked = linked | linked.T
    linked.fill_diagonal_(False)
    itself = torch.eye(n, dtype=torch.bool, device=distances.device)
    others = distances.masked_fill(itself, math.inf)
    near = torch.sort(others, dim=1).values
    nearest_linked = torch.sort(others.masked_fill(~linked, math.inf), dim=1).values
    all_counts = torch.searchsorted(near, others.contiguous(), right=True)
    linked_counts = torch.searchsorted(nearest_linked, others.contiguous(), right=True)
    precision = linked_counts.double() / all_counts.clamp(min=1).double()
    precision = precision.masked_fill(~linked, 0.0)
    degree = linked.sum(1)
    return float((precision.sum(1) / degree.clamp(min=1))[degree > 0].mean())


def distortion(
    distances: Float[Tensor, "nodes nodes"],
    target: Float[Tensor, "nodes nodes"],
    *,
    scale: float | None = None,
) -> float:
    """Mean relative error of the distances, |d / (scale g) - 1| over pairs of distinct nodes.

    Args:
        distances: d, between the embedded nodes.
        target: g, in the graph; infinite pairs don't count.
        scale: the length of one edge; the one that makes the mean of d / (scale g) one if None.
    """
    pairs = torch.isfinite(target) & (target > 0)
    ratio = distances.double()[pairs] / target.double()[pairs]
    unit = ratio.mean() if scale is None else scale
    return float((ratio / unit - 1).abs().mean())


def sarkar(
    edge_index: Int[Tensor, "2 edges"],
    num_nodes: int,
    *,
    dimension: int = 2,
    scale: float | None = None,
    root: int | None = None,
) -> SarkarTree:
    """Embeds a tree by Sarkar's construction.

    Args:
        edge_index: edges of a tree, in one direction or both.
        num_nodes: of the tree.
        dimension: of the space, at least 2.
        scale: tau. The longer the edges the smaller the distortion; by default the outermost
            node lies as far out as float64 still resolves points.
        root: the node at the origin; by default a centre of the tree.

    Raises:
        ConfigError: a dimension below 2, or a scale that puts nodes farther than 300.
        DataError: a graph that is not a tree.
    """
    if dimension < 2:
        raise ConfigError(f"dimension={dimension}: a tree needs at least 2 to branch")
    hops = _checked_tree(edge_index, num_nodes)
    centre = int(hops.amax(1).argmin()) if root is None else root
    depth = max(float(hops[centre].max()), 1.0)
    limit = representable_radius("poincare", torch.float64) - MARGIN
    tau = limit / depth if scale is None else scale
    if not 0 < tau * depth <= LARGEST:
        raise ConfigError(
            f"scale={tau:g}: the outermost of {num_nodes} nodes is {depth:g} edges from the root; "
            f"take a scale above 0 and up to {LARGEST / depth:.3g}"
        )
    return _grow(_adjacency(edge_index, num_nodes), centre, tau, dimension)


def _grow(adjacency: csr_matrix, root: int, tau: float, dimension: int) -> SarkarTree:
    """Moves subtrees up into their parents' frames, the deepest first."""
    order, parents = breadth_first_order(adjacency, root, directed=False)
    children: dict[int, list[int]] = {int(node): [] for node in order}
    for node in order[1:]:
        children[int(parents[node])].append(int(node))
    distances = np.zeros((len(order), len(order)))
    below: dict[int, _Frame] = {}
    for node in map(int, order[::-1]):
        inner = node != root
        ways = _directions(len(children[node]) + inner, dimension)
        frame = _Frame.of_one(node, dimension)
        for way, child in zip(ways[int(inner) :], children[node], strict=True):
            moved = below.pop(child).moved(tau, way)
            gaps = moved.distances_to(frame)
            distances[np.ix_(moved.nodes, frame.nodes)] = gaps
            distances[np.ix_(frame.nodes, moved.nodes)] = gaps.T
            frame = frame.joined(moved)
        below[node] = frame
    top = below[root]
    tangents = np.empty((len(order), dimension))
    tangents[top.nodes] = top.radii[:, None] * top.ways
    return SarkarTree(torch.from_numpy(tangents), torch.from_numpy(distances), tau, root)


@dataclass(frozen=True)
class _Frame:
    """A subtree as seen from its topmost node, whose own parent lies in the direction e_1."""

    nodes: np.ndarray
    radii: np.ndarray
    ways: np.ndarray

    @staticmethod
    def of_one(node: int, dimension: int) -> "_Frame":
        return _Frame(np.array([node]), np.zeros(1), np.eye(dimension)[:1])

    def moved(self, tau: float, way: np.ndarray) -> "_Frame":
        """The same as seen from the parent, from which this frame lies tau away along `way`."""
        near = self.ways[:, 0]  # cosine of the angle between the parent and each node
        cosh = np.cosh(self.radii) * math.cosh(tau) - np.sinh(self.radii) * math.sinh(tau) * near
        radii = np.arccosh(np.maximum(cosh, 1.0))
        sinh = np.maximum(np.sinh(radii), 1e-300)
        # law of sines, and of cosines written without a difference of large numbers
        across = np.sinh(self.radii)[:, None] * self.ways / sinh[:, None]
        across[:, 0] = 0.0
        along = np.sqrt(np.maximum(1.0 - np.square(across).sum(1), 0.0))
        behind = np.cosh(self.radii) * math.sinh(tau) < np.sinh(self.radii) * math.cosh(tau) * near
        local = across.copy()
        local[:, 0] = np.where(behind, along, -along)  # the parent's own direction is +e_1
        return _Frame(self.nodes, radii, local @ _mirror(way))

    def joined(self, other: "_Frame") -> "_Frame":
        return _Frame(
            np.concatenate([self.nodes, other.nodes]),
            np.concatenate([self.radii, other.radii]),
            np.concatenate([self.ways, other.ways]),
        )

    def distances_to(self, other: "_Frame") -> np.ndarray:
        """sinh^2(d/2) = sinh^2((r - s)/2) + sinh(r) sinh(s) |m - n|^2 / 4: nothing cancels."""
        gap = np.square(self.ways[:, None] - other.ways[None]).sum(-1) / 4
        spread = np.sinh(self.radii)[:, None] * np.sinh(other.radii)[None] * gap
        apart = np.square(np.sinh((self.radii[:, None] - other.radii[None]) / 2))
        distances: np.ndarray = 2 * np.arcsinh(np.sqrt(apart + spread))
        return distances


def _mirror(way: np.ndarray) -> np.ndarray:
    """The symmetric reflection that exchanges -e_1 and `way`."""
    normal = way.copy()
    normal[0] += 1.0
    square = float(normal @ normal)
    if square < 1e-24:
        return np.eye(len(way))
    matrix: np.ndarray = np.eye(len(way)) - 2 * np.outer(normal, normal) / square
    return matrix


@functools.cache
def _directions(count: int, dimension: int) -> np.ndarray:
    """Unit vectors far apart from each other, the first of them e_1.

    Evenly on the circle in two dimensions; otherwise by repulsion, from a fixed start.
    """
    if dimension == 2:
        angles = 2 * np.pi * np.arange(count) / max(count, 1)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ways = np.random.default_rng(0).normal(size=(max(count, 1), dimension))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    for step in range(200):
        away = ways[:, None] - ways[None]
        square = np.square(away).sum(-1) + np.eye(len(ways))
        push = (away / square[..., None] ** 2).sum(1)
        push /= np.linalg.norm(push, axis=1, keepdims=True).max() + 1e-12
        ways += 0.5 / (1 + step / 10) * push
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    turned: np.ndarray = (ways @ _mirror(-ways[0]))[:count]  # exchanges e_1 and the first
    return turned


def _adjacency(edge_index: Tensor, num_nodes: int) -> csr_matrix:
    pairs = edge_index.detach().cpu().numpy()
    return csr_matrix((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), (num_nodes, num_nodes))


def _checked_tree(edge_index: Tensor, num_nodes: int) -> Tensor:
    hops = graph_distances(edge_index, num_nodes)
    once = {(min(a, b), max(a, b)) for a, b in edge_index.T.tolist()}
    if not bool(torch.isfinite(hops).all()) or len(once) != num_nodes - 1:
        raise DataError(
            f"Sarkar's construction needs a tree: {num_nodes} nodes and {len(once)} edges are "
            f"{'connected' if bool(torch.isfinite(hops).all()) else 'in several parts'}; a tree is "
            "connected and has one edge fewer than nodes"
        )
    return hops
