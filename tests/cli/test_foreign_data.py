"""`zoo finetune` on files that others made: other keys, other units; and what is wrong with them.

The labels are the shipped weights' own, in other units, so that a run that reads them rightly
starts without any error, and whatever is read wrongly shows.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.io import write

import zoo

Cli = Callable[..., tuple[int, str, str]]
PARENT = "tensornet-s.gfn2-md10.r1"
KCAL, HARTREE = units.kcal / units.mol, units.Hartree
COUNT = 12


@pytest.fixture(scope="module")
def labelled() -> list[Atoms]:
    """Ethanol with energies (eV) and forces (eV/Å) of the shipped weights."""
    model, rng = zoo.load(PARENT), np.random.default_rng(0)
    frames = []
    for _ in range(COUNT):
        atoms = molecule("CH3CH2OH")
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        frames.append(atoms)
    with torch.no_grad():
        out = model(frames)
    forces = out["forces"].double().numpy().reshape(COUNT, -1, 3)
    for atoms, energy, force in zip(frames, out["energy"].numpy(), forces, strict=True):
        atoms.info["E_ref"], atoms.arrays["F_ref"] = float(energy), force
    return frames


def energies(frames: list[Atoms]) -> np.ndarray:
    return np.array([atoms.info["E_ref"] for atoms in frames])


def forces(frames: list[Atoms]) -> np.ndarray:
    return np.array([atoms.arrays["F_ref"] for atoms in frames])


@pytest.fixture(scope="module")
def extxyz(labelled: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kcal/mol and Å, under names of their own."""
    path = tmp_path_factory.mktemp("foreign") / "lab.extxyz"
    frames = []
    for atoms in labelled:
        frame = Atoms(atoms.symbols, atoms.positions)
        frame.info["DFT_total"] = atoms.info["E_ref"] / KCAL
        frame.arrays["gradient_negative"] = atoms.arrays["F_ref"] / KCAL
        frames.append(frame)
    write(path, frames, format="extxyz")
    return path


