"""Opening files: formats, keys, units, refusals."""

import pickle
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.db import connect
from data_samples import frames, md17, write

import zoo.datasets as zd
from zoo.datasets._open import file_sha256
from zoo.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    UnsafeFileError,
)

MD17_UNITS = {"energy": "kcal/mol", "length": "angstrom"}


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array + 0.1 * np.triu(np.ones((3, 3)), 1), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = EMT()
    atoms.get_stress(), atoms.get_potential_energy()
    return atoms


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz", "a.traj", "a.db", "a.json", "a.npz"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    path, original = tmp_path / name, frames()
    if name == "a.npz":
        zd.save_npz(path, original, {"level_of_theory": "none", "seed": 3})
    elif name in ("a.db", "a.json"):
        with connect(path) as database:
            for atoms in original:
                keep = {k: v for k, v in atoms.info.items() if k == "name"}
                database.write(
                    atoms, key_value_pairs={**keep, "total_charge": atoms.info["charge"]}
                )
    else:
        ase.io.write(path, original, **({"format": "extxyz"} if "xyz" in name else {}))
    dataset = zd.open(path)
    assert len(dataset) == 4 and dataset.labels == {"energy", "forces", "dipole"}
    tolerance = 1e-8 if "xyz" in name else 0.0
    for index, atoms in enumerate(original):
        sample = dataset[index]
        assert sample.pos.dtype == sample.energy.dtype == torch.float64
        assert np.abs(sample.pos.numpy() - atoms.positions).max() <= tolerance
        assert np.abs(sample.forces.numpy() - atoms.get_forces()).max() <= tolerance
        assert sample.energy.item() == atoms.get_potential_energy()
        assert sample.dipole.shape == (1, 3)
        assert sample.name == atoms.info["name"]
        assert sample.charge.item() == atoms.info["charge"]
        back = dataset.atoms(index)
        assert back.get_potential_energy() == atoms.get_potential_energy()
        assert np.array_equal(back.numbers, atoms.numbers)
    assert dataset.elements == {1: 12, 6: 2, 8: 2}


def test_hash_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    made = frames()
    ase.io.write(tmp_path / "a.traj", made)
    for atoms in made:
        atoms.info["name"] = "another"
    zd.save_npz(tmp_path / "b.npz", made)
    a, b = zd.open(tmp_path / "a.traj"), zd.open(tmp_path / "b.npz")
    assert a.hash == b.hash and len(a.hash) == 64
    assert a.take([0, 1]).hash != a.hash
    assert a.take([0, 1]).hash == b.take([0, 1]).hash != b.take([1, 0]).hash
    made[2].positions[0, 0] = np.nextafter(made[2].positions[0, 0], 9)
    made[2].calc.atoms = made[2].copy()
    assert zd.AtomsDataset.from_atoms(made).hash != a.hash


def test_stress_order_is_that_of_ase(tmp_path: Path) -> None:
    atoms = copper()
    path = tmp_path / "cu.extxyz"
    ase.io.write(path, atoms)
    stress = zd.open(path)[0].stress[0].numpy()
    xx, yy, zz, yz, xz, xy = atoms.get_stress()
    expected = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    assert len({round(abs(v), 6) for v in (yz, xz, xy)}) == 3, "the test needs distinct shears"
    assert np.allclose(stress, expected, rtol=0, atol=1e-12)
    assert np.allclose(zd.open(path).atoms(0).get_stress(), atoms.get_stress(), atol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_stress_under_a_key_of_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    atoms = copper()
    full = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    stored = np.array([1.0, 4, 6, 5, 3, 2]) if shape == (6,) else full.reshape(shape)
    atoms.calc = None
    atoms.info["my_stress"] = stored
    path = tmp_path / "cu.extxyz"
    ase.io.write(path, atoms)
    dataset = zd.open(path, keys={"stress": "my_stress"})
    assert dataset[0].stress[0].tolist() == full.tolist()


def test_ref_keys_win_over_results(tmp_path: Path) -> None:
    made = frames(2)
    for atoms in made:
        atoms.info["REF_energy"] = 7.0
        atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 2.0)
    path = tmp_path / "a.extxyz"
    ase.io.write(path, made)
    dataset = zd.open(path)
    assert dataset.label("energy").tolist() == [7.0, 7.0]
    assert set(dataset.label("forces").ravel()) == {2.0}
    results = zd.open(path, keys={"energy": "energy", "forces": None})
    assert results.label("energy")[0] == made[0].get_potential_energy()
    assert results.labels == {"energy", "dipole"}


