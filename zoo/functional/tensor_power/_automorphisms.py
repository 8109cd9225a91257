"""The automorphism group of a graph, by generators.

Search with refinement of colours, as in McKay, Practical graph isomorphism (1981), in its simplest
form: a base of nodes is fixed one after another, and for each of its nodes an automorphism is
looked for that fixes those before it and moves it to another node, unless those found already do.
What is found are strong generators, so that the product of the orbits' sizes is the order.
"""

import numpy as np
from jaxtyping import Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._given import PermutationGroup

#: pairs of colourings that are compared at most
STEPS = 200_000


def graph_automorphisms(
    edge_index: Int[Tensor, "2 edges"] | np.ndarray,
    num_nodes: int,
    labels: Int[Tensor, " nodes"] | np.ndarray | None = None,
) -> PermutationGroup:
    """The permutations of the nodes that leave the edges, and the labels, as they are.

    Args:
        edge_index: directed edges; an undirected graph has both directions. Edges that are there
            several times count once.
        num_nodes: n.
        labels: of nodes (n,), that an automorphism keeps; all alike if None.

    Returns:
        The group, with the identity alone where there is no other.

    Raises:
        ConfigError: for edges of nodes that aren't there, labels of another number, or a graph
            that takes too many steps.
    """
    if num_nodes < 1:
        raise ConfigError(f"num_nodes={num_nodes}; expected 1 or more")
    given = np.asarray(edge_index)
    edges = given.astype(np.int64)
    if edges.ndim != 2 or len(edges) != 2:
        raise ConfigError(f"edge_index has the shape {edges.shape}; expected (2, edges)")
    if not np.array_equal(edges, given):
        raise ConfigError(f"edge_index holds numbers in {given.dtype} that aren't whole")
    if edges.size and not 0 <= edges.min() <= edges.max() < num_nodes:
        raise ConfigError(
            f"edges run from {edges.min()} to {edges.max()}, but the nodes are 0 to {num_nodes - 1}"
        )
    colours = np.zeros(num_nodes, np.int64) if labels is None else np.asarray(labels)
    if colours.shape != (num_nodes,):
        raise ConfigError(f"labels have the shape {colours.shape}; expected ({num_nodes},)")
    adjacency = np.zeros((num_nodes, num_nodes), dtype=np.int64)
    adjacency[edges[0], edges[1]] = 1
    return _Search(adjacency, np.unique(colours, return_inverse=True)[1]).group()


class _Search:
    def __init__(self, adjacency: np.ndarray, colours: np.ndarray) -> None:
        self.adjacency, self.start, self.size = adjacency, colours, len(colours)
        self.steps = 0

    def group(self) -> PermutationGroup:
        """All levels of the base, the last one first, so that what is found there serves above."""
        base = self._base()
        found: list[np.ndarray] = []
        for depth in range(len(base) - 1, -1, -1):
            fixed, node = base[:depth], base[depth]
            own = self._coloured(fixed)
            orbit = _orbit(node, found)
            for image in np.flatnonzero(own == own[node]).tolist():
                if image in orbit:
                    continue
                automorphism = self._find([*fixed, node], [*fixed, image])
                if automorphism is not None:
                    found.append(automorphism)
                    orbit = _orbit(node, found)
        return PermutationGroup(found or [np.arange(self.size)])

    def _base(self) -> list[int]:
        """Nodes after whose fixing all colours differ."""
        base: list[int] = []
        while True:
            colours = self._coloured(base)
            shared = np.flatnonzero(np.bincount(colours) > 1)
            if not len(shared):
                return base
            base.append(int(np.flatnonzero(colours == shared[0])[0]))

    def _coloured(self, fixed: list[int]) -> np.ndarray:
        return np.asarray(self._refined([fixed])[0])

    def _refined(self, lists: list[list[int]]) -> np.ndarray:
        """Stable colours (len(lists), n), alike in all, with each list's nodes told apart."""
        colours = np.tile(self.start, (len(lists), 1))
        for row, nodes in enumerate(lists):
            colours[row, nodes] = self.size + np.arange(len(nodes))
        count = 0
        while True:
            colours = np.unique(colours, return_inverse=True)[1].reshape(len(lists), -1)
            now = int(colours.max()) + 1
            if now == count:
                return np.asarray(colours)
            count = now
            one_hot = (colours[..., None] == np.arange(count)).astype(np.int64)
            seen = [colours[..., None], self.adjacency @ one_hot, self.adjacency.T @ one_hot]
            rows = np.concatenate(seen, axis=-1).reshape(-1, 2 * count + 1)
            colours = np.unique(rows, axis=0, return_inverse=True)[1].reshape(len(lists), -1)

    def _find(self, nodes: list[int], images: list[int]) -> np.ndarray | None:
        """An automorphism that takes `nodes` to `images`, or None."""
        self.steps += 1
        if self.steps > STEPS:
            raise ConfigError(
                f"the automorphisms of this graph of {self.size} nodes weren't found in {STEPS} "
                "steps; give its group by generators (PermutationGroup)"
            )
        first, second = self._refined([nodes, images])
        if not np.array_equal(np.sort(first), np.sort(second)):
            return None
        shared = np.flatnonzero(np.bincount(first) > 1)
        if not len(shared):
            order = np.empty(self.size, dtype=np.int64)
            order[np.argsort(first)] = np.argsort(second)
            same = np.array_equal(self.adjacency[np.ix_(order, order)], self.adjacency)
            return order if same else None
        node = int(np.flatnonzero(first == shared[0])[0])
        for image in np.flatnonzero(second == shared[0]).tolist():
            found = self._find([*nodes, node], [*images, image])
            if found is not None:
                return found
        return None


def _orbit(node: int, generators: list[np.ndarray]) -> set[int]:
    """Where words in the generators take a node."""
    orbit, front = {node}, [node]
    while front:
        moved = {int(g[k]) for g in generators for k in front} - orbit
        orbit |= moved
        front = sorted(moved)
    return orbit
