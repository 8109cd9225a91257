"""Counts of patterns in graphs, against looking for each of them."""

from itertools import combinations, permutations

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.datasets.synthetic.counting import PATTERNS, pattern_counts
from zoo.errors import ConfigError

EDGES = {
    "two_stars": [(0, 1), (0, 2)],
    "three_stars": [(0, 1), (0, 2), (0, 3)],
    "triangles": [(0, 1), (1, 2), (2, 0)],
    "tailed_triangles": [(0, 1), (1, 2), (2, 0), (0, 3)],
    "four_cycles": [(0, 1), (1, 2), (2, 3), (3, 0)],
}


def looked_for(a: np.ndarray, pattern: str) -> int:
    """Sets of edges that make the pattern, found by trying all nodes in all orders."""
    edges = EDGES[pattern]
    size = 1 + max(max(pair) for pair in edges)
    found = set()
    for nodes in combinations(range(len(a)), size):
        for order in permutations(nodes):
            if all(a[order[i], order[j]] for i, j in edges):
                found.add(frozenset(frozenset((order[i], order[j])) for i, j in edges))
    return len(found)


def adjacency(graph: object) -> np.ndarray:
    a = np.zeros((graph.num_nodes, graph.num_nodes), dtype=int)  # type: ignore[attr-defined]
    a[tuple(graph.edge_index)] = 1  # type: ignore[attr-defined]
    return a


def test_counts_are_exact() -> None:
    data = zd.make("graph-counting", train=8, val=1, test=1, smallest=6, largest=8)
    for graph in data:
        a = adjacency(graph)
        assert (a == a.T).all() and not a.diagonal().any()
        assert graph.y.reshape(-1).tolist() == [looked_for(a, name) for name in PATTERNS]
    assert pattern_counts(np.ones((4, 4)) - np.eye(4)) == (12, 4, 4, 12, 3)  # complete


def test_every_other_graph_is_regular() -> None:
    data = zd.make("graph-counting", train=40, val=2, test=2)
    degrees = [adjacency(graph).sum(axis=0) for graph in data.split("train")]
    assert all(len(set(d.tolist())) == 1 for d in degrees[1::2])
    assert {int(d[0]) for d in degrees[1::2]} == {3, 4, 5}
    assert 3.5 < np.mean([d.mean() for d in degrees[::2]]) < 4.5
    triangles = {int(graph.y.reshape(-1)[2]) for graph in list(data.split("train"))[1::2]}
    assert len(triangles) > 5  # regular graphs differ in what degrees don't decide
    sizes = {len(d) for d in degrees}
    assert min(sizes) >= 8 and max(sizes) <= 16


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    small, large = (zd.make("graph-counting", train=n, val=2, test=2) for n in (5, 9))
    for a, b in zip(small.split("train"), large.split("train"), strict=False):
        assert a.edge_index.tolist() == b.edge_index.tolist()
    assert small.split("test")[0].y.tolist() == large.split("test")[0].y.tolist()


@pytest.mark.parametrize(
    "settings", [{"train": 0}, {"smallest": 5}, {"largest": 7}, {"degree": 8.0}, {"degree": -1.0}]
)
def test_impossible_settings(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        zd.make("graph-counting", **settings)
