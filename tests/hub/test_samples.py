"""Saving, loading and publishing models outside atoms: the same as for atoms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch_geometric.data import Data

import zoo
from zoo import hub
from zoo._files import read_yaml, write_atomic
from zoo.errors import (
    CapabilityError,
    CertificateError,
    ConfigError,
    GoldenMismatchError,
    IntegrityError,
    ManifestError,
    OutputError,
    SpecError,
    StateMismatchError,
)
from zoo.hub import golden
from zoo.models._sample import SampleModel

RNG = np.random.default_rng(0)


def graph(nodes: int = 4) -> Data:
    ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    pairs = torch.tensor([[0, 1], [2, 3]])
    x = torch.tensor(RNG.normal(size=(nodes, 5)))
    return Data(x=x, edge_index=ring, edge_label_index=pairs, y=torch.zeros(nodes))


CASES: dict[str, tuple[Any, list[Any]]] = {
    "tinyvector": (tiny.TinyVector, [{"x": RNG.normal(size=4), "y": 1} for _ in range(3)]),
    "tinymatrix": (tiny.TinyMatrix, [{"x": (k + 1) * np.eye(3), "domain": k} for k in range(2)]),
    "tinyimage": (tiny.TinyImage, [{"x": RNG.integers(0, 256, (1, 4, 4), dtype=np.uint8)}]),
    "tinygraph": (tiny.TinyGraph, [graph(), graph(5)]),
    "tinytokens": (tiny.TinyTokens, [{"x": np.array([1, 2, 3])}, {"x": np.array([4])}]),
    "tinyplaces": (
        tiny.TinyPlaces,
        [Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=15)],
    ),
}  # fmt: skip


def build(name: str) -> tuple[SampleModel, list[Any]]:
    kind, samples = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = kind()
    for buffer in model.buffers():  # running statistics of no fresh model
        if buffer.is_floating_point():
            buffer.add_(0.25)
    return model.eval(), samples


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_is_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    model, samples = build(name)
    folder = zoo.save(model, tmp_path / "out", name=f"{name}-s.made.r1", golden_inputs=samples)
    loaded = zoo.load(folder, check=True)
    assert type(loaded) is type(model) and not loaded.training
    assert loaded.hparams == model.hparams and loaded.checkpoint_name == f"{name}-s.made.r1"
    for key, value in model(samples).items():
        assert torch.equal(loaded(samples)[key], value)
    double = zoo.load(folder, dtype=torch.float64, check=True)
    assert double(samples)[model.outputs[0]].dtype == torch.float64
    tensors = load_file(folder / "golden.safetensors")
    assert not [key for key in tensors if key.endswith(".y")]  # labels are no inputs
    inputs = read_yaml(folder / "manifest.yaml")["inputs"]
    assert inputs["domain"] == model.domain and not {"pbc", "elements", "charge"} & set(inputs)


def test_the_manifest_says_what_the_model_knows(tmp_path: Path) -> None:
    model, samples = build("tinyvector")
    model.set_classes(["ash", "elm", "fir"])
    model.feature_names = ("a", "b", "c", "d")
    model.set_normalisation(x=(np.arange(4) / 3, np.full(4, 0.1)))
    task = {"kind": "classification", "metrics": ["accuracy"]}
    folder = zoo.save(
        model,
        tmp_path,
        name="tinyvector-s.trees.r1",
        golden_inputs=samples,
        task=task,
        training={"data": [{"name": "trees", "sha256": "0" * 64, "frames": 60}], "seed": 3},
        metrics=[
            {"dataset": "trees", "split": "test", "target": "logits", "name": "accuracy",
             "value": 0.9, "unit": "1"}
        ],
        license={"weights": "Apache-2.0"},
        limits=["Trees only."],
    )  # fmt: skip
    loaded = zoo.load(folder, check=True)
    assert loaded.classes == ("ash", "elm", "fir") and loaded.feature_names == ("a", "b", "c", "d")
    assert loaded.normalisation == model.normalisation  # every digit
    assert loaded.manifest.task == task
    about = zoo.info(folder)
    assert about["inputs"]["shape"] == [4] and about["outputs"] == {"logits": {"unit": "1"}}
    card = zoo.card(folder)
    for words in ("shape of a sample: 4", "ash, elm, fir", "a, b, c, d", "| accuracy | 0.9 |",
                  "## Measured\n", "Trees only.", "domain: vector", "standardised: x"):  # fmt: skip
        assert words in card, words
    assert "Å" not in card and "periodicity" not in card


def test_predictions_have_units_and_constants(tmp_path: Path) -> None:
    model = tiny.TinyVector(output="prediction", out_channels=1).eval()
    model.set_normalisation(prediction=(300.0, 25.0))
    samples = CASES["tinyvector"][1]
    units = {"prediction": {"unit": "K"}}
    zoo.save(model, tmp_path, name="tinyvector-s.heat.r1", golden_inputs=samples, outputs=units)
    entry = read_yaml(tmp_path / "manifest.yaml")["outputs"]["prediction"]
    assert entry == {"unit": "K", "normalisation": {"mean": 300.0, "std": 25.0}}
    loaded = zoo.load(tmp_path, check=True)
    assert torch.equal(loaded(samples)["prediction"], model(samples)["prediction"])


def test_shapes_with_free_axes_survive(tmp_path: Path) -> None:
    model = tiny.TinyMatrix(front_end=True)
    zoo.save(model, tmp_path, name="tinymatrix-s.series.r1")
    loaded = zoo.load(tmp_path)
    assert loaded.domain == "signal" and loaded.sample_shape == (3, None)
    assert zoo.info(tmp_path)["inputs"] == {"domain": "signal", "shape": [3, None]}


# --- heads ------------------------------------------------------------------------------------


def test_a_fresh_head_for_other_classes(tmp_path: Path) -> None:
    model, samples = build("tinyvector")
    zoo.save(model, tmp_path, name="tinyvector-s.made.r1", golden_inputs=samples)
    fresh = zoo.load(tmp_path, heads=["new:left,right"], check=True)
    assert fresh.classes == ("left", "right") and fresh(samples)["logits"].shape == (3, 2)
    assert torch.equal(fresh.first.weight, model.first.weight)
    assert zoo.load(tmp_path, heads="new:7")(samples)["logits"].shape == (3, 7)
    with pytest.raises(ConfigError, match="'new:3' for a fresh one"):
        zoo.load(tmp_path, heads=["energy"])
    again = zoo.save(fresh, tmp_path / "again", name="tinyvector-s.sides.r1")
    assert zoo.load(again).classes == ("left", "right")


# --- refusals ---------------------------------------------------------------------------------


def test_weights_of_another_domain_are_refused_where_atoms_are_needed(tmp_path: Path) -> None:
    model, samples = build("tinyvector")
    zoo.save(model, tmp_path, name="tinyvector-s.made.r1", golden_inputs=samples)
    with pytest.raises(CapabilityError, match="works on the domain 'vector'.*'atoms'"):
        hub.load(tmp_path, domain="atoms")
    with pytest.raises(CapabilityError, match="atoms"):
        hub.combine([tmp_path, tmp_path], tmp_path / "both", name="tinyvector-s.both.r1")
    assert hub.load(tmp_path, domain="vector") is not None


def test_a_changed_output_is_found(tmp_path: Path) -> None:
    model, samples = build("tinygraph")
    zoo.save(model, tmp_path, name="tinygraph-s.made.r1", golden_inputs=samples)
    tensors = load_file(tmp_path / "golden.safetensors")
    manifest = hub.read_manifest(tmp_path / "manifest.yaml")
    assert manifest.golden is not None
    golden.check(model, tensors, manifest.golden, name="mine")
    tensors["output.logits"][0, 0] += 0.01
    with pytest.raises(GoldenMismatchError, match="logits by"):
        golden.check(model, tensors, manifest.golden, name="mine")
    with torch.no_grad():
        model.head.weight[0, 0] = torch.nan
    with pytest.raises(StateMismatchError, match="NaN"):
        zoo.save(model, tmp_path, name="tinygraph-s.made.r1")


def test_damaged_files_are_found(tmp_path: Path) -> None:
    model, samples = build("tinyvector")
    zoo.save(model, tmp_path, name="tinyvector-s.made.r1", golden_inputs=samples)
    state = load_file(tmp_path / "model.safetensors")
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(IntegrityError, match="model.safetensors"):
        zoo.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": {"domain": "matrix"}}, "inputs.domain is 'matrix'"),
        ({"inputs": {"domain": "vektor"}}, "no domain 'vektor': did you mean 'vector'"),
        ({"inputs": {"domain": "vector", "shap": [4]}}, "inputs.shap: unknown key"),
        (
            {"inputs": {"domain": "vector", "normalisation": {"x": {"mean": 0.0, "std": 0.0}}}},
            "normalisation of x: .*positive std",
        ),
        (
            {"inputs": {"domain": "vector", "normalisation": {"x": {"mean": ["a"], "std": 1.0}}}},
            "normalisation of x",
        ),
        ({"classes": "ash"}, "classes"),
    ],
)
def test_manifests_that_can_not_be_are_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    model, _ = build("tinyvector")
    zoo.save(model, tmp_path, name="tinyvector-s.made.r1")
    path = tmp_path / "manifest.yaml"
    write_atomic(path, yaml.safe_dump(read_yaml(path) | change, sort_keys=False))
    with pytest.raises(ManifestError, match=words):
        zoo.load(tmp_path)


def test_versions_are_kept(tmp_path: Path) -> None:
    model, _ = build("tinyvector")
    zoo.save(model, tmp_path, name="tinyvector-s.made.r1")
    path = tmp_path / "manifest.yaml"
    write_atomic(path, yaml.safe_dump(read_yaml(path) | {"spec_version": 2}, sort_keys=False))
    with pytest.raises(SpecError, match="version 2 of tinyvector"):
        zoo.load(tmp_path)


def test_classes_follow_from_the_model(tmp_path: Path) -> None:
    model, _ = build("tinyvector")
    with pytest.raises(ConfigError, match="'classes' by itself"):
        zoo.save(model, tmp_path, name="tinyvector-s.made.r1", classes=["a", "b", "c"])


# --- after saving -----------------------------------------------------------------------------


def test_annotating_publishing_bundling_and_releasing(tmp_path: Path) -> None:
    model, samples = build("tinymatrix")
    model.set_classes(["rest", "move"])
    name = "tinymatrix-s.made.r1"
    folder = zoo.save(model, tmp_path / "out", name=name, golden_inputs=samples)
    certificate = zoo.verify(folder, checks=["outputs", "golden"]).to_dict()
    hub.annotate(folder, certificate=certificate, limits=["Toys."])
    manifest = hub.read_manifest(hub.publish(folder, into=tmp_path / "ship"))
    assert manifest.limits == ["Toys."] and manifest.classes == ["rest", "move"]
    shipped = zoo.load(tmp_path / "ship" / f"{name}.yaml", check=True)
    assert torch.equal(shipped(samples)["logits"], model(samples)["logits"])
    with torch.no_grad():
        model.head.weight.add_(1.0)
    zoo.save(model, tmp_path / "out", name=name, golden_inputs=samples)
    with pytest.raises(CertificateError, match="1 have none"):
        hub.publish(folder, into=tmp_path / "ship")
    hub.annotate(folder, certificate=certificate)
    with pytest.raises(OutputError, match="names are immutable"):
        hub.publish(folder, into=tmp_path / "ship")
    bundle = hub.bundle([folder], tmp_path / "weights.zoo")
    found = zoo.load(str(getattr(bundle, "path", tmp_path / "weights.zoo")), check=True)
    assert found.classes == ("rest", "move")
    hub.upload(folder, tmp_path / "site")
    assert "rest, move" in (tmp_path / "site" / "cards" / f"{name}.md").read_text()
