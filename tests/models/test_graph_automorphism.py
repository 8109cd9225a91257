"""Networks of one graph's automorphisms: the contract, the maps, and the data."""

from typing import Any

import pytest
import torch

import zoo
from zoo.errors import ConfigError
from zoo.testing import SampleContract


class TestNodes(SampleContract):
    architecture = "graph_automorphism"


class TestPairsOfNodes(SampleContract):
    architecture = "graph_automorphism"
    config = {"graph": "torus", "size": [2, 3], "order": 2, "task": "sample",
              "regression": False, "hidden_channels": 3, "num_layers": 2, "in_channels": 2,
              "out_channels": 3}  # fmt: skip


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("graph_automorphism", **({"hidden_channels": 3} | changes)).double()


@pytest.mark.parametrize(
    ("changes", "nodes", "maps", "order"),
    [
        ({}, 12, 7, 24),  # distances on a ring of twelve
        ({"graph": "path", "size": [5]}, 5, 13, 2),
        ({"graph": "complete", "size": [5]}, 5, 2, 120),
        ({"graph": "grid", "size": [3, 3]}, 9, 15, 8),
        ({"graph": "torus", "size": [4, 4]}, 16, 5, 384),  # the hypercube
        ({"graph": "given", "size": [4], "edges": [[0, 1], [1, 2], [2, 3], [3, 0]],
          "directed": True}, 4, 4, 4),
        ({"graph": "given", "size": [3], "edges": []}, 3, 2, 6),
    ],
)  # fmt: skip
def test_graphs(changes: dict[str, Any], nodes: int, maps: int, order: int) -> None:
    model = make(**changes)
    assert model.sample_shape == (nodes, 1)
    assert model.layers[0].weight.shape[2] == maps
    assert len(model.group.elements()) == order
    x = torch.randn(2, nodes, 1, dtype=torch.float64)
    assert model({"x": x})["prediction"].shape == (2, nodes, 1)
    assert model({"x": x[:0]})["prediction"].shape == (0, nodes, 1)


def test_a_turned_ring() -> None:
    model = make()
    x = torch.randn(2, 12, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = model({"x": x})["prediction"]
    for change in (lambda v: v.roll(3, dims=1), lambda v: v.flip(1)):
        torch.testing.assert_close(model({"x": change(x)})["prediction"], change(out))
    mixed = x[:, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    first, second = (model({"x": v})["prediction"].detach().sort(dim=1).values for v in (x, mixed))
    assert float((first - second).abs().max()) > 1e-4  # neighbours matter


def test_the_data_have_the_symmetry_of_the_ring() -> None:
    data = zoo.datasets.make("ring-signals", train=3, val=1, test=1, nodes=5)
    x = torch.stack([sample["x"] for sample in data])[..., 0].double()
    y = torch.stack([sample["y"] for sample in data]).double()
    u = x.clone()
    for _ in range(40):
        u = u + (u.roll(1, 1) + u.roll(-1, 1) - 2 * u + u - u**3) / 40
    torch.testing.assert_close(u, y, rtol=0, atol=2e-4)
    with pytest.raises(ConfigError, match="nodes is 2"):
        zoo.datasets.make("ring-signals", nodes=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order": 3}, "order=3"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"graph": "tree"}, "'graph' must be one of"),
        ({"size": [3, 3]}, "expected 1 number"),
        ({"size": [0]}, "1 or more"),
        ({"graph": "given"}, "needed there"),
        ({"edges": [[0, 1]]}, "needed there"),
        ({"graph": "given", "size": [2], "edges": [[0, 2]]}, "nodes are 0 to 1"),
        ({"graph": "given", "size": [6], "edges": [[0, 1, 2], [3, 4, 5]]}, "expected pairs"),
        ({"size": [70], "order": 2}, "MB"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)
