"""GCN and the perceptron without edges: the contract, and what they compute."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError
from zoo.testing import SampleContract


class TestGCN(SampleContract):
    architecture = "gcn"


class TestGraphMLP(SampleContract):
    architecture = "graph_mlp"


def graph() -> Data:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 3]])
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    return Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], dim=1))


def make(name: str, **changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = {"in_channels": 3, "out_channels": 2, "hidden_channels": 4} | changes
        return zoo.create(name, **config).double().eval()


def test_gcn_is_the_formula() -> None:
    model, data = make("gcn"), graph()
    a = torch.eye(5, dtype=torch.float64)
    a[data.edge_index[0], data.edge_index[1]] = 1.0
    root = a.sum(dim=1).rsqrt()
    a = root[:, None] * a * root
    first, second = model.convolutions
    hidden = torch.relu(a @ data.x @ first.lin.weight.T + first.bias)
    expected = model.head(a @ hidden @ second.lin.weight.T + second.bias)
    torch.testing.assert_close(model(data)["logits"], expected, rtol=0, atol=1e-14)


def test_the_perceptron_looks_at_no_edge() -> None:
    model, data = make("graph_mlp"), graph()
    bare = Data(x=data.x, edge_index=data.edge_index[:, :0])
    torch.testing.assert_close(model(bare)["logits"], model(data)["logits"], rtol=0, atol=0)
    moved = data.clone()
    moved.x[0] += 1.0
    changed = (model(moved)["logits"] != model(data)["logits"]).any(dim=1)
    assert changed.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("name", ["gcn", "graph_mlp", "nsd", "conn_nsd"])
def test_levels(name: str) -> None:
    data = graph()
    data.edge_label_index = torch.tensor([[0, 4, 2], [1, 0, 3]])
    two = [data, graph()]
    two[1].edge_label_index = data.edge_label_index[:, :1]
    shapes: dict[str, tuple[int, ...]] = {"node": (10, 2), "edge": (4, 2), "graph": (2, 2)}
    for task, shape in shapes.items():
        assert make(name, task=task)(two)["logits"].shape == shape
        numbers = make(name, task=task, regression=True)(two)
        assert numbers["prediction"].shape == shape and "logits" not in numbers
    scorer = make(name, task="link")
    score = scorer(two)["score"]
    turned = [d.clone() for d in two]
    for d in turned:
        d.edge_label_index = d.edge_label_index.flip(0)
    torch.testing.assert_close(scorer(turned)["score"], score, rtol=0, atol=1e-14)
    assert score.shape == (4,)
    with pytest.raises(CapabilityError, match="task='edge'"):
        scorer.replace_head(3)
    plain = Data(x=data.x, edge_index=data.edge_index)
    assert make(name, task="edge")(plain)["logits"].shape == (8, 2)  # of the edges themselves


@pytest.mark.parametrize("name", ["gcn", "graph_mlp"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "face"}, "'task' must be one of"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"hidden_channels": 0}, "hidden channels 0"),
        ({"dropout": 1.0}, "0 <= dropout < 1"),
        ({"task": "link", "regression": True}, "nothing to regress"),
    ],
)
def test_bad_arguments(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(name, **changes)