@pytest.fixture(scope="module")
def npz(labelled: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hartree and bohr throughout, positions included."""
    path = tmp_path_factory.mktemp("foreign") / "lab.npz"
    np.savez(
        path,
        species=labelled[0].numbers,
        xyz=np.array([atoms.positions for atoms in labelled]) / units.Bohr,
        E_tot=energies(labelled) / HARTREE,
        F_tot=forces(labelled) / HARTREE * units.Bohr,
    )
    return path


@pytest.fixture(scope="module")
def database(labelled: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ASE database with eV energies as a key and forces as data."""
    path = tmp_path_factory.mktemp("foreign") / "lab.db"
    with ase.db.connect(path) as target:
        for atoms in labelled:
            plain = Atoms(atoms.symbols, atoms.positions)
            keys = {"dft_energy": atoms.info["E_ref"]}
            target.write(plain, key_value_pairs=keys, data={"dft_forces": atoms.arrays["F_ref"]})
    return path


EXTXYZ = ["--key", "energy=DFT_total", "--key", "forces=gradient_negative"]
EXTXYZ_UNITS = ["--unit", "energy=kcal/mol"]
NPZ = [f"--key={k}" for k in ("numbers=species", "positions=xyz", "energy=E_tot", "forces=F_tot")]
NPZ_UNITS = ["--unit", "energy=hartree", "--unit", "length=bohr"]
DATABASE = ["--key", "energy=dft_energy", "--key", "forces=dft_forces"]


@pytest.mark.parametrize("kind", ["extxyz", "npz", "database"])
def test_foreign_files_work_end_to_end(
    cli: Cli, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    words = {
        "extxyz": [*EXTXYZ, *EXTXYZ_UNITS],
        "npz": [*NPZ, *NPZ_UNITS],
        "database": DATABASE,
    }[kind]
    path, out = request.getfixturevalue(kind), tmp_path / "out"
    extra = ["--head", "new:lab", "--epochs", 1, "--method", "head"]
    code, text, err = cli("finetune", PARENT, path, "-o", out, *words, *extra)
    assert code == 0, err
    assert "energy heads: lab, energy; lab answers where none is named" in text
    report = json.loads((out / "report.json").read_text())
    # read in the right units, the labels are what the weights predict
    assert report["metrics"]["zero_shot"]["forces_mae"] < 0.1
    assert report["metrics"]["zero_shot"]["energy_mae_per_atom"] < 0.1
    assert report["evidence"]["forces_slope"] == pytest.approx(1.0, abs=1e-3)
    row = next(r for r in report["before_after"] if r["error"] == "forces_mae")
    assert row["old_before"] == row["old_after"] > 10
    assert f"{row['old_before']:.4g}" in text
    model = zoo.load(out, check=True)
    ethanol = molecule("CH3CH2OH")
    old = zoo.load(PARENT)(ethanol)["forces"]
    assert torch.equal(model(ethanol, head="energy")["forces"], old)
    # and the verbs take the head
    write(tmp_path / "one.xyz", ethanol)
    code, shown, err = cli("predict", out, tmp_path / "one.xyz", "--head", "energy", "--json")
    assert code == 0, err
    found = np.array(json.loads(shown)["results"][0]["forces"])
    np.testing.assert_allclose(found, old.numpy(), atol=1e-5)
    code, _, err = cli("predict", out, tmp_path / "one.xyz", "--head", "lba")
    assert code == 1 and "did you mean 'lab'" in err


def refuses(cli: Cli, data: Path, out: Path, *words: object) -> str:
    code, text, err = cli("finetune", PARENT, data, "-o", out, *words)
    assert code == 1 and text == "", (words, text)
    assert not (out / "manifest.yaml").exists()
    return err


def test_wrong_keys_are_refused(
    cli: Cli, extxyz: Path, npz: Path, database: Path, tmp_path: Path
) -> None:
    err = refuses(cli, extxyz, tmp_path, "--key", "energy=DFT_totl")
    assert "DFT_totl" in err and "DFT_total" in err
    err = refuses(cli, extxyz, tmp_path)
    assert "no energies or forces" in err and "keys" in err
    err = refuses(cli, npz, tmp_path, *NPZ[:3], "--key", "forces=F_tto", *NPZ_UNITS)
    assert "F_tto" in err and "F_tot" in err
    err = refuses(cli, database, tmp_path, "--key", "energy=energy_dft")
    assert "energy_dft" in err and "dft_energy" in err


def test_wrong_units_are_refused_with_the_right_ones(
    cli: Cli, extxyz: Path, npz: Path, database: Path, tmp_path: Path
) -> None:
    err = refuses(cli, extxyz, tmp_path, *EXTXYZ)
    assert "energy labels look like kcal/mol" in err and "--unit energy=kcal/mol" in err
    err = refuses(cli, extxyz, tmp_path, *EXTXYZ, "--unit", "energy=kJ/mol")
    assert "proportional" in err or "look like" in err
    half = ["--unit", "energy=hartree", "--unit", "length=angstrom"]
    err = refuses(cli, npz, tmp_path, *NPZ, *half)
    assert "positions look like bohr" in err and "--unit length=bohr" in err
    err = refuses(cli, npz, tmp_path, *NPZ)
    assert "units" in err and "energy" in err
    err = refuses(cli, database, tmp_path, *DATABASE, "--unit", "energy=hartree")
    assert "look like" in err
    err = refuses(cli, extxyz, tmp_path, *EXTXYZ, "--unit", "energy=kcal")
    assert "kcal/mol" in err
    # whoever knows better can say so
    out = tmp_path / "out"
    words = [*EXTXYZ, "--any-units", "--epochs", 1, "--method", "head"]
    code, _, err = cli("finetune", PARENT, extxyz, "-o", out, *words)
    assert code == 0, err


def test_half_converted_files_are_refused(cli: Cli, labelled: list[Atoms], tmp_path: Path) -> None:
    frames = [atoms.copy() for atoms in labelled]
    for atoms in frames:
        atoms.info["E_ref"] /= KCAL
    write(tmp_path / "half.extxyz", frames, format="extxyz")
    words = ["--key", "energy=E_ref", "--key", "forces=F_ref"]
    err = refuses(cli, tmp_path / "half.extxyz", tmp_path / "out", *words)
    assert "energy labels look like kcal/mol" in err and "convert the energy in the file" in err


def test_wrong_shapes_are_refused(cli: Cli, labelled: list[Atoms], tmp_path: Path) -> None:
    numbers = labelled[0].numbers
    positions = np.array([atoms.positions for atoms in labelled])
    good: dict[str, Any] = {"z": numbers, "R": positions, "E": energies(labelled)}
    wrong: list[dict[str, Any]] = [
        {"F": forces(labelled)[:, :, :2]},
        {"F": forces(labelled)[:-1]},
        {"E": energies(labelled)[:-1]},
        {"R": positions[:, :-1]},
        {"z": numbers[:-1]},
    ]
    for k, change in enumerate(wrong):
        np.savez(tmp_path / f"{k}.npz", **{"F": forces(labelled), **good, **change})
        err = refuses(cli, tmp_path / f"{k}.npz", tmp_path / "out", "--unit", "energy=eV")
        assert "shape" in err or "expected" in err, (change.keys(), err)
    frames = [atoms.copy() for atoms in labelled]
    for atoms in frames:
        atoms.arrays["F_ref"] = atoms.arrays["F_ref"][:, :2]
    write(tmp_path / "flat.extxyz", frames, format="extxyz")
    words = ["--key", "energy=E_ref", "--key", "forces=F_ref"]
    err = refuses(cli, tmp_path / "flat.extxyz", tmp_path / "out", *words)
    assert "forces has shape (9, 2), expected (9, 3)" in err


def test_one_head_can_not_replay_another_level(cli: Cli, tmp_path: Path) -> None:
    err = refuses(cli, Path("pbe-ethanol"), tmp_path, "--method", "replay")
    assert "GFN2-xTB" in err and "--head new:NAME" in err
    err = refuses(cli, Path("pbe-ethanol"), tmp_path, "--set", "references=keep")
    assert "--set references=fit" in err
    err = refuses(cli, Path("pbe-ethanol"), tmp_path, "--freeze", "layer.*")
    assert "did you mean 'layers.*'" in err
