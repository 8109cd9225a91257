"""Geometries of one molecule: conformers by rdkit, and ways to leave a minimum.

Vibrations are drawn from the harmonic canonical ensemble of the force field: displacements with the
covariance kT H^-1 (H the MMFF94 Hessian without translations and rotations), so that each frame is
independent of the others and costs one calculation. Soft modes, for which that is a poor picture,
are drawn as if they had `SOFTEST`; what they describe comes from turning bonds instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii, vdw_radii

from zoo._extras import require

BONDED = 1.25  # bonds are shorter than this times the sum of the covalent radii
SOFTEST = 1.0  # eV/Å²
STEP = 1e-3  # Å, of finite differences
STRETCH = 0.88, 1.35  # of a bond's length
CONTACT = 0.65, 1.4  # of the sum of van der Waals radii
KCAL = units.kcal / units.mol


@dataclass(frozen=True, kw_only=True)
class Molecule:
    """A molecule with its minima in the force field.

    Attributes:
        smiles: canonical.
        numbers: atomic numbers (n,), hydrogens included.
        bonds: pairs of atoms, the smaller first.
        turning: bonds that can be turned: single, in no ring, with more on both sides.
        conformers: positions of each minimum (n, 3) Å.
        curvature: the force field's Hessian at any positions, (n, 3) Å to (3n, 3n) eV/Å².
    """

    smiles: str
    numbers: np.ndarray
    bonds: frozenset[tuple[int, int]]
    turning: tuple[tuple[int, int], ...]
    conformers: tuple[np.ndarray, ...]
    curvature: Callable[[np.ndarray], np.ndarray]

    def side(self, a: int, b: int) -> np.ndarray:
        """The atoms beyond b, seen from a, where no ring holds the bond (k,)."""
        found, todo = {b}, [b]
        while todo:
            here = todo.pop()
            for pair in self.bonds:
                if here in pair:
                    other = pair[0] + pair[1] - here
                    if other not in found and {here, other} != {a, b}:
                        found.add(other)
                        todo.append(other)
        return np.array(sorted(found))


def build(smiles: str, count: int, seed: int) -> Molecule | None:
    """Embeds a molecule and relaxes it in the force field (MMFF94).

    Args:
        smiles: of the molecule.
        count: conformers at most.
        seed: of the embedding.

    Returns:
        The molecule, or None where the force field doesn't know it or no geometry is found.
    """
    chem = require("rdkit.Chem", extra="datagen", package="rdkit")
    tools = require("rdkit.Chem.AllChem", extra="datagen", package="rdkit")
    molecule = chem.AddHs(chem.MolFromSmiles(smiles))
    properties = tools.MMFFGetMoleculeProperties(molecule)
    if properties is None:
        return None
    tools.EmbedMultipleConfs(molecule, count, randomSeed=seed, pruneRmsThresh=0.2, maxAttempts=20)
    conformers, field = [], None
    for conformer in molecule.GetConformers():
        identity = conformer.GetId()
        field = tools.MMFFGetMoleculeForceField(molecule, properties, confId=identity)
        if field is None:
            return None
        field.Minimize(maxIts=2000)
        conformers.append(np.array(field.Positions()).reshape(-1, 3))
    if not conformers:
        return None
    bonds = {
        (min(pair), max(pair)): bond
        for bond in molecule.GetBonds()
        for pair in [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())]
    }
    turning = tuple(pair for pair, bond in bonds.items() if _turns(bond, chem))
    return Molecule(
        smiles=smiles,
        numbers=np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()]),
        bonds=frozenset(bonds),
        turning=turning,
        conformers=tuple(conformers),
        curvature=partial(_hessian, field),
    )


def _turns(bond: Any, chem: Any) -> bool:
    ends = bond.GetBeginAtom(), bond.GetEndAtom()
    single = bond.GetBondType() == chem.BondType.SINGLE and not bond.IsInRing()
    return single and all(atom.GetDegree() > 1 for atom in ends)


def _hessian(field: Any, positions: np.ndarray) -> np.ndarray:
    """Second derivatives by differences of the force field's gradient (3n, 3n) eV/Å²."""
    flat = positions.ravel()
    rows = []
    for place in range(flat.size):
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[place] += sign * STEP
            field.CalcEnergy(moved.tolist())  # else the gradient uses distances of the last call
            ends.append(np.array(field.CalcGrad(moved.tolist())))
        rows.append((ends[0] - ends[1]) / (2 * STEP))
    matrix = np.array(rows) * KCAL
    return np.asarray((matrix + matrix.T) / 2)


