"""The base of models outside atoms: raw samples to batches, refusals, heads, normalisation."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch
from torch_geometric.data import Batch, Data

import zoo
from zoo import registry
from zoo._spec import DOMAINS
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    DeviceError,
    UnsupportedInputError,
)
from zoo.models import _inputs
from zoo.models._sample import SampleModel

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4))


@pytest.fixture
def model() -> tiny.TinyVector:
    torch.manual_seed(0)
    return tiny.TinyVector().eval()


def graph(nodes: int = 4, features: int = 5) -> Data:
    ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    return Data(x=torch.tensor(RNG.normal(size=(nodes, features))), edge_index=ring)


def test_every_form_of_raw_samples_means_the_same(model: tiny.TinyVector) -> None:
    expected = model(X)["logits"]
    forms: list[Any] = [
        {"x": X},
        [{"x": x} for x in X],
        [{"x": torch.tensor(x), "y": 1} for x in X],
        list(X),
        torch.tensor(X, dtype=torch.float32),
        {"x": torch.tensor(X, dtype=torch.float32)},
    ]
    for form in forms:
        assert torch.equal(model(form)["logits"], expected)
    torch.testing.assert_close(model({"x": X[0]})["logits"], expected[:1])
    assert expected.dtype == torch.float32
    assert model.double()(X)["logits"].dtype == torch.float64


def test_labels_ride_along_and_batches_come_back_as_they_are(model: tiny.TinyVector) -> None:
    batch = model.prepare([{"x": x, "y": k} for k, x in enumerate(X)])
    assert isinstance(batch, dict) and batch["y"].tolist() == [0, 1, 2, 3, 4]
    assert model.prepare(batch) is batch
    graphs = tiny.TinyGraph().prepare([graph(), graph(3)])
    assert isinstance(graphs, Batch) and graphs.x.dtype == torch.float32
    assert graphs.edge_index.dtype == torch.int64


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        (X[:, :3], UnsupportedInputError, r"shape \(4\), not \(3,\)"),
        ({"x": torch.tensor(X)}, DataError, "in torch.float64 but the model is torch.float32"),
        ({"x": torch.zeros(2, 4, dtype=torch.int64)}, DataError, "expected torch.float32"),
        ({"z": X}, UnsupportedInputError, "has no x"),
        ([], UnsupportedInputError, "an empty list"),
        ("ethanol", UnsupportedInputError, "not str"),
        ([1.0], UnsupportedInputError, "sample 0 is a float"),
        ({"x": np.array(["a"])}, UnsupportedInputError, "no numbers"),
        ({"x": np.full((1, 4), np.nan)}, UnsupportedInputError, "NaN or infinite"),
        ([{"x": X[0]}, {"x": X[0, :3]}], DataError, "sample 1"),
        (graph(), UnsupportedInputError, "not Data"),
    ],
)
def test_what_does_not_fit_is_refused(
    model: tiny.TinyVector, inputs: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model(inputs)


def test_graphs_that_do_not_fit_are_refused() -> None:
    model = tiny.TinyGraph()
    with pytest.raises(UnsupportedInputError, match=r"nodes whose x has the shape \(5\)"):
        model(graph(features=3))
    with pytest.raises(UnsupportedInputError, match="torch_geometric.data.Data"):
        model({"x": X})
    with pytest.raises(UnsupportedInputError, match="have no edge_index"):
        model(Data(x=torch.zeros(2, 5)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(model: tiny.TinyVector, dtype: torch.dtype) -> None:
    with pytest.raises(DeviceError, match="float32 or float64"):
        model.to(dtype)(X)


def test_autocast_is_refused(model: tiny.TinyVector) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(DeviceError, match="autocast"):
        model(X)


def test_bytes_become_numbers_below_one() -> None:
    pixels = np.full((1, 1, 4, 4), 51, dtype=np.uint8)
    batch = tiny.TinyImage().prepare(pixels)
    assert isinstance(batch, dict)
    torch.testing.assert_close(batch["x"], torch.full((1, 1, 4, 4), 0.2))


def test_sequences_of_different_lengths_are_padded() -> None:
    model = tiny.TinyTokens(per_step=False, out_channels=3).eval()
    sequences = [np.array([1, 2, 3]), np.array([4, 5])]
    batch = model.prepare(sequences)
    assert isinstance(batch, dict)
    assert batch["x"].tolist() == [[1, 2, 3], [4, 5, 0]] and batch["lengths"].tolist() == [3, 2]
    together = model(sequences)["logits"]
    torch.testing.assert_close(together[1:], model([sequences[1]])["logits"])


@pytest.mark.parametrize("x", [np.array([[6, 0]]), np.array([[-1, 0]]), np.array([[0.5, 1.0]])])
def test_tokens_are_checked(x: np.ndarray) -> None:
    with pytest.raises(UnsupportedInputError, match="0..5|int64"):
        tiny.TinyTokens()(x)


def test_one_instance_takes_one_domain() -> None:
    series = RNG.normal(size=(2, 3, 7))
    assert tiny.TinyMatrix(front_end=True)(series)["logits"].shape == (2, 2)
    with pytest.raises(UnsupportedInputError, match=r"shape \(3, 3\)"):
        tiny.TinyMatrix()(series)

    class Other(tiny.TinyVector):
        def __init__(self) -> None:
            SampleModel.__init__(self, domain="matrx")

    with pytest.raises(ConfigError, match="no samples of the domain 'matrx'"):
        Other()


# --- heads ------------------------------------------------------------------------------------


def test_a_head_is_replaced(model: tiny.TinyVector) -> None:
    model.set_classes(["a", "b", "c"])
    old = model.head
    model.keep_heads(["head"])
    assert model.head is old and model.classes == ("a", "b", "c")
    model.keep_heads(["new:left, right"])
    assert model.classes == ("left", "right") and model.hparams["out_channels"] == 2
    assert model(X)["logits"].shape == (5, 2) and not model.head.training
    model.double().keep_heads(["new:5"])
    assert model.classes is None and model(X)["logits"].shape == (5, 5)
    assert set(model.head_parameters()) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("heads", [["energy"], ["new:"], ["new:a,,b"], ["new:a,a"], ["new:0"], []])
def test_other_heads_are_refused(model: tiny.TinyVector, heads: list[str]) -> None:
    with pytest.raises(ConfigError):
        model.keep_heads(heads)


@pytest.mark.parametrize("name", ["spdnet-s", "tsmnet-s", "grnet-s", "hgcn-s", "hcnn-s", "gcr-s"])
def test_no_head_is_without_outputs(name: str) -> None:
    extra = {"in_channels": 4} if name == "hgcn-s" else {}
    with pytest.raises(ConfigError, match="out_channels=0"):
        zoo.create(name, out_channels=0, **extra)


def test_a_model_without_a_head_says_so() -> None:
    with pytest.raises(CapabilityError, match="no head"):
        tiny.TinyPlaces().replace_head(3)


# --- normalisation ----------------------------------------------------------------------------


def test_inputs_are_standardised_and_predictions_scaled_back() -> None:
    model = tiny.TinyVector(output="prediction", out_channels=1).eval().double()
    bare = model((X - 3.0) / 2.0)["prediction"]
    model.set_normalisation(x=(np.full(4, 3.0), np.full(4, 2.0)), prediction=(10.0, 5.0))
    torch.testing.assert_close(model(X)["prediction"], bare * 5.0 + 10.0, rtol=1e-12, atol=0)
    assert not [name for name in model.state_dict() if "norm" in name]
    model.replace_head(1)
    assert set(model.normalisation) == {"x"}


def test_nodes_are_standardised_in_their_batch() -> None:
    model, sample = tiny.TinyGraph().double(), graph()
    before = sample.x.clone()
    expected = model(Data(x=(sample.x - 1) / 2, edge_index=sample.edge_index))["logits"]
    model.set_normalisation(x=(1.0, 2.0))
    torch.testing.assert_close(model(sample)["logits"], expected)
    assert torch.equal(sample.x, before)


@pytest.mark.parametrize("pair", [(0.0, 0.0), (np.nan, 1.0), (0.0, [1.0, -1.0])])
def test_impossible_constants_are_refused(model: tiny.TinyVector, pair: Any) -> None:
    with pytest.raises(ConfigError, match="positive std"):
        model.set_normalisation(x=pair)


# --- tables -----------------------------------------------------------------------------------


def test_the_tables_know_the_same_domains() -> None:
    assert {*_inputs.FORMS, "atoms"} == set(DOMAINS)


def test_specs_say_what_the_classes_say() -> None:
    for spec in registry._spec.shipped().values():
        if spec.domain != "atoms":
            cls: Any = registry.get_class(spec)
            assert issubclass(cls, SampleModel), spec.name
            assert (cls.domain, tuple(cls.accepts)) == (spec.domain, spec.accepts), spec.name


def test_every_architecture_is_under_contract() -> None:
    text = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = set(re.findall(r"architecture = \"(\w+)\"", text))
    assert set(registry._spec.shipped()) <= named