def test_constrained_atoms_keep_their_forces(tmp_path: Path) -> None:
    atoms = frames(1)[0]
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.write(tmp_path / "a.traj")
    properties = "species:S:1:pos:R:3:forces:R:3:move_mask:L:1"
    lines = [
        f"{symbol} {' '.join(map(repr, map(float, (*x, *f))))} {'F' if k < 2 else 'T'}"
        for k, (symbol, x, f) in enumerate(
            zip(atoms.symbols, atoms.positions, atoms.calc.results["forces"], strict=True)
        )
    ]
    text = "\n".join([str(len(atoms)), f"Properties={properties}", *lines])
    (tmp_path / "a.extxyz").write_text(text + "\n")
    for name in ("a.traj", "a.extxyz"):
        read = ase.io.read(tmp_path / name)
        assert not read.get_forces()[:2].any(), "the file must hold the constraint"
        forces = zd.open(tmp_path / name)[0].forces.numpy()
        expected = atoms.get_forces(apply_constraint=False)
        assert np.abs(forces - expected).max() < 1e-8


def test_units_of_ase_formats_can_be_told(tmp_path: Path) -> None:
    atoms = copper()
    path = tmp_path / "a.traj"
    atoms.write(path)
    plain = zd.open(path)
    told = zd.open(path, units={"energy": "meV", "length": "nm"})
    assert np.allclose(told.label("energy"), plain.label("energy") / 1000)
    assert np.allclose(told[0].pos, plain[0].pos * 10)
    assert np.allclose(told[0].cell, plain[0].cell * 10)
    assert np.allclose(told.label("stress"), plain.label("stress") / 1000 / 1000)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.extxyz", "a.npz", "a.traj"])
def test_pickles_are_refused_by_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps([Bomb()]))
    with pytest.raises(UnsafeFileError, match="pickle"):
        zd.open(tmp_path / name)
    assert not Path("exploded").exists()


def test_object_arrays_and_torch_archives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, **md17() | {"E": np.array([{"a": 1}] * 5, dtype=object)})
    with pytest.raises(UnsafeFileError, match="'E' holds Python objects"):
        zd.open(path, units=MD17_UNITS)
    torch.save({"z": torch.zeros(1)}, path)
    with pytest.raises(UnsafeFileError, match="could run code"):
        zd.open(path, units=MD17_UNITS)


