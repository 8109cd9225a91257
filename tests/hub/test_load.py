"""Loading: bit for bit, strictly, safely, and across versions."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk, molecule

import zoo
from tests.hub.conftest import NAME, Bomb, edit, replace, state_of
from zoo import hub
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DeviceError,
    GoldenMismatchError,
    IntegrityError,
    ManifestError,
    SpecError,
    StateMismatchError,
    UnknownModelError,
    UnsafeFileError,
    UnsupportedElementError,
)
from zoo.hub import weights
from zoo.models import tensornet
from zoo.models.tensornet import TensorNet

# --- round trip ------------------------------------------------------------------------------


def test_save_and_load_bit_for_bit(saved: Path, model: TensorNet, structures: list[Atoms]) -> None:
    loaded = zoo.load(saved, check=True)
    assert loaded.hparams == model.hparams
    assert not loaded.training
    assert loaded.checkpoint_name == NAME and loaded.manifest.name == NAME
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert theirs[name].dtype == tensor.dtype and torch.equal(theirs[name], tensor)
    expected, found = model(structures), loaded(structures)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_folder_holds_exactly_the_four_files(saved: Path) -> None:
    names = {"model.safetensors", "golden.safetensors", "manifest.yaml", "card.md"}
    assert {path.name for path in saved.iterdir()} == names
    assert "CC0-1.0" in zoo.card(saved) and str(saved) in zoo.card(saved)
    assert zoo.info(saved)["kind"] == "checkpoint"


def test_energy_buffers_stay_double(saved: Path) -> None:
    stored = state_of(saved)
    double = {name for name, tensor in stored.items() if tensor.dtype == torch.float64}
    assert double == {name for name in stored if name.startswith("energy_scale.")}
    as_double = zoo.load(saved, dtype=torch.float64, check=True)
    assert as_double.dtype == torch.float64
    single = zoo.load(saved)
    for name, tensor in single.state_dict().items():
        assert torch.equal(as_double.state_dict()[name], tensor.double())
    assert single.energy_scale.reference[8] == -2043.2  # float32 would round it


def test_stored_double_precision_is_kept(
    tmp_path: Path, model: TensorNet, structures: list[Atoms]
) -> None:
    model = model.double()
    with torch.no_grad():
        model.readout.weight += 1e-12  # lost if anything on the way were float32
    folder = zoo.save(model, tmp_path / "double", name=NAME)
    loaded = zoo.load(folder)
    assert loaded.dtype == torch.float64
    assert torch.equal(loaded.readout.weight, model.readout.weight)
    assert zoo.load(folder, dtype=torch.float32).dtype == torch.float32


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    zoo.load(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_bare_folder_name_is_a_path(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved.parent)
    assert zoo.load("saved").checkpoint_name == NAME
    assert zoo.load("saved/manifest.yaml").checkpoint_name == NAME
    assert hub.pull("saved") == [Path("saved/model.safetensors"), Path("saved/golden.safetensors")]


def test_manifest_is_completed_from_the_model(saved: Path) -> None:
    manifest = hub.read_manifest(saved / "manifest.yaml")
    assert manifest.inputs.elements == {"H": 60, "C": 20, "O": 10}
    assert manifest.outputs["forces"].unit == "eV/Angstrom"
    assert manifest.outputs["forces"].conservative is True
    assert manifest.config["hidden_channels"] == 8


def test_a_derived_model_inherits_the_licence(saved: Path, tmp_path: Path) -> None:
    folder = zoo.save(
        zoo.load(saved),
        tmp_path / "derived",
        name="tensornet-s.mine.r1",
        training={"seed": 3, "data": [{"name": "mine", "frames": torch.tensor(7)}]},
        outputs={"energy": {"level_of_theory": "PBE"}},
    )
    manifest = hub.read_manifest(folder / "manifest.yaml")
    assert manifest.license.weights == "CC0-1.0"
    assert manifest.training is not None
    assert manifest.training.version == zoo.__version__ and manifest.training.data[0].frames == 7
    assert manifest.outputs["energy"].unit == "eV"
    assert manifest.outputs["energy"].level_of_theory == "PBE"


# --- elements --------------------------------------------------------------------------------


def test_unseen_elements_are_refused_unless_allowed(saved: Path) -> None:
    with pytest.raises(UnsupportedElementError, match="N"):
        zoo.load(saved)(molecule("NH3"))
    loaded = zoo.load(saved, allow_untrained_elements=True)
    assert torch.isfinite(loaded(molecule("NH3"))["energy"]).all()
    assert loaded.trained_elements == {1: 60, 6: 20, 8: 10}


def test_a_symbol_that_is_no_element(saved: Path) -> None:
    edit(saved, inputs={"elements": {"Xx": 3}})
    with pytest.raises(ManifestError, match="Xx"):
        zoo.load(saved)


# --- refusals --------------------------------------------------------------------------------


def test_damaged_and_truncated_weights(saved: Path) -> None:
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="sha256"):
        zoo.load(saved)
    path.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=f"has {len(data) - 1} bytes"):
        zoo.load(saved)


def test_pickles_are_refused_unread(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    monkeypatch.setenv("ZOO_TEST_RAN", str(mark))
    for protocol in (2, 3, 4, 5):
        with pytest.raises(UnsafeFileError, match="pickle"):
            zoo.load(replace(saved, pickle.dumps(Bomb(), protocol)))
    torch.save({"w": torch.ones(2)}, tmp_path / "x")
    with pytest.raises(UnsafeFileError, match="torch.save"):
        zoo.load(replace(saved, (tmp_path / "x").read_bytes()))
    for suffix in ("pt", "pth", "ckpt", "pkl", "bin"):
        with pytest.raises(UnsafeFileError, match="can run code"):
            zoo.load(replace(saved, pickle.dumps(Bomb()), f"model.{suffix}"))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb()))  # the bomb works, so the refusals mean something
    assert mark.exists()


def header(entries: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        header({}, length=1 << 40),
        header({}, length=200_000_000),
        header([]),
        header({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        header({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"\0" * 4),
        header(
            {
                "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
            },
            b"\0" * 6,
        ),
        b"\x00" * 64 + b"junk",
    ],
    ids=["empty", "short", "huge", "long", "list", "cut", "shape", "overlap", "zeros"],
)
def test_malformed_headers(data: bytes) -> None:
    with pytest.raises(UnsafeFileError, match="here.safetensors"):
        weights.parse(data, where="here.safetensors")


def test_missing_extra_and_misshaped_parameters(saved: Path) -> None:
    state = state_of(saved)
    kept = dict(list(state.items())[12:])
    with pytest.raises(StateMismatchError, match="12 missing: ") as error:
        zoo.load(replace(saved, weights.dump(kept)))
    assert str(error.value).count(", ") >= 9 and ", ..." in str(error.value)
    with pytest.raises(StateMismatchError, match="1 unexpected: head.of.others"):
        zoo.load(replace(saved, weights.dump({**state, "head.of.others": torch.ones(1)})))
    name = "readout.weight"
    with pytest.raises(StateMismatchError, match=r"readout.weight \(1, 1\) instead of \(8, 24\)"):
        zoo.load(replace(saved, weights.dump({**state, name: torch.ones(1, 1)})))


def test_weights_of_another_configuration(saved: Path) -> None:
    config = yaml.safe_load((saved / "manifest.yaml").read_text())["config"]
    with pytest.raises(StateMismatchError, match="missing: layers.1"):
        zoo.load(edit(saved, config={**config, "num_layers": 2}))
    with pytest.raises(ConfigError, match="did you mean 'num_layers'"):
        zoo.load(edit(saved, config={**config, "num_layer": 2}))


def test_unknown_names(saved: Path) -> None:
    with pytest.raises(UnknownModelError, match="zoo list --pretrained"):
        zoo.load("tensornet-s.nothing.r1")
    with pytest.raises(UnknownModelError, match="zoo.create"):
        zoo.load("tensornet-s")
    with pytest.raises(ManifestError, match="holds no manifest.yaml"):
        zoo.load(saved.parent)
    with pytest.raises(UnknownModelError, match="'tensornext'"):
        zoo.load(edit(saved, architecture="tensornext", name="tensornext-s.x.r1"))


def test_devices_and_precisions(saved: Path) -> None:
    with pytest.raises(DeviceError, match="'tpu9'"):
        zoo.load(saved, device="tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no GPU"):
            zoo.load(saved, device="cuda")
    with pytest.raises(DeviceError, match="torch.int64"):
        zoo.load(saved, dtype=torch.int64)


# --- golden outputs --------------------------------------------------------------------------


def test_a_wrong_model_fails_its_golden_outputs(saved: Path) -> None:
    state = state_of(saved)
    state["readout.weight"] = state["readout.weight"] * 1.01
    replace(saved, weights.dump(state))
    assert zoo.load(saved)  # the file is in order; only its numbers are wrong
    with pytest.raises(GoldenMismatchError, match="forces by"):
        zoo.load(saved, check=True)


def test_reference_energies_count_per_atom(saved: Path) -> None:
    state = state_of(saved)
    state["energy_scale.reference"][1] += 1e-3  # 5e-7 of the total energy
    with pytest.raises(GoldenMismatchError, match="energy by"):
        zoo.load(replace(saved, weights.dump(state)), check=True)


def test_golden_results_as_data(saved: Path) -> None:
    for dtype, bound in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        loaded = zoo.load(saved, dtype=dtype)
        tensors = hub.golden_tensors(loaded.manifest, saved)
        results = hub.compare_golden(loaded, tensors, loaded.manifest.golden)
        assert {result.output for result in results} == {"energy", "forces"}
        assert all(result.passed and result.tolerance == bound for result in results)
    with pytest.raises(CapabilityError, match="bfloat16"):
        hub.compare_golden(loaded.bfloat16(), tensors, loaded.manifest.golden)
    structures = hub.golden_structures(tensors)
    assert [len(atoms) for atoms in structures] == [9, 3]


def test_periodic_and_charged_golden_inputs(tmp_path: Path, model: TensorNet) -> None:
    crystal = Atoms("COH", positions=[[0, 0, 0], [0, 0, 1.2], [1, 0, 0]], cell=[4, 5, 6], pbc=True)
    crystal.info |= {"charge": -1, "spin": 2}
    folder = zoo.save(model, tmp_path / "periodic", name=NAME, golden_inputs=[crystal])
    loaded = zoo.load(folder, check=True)
    tensors = hub.golden_tensors(loaded.manifest, folder)
    assert "output.stress" in tensors
    (again,) = hub.golden_structures(tensors)
    assert again == crystal and again.info == {"charge": -1.0, "spin": 2.0}


def test_forces_that_vanish_are_compared_with_a_force(tmp_path: Path, model: TensorNet) -> None:
    crystal = bulk("CO", "rocksalt", a=4.0, cubic=True)
    folder = zoo.save(model, tmp_path / "crystal", name=NAME, golden_inputs=[crystal])
    loaded = zoo.load(folder, check=True)
    expected = hub.golden_tensors(loaded.manifest, folder)["output.forces"].abs().max()
    assert 0 < loaded(crystal)["forces"].abs().max() - expected < 1e-5
    state = state_of(folder)
    state["readout.weight"] = state["readout.weight"] * 1.01
    with pytest.raises(GoldenMismatchError, match="stress by"):
        zoo.load(replace(folder, weights.dump(state)), check=True)


def test_no_golden_outputs_cannot_be_checked(tmp_path: Path, model: TensorNet) -> None:
    folder = zoo.save(model, tmp_path / "plain", name=NAME)
    with pytest.raises(GoldenMismatchError, match="stores no golden outputs"):
        zoo.load(folder, check=True)


# --- versions --------------------------------------------------------------------------------


def test_old_weights_are_upgraded_step_by_step(
    saved: Path, model: TensorNet, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 called the readout `out`, version 2 had twice the scale and `layers`."""
    state = state_of(saved)
    for name in ("weight", "bias"):
        state[f"out.{name}"] = state.pop(f"readout.{name}")
    state["energy_scale.scale"] = state["energy_scale.scale"] / 2
    config = yaml.safe_load((saved / "manifest.yaml").read_text())["config"]
    config["layers"] = config.pop("num_layers")
    edit(replace(saved, weights.dump(state)), config=config)

    def first(old: dict, tensors: dict) -> tuple[dict, dict]:
        return old, {
            f"read{name}" if name.startswith("out.") else name: t for name, t in tensors.items()
        }

    def second(old: dict, tensors: dict) -> tuple[dict, dict]:
        new = {"num_layers" if key == "layers" else key: value for key, value in old.items()}
        scale = tensors["energy_scale.scale"] * 2
        return new, {**tensors, "energy_scale.scale": scale}

    monkeypatch.setattr(tensornet, "UPGRADES", {1: first, 2: second}, raising=False)
    loaded = zoo.load(saved, check=True)
    assert torch.equal(loaded(structures)["energy"], model(structures)["energy"])
    again = zoo.save(loaded, saved.parent / "again", name=NAME)
    assert hub.read_manifest(again / "manifest.yaml").spec_version == 3


def test_versions_without_a_path(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensornet, "UPGRADES", {1: None}, raising=False)
    with pytest.raises(SpecError, match="nothing leads from version 1 to 2"):
        zoo.load(saved)
    with pytest.raises(SpecError, match="pip install -U geometric-zoo"):
        zoo.load(edit(saved, spec_version=3))


def test_conventions_must_agree(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(saved, conventions={"edges": "i to j"})
    with pytest.raises(SpecError, match="edges"):
        zoo.load(saved)
    monkeypatch.setattr(tensornet, "CONVENTIONS", {"edges": "i to j"}, raising=False)
    assert zoo.load(saved)
