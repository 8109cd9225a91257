"""Sarkar's construction and what measures embeddings."""

import math

import pytest
import torch

from zoo.errors import ConfigError, DataError
from zoo.functional import lorentz, poincare
from zoo.functional.trees import distortion, graph_distances, mean_average_precision, sarkar


def balanced(branching, depth):
    """Edges from parents to children, and the number of nodes."""
    edges, level, count = [], [0], 1
    for _ in range(depth):
        following = []
        for parent in level:
            for _ in range(branching):
                edges.append((parent, count))
                following.append(count)
                count += 1
        level = following
    return torch.tensor(edges).T, count


def coordinate_distances(tangents):
    x = lorentz.exp0(tangents)
    return lorentz.dist(x[:, None], x[None])


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_the_tree_is_kept_perfectly(dimension):
    edges, count = balanced(3, 4)
    tree = sarkar(edges, count, dimension=dimension, scale=3.0)
    hops = graph_distances(edges, count)
    assert mean_average_precision(tree.distances, edges) == 1.0
    lengths = tree.distances[edges[0], edges[1]]
    assert torch.allclose(lengths, torch.full_like(lengths, 3.0), rtol=1e-14)
    assert distortion(tree.distances, hops, scale=3.0) < 0.15
    assert bool((tree.distances <= 3.0 * hops + 1e-9).all())  # detours cost less than in the tree


def test_longer_edges_distort_less():
    edges, count = balanced(2, 5)
    hops = graph_distances(edges, count)
    found = [
        distortion(sarkar(edges, count, scale=s).distances, hops, scale=s) for s in (2.0, 8.0, 40.0)
    ]
    assert found == sorted(found, reverse=True) and found[-1] < 0.01


@pytest.mark.parametrize("dimension", [2, 4])
def test_distances_agree_with_coordinates_where_those_suffice(dimension):
    edges, count = balanced(3, 4)
    tree = sarkar(edges, count, dimension=dimension, scale=1.5)
    assert torch.allclose(coordinate_distances(tree.tangents), tree.distances, atol=1e-12)
    assert bool((tree.tangents[tree.root] == 0).all())


def test_distances_hold_where_coordinates_fail():
    """A path of two branches: the distance of its ends is known at any scale."""
    edges = torch.tensor([[0, 1, 0, 3], [1, 2, 3, 4]])
    tree = sarkar(edges, 5, scale=120.0, root=0)
    assert float(tree.distances[2, 4]) == pytest.approx(480.0, rel=1e-14)
    star = torch.tensor([[0, 0, 0, 2, 4, 4], [3, 1, 2, 4, 5, 6]])
    far = sarkar(star, 7, scale=40.0, root=0)
    # law of cosines between the last two, 120 degrees apart: 2 asinh(sinh(40) sin(60))
    wanted = 2 * math.asinh(math.sinh(40.0) * math.sin(math.pi / 3))
    assert float(far.distances[5, 6]) == pytest.approx(wanted, rel=1e-12)
    assert float(coordinate_distances(far.tangents)[5, 6]) != pytest.approx(wanted, rel=1e-2)


def test_the_default_scale_fits_float64():
    edges, count = balanced(2, 6)
    tree = sarkar(edges, count)
    radii = tree.tangents.norm(dim=1)
    assert 28.0 < float(radii.max()) < 31.0 and tree.root == 0
    assert float((coordinate_distances(tree.tangents) - tree.distances).abs().max()) < 1e-2
    assert mean_average_precision(coordinate_distances(tree.tangents), edges) == 1.0


@pytest.mark.parametrize(
    ("dtype", "scale"), [(torch.float32, 2.5), (torch.float64, 5.5)], ids=["float32", "float64"]
)
def test_the_hyperboloid_keeps_depth_that_the_ball_loses(dtype, scale):
    edges, count = balanced(2, 8)
    z = sarkar(edges, count, scale=scale, root=0).tangents.to(dtype)
    ball = poincare.exp0(z / 2)  # tangents there are twice as long as their coordinates
    inside = mean_average_precision(poincare.dist(ball[:, None], ball[None]), edges)
    assert mean_average_precision(coordinate_distances(z), edges) == 1.0
    assert inside < 0.98


def test_average_precision_by_hand():
    """Neighbours of 0 are 1 and 2; from 0 the order is 1, 3, 2."""
    edges = torch.tensor([[0, 0], [1, 2]])
    place = torch.tensor([0.0, 1.0, 3.0, 2.0], dtype=torch.float64)
    distances = (place[:, None] - place).abs()
    # node 0: (1 + 2/3) / 2; node 1: 0 and 3 tie, 1/2; node 2: 0 is the last of three, 1/3
    wanted = ((1 + 2 / 3) / 2 + 1 / 2 + 1 / 3) / 3
    assert mean_average_precision(distances, edges) == pytest.approx(wanted, rel=1e-15)
    both = torch.cat([edges, edges.flip(0)], dim=1)
    assert mean_average_precision(distances, both) == pytest.approx(wanted, rel=1e-15)


def test_distortion_ignores_scale_and_components():
    edges = torch.tensor([[0, 1, 3], [1, 2, 4]])
    hops = graph_distances(edges, 5)
    assert bool(torch.isinf(hops[0, 3])) and float(hops[0, 2]) == 2
    assert distortion(7.0 * hops, hops) == pytest.approx(0.0, abs=1e-15)
    assert distortion(7.0 * hops, hops, scale=5.0) == pytest.approx(0.4, rel=1e-12)


@pytest.mark.parametrize(
    ("edges", "count", "words"),
    [
        ([[0, 1, 2], [1, 2, 0]], 3, "3 nodes and 3 edges"),
        ([[0], [1]], 3, "several parts"),
    ],
)
def test_graphs_that_are_no_trees_are_refused(edges, count, words):
    with pytest.raises(DataError, match=words):
        sarkar(torch.tensor(edges), count)


def test_what_cannot_be_is_refused():
    edges, count = balanced(2, 2)
    for options in ({"dimension": 1}, {"scale": 0.0}, {"scale": 500.0}):
        with pytest.raises(ConfigError):
            sarkar(edges, count, **options)
    with pytest.raises(DataError, match="no"):
        mean_average_precision(torch.zeros(3, 3), torch.zeros(2, 0, dtype=torch.int64))
    with pytest.raises(DataError, match="finite"):
        mean_average_precision(torch.full((3, 3), math.nan), edges[:, :1])
