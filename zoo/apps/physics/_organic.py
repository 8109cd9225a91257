"""The suite `organic`: what a potential for organic molecules was not trained on.

    g2          energies and forces at the geometries of the G2 set (ASE's, MP2/6-31G*)
    s22         interaction energies of the S22 dimers (ASE's geometries)
    conformers  relative energies of conformers, each at the reference's minimum
    torsions    rigid scans about one bond, from the reference's minimum

Both potentials are evaluated at the same geometries; nothing is compared with experiment or with
the energies that came with those sets. Molecules of elements that the model doesn't know are left
out, as are open shells.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.collections import g2
from ase.data import s22

from zoo._extras import require
from zoo.apps.physics._result import Measured, Row
from zoo.apps.physics._simulate import Progress
from zoo.apps.physics._suite import MODEL, REFERENCE, STATIC, Pair, Unit
from zoo.apps.physics.relaxation import relax
from zoo.datasets._molecules import conformers

GROUPS = ("g2", "s22", "conformers", "torsions")
ELEMENTS = frozenset({1, 6, 7, 8, 9, 16, 17})
#: SMILES of molecules whose conformers are ranked
FLEXIBLE: Mapping[str, str] = {
    "butane": "CCCC",
    "hexane": "CCCCCC",
    "propanol": "CCCO",
    "ethylene_glycol": "OCCO",
    "ethanolamine": "NCCO",
    "diethyl_ether": "CCOCC",
    "lactic_acid": "CC(O)C(=O)O",
}
#: name -> SMILES, and SMARTS of the four atoms whose dihedral is turned
TORSIONS: Mapping[str, tuple[str, str]] = {
    "butane": ("CCCC", "[CH3][CH2][CH2][CH3]"),
    "butadiene": ("C=CC=C", "C=C-C=C"),
    "acrolein": ("C=CC=O", "C=C-C=O"),
    "methyl_formate": ("COC=O", "[CH3]OC=O"),
    "propanol": ("CCCO", "CC[CH2]O"),
    "N-methylacetamide": ("CC(=O)NC", "O=CN[CH3]"),
    "styrene": ("C=Cc1ccccc1", "C=C-c:c"),
    "anisole": ("COc1ccccc1", "[CH3]O-c:c"),
    "biphenyl": ("c1ccc(-c2ccccc2)cc1", "c:c-c:c"),
}


@dataclass(frozen=True, kw_only=True)
class OrganicSettings:
    """How organic molecules are measured.

    `fmax` (eV/Å) ends relaxations by the reference; `conformers` are embedded per molecule with
    `seed`; scans have a point every `step` degrees.
    """

    fmax: float = 0.01
    conformers: int = 12
    step: float = 15.0
    seed: int = 1

    @staticmethod
    def short() -> "OrganicSettings":
        """A first look."""
        return OrganicSettings(conformers=4, step=60.0)


def structures() -> dict[str, Atoms]:
    """The systems whose elements decide whether a model can be asked, by "group/name"."""
    found = {}
    for name in g2.names:
        atoms = g2_molecule(name)
        if (
            set(atoms.numbers.tolist()) <= ELEMENTS
            and not atoms.get_initial_magnetic_moments().any()
        ):
            found[f"g2/{name}"] = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    for name in s22.s22:
        atoms = s22.create_s22_system(name)
        found[f"s22/{name}"] = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    for name, smiles in FLEXIBLE.items():
        found[f"conformers/{name}"] = conformers(smiles, 1, seed=1)[0]
    for name, (smiles, _) in TORSIONS.items():
        found[f"torsions/{name}"] = conformers(smiles, 1, seed=1)[0]
    return found


class Organic:
    """The pieces of work of the suite.

    Args:
        pair: model and reference.
        systems: those of `structures` that are wanted.
        settings: how to measure.
    """

    def __init__(self, pair: Pair, systems: Mapping[str, Atoms], settings: OrganicSettings) -> None:
        self._pair, self._systems, self._settings = pair, systems, settings

    def units(self, groups: Sequence[str]) -> list[Unit]:
        """The work, in order."""
        makers: dict[str, Callable[[str, Atoms], Measured]] = {
            "g2": self._point,
            "s22": self._interaction,
            "conformers": self._conformers,
            "torsions": self._torsion,
        }
        found = []
        for system, atoms in self._systems.items():
            group, _, name = system.partition("/")
            if group in groups:
                work = _without_progress(makers[group], name, atoms)
                found.append(Unit(group, name, "", STATIC, work))
        return found

    @property
    def conditions(self) -> dict[str, str]:
        """Property -> under which conditions."""
        s = self._settings
        minima = f"{s.conformers} embedded, at the reference's minima"
        return {
            "point_energy": "G2 geometries",
            "point_forces_mae": "G2 geometries",
            "interaction_energy": "S22 geometries",
            "conformer_energy": minima,
            "conformer_rank": minima,
            "torsion_energy": f"rigid scans, every {s.step:g} degrees",
            "torsion_barrier": f"rigid scans, every {s.step:g} degrees",
        }

    def _energy(self, which: str, atoms: Atoms) -> float:
        """eV."""
        single = atoms.copy()
        single.calc = self._pair.calculator(which, single)
        return float(single.get_potential_energy())

    def _energies(self, which: str, frames: Sequence[Atoms]) -> np.ndarray:
        """meV, above the lowest (n,)."""
        values = np.array([self._energy(which, frame) for frame in frames])
        return np.asarray(1e3 * (values - values.min()))

    def _point(self, name: str, atoms: Atoms) -> Measured:
        found = {}
        for which in (MODEL, REFERENCE):
            single = atoms.copy()
            single.calc = self._pair.calculator(which, single)
            found[which] = float(single.get_potential_energy()), single.get_forces()
        energies = [1e3 * found[which][0] / len(atoms) for which in (MODEL, REFERENCE)]
        error = 1e3 * float(np.abs(found[MODEL][1] - found[REFERENCE][1]).mean())
        return Measured(
            [
                Row(quantity="point_energy", system=name, model=energies[0], reference=energies[1]),
                Row(quantity="point_forces_mae", system=name, model=error),
            ]
        )

    def _interaction(self, name: str, atoms: Atoms) -> Measured:
        first = s22.get_number_of_dimer_atoms(name)[0]
        parts = [atoms[:first], atoms[first:]]
        values = [
            1e3 * (self._energy(which, atoms) - sum(self._energy(which, part) for part in parts))
            for which in (MODEL, REFERENCE)
        ]
        row = Row(quantity="interaction_energy", system=name, model=values[0], reference=values[1])
        return Measured([row])

    def _conformers(self, name: str, atoms: Atoms) -> Measured:
        s = self._settings
        frames = [
            self._relaxed(start) for start in conformers(FLEXIBLE[name], s.conformers, seed=s.seed)
        ]
        frames = _distinct(frames, self._energies(REFERENCE, frames))
        own, theirs = self._energies(MODEL, frames), self._energies(REFERENCE, frames)
        own = own - own[theirs.argmin()]  # relative to the same conformer
        rows = [
            Row(
                quantity="conformer_energy",
                system=name,
                item=str(k),
                model=float(own[k]),
                reference=float(theirs[k]),
            )
            for k in range(len(frames))
            if k != theirs.argmin()
        ]
        if len(frames) > 2:
            rank = spearman(own, theirs)
            rows.append(Row(quantity="conformer_rank", system=name, model=rank))
        return Measured(rows, {"model": own.tolist(), "reference": theirs.tolist()})

    def _torsion(self, name: str, atoms: Atoms) -> Measured:
        smiles, pattern = TORSIONS[name]
        start = self._relaxed(conformers(smiles, 1, seed=self._settings.seed)[0])
        angles = np.arange(0.0, 360.0, self._settings.step)
        frames = turned(start, smiles, pattern, angles)
        own, theirs = self._energies(MODEL, frames), self._energies(REFERENCE, frames)
        rows = [
            Row(
                quantity="torsion_energy",
                system=name,
                item=f"{angle:g}",
                model=float(own[k]),
                reference=float(theirs[k]),
            )
            for k, angle in enumerate(angles)
        ]
        barriers = float(own.max()), float(theirs.max())
        rows.append(
            Row(quantity="torsion_barrier", system=name, model=barriers[0], reference=barriers[1])
        )
        curves = {"angles": angles.tolist(), "model": own.tolist(), "reference": theirs.tolist()}
        return Measured(rows, curves)

    def _relaxed(self, start: Atoms) -> Atoms:
        return relax(start, self._pair.calculator(REFERENCE, start), fmax=self._settings.fmax)


def _without_progress(
    work: Callable[[str, Atoms], Measured], name: str, atoms: Atoms
) -> Callable[[Progress], Measured]:
    def measure(progress: Progress) -> Measured:
        return work(name, atoms)

    return measure


def _distinct(frames: Sequence[Atoms], energies: np.ndarray) -> list[Atoms]:
    """One of each group of conformers whose energies are within 2 meV of each other."""
    kept: list[int] = []
    for k in np.argsort(energies, kind="stable"):
        if not kept or energies[k] - energies[kept[-1]] > 2.0:
            kept.append(int(k))
    return [frames[k] for k in kept]


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the ranks of two series (n,) without ties."""
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def turned(start: Atoms, smiles: str, pattern: str, angles: np.ndarray) -> list[Atoms]:
    """Copies of a molecule with one dihedral set to each of the angles.

    Args:
        start: the molecule, its atoms in the order that rdkit gives for `smiles`.
        smiles: of the molecule.
        pattern: SMARTS of the four atoms; the first match counts.
        angles: degrees (k,).
    """
    chem: Any = require("rdkit.Chem", extra="datagen", package="rdkit")
    found = chem.AddHs(chem.MolFromSmiles(smiles))
    i, j, k, m = found.GetSubstructMatch(chem.MolFromSmarts(pattern))
    side = chem.FragmentOnBonds(found, [found.GetBondBetweenAtoms(j, k).GetIdx()], addDummies=False)
    moved = next(part for part in chem.GetMolFrags(side) if k in part)
    frames = []
    for angle in angles:
        frame = Atoms(numbers=start.numbers, positions=start.positions)
        frame.set_dihedral(i, j, k, m, float(angle), indices=list(moved))
        frames.append(frame)
    return frames
