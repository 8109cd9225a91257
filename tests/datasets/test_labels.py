"""Charges, virial, orbital energies: shapes, units, signs, refusals."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import zoo.datasets as zd
from zoo.datasets._labels import SHAPES, per_atom
from zoo.errors import ConfigError, DataError


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = EMT()
    return atoms


def with_virial() -> tuple[Atoms, np.ndarray]:
    """Copper with the virial -dE/dε by finite differences of the energy."""
    atoms, step = copper(), 1e-4
    virial = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                moved = atoms.copy()
                moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                moved.calc = EMT()
                energies.append(moved.get_potential_energy())
            virial[i, j] = -(energies[0] - energies[1]) / (2 * step)
    stress = atoms.get_stress(voigt=False)
    atoms.calc = None
    atoms.info["virial"] = virial
    return atoms, stress


def test_per_atom() -> None:
    assert {label for label in SHAPES if per_atom(label)} == {"forces", "charges"}
    assert not per_atom("name")


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.npz"])
def test_stress_follows_from_the_virial(tmp_path: Path, name: str) -> None:
    atoms, stress = with_virial()
    path = tmp_path / name
    if name == "a.npz":
        arrays = {"z": atoms.numbers, "R": atoms.positions[None], "cell": atoms.cell.array}
        np.savez(path, **arrays, pbc=[True] * 3, virial=atoms.info["virial"][None])
        dataset = zd.open(path, units={"energy": "eV", "length": "angstrom"})
    else:
        ase.io.write(path, atoms)
        dataset = zd.open(path)
    assert dataset.labels == {"stress", "virial"}
    assert np.abs(dataset.label("stress")[0] - stress).max() < 1e-6 < np.abs(stress).max()
    assert zd.open(zd.save_npz(tmp_path / "b.npz", list(dataset.chunks())[0])).hash == dataset.hash


def test_a_virial_without_three_periodic_directions_gives_no_stress() -> None:
    atoms, _ = with_virial()
    slab = atoms.copy()
    slab.pbc = (True, True, False)
    mixed = zd.AtomsDataset.from_atoms([atoms, slab])
    assert mixed.labels == {"virial"}
    with pytest.raises(DataError, match="stress = -virial/V needs three periodic directions"):
        mixed.require("stress")
    with pytest.raises(ConfigError, match=r"'virial' is no stress: write keys=\{'virial'"):
        zd.AtomsDataset.from_atoms([atoms], keys={"stress": "virial"})
    left_out = zd.AtomsDataset.from_atoms([atoms], keys={"stress": None})
    assert left_out.labels == {"virial"}
    flat = atoms.copy()
    flat.cell[2] = flat.cell[1]
    with pytest.raises(DataError, match="frame 0 is periodic.*no volume"):
        zd.AtomsDataset.from_atoms([flat])


def test_names_units_and_places_of_further_labels(tmp_path: Path) -> None:
    made = []
    for index in range(3):
        atoms = molecule("H2O")
        atoms.info |= {"homo": -0.5, "lumo": 0.1 * index, "REF_energy": -1.0}
        atoms.arrays["REF_charges"] = np.array([-0.8, 0.4, 0.4])
        made.append(atoms)
    ase.io.write(tmp_path / "a.extxyz", made)
    plain = zd.open(tmp_path / "a.extxyz")
    assert plain.labels == {"energy", "charges", "homo", "lumo"} and not plain.columns
    told = zd.open(tmp_path / "a.extxyz", units={"energy": "hartree", "length": "bohr"})
    assert told.label("homo").tolist() == [-0.5 * units.Hartree] * 3
    assert told.label("charges").tolist() == [-0.8, 0.4, 0.4] * 3
    assert plain[1].charges.shape == (3,) and plain[1].lumo.shape == (1,)
    batch = zd.collate([plain[0], plain[1]])
    assert batch.charges.shape == (6,) and batch.homo.shape == (2,)
    assert batch[1].charges.shape == (3,)


def test_charges_of_a_calculator(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, charges=np.array([-0.6, 0.3, 0.3]))
    for name in ("a.extxyz", "a.traj"):
        ase.io.write(tmp_path / name, atoms)
        dataset = zd.open(tmp_path / name)
        assert dataset.label("charges").tolist() == [-0.6, 0.3, 0.3]
        assert dataset[0].charge.item() == 0


@pytest.mark.parametrize(
    ("label", "wrong", "message"),
    [
        ("forces", np.zeros((3, 2)), r"shape \(3, 2\), expected \(2, 3\)"),
        ("forces", np.zeros((2, 2)), r"shape \(2, 2\)"),
        ("charges", np.zeros(3), r"shape \(3,\), expected \(2,\)"),
        ("energy", True, "energy must be numbers, not True"),
        ("energy", "-1.0", "energy must be numbers"),
        ("energy", 1 + 2j, "energy must be numbers"),
        ("stress", np.zeros((2, 3)), "stress has shape"),
        ("dipole", [[1.0, 2.0], [3.0]], "dipole must be numbers"),
    ],
)
def test_wrong_shapes_say_how_to_leave_a_label_out(label: str, wrong: object, message: str) -> None:
    atoms = molecule("H2")
    atoms.info[f"REF_{label}"] = wrong
    with pytest.raises(DataError, match=message):
        zd.AtomsDataset.from_atoms([atoms])
    assert not zd.AtomsDataset.from_atoms([atoms], keys={label: None}).labels


def test_keys_must_be_names() -> None:
    with pytest.raises(ConfigError, match="keys maps labels to names"):
        zd.AtomsDataset.from_atoms([molecule("H2")], keys={"energy": 3})  # type: ignore[dict-item]