def test_damaged_and_unknown_files(tmp_path: Path) -> None:
    whole = zd.save_npz(tmp_path / "a.npz", frames()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.extxyz").write_text("3\n\nH 0 0 0\n")
    (tmp_path / "a.nonsense").write_text("hello")
    (tmp_path / "empty.extxyz").write_text("")
    for name in ("cut.npz", "a.extxyz", "a.nonsense", "empty.extxyz"):
        with pytest.raises(DataError, match=name):
            zd.open(tmp_path / name)


@pytest.mark.parametrize("name", ["keys", "units", "splits"])
def test_settings_must_be_mappings(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must map"):
        zd.open("pbe-ethanol", **{name: "energy"})  # type: ignore[arg-type]


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder"):
        zd.open(tmp_path)
    with pytest.raises(DataError, match="did you mean 'gfn2-md10'"):
        zd.open("gfn2-md11")
    with pytest.raises(DataError, match="no file"):
        zd.open("C" * 5000)
    with pytest.raises(DataError, match="no file"):
        zd.open("../datasets/gfn2-md10")


def test_labels_asked_for_but_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    made = frames(12)
    for atoms in made[:3]:
        atoms.info["e2"] = 1.0
    ase.io.write(path, made)
    with pytest.raises(DataError, match=r"no frame has 'DFT_energy'.*frame 0 has: .*energy"):
        zd.open(path, keys={"energy": "DFT_energy"})
    with pytest.raises(DataError, match=r"9 of 12 frames have no 'e2': frames 3, 4, .* and 1 more"):
        zd.open(path, keys={"energy": "e2"})
    with pytest.raises(ConfigError, match="did you mean 'forces'"):
        zd.open(path, keys={"force": "forces"})
    npz = zd.save_npz(tmp_path / "a.npz", made)
    with pytest.raises(DataError, match="no 'engy'"):
        zd.open(npz, keys={"energy": "engy"})
    with pytest.raises(DataError, match=r"no array 'Energy'.*known: E, F, R, z"):
        zd.open(write(tmp_path, **md17()), units=MD17_UNITS, keys={"energy": "Energy"})


def test_labels_of_some_frames_only(tmp_path: Path) -> None:
    made = frames(3)
    made[1].calc = None
    path = tmp_path / "a.extxyz"
    ase.io.write(path, made)
    with pytest.raises(DataError, match="1 of 3 frames have no 'energy': frames 1"):
        zd.open(path)
    bare = zd.open(path, keys=dict.fromkeys(["energy", "forces", "dipole"]))
    assert bare.labels == frozenset()
    with pytest.raises(DataError, match=r"has no forces \(labels: none\).*keys="):
        bare.require("forces")
    with pytest.raises(DataError, match="has no energy"):
        bare.label("energy")


def test_check_names_the_frame() -> None:
    made = frames(5)
    made[3].calc.results["forces"][1, 2] = np.nan
    dataset = zd.AtomsDataset.from_atoms(made)
    with pytest.raises(DataError, match="forces is NaN or infinite in frame 3"):
        dataset.check()
    with pytest.raises(DataError, match="frame 3"):
        dataset.take([4, 3]).check()
    dataset.take([0, 1, 2, 4]).check()
    made[3].calc.results["forces"][1, 2] = 0.0
    made[2].calc.results["energy"] = np.inf
    with pytest.raises(DataError, match="energy is NaN or infinite in frame 2"):
        zd.AtomsDataset.from_atoms(made).check()
    made[2].calc = None
    made[2].positions[0, 0] = np.nan
    with pytest.raises(DataError, match="position is NaN or infinite in frame 2"):
        zd.AtomsDataset.from_atoms(made, keys=dict.fromkeys(["energy", "forces", "dipole"])).check()
    periodic = molecule("H2", pbc=True)
    with pytest.raises(DataError, match="structure 0 is periodic"):
        zd.AtomsDataset.from_atoms([periodic]).check()


def test_charges(tmp_path: Path) -> None:
    made = frames(2)
    for atoms in made:
        atoms.info["q"] = -2
    path = tmp_path / "a.extxyz"
    ase.io.write(path, made)
    assert [d.charge.item() for d in zd.open(path)] == [0, 1]
    assert [d.charge.item() for d in zd.open(path, keys={"charge": "q"})] == [-2, -2]
    with pytest.raises(DataError, match="no frame has 'p'"):
        zd.open(path, keys={"charge": "p"})


def test_samples_and_atoms_are_copies() -> None:
    dataset = zd.AtomsDataset.from_atoms(frames())
    before = dataset.hash
    dataset[0].pos.add_(1)
    dataset.atoms(0).positions += 1
    dataset.atoms(0).calc.results["forces"] += 1
    assert zd.AtomsDataset(dataset._store).hash == before


def test_take_is_checked_and_keeps_frame_numbers() -> None:
    dataset = zd.AtomsDataset.from_atoms(frames(6))
    assert dataset.take([5, 1])[0].frame.item() == 5
    assert dataset.take([5, 1]).take([1])[0].frame.item() == 1
    with pytest.raises(DataError, match="has 6 frames"):
        dataset.take([6])
    with pytest.raises(IndexError):
        dataset[6]
    assert len(list(dataset)) == 6
    taken = dataset.take([1, 0])
    assert np.array_equal(
        taken.label("forces"), np.concatenate([dataset[1].forces, dataset[0].forces])
    )


def test_empty_data_set() -> None:
    with pytest.raises(DataError, match="no structures"):
        zd.AtomsDataset.from_atoms([])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sha256": "0" * 64}, IntegrityError, "was changed"),
        ({"lisence": "MIT"}, ConfigError, "did you mean 'licence'"),
        ({"file": "../a.npz"}, ConfigError, "same folder"),
        ({"file": "b.npz"}, DataError, "b.npz can't be read"),
        ({"title": None}, ConfigError, "lacks title"),
        ({"units": "eV"}, ConfigError, "units must be a mapping"),
    ],
)
def test_descriptions_are_checked(
    tmp_path: Path, change: dict[str, str | None], error: type[Exception], message: str
) -> None:
    path = write(tmp_path, **md17())
    entries: dict[str, object] = {
        "title": "water",
        "file": "a.npz",
        "sha256": file_sha256(path),
        "level_of_theory": "none",
        "units": MD17_UNITS,
    }
    described = tmp_path / "a.yaml"
    described.write_text(yaml.safe_dump(entries))
    assert zd.open(described).metadata["level_of_theory"] == "none"
    with pytest.raises(ConfigError, match="units"):
        zd.open(described, units=MD17_UNITS)
    changed = {k: v for k, v in (entries | change).items() if v is not None}
    described.write_text(yaml.safe_dump(changed))
    with pytest.raises(error, match=message):
        zd.open(described)
