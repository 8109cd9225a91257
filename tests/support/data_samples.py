"""Small labelled structures and arrays, as the tests of data files need them."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator


def frames(count: int = 4) -> list[Atoms]:
    generator = np.random.default_rng(0)
    made = []
    for index in range(count):
        atoms = molecule("H2O" if index % 2 else "CH4")
        atoms.rattle(0.05, rng=generator)
        atoms.info |= {"name": f"m{index % 2}", "charge": index % 2}
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=float(generator.normal()),
            forces=generator.normal(size=(len(atoms), 3)),
            dipole=generator.normal(size=3),
        )
        made.append(atoms)
    return made


def write(tmp_path: Path, **arrays: object) -> Path:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def md17(names: tuple[str, str, str, str] = ("z", "R", "E", "F")) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    values = (
        np.array([8, 1, 1]),
        generator.normal(size=(5, 3, 3)),
        generator.normal(size=(5, 1)),
        generator.normal(size=(5, 3, 3)),
    )
    return dict(zip(names, values, strict=True))
