"""Artefacts of models on anything but atoms: all architectures, or the reason why not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import zoo
from zoo import registry
from zoo.apps.scale import _export_samples as samples
from zoo.apps.scale import export as app
from zoo.errors import CapabilityError, ConfigError, UnsupportedInputError
from zoo.models._sample import SampleModel

NAMES = sorted(name for name, spec in registry.specs().items() if spec.domain != "atoms")
#: those that say of themselves that they can't be exported
REFUSED = [name for name in NAMES if registry.specs()[name].not_exported]
#: one of each kind of domain, in a second or two
ALWAYS = ("egnn", "factorized_mlp", "grnet", "tree_embedding")


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of shapes compare sizes, which fixes those that a trace leaves open."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def _made(name: str) -> SampleModel:
    torch.manual_seed(0)
    model: Any = zoo.create(name, **registry.specs()[name].test_config).double().eval()
    assert isinstance(model, SampleModel)
    return model


def _check(name: str, folder: Path) -> None:
    model = _made(name)
    info = app.export(model, folder / "model.pt2")
    assert info["difference"] < 1e-9
    exported = app.Exported(folder / "model.pt2")
    if model.transductive:
        batch = samples.examples(model, 1)[:1]
    else:
        batch = samples.examples(model, 11)  # neither traced nor compared before
    expected = model(batch)
    found = exported(batch)
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value.detach(), atol=1e-9)


@pytest.mark.parametrize("name", ALWAYS)
def test_it_says_what_the_model_says(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path)


def test_layers_that_count_operations_serve_any_number_of_rows(tmp_path: Path) -> None:
    """In eager mode these go another way from eight rows on."""
    model = zoo.load("factorized_mlp-tt.digits.r1")
    app.export(model, tmp_path / "model.pt2")
    rows = samples.examples(model, 3000)
    found = app.Exported(tmp_path / "model.pt2")(rows)["logits"]
    with torch.no_grad():
        expected = model(rows)["logits"]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_sizes_that_a_trace_left_out_are_refused(tmp_path: Path) -> None:
    model = _made("factorized_mlp")
    app.export(model, tmp_path / "model.pt2")
    exported = app.Exported(tmp_path / "model.pt2")

    def guard(*_: object) -> None:
        raise AssertionError("Guard failed: rows < 8")

    exported._run = guard
    with pytest.raises(CapabilityError, match=r"model.pt2 was traced for other sizes .* rows < 8"):
        exported(samples.examples(model, 2))


@pytest.mark.export
@pytest.mark.parametrize("name", REFUSED)
def test_those_that_are_refused_can_not_be_traced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is refused what works by now."""
    specs = registry.specs()
    monkeypatch.setattr(
        registry, "specs", lambda: {**specs, name: replace(specs[name], not_exported="")}
    )
    with pytest.raises(CapabilityError, match="torch can't trace it with free sizes"):
        app.export(_made(name), tmp_path / "model.pt2")


@pytest.mark.export
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ALWAYS and n not in REFUSED])
def test_every_architecture(name: str, tmp_path: Path) -> None:
    _check(name, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_exported_is_said_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "trace", None)  # not even tried
    reason = re.escape(registry.specs()[name].not_exported)
    with pytest.raises(CapabilityError, match=f"can't be exported: {reason}; use the model itself"):
        app.export(_made(name), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_inputs_are_looked_at_before_the_artefact_runs(tmp_path: Path) -> None:
    model = _made("gcn")
    model.set_normalisation(x=([0.5] * 4, [2.0] * 4))
    info = app.export(model, tmp_path / "model.pt2", structures=samples.examples(model, 3))
    assert info["inputs"]["x"]["shape"] == [None, 4]
    exported = app.Exported(tmp_path / "model.pt2")
    x, ring = torch.zeros(3, 4), torch.tensor([[0, 1, 2], [1, 2, 0]])
    assert torch.equal(
        exported(Data(x=x, edge_index=ring))["logits"],
        model(Data(x=x, edge_index=ring))["logits"],
    )
    with pytest.raises(UnsupportedInputError, match=r"names the nodes 0\.\.3"):
        exported(Data(x=x, edge_index=ring + torch.tensor([[0], [1]])))
    with pytest.raises(UnsupportedInputError, match=r"x has the shape \(any, 4\), not \(3, 5\)"):
        exported(Data(x=torch.zeros(3, 5), edge_index=ring))
    with pytest.raises(UnsupportedInputError, match="needs the field edge_index"):
        exported(Data(x=x))
    with pytest.raises(ConfigError, match="no energy heads"):
        app.export(model, tmp_path / "other.pt2", head="dft")
