"""Graphs of any homophily: what is asked for is what is there."""

from typing import Any

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.errors import ConfigError


def homophily(graph: Any) -> float:
    return float((graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]).double().mean())


@pytest.mark.parametrize("kind", ["csbm", "bipartite"])
@pytest.mark.parametrize("wanted", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_edges_know_the_classes(kind: str, wanted: float) -> None:
    dataset = zd.make(kind, nodes=300, classes=3, degree=6.0, homophily=wanted)
    graph = dataset[0]
    assert homophily(graph) == pytest.approx(wanted, abs=1e-12)
    edges = graph.edge_index.T.tolist()
    assert len(edges) == len(set(map(tuple, edges))) == 300 * 6
    assert {(b, a) for a, b in edges} == set(map(tuple, edges))
    assert all(a != b for a, b in edges)
    assert np.bincount(graph.y).tolist() == [100, 100, 100]
    if kind == "bipartite":
        side = dataset._store.row_columns["side"]
        assert (side[graph.edge_index[0]] != side[graph.edge_index[1]]).all()
        assert np.bincount(side).tolist() == [150, 150]
        assert np.bincount(graph.y[side == 0]).tolist() == [50, 50, 50]


def test_every_pair_of_a_kind_is_as_likely() -> None:
    """Edges between two classes are as many for any two, up to chance."""
    graph = zd.make("csbm", nodes=1000, homophily=0.1)[0]
    counts = np.zeros((5, 5))
    np.add.at(counts, (graph.y[graph.edge_index[0]], graph.y[graph.edge_index[1]]), 1)
    off = counts[np.triu_indices(5, 1)]
    assert np.abs(off - 450).max() < 5 * 450**0.5
    assert np.abs(np.diag(counts) - 200).max() < 5 * 2 * 100**0.5


def test_features_are_means_and_noise() -> None:
    graph = zd.make("csbm", nodes=4000, features=4, scale=2.0)[0]
    for label in range(5):
        own = graph.x[graph.y == label].double()
        assert float(own.mean(dim=0).norm()) == pytest.approx(2.0, abs=0.15)
        assert float((own - own.mean(dim=0)).std()) == pytest.approx(1.0, abs=0.05)


def test_folds() -> None:
    masks = zd.make("csbm", nodes=100)[0]
    sizes = {n: int(masks[f"{n}_mask"].sum()) for n in ("train", "val", "test")}
    assert sizes == {"train": 50, "val": 30, "test": 20}  # of each class 10, 6 and 4
    other = zd.make("csbm", nodes=100, splits={"kind": "index", "fold": 7})[0]
    assert not bool((other.test_mask == masks.test_mask).all())
    shares = np.bincount(masks.y[masks.test_mask])
    assert shares.tolist() == [4] * 5
    with pytest.raises(ConfigError, match="from 0 to 9"):
        zd.make("csbm", nodes=100, splits={"kind": "index", "fold": 10})


def test_on_demand() -> None:
    graph = zd.open("csbm?homophily=0.3&seed=4")[0]
    assert homophily(graph) == pytest.approx(0.3) and graph.x.shape == (1000, 16)
    assert homophily(zd.open("csbm-80")[0]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("csbm", {"homophily": 1.1}, "homophily is 1.1"),
        ("csbm", {"classes": 1}, "classes is 1"),
        ("csbm", {"nodes": 20}, "nodes is 20"),
        ("csbm", {"scale": -1.0}, "scale is -1.0"),
        ("csbm", {"folds": 0}, "folds is 0"),
        ("csbm", {"nodes": 50, "homophily": 1.0}, "edges within classes are asked for, but only"),
        ("csbm-10", {"homophily": 0.5}, "no setting 'homophily'"),
        ("bipartite", {"nodes": 20, "degree": 9.0}, "between classes are asked for"),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make(kind, **settings)
