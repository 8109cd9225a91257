"""Tiny files in the raw formats of the published sets of surfaces and crystals."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import raw_atoms as raw
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from raw_atoms import generator
from raw_relaxations import pubchemqcr


def slabs(count: int, seed: int = 5) -> list[Atoms]:
    """Copper with an oxygen atom on it, its lower layer held; energies and forces in eV and Å."""
    rng = generator(seed)
    found = []
    for _ in range(count):
        atoms = fcc111("Cu", (1, 1, 2), vacuum=5.0) + Atoms("O", [(0.0, 0.0, 9.0)])
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), True)
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        atoms.set_pbc(True)
        atoms.info.clear()
        atoms.set_tags([0, 1, 2])
        atoms.set_constraint(FixAtoms([0]))
        forces = rng.normal(size=atoms.positions.shape)
        energy = -115.0 + float(rng.normal())
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        found.append(atoms)
    return found


def oc20(folder: Path, part: str = "200K", files: int = 2, count: int = 6) -> Path:
    """A part of S2EF as it is unpacked: pairs of extended XYZ and text."""
    name = f"s2ef_{part}" if part.startswith("val") else f"s2ef_train_{part}"
    place = folder / name / name
    place.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        frames = slabs(count, seed=10 * number + len(part))
        text = io.StringIO()
        ase.io.write(text, frames, format="extxyz")
        (place / f"{number}.extxyz").write_text(text.getvalue())
        lines = [f"random{number * count + k // 2},frame{k},{-110.5 - k}" for k in range(count)]
        (place / f"{number}.txt").write_text("\n".join(lines) + "\n")
    return folder


def crystals(count: int, seed: int = 6) -> list[Atoms]:
    """Strained rock salt with energies, forces and ASE's stress."""
    rng = generator(seed)
    found = []
    for k in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))))
        atoms.positions += 0.03 * rng.normal(size=atoms.positions.shape)
        stress = 0.01 * rng.normal(size=6)
        forces = 0.1 * rng.normal(size=(2, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-6.5 - k, forces=forces, stress=stress)
        found.append(atoms)
    return found


def _entry(atoms: Atoms, name: str, mp_id: str) -> dict[str, Any]:
    """A frame as MPtrj has it: stress in kilobar, with VASP's sign."""
    sites = [
        {
            "species": [{"element": symbol, "occu": 1}],
            "abc": scaled.tolist(),
            "xyz": position.tolist(),
            "label": symbol,
            "properties": {"magmom": 0.0},
        }
        for symbol, scaled, position in zip(
            atoms.get_chemical_symbols(),
            atoms.cell.scaled_positions(atoms.positions),
            atoms.positions,
            strict=True,
        )
    ]
    energy = atoms.get_potential_energy()
    stress = atoms.get_stress(voigt=False) / ase.units.GPa * -10
    return {
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "charge": 0,
            "lattice": {"matrix": atoms.cell[:].tolist(), "pbc": [True, True, True]},
            "sites": sites,
        },
        "uncorrected_total_energy": energy,
        "corrected_total_energy": energy - 1.5,
        "energy_per_atom": (energy - 1.5) / len(atoms),
        "force": atoms.get_forces().tolist(),
        "stress": stress.tolist(),
        "magmom": None,
        "bandgap": 5.0,
        "mp_id": mp_id,
        "name": name,
    }


def mptrj(folder: Path, materials: int = 10, frames: int = 3) -> Path:
    """The JSON file, and the zip archive of extended XYZ files with the same frames."""
    folder.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = {}
    with zipfile.ZipFile(folder / "2024-09-03-mp-trj.extxyz.zip", "w") as archive:
        for number in range(materials):
            mp_id = f"mp-{100 + number}"
            structures = crystals(frames, seed=number)
            names = [f"{mp_id}-0-{k}" for k in range(frames)]
            pairs = zip(structures, names, strict=True)
            table[mp_id] = {name: _entry(atoms, name, mp_id) for atoms, name in pairs}
            for atoms in structures:
                atoms.info["corrected_total_energy"] = atoms.get_potential_energy() - 1.5
            text = io.StringIO()
            ase.io.write(text, structures, format="extxyz")
            archive.writestr(f"{mp_id}.extxyz", text.getvalue())
    (folder / "2022-09-16-mp-trj.json").write_text(json.dumps(table))
    return folder


def wbm(folder: Path, count: int = 4) -> Path:
    """Relaxed and initial crystals, and the table of their energies."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, seed in (("relaxed", 1), ("initial", 2)):
        file = folder / f"2024-08-04-wbm-{kind}-atoms.extxyz.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for k, atoms in enumerate(crystals(count, seed)):
                atoms.calc = None
                atoms.info["material_id"] = f"wbm-1-{k + 1}"
                text = io.StringIO()
                ase.io.write(text, atoms, format="extxyz")
                archive.writestr(f"wbm-1-{k + 1}.extxyz", text.getvalue())
    head = (
        "material_id,formula,n_sites,uncorrected_energy,e_form_per_atom_mp2020_corrected,"
        "e_above_hull_mp2020_corrected_ppd_mp,unique_prototype"
    )
    rows = [f"wbm-1-{k + 1},Na1 Cl1,2,{-6.5 - k},{-2.0 + k},{0.1 * k},True" for k in range(count)]
    data = gzip.compress("\n".join([head, *rows, ""]).encode())
    (folder / "wbm-summary.csv.gz").write_bytes(data)
    return folder


def oc20_parts(folder: Path) -> Path:
    """A part to train on and one to validate on."""
    oc20(folder)
    return oc20(folder, "val_id", files=1)


#: writer of every atomistic set that `zoo data get` brings, for one choice of its settings
WRITERS: dict[str, Callable[[Path], Path]] = {
    "qm9": raw.qm9,
    "md17": lambda folder: raw.md17(folder, "md17_ethanol.npz", "C2H6O"),
    "md17-ccsd": lambda folder: raw.md17_ccsd(folder, "ethanol_ccsd_t", "C2H6O"),
    "rmd17": lambda folder: raw.rmd17(folder, "aspirin", "C9H8O4"),
    "md22": lambda folder: raw.md17(folder, "md22_Ac-Ala3-NHMe.npz", "C12H22N4O4"),
    "spice": lambda folder: raw.spice(folder, file="SPICE-1.1.4.hdf5"),
    "ani1x": raw.ani1x,
    "ani2x": raw.ani2x,
    "oc20": oc20_parts,
    "mptrj": mptrj,
    "wbm": wbm,
    "pubchemqcr": pubchemqcr,
}
