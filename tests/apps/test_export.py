"""Artefacts: they say what the model says on other graphs, or are not kept."""

import re
import shutil
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import zoo
from zoo import registry
from zoo.apps.scale import _export_atoms
from zoo.apps.scale import export as app
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    DeviceError,
    GoldenMismatchError,
    SpecError,
    UnsupportedElementError,
    UnsupportedInputError,
)
from zoo.models._atomistic import AtomisticModel


@pytest.fixture(scope="module")
def model() -> AtomisticModel:
    torch.manual_seed(0)
    made = zoo.create("tensornet", hidden_channels=4, num_layers=1, num_rbf=4, cutoff=4.0)
    model: AtomisticModel = made.double().eval()
    model.restrict_elements({1: 1, 6: 1, 8: 1, 29: 1})
    return model


@pytest.fixture(scope="module")
def artefact(model: AtomisticModel, tmp_path_factory: pytest.TempPathFactory) -> app.Exported:
    path = tmp_path_factory.mktemp("export") / "model.pt2"
    info = app.export(model, path)
    assert info["difference"] < 1e-9
    return app.Exported(path)


@pytest.mark.parametrize(
    "frames",
    [
        [molecule("CH3CH2OH")],
        [molecule("CH4"), bulk("Cu", cubic=True), molecule("H2O")],
        [bulk("Cu")],
        [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]])] * 7,
    ],
)
def test_it_says_what_the_model_says(
    model: AtomisticModel, artefact: app.Exported, frames: list[Atoms]
) -> None:
    found = artefact(frames)
    expected = model(frames, outputs=("energy", "forces", "virial"), create_graph=False)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-10)
    assert found["energy"].dtype == torch.float64
    assert ("stress" in found) is all(frame.pbc.all() for frame in frames)


@pytest.mark.export
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_compiled_it_says_the_same_and_serves_one_torch(
    model: AtomisticModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "model.pt2"
    info = app.export(model, path, form="aotinductor")
    assert info["difference"] < 1e-9
    frames = [molecule("CH3CH2OH"), bulk("Cu", cubic=True)]
    expected = model(frames, outputs=("energy", "forces", "virial"), create_graph=False)
    found = app.Exported(path)(frames)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-10)
    monkeypatch.setattr(torch, "__version__", "9.0")
    with pytest.raises(SpecError, match=r"this is 9\.0; export the model again"):
        app.Exported(path)


def test_what_it_can_not_do_is_refused(artefact: app.Exported, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedElementError, match=re.escape("[7]")):
        artefact(molecule("NH3"))
    with pytest.raises(DataError, match="no file"):
        app.Exported(tmp_path / "none.pt2")
    (tmp_path / "bad.pt2").write_bytes(b"no archive")
    with pytest.raises(DataError, match="no artefact"):
        app.Exported(tmp_path / "bad.pt2")


def test_other_numbers_are_not_kept(
    model: AtomisticModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_parts", lambda *_: (None, {}, [], None))
    monkeypatch.setattr(app, "_save", lambda *_: None)
    monkeypatch.setattr(app, "_difference", lambda *_: 1e-3)
    monkeypatch.setattr(app, "Exported", lambda path: path)
    with pytest.raises(GoldenMismatchError, match="nothing was written"):
        app.export(model, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_none_differ(model: AtomisticModel) -> None:
    samples = [molecule("H2O"), bulk("Cu", cubic=True)]

    def whole(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        return model(frames, outputs=("energy", "forces", "virial"), create_graph=False)

    def broken(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        out = whole(frames)
        return {**out, "forces": out["forces"] * torch.nan} if len(frames) == 2 else out

    batches = [samples[:1], samples, samples[1:]]
    assert app._difference(whole, whole, batches) == 0.0
    assert np.isnan(app._difference(whole, broken, batches))  # and no limit lets it pass


def test_what_can_not_be_traced_is_said(
    model: AtomisticModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="aotinductor"):
        app.export(model, tmp_path / "m.pt2", form="onnx")

    def refuse(*_: object) -> None:
        raise RuntimeError("a number is needed\nsecond line")

    monkeypatch.setattr(model, "features", refuse)
    monkeypatch.setattr(_export_atoms, "evaluate", lambda *_: {})
    with pytest.raises(
        CapabilityError, match=r"can't trace it with free sizes \(a number is needed"
    ):
        app.export(model, tmp_path / "m.pt2")
    other = zoo.create("equiformer_v2", **registry.specs()["equiformer_v2"].test_config)
    with pytest.raises(CapabilityError, match="fixes the number of pairs"):
        app.export(other, tmp_path / "m.pt2")
    with pytest.raises(CapabilityError, match="no single network"):
        app.export(torch.nn.Linear(1, 1), tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_numbers_are_looked_at_before_the_artefact_runs(artefact: app.Exported) -> None:
    """It can't do so itself."""
    with pytest.raises(UnsupportedInputError, match="two atoms coincide"):
        artefact(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0]]))
    with pytest.raises(DeviceError, match="export the model again with --device cuda"):
        app.Exported(artefact.path, device="cuda")


def test_structures_without_neighbours(model: AtomisticModel, artefact: app.Exported) -> None:
    lone = [Atoms("H"), Atoms("CH", positions=[[0, 0, 0], [0, 0, 50]])]
    expected = model(lone, create_graph=False)
    found = artefact(lone)
    np.testing.assert_allclose(found["energy"], expected["energy"], atol=1e-10)
    assert float(found["forces"].abs().max()) == 0.0


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of shapes compare sizes, which fixes those that a trace leaves open."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.export
@pytest.mark.parametrize("name", ["tdn", "escn", "dimenet", "dimenetpp"])
def test_every_architecture_on_atoms(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = zoo.create(name, **registry.specs()[name].test_config).double().eval()
    assert app.export(other, tmp_path / "model.pt2")["difference"] < 1e-9
    exported = app.Exported(tmp_path / "model.pt2")
    frames = [molecule("CH3CH2OH"), bulk("Cu", cubic=True)]
    expected = other(frames, outputs=("energy", "forces", "virial"), create_graph=False)
    assert float(expected["forces"].abs().max()) > 0
    found = exported(frames)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-9)
