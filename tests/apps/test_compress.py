"""Compression of trained weights: what is written loads, on every kind of model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch import nn

import zoo
from zoo import hub
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.layers.tensor_network import FactorizedConv2d, FactorizedLinear, blank, replaceable


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary perceptron whose weights are near rank 3, so that ranks mean something."""
    torch.manual_seed(0)
    model = zoo.create(
        "matrix_mlp", in_channels=6, out_channels=3, hidden_channels=24, num_layers=2
    )
    with torch.no_grad():
        for name, layer in replaceable(model):
            u, s, vh = torch.linalg.svd(layer.weight, full_matrices=False)
            s[3:] *= 1e-3
            layer.weight.copy_(u * s @ vh)
            assert name
    x = torch.randn(4, 6, 6)
    folder = tmp_path_factory.mktemp("weights") / "mlp"
    model.set_classes(["a", "b", "c"])
    samples = [{"x": (m @ m.T).numpy()} for m in x]
    return zoo.save(
        model.eval(), folder, name="matrix_mlp-t.test.r1", golden_inputs=samples, limits=["none"]
    )


def test_a_rank_for_all_layers(digits: Path, tmp_path: Path) -> None:
    report = zoo.compress(digits, tmp_path / "out", rank=3, repeats=1)
    assert report.name == "matrix_mlp-t-tucker.test.r1"
    assert report.parameters[1] < report.parameters[0] and report.bytes[1] < report.bytes[0]
    assert {layer["name"] for layer in report.layers} == {"layers.0.0", "layers.1.0"}
    assert "head" in report.kept  # rank 3 is all it has
    assert 0 < report.error["logits"] < 0.05 and report.speedup > 0
    loaded = zoo.load(report.path, check=True)
    assert isinstance(loaded.layers[0][0], FactorizedLinear)
    x = torch.eye(6).expand(2, 6, 6)
    assert torch.equal(loaded({"x": x})["logits"], report.model({"x": x})["logits"])
    assert loaded.classes == ("a", "b", "c")
    manifest = loaded.manifest
    assert manifest.derived_from.name == "matrix_mlp-t.test.r1" and manifest.limits == ["none"]
    (step,) = manifest.compression
    assert step.rank == 3 and step.error == report.error["logits"]
    assert "logits" in str(report.to_dict())


@pytest.mark.parametrize("format", ["cp", "tt", "tr"])
def test_every_format(digits: Path, tmp_path: Path, format: Any) -> None:
    report = zoo.compress(digits, tmp_path / "out", format=format, rank=0.7, repeats=1)
    assert report.parameters[1] < report.parameters[0]
    zoo.load(report.path, check=True)


@pytest.mark.parametrize("format", ["tucker", "cp"])
def test_an_error_of_the_outputs_is_kept(digits: Path, tmp_path: Path, format: Any) -> None:
    report = zoo.compress(digits, tmp_path / "out", format=format, max_error=0.2, repeats=1)
    assert report.error["logits"] <= 0.2
    assert report.parameters[1] < report.parameters[0]
    zoo.load(report.path, check=True)


