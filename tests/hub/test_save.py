"""Saving atomically, and shipping weights with the package."""

import os
from pathlib import Path

import pytest
import torch
from ase import Atoms
from torch import nn

import zoo
from tests.hub.conftest import NAME
from zoo import hub
from zoo.errors import (
    ConfigError,
    ManifestError,
    OutputError,
    StateMismatchError,
    UnknownModelError,
)
from zoo.models.tensornet import TensorNet


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


def test_a_kill_while_saving_leaves_the_old_model_or_the_new(
    saved: Path, model: TensorNet, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before and after every single step on the disk."""
    old = model(structures)["energy"]
    with torch.no_grad():
        model.readout.weight *= 2
    new = model(structures)["energy"]
    assert not torch.equal(old, new)
    real, seen = os.replace, []

    def save_and_die(steps: int, *, after: bool) -> None:
        left = steps

        def dying(source: Path, target: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0 and not after:
                raise Killed
            real(source, target)
            if left == 0:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("zoo._files.os.replace", dying)
            zoo.save(model, saved, name=NAME, golden_inputs=structures)

    for step in range(1, 4):  # weights, golden outputs, manifest
        for after in (False, True):
            save_and_die(step, after=after)
            energy = zoo.load(saved, check=True)(structures)["energy"]
            assert torch.equal(energy, old) or torch.equal(energy, new)
            seen.append(torch.equal(energy, new))
    assert seen == [False] * 5 + [True]  # the manifest's step is the one that counts
    (saved / f".model.safetensors.{'0' * 32}.tmp").write_text("cut short")
    (saved / "report.json").write_text("{}")
    zoo.save(model, saved, name=NAME, golden_inputs=structures)
    assert torch.equal(zoo.load(saved, check=True)(structures)["energy"], new)
    assert len(list(saved.iterdir())) == 5  # what killed saves left is gone, other files are not


def test_saving_again_replaces_and_cleans_up(
    saved: Path, model: TensorNet, structures: list[Atoms]
) -> None:
    for step in range(3):
        with torch.no_grad():
            model.readout.weight += 0.1
        zoo.save(model, saved, name=NAME, golden_inputs=structures[: 1 + step % 2])
        found = zoo.load(saved, check=True)(structures)["energy"]
        assert torch.equal(found, model(structures)["energy"])
        assert len(list(saved.iterdir())) == 4


def test_unwritable_folder(tmp_path: Path, model: TensorNet) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        zoo.save(model, tmp_path / "file" / "out", name=NAME)


def test_broken_weights_are_not_saved(
    tmp_path: Path, model: TensorNet, structures: list[Atoms]
) -> None:
    with torch.no_grad():
        model.readout.weight[0, 0] = float("nan")
    with pytest.raises(StateMismatchError, match="readout.weight"):
        zoo.save(model, tmp_path / "out", name=NAME, golden_inputs=structures)
    assert not (tmp_path / "out").exists()


def test_only_registered_classes_are_saved(tmp_path: Path, model: TensorNet) -> None:
    class Mine(TensorNet):
        pass

    with pytest.raises(ConfigError, match="inherits the name 'tensornet'"):
        zoo.save(Mine(hidden_channels=4), tmp_path / "out", name=NAME)
    with pytest.raises(ConfigError, match="not registered"):
        zoo.save(nn.Linear(1, 1), tmp_path / "out", name=NAME)
    with pytest.raises(ConfigError, match="'files'"):
        zoo.save(model, tmp_path / "out", name=NAME, files=[])
    with pytest.raises(ManifestError, match="did you mean 'metrics'"):
        zoo.save(model, tmp_path / "out", name=NAME, metric=[])
    with pytest.raises(ManifestError, match="<architecture>-<size>"):
        zoo.save(model, tmp_path / "out", name="best model")
    assert not (tmp_path / "out").exists()


# --- shipped weights -------------------------------------------------------------------------


def test_published_weights_load_by_name(saved: Path, shelf: Path, structures: list[Atoms]) -> None:
    assert hub.publish(saved, into=shelf) == shelf / f"{NAME}.yaml"
    names = {f"{NAME}.yaml", f"{NAME}.safetensors", f"{NAME}.golden.safetensors", "_urls.yaml"}
    assert {path.name for path in shelf.iterdir()} == names
    assert zoo.list_models(pretrained=True) == [NAME]
    loaded = zoo.load(NAME, check=True)
    assert torch.equal(loaded(structures)["energy"], zoo.load(saved)(structures)["energy"])
    assert f"zoo.load('{NAME}')" in zoo.card(NAME)
    with pytest.raises(UnknownModelError, match=f"did you mean '{NAME}'"):
        zoo.load("tensornet-s.tiny.r2")
    with pytest.raises(UnknownModelError, match=f"trained ones are {NAME}"):
        zoo.load("tensornet-s")


def test_measurements_are_added_to_manifest_and_card(saved: Path, shelf: Path) -> None:
    result = {"name": "rotation", "dtype": "float64", "status": "passed", "error": 3.1e-14}
    certificate = {"group": "O(3)", "passed": True, "results": [{**result, "tolerance": 1e-9}]}
    before = hub.read_manifest(saved / "manifest.yaml")
    assert hub.annotate(saved, certificate=certificate) == saved / "manifest.yaml"
    after = hub.read_manifest(saved / "manifest.yaml")
    assert after.certificate == certificate and after.files == before.files
    assert "| rotation | float64 | 3.1e-14 | 1e-09 | passed |" in zoo.card(saved)
    hub.annotate(hub.publish(saved, into=shelf), limits=["none known"])
    assert "none known" in zoo.card(NAME) and zoo.load(NAME, check=True)
    with pytest.raises(ConfigError, match="save them again"):
        hub.annotate(saved, config={})
    with pytest.raises(ManifestError, match="did you mean 'limits'"):
        hub.annotate(saved, limit=[])


def test_names_are_immutable(saved: Path, shelf: Path, model: TensorNet) -> None:
    hub.publish(saved, into=shelf)
    hub.publish(saved, into=shelf)  # the same weights again: nothing changes
    with torch.no_grad():
        model.readout.weight += 1
    other = zoo.save(model, saved.parent / "other", name=NAME, certificate={"passed": True})
    with pytest.raises(OutputError, match="immutable"):
        hub.publish(other, into=shelf)


def test_large_weights_are_not_shipped(
    saved: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.hub._publish.SHIP_LIMIT", 100)
    with pytest.raises(OutputError, match="bytes each"):
        hub.publish(saved, into=shelf)


def test_a_manifest_under_a_wrong_name(saved: Path, shelf: Path) -> None:
    hub.publish(saved, into=shelf).rename(shelf / "tensornet-s.tiny.r2.yaml")
    with pytest.raises(ManifestError, match="must be the file's stem"):
        zoo.load("tensornet-s.tiny.r2")


@pytest.mark.parametrize("name", zoo.list_models(pretrained=True))
def test_shipped_weights_are_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    manifest = hub.read_manifest(hub.find(name))
    if manifest.source == "authors":
        return
    for path, file in zip(hub.pull(name), manifest.files, strict=True):
        assert path.stat().st_size == file.bytes
    zoo.load(name, check=True)
    zoo.load(name, check=True, dtype=torch.float64)
