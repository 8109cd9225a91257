"""Invariant graph networks: the contract, padding, and what they can and can't tell apart."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

import zoo
from zoo.datasets.synthetic import graph_counting
from zoo.datasets.synthetic.counting import pattern_counts
from zoo.errors import ConfigError
from zoo.models.ign import pair_tensors
from zoo.testing import SampleContract


class TestGraphs(SampleContract):
    architecture = "ign"


class TestNodesWithProducts(SampleContract):
    architecture = "ign"
    config = {"in_channels": 4, "hidden_channels": 3, "num_layers": 2, "products": True,
              "mlp_channels": 4, "task": "node", "activation": "silu"}  # fmt: skip


class TestLinks(SampleContract):
    architecture = "ign"
    config = {"in_channels": 4, "hidden_channels": 3, "num_layers": 1, "mlp_channels": 4,
              "task": "link", "normalize": 4.0}  # fmt: skip


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = {"in_channels": 1, "hidden_channels": 4, "num_layers": 2} | changes
        return zoo.create("ign", **config).double().eval()


def ring(*sizes: int) -> Data:
    """Disjoint rings of these sizes."""
    edges, start = [], 0
    for size in sizes:
        edges += [(start + i, start + (i + 1) % size) for i in range(size)]
        start += size
    pairs = torch.tensor(edges).T
    both = torch.cat([pairs, pairs.flip(0)], dim=1)
    return Data(x=torch.ones(start, 1, dtype=torch.float64), edge_index=both)


def test_tensors_of_pairs() -> None:
    graph = ring(3)
    graph.x = torch.tensor([[1.0], [2.0], [3.0]])
    graph.edge_index = graph.edge_index[:, [0, 0, 1]]  # 0 -> 1 twice, 1 -> 2
    tensor, mask = pair_tensors(graph.x, graph.edge_index, None)
    assert torch.equal(tensor[0, 0], torch.tensor([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]]))
    assert torch.equal(tensor[0, 1], torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    assert mask.tolist() == [[True] * 3]


def test_only_products_tell_six_nodes_on_a_ring_from_two_triangles() -> None:
    """All degrees are 2: what a network of order 2 knows is the same."""
    pair = [ring(6), ring(3, 3)]
    for options in ({}, {"task": "node"}, {"num_layers": 4, "activation": "silu"}):
        plain = make(**options)(pair)["logits"]
        first, second = plain.chunk(2)
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    one, other = make(products=True, normalize=2.0)(pair)["logits"]
    assert float((one - other).detach().abs().max()) > 1e-7


def test_levels() -> None:
    graphs = [ring(4), ring(3, 3)]
    for graph in graphs:
        graph.edge_label_index = graph.edge_index[:, :2]
    shapes = {"graph": (2, 3), "node": (10, 3), "edge": (4, 3)}
    for task, shape in shapes.items():
        out = make(task=task, out_channels=3, regression=True)(graphs)
        assert out["prediction"].shape == shape
    assert make(task="link")(graphs)["score"].shape == (4,)
    model = make(out_channels=3)
    model.replace_head(5)
    assert model(graphs)["logits"].shape == (2, 5) and model(graphs[0])["logits"].shape == (1, 5)


def test_means_stay_and_sums_grow() -> None:
    sizes = {}
    for normalize in ("mean", "sum"):
        model = make(normalize=normalize, task="graph")
        values = [float(model(ring(n))["embedding"].detach().norm()) for n in (6, 60)]
        sizes[normalize] = values[1] / values[0]
    assert sizes["mean"] < 2 and sizes["sum"] > 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"hidden_channels": 0}, "hidden_channels=0"),
        ({"activation": "softmax"}, "'activation' must be one of"),
        ({"normalize": -1.0}, "normalize=-1.0"),
        ({"normalize": "max"}, "'normalize' must be"),
        ({"task": "face"}, "'task' must be one of"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)


def test_the_data_are_what_it_learns() -> None:
    made = graph_counting(train=3, val=1, test=1)
    graph = zoo.datasets.make("graph-counting", train=3, val=1, test=1)[1]
    a = pair_tensors(graph.x, graph.edge_index, None)[0][0, 0].numpy()
    assert graph.y.reshape(-1).tolist() == list(pattern_counts(a)) == made.arrays["y"][1].tolist()
