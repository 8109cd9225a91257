"""Adapter files: loaded on their base by name or place, refused on any other."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrize

import zoo
from zoo import hub
from zoo.errors import (
    ConfigError,
    IntegrityError,
    ManifestError,
    SpecError,
    StateMismatchError,
    UnknownModelError,
)
from zoo.hub import Adapted
from zoo.layers import adapters
from zoo.layers.adapters import AdapterConfig

CONFIG = {"in_channels": 4, "out_channels": 3, "hidden_channels": 48, "num_layers": 2}
NAME = "matrix_mlp-tiny.mine.r1"
ADAPTED = ("layers.0.0.weight", "layers.1.0.weight")
SAMPLES = [{"x": torch.eye(4) * (1 + k) + 0.1} for k in range(3)]


def fresh(seed: int) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return zoo.create("matrix_mlp", **CONFIG)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return hub.save(fresh(0), tmp_path / "base", name=NAME, golden_inputs=SAMPLES)


def adapt(base: Path, folder: Path, *, name: str = "matrix_mlp-tiny.yours.r1") -> Any:
    """Adapters as training would leave them, saved; the merged model."""
    config = AdapterConfig(kind="lora", rank=2, scale=0.5, targets=("layers.*",))
    model = zoo.load(base)
    adapters.attach(model, config)
    with torch.no_grad():
        for *_, adapter in adapters.adapters(model):
            adapter.up.normal_(generator=torch.Generator().manual_seed(5))
        model.head.bias.add_(1.0)
    adapted = Adapted(config, adapters.state(model), hub.find(base))
    adapters.merge(model)
    hub.save(model, folder, name=name, golden_inputs=SAMPLES, adapted=adapted)
    return model


def test_the_file_is_small_and_gives_the_same_model(base: Path, tmp_path: Path) -> None:
    model = adapt(base, tmp_path / "out")
    loaded = zoo.load(tmp_path / "out", check=True)
    assert torch.equal(loaded(SAMPLES)["logits"], model(SAMPLES)["logits"])
    assert not torch.equal(loaded(SAMPLES)["logits"], zoo.load(base)(SAMPLES)["logits"])
    assert not any(parametrize.is_parametrized(module) for module in loaded.modules())
    entry = loaded.manifest.adapter
    assert entry.base.name == NAME
    assert entry.base.sha256 == zoo.load(base).manifest.weights.sha256
    assert (entry.kind, entry.rank, entry.scale, entry.targets) == ("lora", 2, 0.5, ["layers.*"])
    assert entry.whole == ["head.bias"] and not entry.dropped
    stored = loaded.manifest.weights.bytes
    assert stored < 0.4 * zoo.load(base).manifest.weights.bytes
    assert zoo.info(tmp_path / "out")["adapter"]["base"]["name"] == NAME
    assert "lora adapters of rank 2" in zoo.card(tmp_path / "out")
    certificate = zoo.verify(tmp_path / "out", checks=["golden", "save_load"])
    assert certificate.passed


def test_adapters_can_be_kept_apart(base: Path, tmp_path: Path) -> None:
    model = adapt(base, tmp_path / "out")
    apart = zoo.load(tmp_path / "out", merge=False, dtype=torch.float64)
    assert [name for name, *_ in adapters.adapters(apart)] == list(ADAPTED)
    whole = copy.deepcopy(model).double()
    torch.testing.assert_close(apart(SAMPLES)["logits"], whole(SAMPLES)["logits"])
    with pytest.raises(ConfigError, match="adapters on 2 weights .*merge them"):
        hub.save(apart, tmp_path / "again", name=NAME)
    adapters.merge(apart)
    torch.testing.assert_close(apart(SAMPLES)["logits"], whole(SAMPLES)["logits"])
    assert set(apart.state_dict()) == set(whole.state_dict())


def test_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "out")
    digest = zoo.load(base).manifest.weights.sha256
    other = hub.save(fresh(1), tmp_path / "other", name=NAME)
    foreign = zoo.load(other).manifest.weights.sha256
    with pytest.raises(IntegrityError, match=f"(?s){digest}.*{foreign}"):
        zoo.load(tmp_path / "out", base=other)
    moved = base.rename(tmp_path / "elsewhere")
    with pytest.raises(UnknownModelError, match=f"{NAME} .sha256 {digest}.*base=PATH"):
        zoo.load(tmp_path / "out")
    assert zoo.load(tmp_path / "out", base=moved, check=True)
    hub.save(fresh(1), base, name=NAME)  # other weights where they were
    with pytest.raises(IntegrityError, match=f"(?s){digest}.*{foreign}"):
        zoo.load(tmp_path / "out")
    with pytest.raises(ManifestError, match=r"holds no manifest.yaml"):
        zoo.load(tmp_path / "out", base=tmp_path)


def test_an_adapter_can_be_adapted(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "first")
    model = adapt(tmp_path / "first", tmp_path / "second", name="matrix_mlp-tiny.yours.r2")
    loaded = zoo.load(tmp_path / "second", check=True)
    assert torch.equal(loaded(SAMPLES)["logits"], model(SAMPLES)["logits"])
    whole = hub.save(loaded, tmp_path / "whole", name="matrix_mlp-tiny.yours.r3")
    assert zoo.load(whole).manifest.adapter is None
    assert torch.equal(zoo.load(whole)(SAMPLES)["logits"], model(SAMPLES)["logits"])


def test_a_bundle_brings_the_base(base: Path, tmp_path: Path) -> None:
    model = adapt(base, tmp_path / "out")
    hub.bundle(tmp_path / "out", tmp_path / "both.zoo")
    for folder in ("base", "out"):
        (tmp_path / folder).rename(tmp_path / f"gone-{folder}")
    hub.pull(tmp_path / "both.zoo")
    loaded = zoo.load("matrix_mlp-tiny.yours.r1", check=True)
    assert torch.equal(loaded(SAMPLES)["logits"], model(SAMPLES)["logits"])


def test_damaged_entries_are_refused(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "out")
    path = tmp_path / "out" / "manifest.yaml"
    text = path.read_text()
    for old, new, error, match in (
        ("rank: 2", "rank: 3", StateMismatchError, "the adapter of .* expected"),
        ("spec_version: 1", "spec_version: 7", SpecError, "adapter for version 7"),
        ("kind: lora", "kind: lokr", ManifestError, "adapter.kind"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(error, match=match):
            zoo.load(tmp_path / "out")
    path.write_text(text)
    with pytest.raises(ConfigError, match="'adapter' belongs to the weights"):
        hub.annotate(tmp_path / "out", adapter={})
