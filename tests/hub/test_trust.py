"""The training domain beside the weights, and ensembles as one checkpoint."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule

import zoo
from zoo import hub
from zoo.apps.predict import predict
from zoo.datasets import AtomsDataset
from zoo.errors import (
    ConfigError,
    IntegrityError,
    OutputError,
    StateMismatchError,
    UnsafeFileError,
)
from zoo.hub import weights as files
from zoo.models._ensemble import Ensemble
from zoo.models._trust import Trust
from zoo.models._trust_fit import fit
from zoo.models.tensornet import TensorNet

NAME = "tensornet-s.tiny.r1"


@pytest.fixture
def frames() -> AtomsDataset:
    rng = np.random.default_rng(0)
    found: list[Atoms] = []
    for k in range(30):
        atoms = molecule("CH3CH2OH" if k % 2 else "H2O")
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        found.append(atoms)
    return AtomsDataset.from_atoms(found)


@pytest.fixture
def trust(model: TensorNet, frames: AtomsDataset) -> Trust:
    return fit(model, frames.take(range(20)), frames.take(range(20, 30)))


def manifest_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "manifest.yaml").read_text())
    return values


def same(first: Trust, second: Trust) -> bool:
    return first.state.keys() == second.state.keys() and all(
        torch.equal(second.state[name], tensor) for name, tensor in first.state.items()
    )


def test_saved_and_loaded_bit_for_bit(model: TensorNet, trust: Trust, tmp_path: Path) -> None:
    folder = zoo.save(
        model, tmp_path / "a", name=NAME, golden_inputs=[molecule("H2O")], trust=trust
    )
    loaded = zoo.load(folder, check=True)
    assert same(trust, loaded.trust)
    about = manifest_of(folder)
    assert {k: v for k, v in about["trust"].items() if v} == {
        "file": "trust.safetensors",
        "frames": 20,
        "calibration_frames": 10,
        "quantile": 0.99,
    }
    assert [item["role"] for item in about["files"]] == ["weights", "golden", "trust"]
    assert "## Trust" in (folder / "card.md").read_text()
    zoo.save(model, folder, name=NAME)  # saved again without: nothing stale is left
    assert zoo.load(folder).trust is None
    assert not list(folder.glob("trust*"))


def test_attached_later_and_replaced_only_on_request(
    saved: Path, trust: Trust, model: TensorNet, frames: AtomsDataset
) -> None:
    before = {item["role"]: item["sha256"] for item in manifest_of(saved)["files"]}
    hub.attach_trust(saved, trust, data="mine")
    after = {item["role"]: item["sha256"] for item in manifest_of(saved)["files"]}
    assert before == {role: digest for role, digest in after.items() if role != "trust"}
    assert manifest_of(saved)["trust"]["data"] == "mine"
    assert same(trust, zoo.load(saved).trust)
    other = fit(model, frames, frames, quantile=0.5)
    with pytest.raises(OutputError, match="has trust data already"):
        hub.attach_trust(saved, other)
    hub.attach_trust(saved, other, overwrite=True)
    assert same(other, zoo.load(saved).trust)
    assert len(list(saved.glob("trust*.safetensors"))) == 1
    hub.attach_trust(saved, trust, overwrite=True)
    assert same(trust, zoo.load(saved).trust)
    assert len(list(saved.glob("trust*.safetensors"))) == 1


def test_published_with_the_weights(saved: Path, trust: Trust, shelf: Path) -> None:
    hub.publish(saved, into=shelf)
    assert zoo.load(NAME).trust is None
    hub.attach_trust(NAME, trust)  # to what lies among the shipped checkpoints
    assert (shelf / f"{NAME}.trust.safetensors").is_file()
    assert same(trust, zoo.load(NAME).trust)
    hub.attach_trust(saved, trust)
    hub.publish(saved, into=shelf)
    assert same(trust, zoo.load(NAME).trust)


def test_a_tampered_file_is_refused(saved: Path, trust: Trust) -> None:
    hub.attach_trust(saved, trust)
    path = saved / "trust.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="sha256"):
        zoo.load(saved)
    path.write_bytes(bytes(data[:-8]))
    with pytest.raises(IntegrityError, match="bytes"):
        zoo.load(saved)


def test_of_other_weights_or_no_safetensors(
    saved: Path, trust: Trust, model: TensorNet, tmp_path: Path
) -> None:
    hub.attach_trust(saved, trust)
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    other = zoo.save(model, tmp_path / "other", name="tensornet-s.tiny.r2")
    about = manifest_of(other)
    about["files"] += [f for f in manifest_of(saved)["files"] if f["role"] == "trust"]
    about["trust"] = manifest_of(saved)["trust"]
    (other / "manifest.yaml").write_text(yaml.safe_dump(about))
    (other / "trust.safetensors").write_bytes((saved / "trust.safetensors").read_bytes())
    with pytest.raises(IntegrityError, match="fitted to other weights"):
        zoo.load(other)
    blob = b"\x80\x04 a pickle"
    for item in about["files"]:
        if item["role"] == "trust":
            item |= {"sha256": sha256(blob).hexdigest(), "bytes": len(blob)}
    (other / "manifest.yaml").write_text(yaml.safe_dump(about))
    (other / "trust.safetensors").write_bytes(blob)
    with pytest.raises(UnsafeFileError, match="pickle"):
        zoo.load(other)


def test_separations_are_noted_once_each(saved: Path, trust: Trust) -> None:
    hub.attach_trust(saved, trust)
    found = {
        "inside": "a (test)",
        "inside_frames": 3,
        "outside": "others",
        "outside_frames": 4,
        "auroc": {"score": 0.5},
        "false_alarms": 0.0,
        "detected": 0.25,
        "groups": {"CO2": {"frames": 4, "flagged": 0.25, "forces_mae": 12.0}},
    }
    hub.note_separation(saved, found)
    hub.note_separation(saved, found | {"detected": 0.75})
    (stored,) = hub.read_manifest(saved / "manifest.yaml").trust.separation
    assert stored.detected == 0.75
    card = (saved / "card.md").read_text()
    assert "75.0 % flagged" in card
    assert "| CO2 | 4 | 25 % | 12 |" in card


# --- ensembles -------------------------------------------------------------------------------


def members(tmp_path: Path, count: int, **fields: Any) -> list[Path]:
    folders = []
    for seed in range(count):
        torch.manual_seed(seed)
        net = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=4, max_z=20)
        net.set_references({1: -13.6, 6: -1036.1, 8: -2043.2})
        net.restrict_elements({1: 60, 6: 20, **({8: 10} if seed else {})})
        folders.append(
            zoo.save(
                net.eval(),
                tmp_path / f"m{seed}",
                name=f"tensornet-s.tiny.r{seed + 1}",
                golden_inputs=[molecule("CH4")],
                license={"weights": "CC0-1.0"},
                **fields,
            )
        )
    return folders


def test_one_checkpoint_of_several(tmp_path: Path) -> None:
    paths = members(tmp_path, 3)
    folder = hub.combine(paths, tmp_path / "joined", name="tensornet-s-x3.tiny.r1")
    loaded = zoo.load(folder, check=True)
    assert isinstance(loaded, Ensemble)
    about = manifest_of(folder)
    assert about["ensemble"]["members"] == 3
    assert [each["name"] for each in about["ensemble"]["joined"]] == [
        f"tensornet-s.tiny.r{k}" for k in (1, 2, 3)
    ]
    assert [f["role"] for f in about["files"]] == ["weights", "golden"]
    assert about["license"] == {"weights": "CC0-1.0"}
    assert about["outputs"]["forces_std"]["unit"] == "eV/Angstrom"
    assert "ensemble of 3 members" in (folder / "card.md").read_text()
    for path, net in zip(paths, loaded.members, strict=True):
        for name, tensor in zoo.load(path).state_dict().items():
            assert torch.equal(net.state_dict()[name], tensor)
    assert not bool(loaded.allowed[8])  # the first member has not seen any
    double = zoo.load(folder, dtype=torch.float64, allow_untrained_elements=True)
    assert double(molecule("H2O"))["forces_std"].dtype == torch.float64


def test_an_ensemble_saves_its_domain_as_well(tmp_path: Path, frames: AtomsDataset) -> None:
    folder = hub.combine(members(tmp_path, 2), tmp_path / "j", name="tensornet-s-x2.tiny.r1")
    net = zoo.load(folder, allow_untrained_elements=True)
    hub.attach_trust(folder, fit(net, frames, frames))
    again = zoo.load(folder, allow_untrained_elements=True)
    assert predict(again, [molecule("H2O")], trust=True)[0]["trust"]["inside"]


def test_what_does_not_belong_together(tmp_path: Path) -> None:
    first, second = members(tmp_path, 2)
    name = "tensornet-s-x2.tiny.r1"
    with pytest.raises(ConfigError, match="two members"):
        hub.combine([first], tmp_path / "j", name=name)
    hub.annotate(second, outputs={"energy": {"unit": "eV", "level_of_theory": "PBE"}})
    with pytest.raises(ConfigError, match="levels of theory"):
        hub.combine([first, second], tmp_path / "j", name=name)
    net = zoo.load(first)
    net.set_references({1: -13.0})
    other = zoo.save(net, tmp_path / "other", name="tensornet-s.tiny.r9")
    with pytest.raises(ConfigError, match="for H by 0.6 eV"):
        hub.combine([first, other], tmp_path / "j", name=name)
    assert not (tmp_path / "j").exists()


def test_a_missing_member_is_noticed(tmp_path: Path) -> None:
    folder = hub.combine(members(tmp_path, 3), tmp_path / "j", name="tensornet-s-x3.tiny.r1")
    about = manifest_of(folder)
    about["ensemble"]["members"] = 2
    (folder / "manifest.yaml").write_text(yaml.safe_dump(about))
    with pytest.raises(StateMismatchError, match="none of the 2 members"):
        zoo.load(folder)
    about["ensemble"]["members"] = 4
    (folder / "manifest.yaml").write_text(yaml.safe_dump(about))
    with pytest.raises(StateMismatchError, match="missing"):
        zoo.load(folder)
    state = files.parse((folder / "model.safetensors").read_bytes(), where="test")
    assert all(name.startswith("members.") for name in state)
