"""Labelled conformations of one molecule, the same whatever else is computed.

A molecule is embedded, relaxed with MMFF94 and then with GFN2-xTB, and left out if its bonds don't
survive. The frames start from its minima:

    relaxed     a minimum of GFN2-xTB
    vibration   thermal displacements at a temperature of its own
    torsion     bonds turned by any angle, and displaced
    stretched   one bond shorter or longer, and displaced
    dimer       displaced, beside another copy of itself or a water molecule
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.optimize import BFGS

from zoo.datasets import gfn2
from zoo.datasets.organic import _geometry
from zoo.datasets.organic._geometry import Molecule
from zoo.errors import ConfigError, nearest

KINDS = ("relaxed", "vibration", "torsion", "stretched", "dimer")
FRAMES: Mapping[str, int] = {
    "relaxed": 1,
    "vibration": 8,
    "torsion": 4,
    "stretched": 1,
    "dimer": 3,
}
FORCE_MAX = 0.02  # eV/Å, of a minimum
STEPS = 100  # of a relaxation
HARDEST = 20.0  # eV/Å; frames with a larger force are drawn again
DRAWS = 5
LARGEST_PAIR = 6  # heavy atoms of a molecule that is paired with itself
#: SMILES, atomic numbers and positions (Å) of the other partner
WATER = ("O", (8, 1, 1), ((0.0, 0.0, 0.12), (0.0, 0.76, -0.48), (0.0, -0.76, -0.48)))
TEMPERATURES = 50.0, 1000.0  # K


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Frames of each kind per molecule, the seed, and whether polarizabilities are added."""

    frames: Mapping[str, int] = field(default_factory=lambda: dict(FRAMES))
    seed: int = 0
    polarizability: bool = False

    def __post_init__(self) -> None:
        for kind, count in self.frames.items():
            if kind not in KINDS:
                raise ConfigError(f"there are no frames of kind {kind!r}: {nearest(kind, KINDS)}")
            if count < 0:
                raise ConfigError(f"{count} frames of kind {kind!r}; expected 0 or more")
        if self.frames.get("relaxed", 0) < 1:
            raise ConfigError("frames must ask for at least one that is relaxed")


def conformations(smiles: str, settings: Settings) -> list[Atoms]:
    """Frames of one molecule with the labels of `zoo.datasets.gfn2.snapshot`.

    Args:
        smiles: of the molecule.
        settings: kinds and seed.

    Returns:
        The frames, each with its `name` (SMILES) and `kind` in `info`; none where the force field
        doesn't know the molecule, or its bonds don't survive relaxation.
    """
    digest = hashlib.sha256(smiles.encode()).digest()
    rng = np.random.default_rng([settings.seed, int.from_bytes(digest[:8])])
    molecule = _geometry.build(smiles, settings.frames["relaxed"], int(rng.integers(2**31)))
    if molecule is None:
        return []
    minima = _minima(molecule)
    if not minima:
        return []
    frames = [_labelled(atoms, "relaxed", settings) for atoms, _ in minima]
    for kind in KINDS[1:]:
        for _ in range(settings.frames.get(kind, 0)):
            frames.append(_draw(kind, molecule, minima, rng, settings))
    kept = [frame for frame in frames if frame is not None]
    for frame in kept:
        frame.info["name"] = smiles
    return kept


def _minima(molecule: Molecule) -> list[tuple[Atoms, np.ndarray]]:
    """Relaxed conformers and the force field's Hessians of them; empty if the first one breaks."""
    found: list[tuple[Atoms, np.ndarray]] = []
    for positions in molecule.conformers:
        atoms = Atoms(numbers=molecule.numbers, positions=positions)
        whole = _relax(atoms, molecule.curvature(positions))
        if whole and _geometry.bond_graph(atoms) == molecule.bonds:
            found.append((atoms, molecule.curvature(atoms.positions)))
        elif not found:
            return []
    return found


def _relax(atoms: Atoms, hessian: np.ndarray) -> bool:
    """Relaxes in place; False if it doesn't converge."""
    atoms.calc = gfn2.calculator(atoms)
    optimizer = BFGS(atoms, logfile=None, maxstep=0.1)
    values, vectors = np.linalg.eigh(hessian)
    # curvatures of the force field save two thirds of the steps
    optimizer.H0 = (vectors * np.maximum(np.abs(values), 2.0)) @ vectors.T
    try:
        return bool(optimizer.run(fmax=FORCE_MAX, steps=STEPS))
    except CalculationFailed:
        return False


def _draw(
    kind: str,
    molecule: Molecule,
    minima: list[tuple[Atoms, np.ndarray]],
    rng: np.random.Generator,
    settings: Settings,
) -> Atoms | None:
    """One frame that could be calculated and isn't torn apart, or None."""
    for _ in range(DRAWS):
        atoms, hessian = minima[rng.integers(len(minima))]
        temperature = float(rng.uniform(*TEMPERATURES))
        moved = _MOVES[kind](molecule, atoms.positions, hessian, temperature, rng)
        if moved is None:
            continue
        frame = _labelled(moved, kind, settings)
        if frame is not None:
            return frame
    return None


def _vibration(
    molecule: Molecule, positions: np.ndarray, hessian: np.ndarray, t: float, rng: Any
) -> Atoms:
    return Atoms(molecule.numbers, _geometry.vibrate(positions, hessian, t, rng))


def _torsion(
    molecule: Molecule, positions: np.ndarray, hessian: np.ndarray, t: float, rng: Any
) -> Atoms | None:
    moved = _geometry.vibrate(positions, hessian, t / 2, rng)
    if molecule.turning:
        turned = _geometry.turn(molecule, moved, rng)
        return None if turned is None else Atoms(molecule.numbers, turned)
    return Atoms(molecule.numbers, moved)


def _stretched(
    molecule: Molecule, positions: np.ndarray, hessian: np.ndarray, t: float, rng: Any
) -> Atoms:
    moved = _geometry.vibrate(positions, hessian, t / 3, rng)
    return Atoms(molecule.numbers, _geometry.stretch(molecule, moved, rng))


def _dimer(
    molecule: Molecule, positions: np.ndarray, hessian: np.ndarray, t: float, rng: Any
) -> Atoms:
    first = _geometry.vibrate(positions, hessian, t / 3, rng)
    numbers, second = np.array(WATER[1]), np.array(WATER[2])
    if (molecule.numbers > 1).sum() <= LARGEST_PAIR and rng.random() < 0.5:
        numbers, second = molecule.numbers, _geometry.vibrate(positions, hessian, t / 3, rng)
    placed = _geometry.pair_up(first, second, (molecule.numbers, numbers), rng)
    return Atoms(np.concatenate([molecule.numbers, numbers]), placed)


_MOVES: dict[str, Callable[..., Atoms | None]] = {
    "vibration": _vibration,
    "torsion": _torsion,
    "stretched": _stretched,
    "dimer": _dimer,
}


def _labelled(atoms: Atoms, kind: str, settings: Settings) -> Atoms | None:
    try:
        frame = gfn2.label(atoms)
        if settings.polarizability:
            frame.calc.results["polarizability"] = gfn2.polarizability(frame)
    except CalculationFailed:
        return None
    if np.abs(frame.calc.results["forces"]).max() > HARDEST or "lumo" not in frame.info:
        return None
    frame.info |= {"kind": kind, "gap": frame.info["lumo"] - frame.info["homo"]}
    return frame
