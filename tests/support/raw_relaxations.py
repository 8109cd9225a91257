"""A tiny PubChemQCR: gzipped pickles in LMDB, as its authors ship it."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule

Step = dict[str, Any]


def step(atoms: Atoms, energy: float | None, gradient: np.ndarray | None, charge: bool) -> Step:
    """One step; SMASH gives no charges of the nuclei."""
    nuclei = [{"charge": float(z)} if charge else {} for z in atoms.numbers]
    symbols = atoms.get_chemical_symbols()
    found: Step = {
        "coordinates": [
            {"atom": s, **n, "x": float(x), "y": float(y), "z": float(z)}
            for s, n, (x, y, z) in zip(symbols, nuclei, atoms.positions, strict=True)
        ],
        "energy": energy,
    }
    if gradient is not None:
        found["gradient"] = [
            {"atom": s, **n, "dx": float(x), "dy": float(y), "dz": float(z)}
            for s, n, (x, y, z) in zip(symbols, nuclei, gradient, strict=True)
        ]
    return found


def records(count: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Molecules with four methods; one has no first DFT stage, one a step without a gradient."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Any]] = {}
    for number in range(count):
        atoms = molecule(("CH3OH", "CH3CN", "CH4")[number % 3])
        record: dict[str, Any] = {}
        for method, steps in (("pm3", 2), ("hf", 2), ("DFT_1st", 3), ("DFT_2nd", 2)):
            record[method] = []
            for k in range(steps):
                atoms.positions += 0.01 * rng.normal(size=(len(atoms), 3))
                slope = 0.01 * rng.normal(size=(len(atoms), 3))
                smash = method == "DFT_1st" and number % 2 == 1
                record[method].append(step(atoms, -100.0 - number - 0.1 * k, slope, not smash))
        if number == 1:
            record["DFT_1st"][0].pop("gradient")
        if number == 2:
            record["DFT_1st"] = None
        found[f"{1000 * seed + 10 * number + 984:09d}"] = record
    return found


def write(path: Path, held: dict[str, Any]) -> Path:
    """An LMDB file of gzipped pickles."""
    import lmdb

    path.parent.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(path), subdir=False, map_size=1 << 22, lock=False)
    with environment.begin(write=True) as transaction:
        for cid, record in held.items():
            transaction.put(cid.encode(), gzip.compress(pickle.dumps(record)))
    environment.close()
    return path


def pubchemqcr(folder: Path, count: int = 10) -> Path:
    """The subset, and another file that belongs to the full set only."""
    write(folder / "Data05.lmdb", records(3, seed=1))
    write(folder / "Data06.lmdb", records(count))
    return folder
