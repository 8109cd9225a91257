"""Neural sheaf diffusion: the authors' numbers, graphs as inputs, and what each option does."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import golden
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.functional import sheaf
from zoo.layers.sheaf import EdgeWeights, SheafLearner

GOLDEN = sorted((Path(__file__).parent / "golden").glob("nsd-*.safetensors"))


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = {"in_channels": 5, "out_channels": 3, "hidden_channels": 4} | changes
        return zoo.create("nsd", **config).double().eval()


def graph(nodes: int = 8, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(0, nodes, (2, 3 * nodes), generator=generator)
    pairs = sheaf.undirected_pairs(ends, nodes, warn=False)
    x = torch.randn(nodes, 5, dtype=torch.float64, generator=generator)
    return Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], dim=1))


# --- the authors' numbers --------------------------------------------------------------------


def test_there_are_goldens() -> None:
    assert len(GOLDEN) == 6


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_authors_outputs(path: Path) -> None:
    name = path.stem.rpartition("-")[0]
    config, weights, tensors = golden(path)
    model = zoo.convert(name, weights, config, source="nsd")
    out = model({"x": tensors["input/x"], "edge_index": tensors["input/edge_index"]})
    error = (out["log_softmax"] - tensors["output/log_softmax"]).abs().max()
    assert float(error.detach()) < 2e-6
    assert model.hparams["sheaf"] == name.removeprefix("nsd-")


def test_what_is_not_converted() -> None:
    config, weights, _ = golden(GOLDEN[0])
    with pytest.raises(CapabilityError, match="deg_normalised=True has no counterpart"):
        zoo.convert("nsd-bundle", weights, config | {"deg_normalised": True}, source="nsd")
    with pytest.raises(CapabilityError, match="sheaf_act='relu'"):
        zoo.convert("nsd-bundle", weights, config | {"sheaf_act": "relu"}, source="nsd")
    with pytest.raises(StateMismatchError, match="weights.linear"):
        zoo.convert("nsd-diag", weights, config, source="nsd")
    with pytest.raises(StateMismatchError, match="lin3"):
        extra = {"lin3.bias": torch.zeros(2)}
        zoo.convert("nsd-bundle", weights | extra, config, source="nsd")
    config.pop("input_dim")
    with pytest.raises(StateMismatchError, match="says no input_dim"):
        zoo.convert("nsd-bundle", weights, config, source="nsd")


# --- graphs as inputs ------------------------------------------------------------------------


def test_any_graph_may_follow() -> None:
    model = make(stalk_dim=2, low_pass=True)
    first, second = graph(), graph(13, seed=1)
    both = model([first, second])["logits"]
    apart = torch.cat([model(first)["logits"], model(second)["logits"]])
    torch.testing.assert_close(both, apart, rtol=0, atol=1e-13)
    plain = model({"x": first.x, "edge_index": first.edge_index})["logits"]
    torch.testing.assert_close(plain, model(first)["logits"], rtol=0, atol=0)


def test_directed_edges_are_made_undirected_and_said_to_be() -> None:
    model, data = make(), graph()
    expected = model(data)["logits"]
    one_way = data.clone()
    one_way.edge_index = data.edge_index[:, : data.edge_index.shape[1] // 2]
    with pytest.warns(UserWarning, match="edges had one direction only"):
        torch.testing.assert_close(model(one_way)["logits"], expected, rtol=0, atol=0)
    twice = data.clone()
    twice.edge_index = torch.cat([data.edge_index, data.edge_index], dim=1)
    with pytest.warns(UserWarning, match="duplicated edges were left out"):
        torch.testing.assert_close(model(twice)["logits"], expected, rtol=0, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(data)


# --- learners --------------------------------------------------------------------------------


def dense(learner: SheafLearner, x: Tensor, pairs: Tensor) -> Tensor:
    """Parameters of both ends from the concatenation of features, as the paper writes it."""
    rows = []
    for own, other in (pairs, pairs.flip(0)):
        both = torch.cat([x[own].flatten(1), x[other].flatten(1)], dim=1)
        if learner.learner == "interleaved":
            both = both.reshape(len(both), learner.width, -1).sum(dim=1)
        elif learner.learner == "sparse":
            both = torch.cat([x[own].sum(dim=1), x[other].sum(dim=1)], dim=1)
        assert learner.linear is not None
        rows.append(learner.act(both @ learner.linear.weight.T))
    return torch.stack(rows)


@pytest.mark.parametrize("learner", ["dense", "sparse", "interleaved"])
def test_learners_read_both_ends(learner: Any) -> None:
    model = SheafLearner(3, 3, 4, kind="diag", learner=learner).double()
    data = graph()
    pairs = sheaf.undirected_pairs(data.edge_index, 8)
    x = torch.randn(8, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    theta = dense(model, x, pairs)
    expected = sheaf.diagonal_laplacian(theta[0], theta[1], pairs, 8)
    torch.testing.assert_close(model(x, pairs).off, expected.off, rtol=0, atol=1e-14)


def test_edge_weights_do_not_know_directions() -> None:
    weights = EdgeWeights(6).double()
    x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pairs = sheaf.undirected_pairs(graph().edge_index, 8)
    found = weights(x, pairs).detach()
    torch.testing.assert_close(found, weights(x, pairs.flip(0)).detach(), rtol=0, atol=1e-15)
    assert 0 < float(found.min()) and float(found.max()) < 1


def test_parameters_are_counted() -> None:
    cases: dict[str, dict[str, Any]] = {
        "layers": {},
        "linear": {"linear": True},
        "plain": {"edge_weights": False},
        "line": {"stalk_dim": 1},
    }
    sizes = {name: len(list(make(**options).parameters())) for name, options in cases.items()}
    assert sizes == {"layers": 14, "linear": 12, "plain": 12, "line": 12}
    model = make(orthogonal="cayley", stalk_dim=4)
    assert model.learners[0].linear.weight.shape == (6, 2 * 4 * 4)  # none that cancels


# --- dynamics --------------------------------------------------------------------------------


def test_fixed_coordinates_smooth_or_sharpen() -> None:
    data = graph()
    for option, sign in (("low_pass", 1.0), ("high_pass", -1.0)):
        model = make(activation=False, stalk_dim=1, num_layers=1, **{option: True})
        torch.nn.init.eye_(model.steps[0].right.weight)
        nodes = len(data.x)
        pairs = sheaf.undirected_pairs(data.edge_index, nodes)
        a = torch.zeros(nodes, nodes, dtype=torch.float64)
        a[pairs[0], pairs[1]] = a[pairs[1], pairs[0]] = 1.0
        root = (a.sum(dim=1) + 1).rsqrt()
        matrix = torch.eye(nodes) - root[:, None] * (torch.diag(a.sum(dim=1)) - sign * a) * root
        expected = matrix @ model.encode(data.x)[:, 1]
        found = model(data)["embedding"].unflatten(1, (2, 4))[:, 1]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_the_continuous_diffusion_is_the_exponential() -> None:
    model = make(activation=False, dynamics="continuous", num_layers=40, time=0.7)
    data = graph()
    torch.nn.init.eye_(model.steps[0].right.weight)
    x = model.encode(data.x)
    pairs = sheaf.undirected_pairs(data.edge_index, 8)
    matrix = sheaf.assemble(model.learners[0](x, pairs), 8).to_dense()
    expected = torch.linalg.matrix_exp(-0.7 * matrix) @ x.flatten(0, 1)
    found = model(data)["embedding"].reshape(expected.shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sheaf_kind", ["diag", "bundle", "general"])
def test_dropout_belongs_to_training(sheaf_kind: str) -> None:
    model = make(sheaf=sheaf_kind, dropout=0.5, input_dropout=0.2)
    still = model(graph())["logits"]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        assert not torch.allclose(model.train()(graph())["logits"], still)
    assert torch.equal(model.eval()(graph())["logits"], still)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stalk_dim": 0}, "stalk_dim=0: expected at least 1"),
        ({"dropout": 1.0}, "0 <= dropout < 1"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"time": 0.0}, "time=0.0"),
        ({"time": float("inf"), "dynamics": "continuous"}, "the time finite"),
        ({"time": 2.0}, "layers have no time"),
        ({"solver": "dopri5"}, "layers have no time"),
        ({"tolerance": 1e-3, "dynamics": "continuous"}, "rk4 takes equal steps"),
        ({"orthogonal": "euler", "stalk_dim": 4}, "dimension 2 or 3, not 4"),
        ({"sheaf": "flat"}, "flat"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)


def test_steps_that_fit_the_error_agree_with_many_equal_ones() -> None:
    options: dict[str, Any] = {"dynamics": "continuous", "time": 0.7}
    exact = make(num_layers=60, **options)
    fitted = make(num_layers=60, solver="dopri5", tolerance=1e-9, **options)
    data = graph()
    torch.testing.assert_close(
        fitted(data)["embedding"], exact(data)["embedding"], rtol=0, atol=1e-6
    )
    # each graph of a batch has steps of its own
    rough = make(solver="dopri5", tolerance=1e-2, **options)
    other = graph(13, seed=1)
    other.x = 30.0 * other.x
    together = rough([data, other])["logits"][:8]
    torch.testing.assert_close(together, rough(data)["logits"], rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="tolerance=0.0"):
        make(tolerance=0.0)


def test_a_graph_is_taken_in_once() -> None:
    model, data = make(), graph()
    first = model.pattern(data.edge_index, 8)
    assert model.pattern(data.edge_index.clone(), 8) is first
    assert model.pattern(graph(seed=1).edge_index, 8) is not first
    changed = data.edge_index.clone()
    known = model.pattern(changed, 8)
    changed[:, 0] = changed[:, 1]  # in place
    with pytest.warns(UserWarning, match="duplicated"):
        assert model.pattern(changed, 8) is not known
