"""Weights that an older release wrote: an archived file, two changes later."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from ase import Atoms

import zoo
from tests.hub.archive import relic
from tests.hub.conftest import edit, replace, state_of
from zoo import hub, registry
from zoo.errors import GoldenMismatchError, SpecError
from zoo.hub import weights

# importing it has registered it, for lists to show in whatever test comes next
registry._registered.pop("relic", None)
NAME = "relic-t.archive.r1"
ARCHIVE = Path(__file__).with_name("archive") / NAME
DIGESTS = {
    "golden.safetensors": "8c04783e37158199",
    "manifest.yaml": "661755d2a2c1aa63",
    "model.safetensors": "733c5387d0e4d7f3",
}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture is registered for one test, and unknown to all others."""
    monkeypatch.setattr(registry, "_registered", {**registry._registered, "relic": relic.Relic})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARCHIVE, tmp_path / "copy"))


def test_the_archive_is_as_it_was_written() -> None:
    """Whoever changes these files tests nothing any more."""
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in ARCHIVE.iterdir()
    }
    assert digests == DIGESTS
    assert hub.read_manifest(ARCHIVE / "manifest.yaml").spec_version == 1


def test_old_weights_give_their_old_numbers(structures: list[Atoms], tmp_path: Path) -> None:
    loaded = zoo.load(ARCHIVE, check=True)
    assert loaded.hparams["num_layers"] == 1
    double = zoo.load(ARCHIVE, dtype=torch.float64)
    tensors = hub.golden_tensors(double.manifest, ARCHIVE)
    results = hub.compare_golden(double, tensors, double.manifest.golden)
    assert {r.output for r in results} == {"energy", "forces"} and all(r.passed for r in results)
    again = zoo.save(loaded, tmp_path / "again", name=NAME, golden_inputs=structures)
    manifest = hub.read_manifest(again / "manifest.yaml")
    assert manifest.spec_version == 3 and manifest.conventions == relic.CONVENTIONS
    assert "num_layers" in manifest.config and "layers" not in manifest.config
    same = zoo.load(again, check=True)
    assert torch.equal(same(structures)["energy"], loaded(structures)["energy"])


def test_a_bundle_of_old_weights_loads_as_well(tmp_path: Path) -> None:
    assert zoo.load(hub.bundle(ARCHIVE, tmp_path / "x.zoo"), check=True)


def test_weights_of_the_middle_version_take_one_step(copy: Path) -> None:
    config, state = relic._names(hub.read_manifest(copy / "manifest.yaml").config, state_of(copy))
    replace(copy, weights.dump(state))
    assert zoo.load(edit(copy, config=config, spec_version=2), check=True)


def test_every_step_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the second step the file loads, and its golden outputs tell."""
    unchanged = {1: relic._names, 2: lambda config, state: (config, state)}
    monkeypatch.setattr(relic, "UPGRADES", unchanged)
    assert zoo.load(ARCHIVE)
    with pytest.raises(GoldenMismatchError, match="forces by"):
        zoo.load(ARCHIVE, check=True)


@pytest.mark.parametrize("steps", [{1: relic._names, 3: relic._scale}, {1: relic._names, 2: None}])
def test_a_missing_link(monkeypatch: pytest.MonkeyPatch, steps: dict[int, relic.Step]) -> None:
    monkeypatch.setattr(relic, "UPGRADES", steps)
    with pytest.raises(SpecError, match="nothing leads from version 2 to 3; load it with an older"):
        zoo.load(ARCHIVE)


def test_weights_of_a_later_release(copy: Path) -> None:
    with pytest.raises(SpecError, match="version 4 of relic.*up to 3; run: pip install -U geometr"):
        zoo.load(edit(copy, spec_version=4))


def test_a_file_that_is_not_of_its_version(copy: Path) -> None:
    config = hub.read_manifest(copy / "manifest.yaml").config
    config["num_layers"] = config.pop("layers")
    with pytest.raises(
        SpecError, match=r"step from version 1 to 2 failed \(KeyError\('layers'\)\)"
    ):
        zoo.load(edit(copy, config=config))


def test_conventions_of_the_current_version_must_agree(copy: Path) -> None:
    zoo.save(zoo.load(copy), copy, name=NAME)
    assert zoo.load(copy)
    with pytest.raises(SpecError, match="edges = 'i to j'"):
        zoo.load(edit(copy, conventions={"edges": "i to j"}))