def test_metrics_on_data(digits: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    m = rng.normal(size=(12, 6, 6))
    np.savez(tmp_path / "data.npz", x=m @ m.transpose(0, 2, 1), y=np.array(list("abc") * 4))
    report = zoo.compress(digits, tmp_path / "out", rank=3, data=tmp_path / "data.npz", repeats=1)
    accuracy = next(row for row in report.metrics if row["metric"] == "accuracy")
    assert 0 <= accuracy["before"] <= 1 and 0 <= accuracy["after"] <= 1


def test_what_follows_keeps_the_layers(digits: Path, tmp_path: Path) -> None:
    """Compressed again, with a fresh head, and saved: the chain of what was done stays."""
    first = zoo.compress(digits, tmp_path / "first", rank=4, layers=["layers.0.*"], repeats=1)
    second = zoo.compress(
        first.path, tmp_path / "second", rank=4, name="matrix_mlp-t2.test.r1", repeats=1
    )
    loaded = zoo.load(second.path, check=True)
    assert [[e.name for e in s.layers] for s in loaded.manifest.compression] == [
        ["layers.0.0"],
        ["layers.1.0"],
    ]
    loaded.replace_head(2)
    again = zoo.load(zoo.save(loaded, tmp_path / "third", name="matrix_mlp-t3.test.r1"))
    assert isinstance(again.layers[1][0], FactorizedLinear)
    with pytest.raises(ConfigError, match="no linear or convolution layer fits layers"):
        zoo.compress(second.path, tmp_path / "fourth", rank=2, layers=["layers.*"])
    other = hub.load(digits)
    other.compression = loaded.compression
    assert (
        "compression"
        not in hub.read_manifest(
            zoo.save(other, tmp_path / "fifth", name="matrix_mlp-t5.test.r1") / "manifest.yaml"
        ).to_dict()
    )


def test_convolutions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zoo.create(
        "phnn", in_channels=1, out_channels=3, n=1, hidden_channels=[8, 12], num_blocks=1
    )
    samples = [{"x": torch.rand(1, 8, 8).numpy()} for _ in range(3)]
    folder = zoo.save(model.eval(), tmp_path / "w", name="phnn-t.test.r1", golden_inputs=samples)
    report = zoo.compress(folder, tmp_path / "out", rank=0.5, repeats=1)
    loaded = zoo.load(report.path, check=True)
    assert any(isinstance(m, FactorizedConv2d) for m in loaded.modules())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=16, num_layers=1, num_rbf=8).eval()
    folder, golden = tmp_path_factory.mktemp("weights") / "atoms", [molecule("CH3CH2OH")]
    return zoo.save(model, folder, name="tensornet-t.test.r1", golden_inputs=golden)


def test_atoms(weights: Path, tmp_path: Path) -> None:
    report = zoo.compress(weights, tmp_path / "out", rank=0.5, repeats=1)
    assert {"energy", "forces"} <= set(report.error)
    loaded = zoo.load(report.path, check=True)
    assert loaded(molecule("H2O"))["forces"].shape == (3, 3)


def test_ensembles_are_refused(weights: Path, tmp_path: Path) -> None:
    joined = hub.combine([weights, weights], tmp_path / "two", name="tensornet-x2.test.r1")
    with pytest.raises(CapabilityError, match="is an ensemble"):
        zoo.compress(joined, tmp_path / "out", rank=2)


def test_layers_whose_weight_is_used_elsewhere_stay() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.second.weight
            self.hooked = nn.Linear(4, 4)
            self.hooked.register_forward_hook(lambda *_: None)

    assert [name for name, _ in replaceable(Own())] == ["first"]


def test_what_does_not_fit_is_refused(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="give one of the two"):
        zoo.compress(digits, out)
    with pytest.raises(ConfigError, match="give one of the two"):
        zoo.compress(digits, out, rank=2, max_error=0.1)
    with pytest.raises(ConfigError, match="fraction in"):
        zoo.compress(digits, out, rank=1.5)
    with pytest.raises(ConfigError, match="max_error=-1"):
        zoo.compress(digits, out, max_error=-1.0)
    with pytest.raises(ConfigError, match="did you mean 'tucker'"):
        zoo.compress(digits, out, format="tuker", rank=2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no layer gets smaller"):
        zoo.compress(digits, out, rank=1000)
    with pytest.raises(ConfigError, match="stay within"):
        zoo.compress(digits, out, max_error=1e-12)
    bare = zoo.save(hub.load(digits), tmp_path / "bare", name="matrix_mlp-t.test.r2")
    with pytest.raises(CapabilityError, match="stores no golden inputs"):
        zoo.compress(bare, out, rank=2)
    assert not out.exists()
    with pytest.raises(StateMismatchError, match="which no factorised layer can replace"):
        blank(nn.ReLU(), {"name": "act", "format": "cp", "rank": [1]})