def bond_graph(atoms: Atoms) -> frozenset[tuple[int, int]]:
    """Pairs of atoms that are as near as bonded ones."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < BONDED * (radii[:, None] + radii)
    first, second = np.nonzero(np.triu(near, 1))
    return frozenset(zip(first.tolist(), second.tolist(), strict=True))


def vibrate(
    positions: np.ndarray, hessian: np.ndarray, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Thermal displacements from a minimum (n, 3) Å.

    Args:
        positions: of the minimum (n, 3) Å.
        hessian: of the force field (3n, 3n) eV/Å².
        temperature: K.
        rng: random numbers.
    """
    rigid = _rigid(positions)
    apart = np.eye(positions.size) - rigid @ rigid.T
    values, vectors = np.linalg.eigh(apart @ hessian @ apart)
    inside = np.abs(vectors.T @ rigid).sum(1) < 0.5  # not the rigid ones
    spread = np.sqrt(units.kB * temperature / np.maximum(values[inside], SOFTEST))
    moved = vectors[:, inside] @ (spread * rng.standard_normal(inside.sum()))
    return np.asarray(positions + moved.reshape(-1, 3))


def _rigid(positions: np.ndarray) -> np.ndarray:
    """An orthonormal basis of translations and rotations (3n, 6 or fewer)."""
    centred = positions - positions.mean(0)
    columns = [np.tile(axis, len(positions)) for axis in np.eye(3)]
    columns += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    left, values, _ = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)
    return np.asarray(left[:, values > 1e-6 * values[0]])


def turn(molecule: Molecule, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A copy with some bonds turned by any angle (n, 3) Å; None where atoms would overlap."""
    moved = positions.copy()
    chosen = rng.random(len(molecule.turning)) < 0.5
    chosen[rng.integers(len(chosen))] = True
    for (a, b), wanted in zip(molecule.turning, chosen, strict=True):
        if wanted:
            rows, origin = molecule.side(a, b), moved[b].copy()
            turned = rotation(moved[b] - moved[a], rng.uniform(-np.pi, np.pi))
            moved[rows] = origin + (moved[rows] - origin) @ turned.T
    return moved if _apart(molecule, moved) else None


def _apart(molecule: Molecule, positions: np.ndarray) -> bool:
    """Whether no two atoms are bonded, or nearly, that weren't."""
    radii = covalent_radii[molecule.numbers]
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    near = np.argwhere(np.triu(distances < 1.2 * BONDED * (radii[:, None] + radii), 1))
    known = molecule.bonds | second_neighbours(molecule.bonds)
    return all((int(a), int(b)) in known for a, b in near)


def second_neighbours(bonds: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """Pairs of atoms that are bonded to the same one."""
    around: dict[int, set[int]] = {}
    for a, b in bonds:
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    return frozenset((a, b) for found in around.values() for a in found for b in found if a < b)


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """The matrix that turns by an angle about an axis (3, 3), by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned = np.eye(3) + np.sin(angle) * generator
    return np.asarray(turned + (1 - np.cos(angle)) * generator @ generator)


def stretch(molecule: Molecule, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy with one bond outside rings made shorter or longer (n, 3) Å."""
    bonds = [pair for pair in sorted(molecule.bonds) if pair[0] not in molecule.side(*pair)]
    moved = positions.copy()
    if bonds:
        a, b = bonds[rng.integers(len(bonds))]
        moved[molecule.side(a, b)] += (rng.uniform(*STRETCH) - 1) * (moved[b] - moved[a])
    return moved


def pair_up(
    first: np.ndarray,
    second: np.ndarray,
    kinds: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Two molecules side by side, turned at random (n + m, 3) Å.

    Args:
        first: positions (n, 3) Å.
        second: positions (m, 3) Å.
        kinds: atomic numbers of both.
        rng: random numbers; they decide how near the nearest atoms are, in van der Waals radii.
    """
    away = rng.standard_normal(3)
    away /= np.linalg.norm(away)
    turned = rotation(rng.standard_normal(3), rng.uniform(-np.pi, np.pi))
    a, b = first - first.mean(0), (second - second.mean(0)) @ turned.T
    radii = [np.where(np.isnan(vdw_radii[k]), 2.0, vdw_radii[k]) for k in kinds]
    reach = rng.uniform(*CONTACT) * (radii[0][:, None] + radii[1])
    # the farthest place on the line at which some pair is just as near as that
    across = (b[None] - a[:, None]).reshape(-1, 3)
    along = across @ away
    room = reach.ravel() ** 2 - (across**2).sum(1) + along**2
    touching = room >= 0
    shift = float((np.sqrt(room[touching]) - along[touching]).max()) if touching.any() else 0.0
    return np.concatenate([a, b + shift * away])
