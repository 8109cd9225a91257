"""HNN, HNN++ and HGCN: what is their own."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError, ManifoldError, UnsupportedInputError
from zoo.functional import poincare
from zoo.models.hgcn import HGCN
from zoo.models.hnn import HNN
from zoo.models.hnnpp import HNNPP

DOUBLE = torch.float64


def test_presets_build():
    for name in ("hnn-gru", "hnn-rnn", "hnn-flat", "hgcn-cora-link", "hgcn-pubmed-link"):
        zoo.create(name)
    assert isinstance(zoo.create("hnn++", in_channels=4, out_channels=2), HNNPP)


@pytest.mark.parametrize(
    "curved, flat",
    [
        (lambda g: HNN(geometry=g), "hnn"),
        (lambda g: HNNPP(in_channels=4, out_channels=2, geometry=g), "hnnpp"),
        (lambda g: HGCN(in_channels=4, geometry=g, trainable_curvature=False), "hgcn"),
    ],
)
def test_the_flat_counterpart_has_the_same_parameters(curved, flat):
    sizes = [
        {name: tuple(p.shape) for name, p in curved(g).named_parameters()}
        for g in ("poincare", "euclidean")
    ]
    assert sizes[0] == sizes[1]


# --- sentences -----------------------------------------------------------------------------


def pair(steps, seed=0, lengths=None):
    rng = np.random.default_rng(seed)
    sample = {"x": rng.integers(1, 20, (2, steps))}
    return sample if lengths is None else {**sample, "lengths": np.array(lengths)}


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model = HNN(num_tokens=20).double()
    short = pair(4, lengths=[4, 3])
    padded = {"x": np.pad(short["x"], ((0, 0), (0, 3))), "lengths": short["lengths"]}
    padded["x"][1, 3] = 7  # behind the end
    assert torch.allclose(model(short)["logits"], model(padded)["logits"], atol=1e-15)
    assert not torch.allclose(model(short)["logits"], model(pair(4))["logits"], atol=1e-12)


def test_words_start_close_to_the_origin_and_stay_in_the_ball():
    model = HNN(num_tokens=20)
    words = model.words(torch.arange(20))
    assert words.abs().max() < 0.01
    poincare.check(words)


def test_the_encoder_reads_the_order_of_words():
    torch.manual_seed(0)
    model = HNN(num_tokens=20).double()
    sample = pair(5)
    turned = {"x": sample["x"][:, ::-1].copy()}
    assert not torch.allclose(model(sample)["logits"], model(turned)["logits"], atol=1e-9)


# --- vectors -------------------------------------------------------------------------------


def test_points_outside_of_the_ball_are_refused_or_repaired():
    outside = {"x": np.full(4, 0.9)}
    model = HNNPP(in_channels=4, out_channels=2, inputs="points")
    with pytest.raises(ManifoldError, match=r"HNNPP: a point of norm 1\.[78]"):
        model(outside)
    repaired = HNNPP(in_channels=4, out_channels=2, inputs="points", project=True)
    assert repaired(outside)["logits"].isfinite().all()


def test_a_learnt_curvature_gets_a_gradient():
    model = HNNPP(in_channels=4, out_channels=2, trainable_curvature=True)
    model({"x": torch.randn(5, 4)})["logits"].square().sum().backward()
    assert [name for name in model.state_dict() if "raw" in name] == ["space.raw"]
    assert model.space.raw.grad.abs() > 0


# --- graphs --------------------------------------------------------------------------------


def tree():
    edges = torch.tensor([[0, 1, 0, 2, 1, 3], [1, 0, 2, 0, 3, 1]])
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    return Data(x=x, edge_index=edges)


def test_scores_are_the_decoder_of_distances():
    torch.manual_seed(0)
    model = HGCN(in_channels=4, task="link", fermi_r=1.5, fermi_t=0.5).double()
    graph = tree()
    graph.edge_label_index = torch.tensor([[0, 1, 2], [1, 1, 3]])
    out = model(graph)
    a, b = (out["embedding"][row] for row in graph.edge_label_index)
    c = model.spaces[-1].c.detach()
    expected = (1.5 - poincare.square_dist(a, b, c=c)) / 0.5
    assert torch.allclose(out["score"], expected, atol=1e-14)
    assert out["score"][1].item() == pytest.approx(3.0)  # a node with itself


def test_every_curvature_is_learnt_and_stored_once():
    model = HGCN(in_channels=4, num_layers=3, attention=True)
    model(tree())["logits"].square().sum().backward()
    names = [name for name, _ in model.named_parameters() if name.endswith("raw")]
    assert names == [f"spaces.{k}.raw" for k in range(4)]
    assert names == [name for name in model.state_dict() if name.endswith("raw")]
    assert all(model.get_parameter(name).grad is not None for name in names)


def test_dropout_acts_in_training_alone():
    model = HGCN(in_channels=4, dropout=0.5)
    model.eval()
    assert torch.equal(model(tree())["logits"], model(tree())["logits"])
    model.train()
    assert not torch.equal(model(tree())["logits"], model(tree())["logits"])


def test_refusals():
    with pytest.raises(CapabilityError, match="no head"):
        HGCN(in_channels=4, task="link").replace_head(3)
    with pytest.raises(ConfigError, match="dropout=1.0"):
        HGCN(in_channels=4, dropout=1.0)
    with pytest.raises(ConfigError, match="num_layers=-1"):
        HNNPP(in_channels=4, out_channels=2, num_layers=-1)
    with pytest.raises(ConfigError, match="at least 1"):
        HNN(num_tokens=0)


def test_edges_are_scored_where_no_pairs_are_given():
    torch.manual_seed(0)
    model, graph = HGCN(in_channels=4, task="link").double(), tree()
    found = model(graph)["score"]
    graph.edge_label_index = graph.edge_index
    assert found.shape == (6,)
    assert torch.equal(found, model(graph)["score"])


@pytest.mark.parametrize("name", ["hgcn", "hybonet"])
@pytest.mark.parametrize("field", ["edge_index", "edge_label_index"])
def test_nodes_that_are_not_there_are_refused(name, field):
    model = zoo.create(name, in_channels=4, task="link")
    for wrong, told in (
        ([[0, 4], [1, 0]], r"names the nodes 0\.\.4, but x has the 4 nodes 0\.\.3"),
        ([[0, -1], [1, 0]], r"names the nodes -1\.\.1"),
        ([0, 1], r"shape \(2,\)"),
        ([[0.0], [1.0]], "float32"),
    ):
        graph = tree()
        graph[field] = torch.tensor(wrong)
        with pytest.raises(UnsupportedInputError, match=f"{field} .*{told}"):
            model(graph)


def test_lengths_beyond_the_steps_are_refused():
    model, x = HNN(num_tokens=9), torch.ones(3, 2, 5, dtype=torch.int64)
    for wrong, told in (
        ([[5, 1], [2, 6], [0, 1]], r"0\.\.6, but x has 5 steps"),
        ([2, -1, 5], r"-1\.\.5"),
        ([1, 2], r"shape \(2,\); expected \(3, 2\)"),
    ):
        with pytest.raises(UnsupportedInputError, match=told):
            model({"x": x, "lengths": torch.tensor(wrong)})
    ends = torch.tensor([[0, 5], [1, 2], [5, 0]])
    assert model({"x": x, "lengths": ends})["logits"].shape == (3, 2)
