"""Tiny files in the raw formats of the published atomistic sets; tests and smoke tiers use them.

Every writer makes the folder of a set as `zoo data get` leaves it, below `folder`.
"""

import io
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.formula import Formula

import zoo.datasets as zd

QM9_HEAD = (
    "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,"
    "u0_atom,u298_atom,h298_atom,g298_atom"
)
#: methane as the authors print it, gdb 1
METHANE = (
    "157.7118,157.70997,157.70699,0.0,13.21,-0.3877,0.1171,0.5048,35.3641,0.044749,-40.47893,"
    "-40.476062,-40.475117,-40.498597,6.469"
)
_ATOMISATION = "-395.999594594,-398.643290011,-401.014646522,-372.471772148"
_SMALL = ("CH4", "NH3", "H2O", "C2H2", "HCN", "H2CO", "C2H6", "CH3OH", "CO", "C2H4")


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def small_molecules(count: int) -> list[Atoms]:
    """Molecules of H, C, N and O; the first one is methane."""
    found = []
    for k in range(count):
        atoms = molecule(_SMALL[k % len(_SMALL)])
        atoms.positions += 0.02 * (k // len(_SMALL))
        found.append(atoms)
    return found


def _properties(k: int) -> list[str]:
    words = METHANE.split(",")
    return words if k == 0 else [f"{float(word) * (1 + 0.01 * k):.6f}" for word in words]


def _sdf(atoms: Atoms, name: str) -> str:
    lines = [
        name,
        "  written for a test",
        "",
        f"{len(atoms):3d}  0  0  0  0  0  0  0  0  0999 V2000",
    ]
    for symbol, (x, y, z) in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True):
        lines.append(f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0  0  0  0  0  0  0  0  0  0  0")
    return "\n".join([*lines, "M  END", "$$$$", ""])


def uncharacterized(folder: Path, numbers: tuple[int, ...]) -> None:
    """The list of left-out molecules: nine lines before, one after."""
    head = [f"line {k}" for k in range(9)]
    body = [f"{number:>7}  InChI=1S/x  InChI=1S/y" for number in numbers]
    text = "\n".join([*head, *body, f"{len(numbers)} in all", ""])
    (folder / "uncharacterized.txt").write_text(text)


def qm9(folder: Path, count: int = 24, left_out: tuple[int, ...] = (3,)) -> Path:
    """gdb9.sdf, its table and the list."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = small_molecules(count)
    blocks = [_sdf(atoms, f"gdb_{k + 1}") for k, atoms in enumerate(frames)]
    (folder / "gdb9.sdf").write_text("".join(blocks))
    rows = [",".join([f"gdb_{k + 1}", *_properties(k), _ATOMISATION]) for k in range(count)]
    (folder / "gdb9.sdf.csv").write_text("\n".join([QM9_HEAD, *rows, ""]))
    uncharacterized(folder, left_out)
    return folder


def qm9_xyz(folder: Path, count: int = 4, left_out: tuple[int, ...] = (3,)) -> Path:
    """The authors' archive of one xyz file per molecule."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "dsgdb9nsd.xyz.tar.bz2", "w:bz2") as archive:
        for k, atoms in enumerate(small_molecules(count)):
            lines = [str(len(atoms)), f"gdb {k + 1}\t" + "\t".join(_properties(k)) + "\t"]
            for symbol, row in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True):
                words = [f"{x:.10f}" for x in row]
                words[0] = words[0] if abs(row[0]) > 1e-3 else "1.5*^-6"
                lines.append("\t".join([symbol, *words, "-0.25" if symbol != "H" else "0.0625"]))
            lines += ["1341.3\t1341.3", "C\tC\t", "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4", ""]
            data = "\n".join(lines).encode()
            member = tarfile.TarInfo(f"dsgdb9nsd_{k + 1:06d}.xyz")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    uncharacterized(folder, left_out)
    return folder


def trajectory(formula: str, count: int, seed: int = 3) -> dict[str, np.ndarray]:
    """Frames of one composition with labels in kcal/mol and Å, under MD17's names."""
    rng = generator(seed)
    numbers = np.array([Atoms(s).numbers[0] for s in Formula(formula)], dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)[: len(numbers)] * 1.4
    positions = grid + 0.05 * rng.normal(size=(count, len(numbers), 3))
    energies = -406000.0 + rng.normal(size=(count, 1))
    return {"z": numbers, "R": positions, "E": energies, "F": rng.normal(size=positions.shape)}


