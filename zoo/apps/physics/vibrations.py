"""Harmonic frequencies of a molecule at a minimum, by finite differences of the forces.

The Hessian is symmetrised and weighted by masses, translations and rotations are projected out
(Wilson, Decius, Cross, Molecular Vibrations), so that what is left are the internal modes alone.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from zoo.apps.physics.relaxation import relax

Array = npt.NDArray[np.float64]
# below this share of the largest one, a moment of a rotation counts as zero: linear molecules
LINEAR = 1e-4
# Å that the atom that moves most is pushed off a saddle point
PUSH = 0.2


class Modes(NamedTuple):
    """Modes of a molecule.

    Attributes:
        frequencies: (modes,) cm^-1; an imaginary one is given as a negative number.
        motions: (modes, n, 3) displacements of the atoms, to any scale.
    """

    frequencies: Array
    motions: Array


def minimum(
    atoms: Atoms,
    calculator: Calculator,
    *,
    fmax: float = 1e-4,
    delta: float = 0.005,
    attempts: int = 3,
) -> tuple[Atoms, Array]:
    """A minimum near a structure, and the frequencies there.

    A relaxation can stop at a saddle point, such as a methyl group half way round. It is then
    pushed along the softest mode and relaxed again.

    Args:
        atoms: where to start; not changed.
        calculator: of the potential.
        fmax: largest force at the end (eV/Å).
        delta: displacement of the Hessian (Å).
        attempts: pushes at most; imaginary modes left after them are found in the frequencies.

    Returns:
        The structure, with the calculator, and its frequencies (cm^-1) as of `modes`.

    Raises:
        MeasurementError: if a relaxation does not converge.
    """
    found = relax(atoms, calculator, fmax=fmax)
    for attempt in range(attempts + 1):
        waves, motions = modes(found, calculator, delta=delta)
        if attempt == attempts or not len(waves) or waves[0] >= 0:
            break
        found.positions += PUSH * motions[0] / np.linalg.norm(motions[0], axis=1).max()
        found = relax(found, calculator, fmax=fmax)
    return found, waves


def hessian(atoms: Atoms, calculator: Calculator, *, delta: float = 0.005) -> Array:
    """Second derivatives of the energy by central differences of the forces.

    Args:
        atoms: the structure, n atoms; not changed.
        calculator: of the potential.
        delta: displacement (Å).

    Returns:
        (3n, 3n) eV/Å^2, symmetrised.
    """
    moved = atoms.copy()
    moved.calc = calculator
    rows = []
    for index in np.ndindex(*atoms.positions.shape):
        forces = []
        for sign in (1.0, -1.0):
            moved.positions = atoms.positions
            moved.positions[index] += sign * delta
            forces.append(moved.get_forces(apply_constraint=False).ravel())
        rows.append((forces[1] - forces[0]) / (2 * delta))
    matrix = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)


def frequencies(atoms: Atoms, calculator: Calculator, *, delta: float = 0.005) -> Array:
    """Harmonic frequencies of a molecule; see `modes`."""
    return modes(atoms, calculator, delta=delta).frequencies


def modes(atoms: Atoms, calculator: Calculator, *, delta: float = 0.005) -> Modes:
    """Harmonic frequencies of a molecule, and how its atoms move.

    Args:
        atoms: at a minimum of the potential; not changed.
        calculator: of the potential.
        delta: displacement (Å).

    Returns:
        The 3n - 6 modes (3n - 5 of a linear molecule) by ascending frequency.
    """
    weights = np.repeat(atoms.get_masses(), 3) ** -0.5
    weighted = hessian(atoms, calculator, delta=delta) * np.outer(weights, weights)
    internal = _internal(atoms)  # (3n, modes)
    curvatures, vectors = np.linalg.eigh(internal.T @ weighted @ internal)
    # sqrt(eV / Å^2 / u) as an energy, then as a wave number
    energies = units._hbar * units.m / np.sqrt(units._e * units._amu)
    found = np.sign(curvatures) * np.sqrt(abs(curvatures)) * energies / units.invcm
    motions = (weights[:, None] * (internal @ vectors)).T.reshape(-1, len(atoms), 3)
    return Modes(np.asarray(found), np.asarray(motions))


def _internal(atoms: Atoms) -> Array:
    """An orthonormal basis of the mass-weighted motions without translations and rotations."""
    masses = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    rigid = [masses * axis for axis in axes] + [masses * np.cross(axis, arms) for axis in axes]
    columns = np.array([motion.ravel() for motion in rigid]).T  # (3n, 6)
    left, sizes, _ = np.linalg.svd(columns, full_matrices=True)
    outside = sum(sizes > LINEAR * sizes[0])
    return np.asarray(left[:, outside:])
