"""Sheaf networks with connection Laplacians: the contract, transports used right, baselines."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError
from zoo.functional import sheaf
from zoo.testing import SampleContract


class TestConnNSD(SampleContract):
    architecture = "conn_nsd"


class TestRandNode(SampleContract):
    architecture = "conn_nsd"
    config = {"in_channels": 2, "hidden_channels": 3, "transport": "node", "high_pass": True}


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = {"in_channels": 5, "out_channels": 3, "hidden_channels": 4} | changes
        return zoo.create("conn_nsd", **config).double().eval()


def graph(nodes: int = 9, seed: int = 0, features: int = 5) -> Data:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(0, nodes, (2, 2 * nodes), generator=generator)
    pairs = sheaf.undirected_pairs(ends, nodes, warn=False)
    x = torch.randn(nodes, features, dtype=torch.float64, generator=generator)
    return Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], dim=1))


def carried(model: Any, data: Data) -> Tensor:
    pairs = sheaf.undirected_pairs(data.edge_index, len(data.x), warn=False)
    return model._transports(data.x, pairs, None)


def test_the_layer_is_the_connection_laplacian() -> None:
    """Blocks deg(v) and -O_uv, O_uv the transport from v to u itself, applied once."""
    model, data = make(stalk_dim=2, num_layers=1, activation=False), graph()
    torch.nn.init.eye_(model.steps[0].right.weight)
    pairs, transports = sheaf.undirected_pairs(data.edge_index, 9), carried(model, data)
    full = torch.zeros(9, 2, 9, 2, dtype=torch.float64)
    degree = torch.bincount(pairs.flatten(), minlength=9).double()
    for node in range(9):
        full[node, :, node] = degree[node] * torch.eye(2, dtype=torch.float64)
    for (u, v), o in zip(pairs.T.tolist(), transports, strict=True):
        full[u, :, v], full[v, :, u] = -o, -o.T
    root = (degree + 1).rsqrt().repeat_interleave(2)
    delta = root[:, None] * full.reshape(18, 18) * root
    x = model.encode(data.x)
    expected = x - (delta @ x.flatten(0, 1)).view_as(x)
    found = model(data)["embedding"].view_as(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_transports_come_from_local_principal_components() -> None:
    model, data = make(stalk_dim=2), graph()
    pairs = sheaf.undirected_pairs(data.edge_index, 9)
    bases = []
    for node in range(9):
        others = torch.cat([pairs[1][pairs[0] == node], pairs[0][pairs[1] == node]])
        if len(others) == 1:  # the nearest of the rest
            distance = (data.x - data.x[node]).square().sum(dim=1)
            distance[[node, int(others[0])]] = torch.inf
            others = torch.cat([others, distance.argmin()[None]])
        left = torch.linalg.svd((data.x[others] - data.x[node]).T)[0][:, :2]
        bases.append(left * left.gather(0, left.abs().argmax(dim=0)[None]).sign())
    for (u, v), o in zip(pairs.T.tolist(), carried(model, data), strict=True):
        a, _, b = torch.linalg.svd(bases[u].T @ bases[v])
        torch.testing.assert_close(o, a @ b, rtol=0, atol=1e-12)


def test_flat_features_have_no_holonomy() -> None:
    """Features in a plane have one basis but for signs: d harmonic sections per component."""
    data = graph()
    plane = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64,
                                        generator=torch.Generator().manual_seed(3)))[0]  # fmt: skip
    data.x = data.x[:, :2] @ plane.T
    pairs = sheaf.undirected_pairs(data.edge_index, 9)
    made = sheaf.transport_laplacian(carried(make(stalk_dim=2), data), pairs, 9)
    values = torch.linalg.eigvalsh(sheaf.assemble(made, 9).to_dense())
    adjacency = np.eye(9)
    adjacency[pairs[0], pairs[1]] = adjacency[pairs[1], pairs[0]] = 1
    parts = len({tuple(row) for row in np.linalg.matrix_power(adjacency, 9) > 0})
    assert int((values < 1e-10).sum()) == 2 * parts


def test_another_graph_may_follow() -> None:
    model = make(stalk_dim=2)
    first, second = graph(), graph(13, seed=1)
    apart = [model(first)["logits"], model(second)["logits"], model(first)["logits"]]
    torch.testing.assert_close(apart[0], apart[2], rtol=0, atol=0)
    moved = first.clone()
    moved.x = first.x.flip(0)
    assert not torch.allclose(model(moved)["logits"], apart[0])
    both = model([first, second])["logits"]
    torch.testing.assert_close(both, torch.cat(apart[:2]), rtol=0, atol=1e-12)


def test_graphs_smaller_than_stalks() -> None:
    model = make(stalk_dim=4)
    pair = Data(x=graph().x[:2], edge_index=torch.tensor([[0, 1], [1, 0]]))
    assert bool(torch.isfinite(model(pair)["logits"]).all())
    assert carried(model, pair).shape == (1, 4, 4)


@pytest.mark.parametrize("kind", ["edge", "node"])
def test_random_transports(kind: str) -> None:
    model, data = make(stalk_dim=7, transport=kind), graph()
    drawn = carried(model, data)
    eye = torch.eye(7, dtype=torch.float64).expand_as(drawn)
    torch.testing.assert_close(drawn @ drawn.mT, eye, rtol=0, atol=1e-13)
    torch.testing.assert_close(carried(make(stalk_dim=7, transport=kind), data), drawn)
    other = make(stalk_dim=7, transport=kind, transport_seed=1)
    assert not torch.allclose(carried(other, data), drawn)
    alone = model(data)["logits"]
    together = model([graph(6, seed=2), data])["logits"][6:]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stalk_dim": 6}, "spanned by the features of nodes, of which there are 5"),
        ({"transport": "face"}, "must be one of 'features', 'edge', 'node'"),
        ({"num_layers": 0}, "num_layers=0"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)


@pytest.mark.parametrize("transport", ["features", "node"])
def test_what_is_kept_of_a_graph_is_its_own(transport: str) -> None:
    """Numbers changed in place and other graphs of the same nodes are seen to be others."""
    model, data = make(transport=transport, stalk_dim=2), graph()
    batch = data.clone()
    batch.batch = torch.zeros(9, dtype=torch.int64)
    model(batch)
    batch.x.mul_(-2.0).add_(torch.linspace(0, 1, 5))
    fresh = make(transport=transport, stalk_dim=2)
    assert torch.equal(model(batch)["logits"], fresh(batch)["logits"])


def test_the_graphs_of_a_batch_are_part_of_what_is_kept() -> None:
    """A node with fewer neighbours than dimensions looks for others in its own graph only."""
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = Data(x=x, edge_index=torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]]))
    apart = data.clone()
    data.batch, apart.batch = torch.zeros(6, dtype=torch.int64), torch.tensor([0, 0, 0, 1, 1, 1])
    model, pairs = make(stalk_dim=2), torch.tensor([[0, 3], [1, 4]])
    one, two = (model._transports(x, pairs, d.batch) for d in (data, apart))
    assert not torch.allclose(one, two)
    assert torch.equal(two, make(stalk_dim=2)._transports(x, pairs, apart.batch))


@pytest.mark.parametrize("name", ["nsd", "conn_nsd"])
def test_a_graph_seen_in_inference_mode_is_trained_on_later(name: str) -> None:
    model, data = zoo.create(name, in_channels=5).double(), graph()
    with torch.inference_mode():
        model(data)
    model(data)["logits"].sum().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