def md17(folder: Path, file: str, formula: str, count: int = 12) -> Path:
    """A trajectory as MD17 and MD22 have it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / file, **trajectory(formula, count))  # type: ignore[arg-type]
    return folder


def md17_ccsd(folder: Path, stem: str, formula: str, count: int = 8) -> Path:
    """The training and test frames at CCSD(T)."""
    for part, seed in (("train", 3), ("test", 4)):
        folder.mkdir(parents=True, exist_ok=True)
        arrays = trajectory(formula, count, seed)
        np.savez(folder / f"{stem}-{part}.npz", **arrays)  # type: ignore[arg-type]
    return folder


def rmd17(folder: Path, name: str, formula: str, count: int = 20, train: int = 10) -> Path:
    """The unpacked archive: a trajectory and the five divisions."""
    base = folder / "rmd17"
    (base / "npz_data").mkdir(parents=True, exist_ok=True)
    (base / "splits").mkdir(exist_ok=True)
    arrays = trajectory(formula, count)
    renamed = {
        "nuclear_charges": arrays["z"],
        "coords": arrays["R"],
        "energies": arrays["E"][:, 0],
        "forces": arrays["F"],
        "old_indices": np.arange(count, dtype=np.float64)[::-1].copy(),
        "old_energies": arrays["E"][:, 0] + 1.0,
        "old_forces": arrays["F"] + 1.0,
    }
    np.savez(base / "npz_data" / f"rmd17_{name}.npz", **renamed)  # type: ignore[arg-type]
    for split in range(1, 6):
        order = generator(split).permutation(count)
        parts = {"train": order[:train], "test": order[train : 2 * train]}
        for part, numbers in parts.items():
            text = "\n".join(map(str, numbers)) + "\n"
            (base / "splits" / f"index_{part}_{split:02d}.csv").write_text(text)
    return folder


def spice(folder: Path, count: int = 6, file: str = "SPICE-2.0.1.hdf5") -> Path:
    """Three molecules, one of them a cation, and a group that holds no conformations."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = generator()
    with h5py.File(folder / file, "w") as out:
        for name, symbols, smiles, subset in (
            ("ammonium", "NH4", "[N+:1]([H:2])([H:3])([H:4])[H:5]", "SPICE Ions v1"),
            ("methane", "CH4", "[C:1]([H:2])([H:3])([H:4])[H:5]", "SPICE PubChem Set 1 v1"),
            ("water", "OH2", "[O:1]([H:2])[H:3]", "SPICE PubChem Set 1 v1"),
        ):
            atoms = Atoms(symbols)
            group = out.create_group(name)
            group["subset"] = np.array([subset.encode()], dtype=object)
            group["smiles"] = np.array([smiles.encode()], dtype=object)
            group["atomic_numbers"] = atoms.numbers.astype(np.int16)
            shape = (count, len(atoms), 3)
            grid = 2.0 * np.eye(3)[np.arange(len(atoms)) % 3] * (1 + np.arange(len(atoms))[:, None])
            group["conformations"] = (grid + 0.1 * rng.normal(size=shape)).astype(np.float32)
            group["formation_energy"] = -0.5 + 0.01 * rng.normal(size=count)
            group["dft_total_energy"] = -40.0 + 0.01 * rng.normal(size=count)
            gradient = 0.05 * rng.normal(size=shape)
            gradient[-1] *= 100
            group["dft_total_gradient"] = gradient.astype(np.float32)
        odd = out.create_group("odd")
        odd["subset"] = np.array([b"SPICE PubChem Set 1 v1"], dtype=object)
        odd["atomic_numbers"] = np.array([1, 1], dtype=np.int16)
        odd["conformations"] = np.zeros(0, dtype=np.float32)
        odd["formation_energy"] = np.zeros(0)
        odd["dft_total_gradient"] = np.zeros(0, dtype=np.float32)
    return folder


def ani1x(folder: Path, count: int = 6) -> Path:
    """Two formulas; some conformations lack the one or the other level (NaN)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = generator()
    with h5py.File(folder / "ani1x-release.h5", "w") as out:
        for formula in ("C1H4", "H2O1"):
            atoms = Atoms(formula)
            group = out.create_group(formula)
            shape = (count, len(atoms), 3)
            group["atomic_numbers"] = atoms.numbers.astype(np.uint8)
            grid = np.arange(len(atoms))[:, None] * np.array([1.1, 0.3, 0.1])
            group["coordinates"] = (grid + 0.05 * rng.normal(size=shape)).astype(np.float32)
            energies = -40.0 + 0.01 * rng.normal(size=count)
            energies[1] = np.nan
            group["wb97x_dz.energy"] = energies
            forces = rng.normal(size=shape).astype(np.float32)
            forces[2] = np.nan
            group["wb97x_dz.forces"] = forces
            coupled = energies + 0.1
            coupled[:3] = np.nan
            group["ccsd(t)_cbs.energy"] = coupled
    return folder


def ani2x(folder: Path, count: int = 6) -> Path:
    """Two numbers of atoms, each with molecules of several elements."""
    place = folder / "final_h5"
    place.mkdir(parents=True, exist_ok=True)
    rng = generator()
    with h5py.File(place / "ANI-2x-wB97X-631Gd.h5", "w") as out:
        for atoms, kinds in ((2, ([9, 1], [17, 1])), (3, ([8, 1, 1], [16, 1, 1]))):
            group = out.create_group(f"{atoms:03d}")
            species = np.array([kinds[k % 2] for k in range(count)], dtype=np.int64)
            grid = np.arange(atoms)[:, None] * np.array([1.1, 0.3, 0.1])
            group["species"] = species
            group["coordinates"] = grid + 0.05 * rng.normal(size=(count, atoms, 3))
            group["energies"] = -100.0 + 0.01 * rng.normal(size=count)
            group["forces"] = rng.normal(size=(count, atoms, 3))
    return folder


def opened(name: str | Path, **options: Any) -> zd.AtomsDataset:
    """A set of structures, every frame of it checked."""
    dataset = zd.open(name, **options)
    assert isinstance(dataset, zd.AtomsDataset)
    dataset.check()
    return dataset
