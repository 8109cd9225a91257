"""Random structures for checks: bonded molecules, skewed cells and special arrangements.

Atoms keep at least about the distance of a bond from each other, so that trained potentials are
asked nothing absurd. Where a cutoff is known, no pair lies within `MARGIN` of it: finite
differences would otherwise measure the curvature of the envelope instead of the derivative.
"""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii

from zoo.errors import ConfigError
from zoo.functional import neighbor_pairs

ELEMENTS = (1, 6, 7, 8, 9)
MARGIN = 0.02  # Å
_CLOSEST = 0.95  # of the sum of covalent radii
_VOLUME = 14.0  # Å^3 per atom
_TRIES = 2000


def random_orthogonal(rng: np.random.Generator, determinant: int = 1) -> np.ndarray:
    """A random orthogonal 3x3 matrix with this determinant, uniform in the Haar measure."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) * determinant > 0 else -q


def random_direction(rng: np.random.Generator) -> np.ndarray:
    """A random unit vector."""
    vector = rng.normal(size=3)
    unit: np.ndarray = vector / np.linalg.norm(vector)
    return unit


def bond(first: int, second: int) -> float:
    """Sum of the covalent radii of two elements (Å)."""
    return float(covalent_radii[first] + covalent_radii[second])


def molecule(
    rng: np.random.Generator,
    size: int,
    *,
    elements: Sequence[int] = ELEMENTS,
    cutoff: float | None = None,
) -> Atoms:
    """A random cluster that grows by bonds.

    Args:
        rng: source of randomness.
        size: number of atoms.
        elements: atomic numbers to draw from.
        cutoff: distance (Å) that no pair may be within `MARGIN` of.

    Raises:
        ConfigError: if no such structure is found.
    """
    for _ in range(_TRIES):
        atoms = Atoms(rng.choice(elements, size), positions=np.zeros((size, 3)))
        if _grow(rng, atoms) and clear(atoms, cutoff):
            return atoms
    raise ConfigError(f"found no random molecule of {size} atoms among the elements {elements}")


def _grow(rng: np.random.Generator, atoms: Atoms) -> bool:
    numbers, positions = atoms.numbers, atoms.positions
    for new in range(1, len(atoms)):
        base = int(rng.integers(new))
        length = bond(numbers[base], numbers[new]) * rng.uniform(1.0, 1.35)
        positions[new] = positions[base] + length * random_direction(rng)
        distances = np.linalg.norm(positions[:new] - positions[new], axis=1)
        closest = _CLOSEST * (covalent_radii[numbers[:new]] + covalent_radii[numbers[new]])
        if (distances < closest).any():
            return False
    return True


def crystal(
    rng: np.random.Generator,
    size: int,
    *,
    elements: Sequence[int] = ELEMENTS,
    cutoff: float | None = None,
    pbc: Sequence[bool] = (True, True, True),
) -> Atoms:
    """Random atoms in a skewed, rotated triclinic cell, smaller than most cutoffs.

    Args:
        rng: source of randomness.
        size: number of atoms.
        elements: atomic numbers to draw from.
        cutoff: distance (Å) that no pair may be within `MARGIN` of.
        pbc: periodic directions.

    Raises:
        ConfigError: if no such structure is found.
    """
    numbers = rng.choice(elements, size)
    # heavy atoms need more room: cubes around spheres of the mean bond length
    room = max(_VOLUME, 4.5 * (2 * float(np.mean(covalent_radii[numbers]))) ** 3)
    for attempt in range(_TRIES):
        edge = (room * (1 + attempt / 200) * size) ** (1 / 3)
        skew = np.tril(rng.uniform(-0.4, 0.4, (3, 3)), -1)
        cell = edge * (np.diag(rng.uniform(0.9, 1.1, 3)) + skew) @ random_orthogonal(rng).T
        # atoms outside the cell are lawful and have to be handled
        positions = rng.uniform(-0.3, 1.3, (size, 3)) @ cell
        atoms = Atoms(numbers, positions=positions, cell=cell, pbc=pbc)
        if _roomy(atoms) and clear(atoms, cutoff):
            return atoms
    raise ConfigError(f"found no random crystal of {size} atoms among the elements {elements}")


def _roomy(atoms: Atoms) -> bool:
    radii = covalent_radii[atoms.numbers]
    pairs, shifts = _pairs(atoms, _CLOSEST * 2 * float(radii.max()))
    j, i = pairs
    distances = np.linalg.norm(
        atoms.positions[j] + shifts @ atoms.cell.array - atoms.positions[i], axis=1
    )
    return bool((distances > _CLOSEST * (radii[i] + radii[j])).all())


def clear(atoms: Atoms, cutoff: float | None, margin: float = MARGIN) -> bool:
    """Whether no pair of atoms is within `margin` of the cutoff (Å)."""
    if cutoff is None:
        return True
    inner, outer = (_pairs(atoms, cutoff + sign * margin)[0] for sign in (-1, 1))
    return bool(inner.shape == outer.shape)


def _pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    pairs, shifts = neighbor_pairs(
        torch.from_numpy(atoms.positions),
        cutoff,
        cell=torch.from_numpy(atoms.cell.array)[None],
        pbc=torch.from_numpy(atoms.pbc)[None],
    )
    return pairs.numpy(), shifts.numpy()


def transformed(atoms: Atoms, matrix: np.ndarray, shift: np.ndarray | float = 0.0) -> Atoms:
    """The structure under x -> matrix x + shift; the cell turns with it."""
    moved: Atoms = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T, scale_atoms=False)
    moved.positions = atoms.positions @ matrix.T + shift
    return moved


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """The structure under x -> x (1 + strain) on the rows of positions and cell."""
    return transformed(atoms, (np.eye(3) + strain).T)


def displaced(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    """The structure with `displacement` (n, 3) added to its positions."""
    moved: Atoms = atoms.copy()
    moved.positions = atoms.positions + displacement
    return moved


def joined(parts: Sequence[Atoms]) -> Atoms:
    """All atoms of several molecules as one structure."""
    whole: Atoms = parts[0].copy()
    for part in parts[1:]:
        whole += part
    return whole


def across(cutoff: float, gap: float, rng: np.random.Generator, elements: Sequence[int]) -> Atoms:
    """A bent chain C-A B-D in which A and B are `cutoff + gap` apart and nothing else is near it.

    The same generator state gives the same chain for every gap.
    """
    c, a, b, d = rng.choice(elements, 4)
    turn = random_orthogonal(rng)
    separation = cutoff + gap
    tilt = np.pi / 3
    left = -1.15 * bond(c, a) * np.array([np.cos(tilt), np.sin(tilt), 0.0])
    right = 1.15 * bond(b, d) * np.array([np.cos(tilt), 0.0, np.sin(tilt)])
    far = np.array([separation, 0.0, 0.0])
    return Atoms([c, a, b, d], positions=np.stack([left, 0 * far, far, far + right]) @ turn.T)


def crowd(
    rng: np.random.Generator, size: int, radius: float, elements: Sequence[int]
) -> tuple[Atoms, np.ndarray]:
    """One atom amid `size` others, all at the same distance from it.

    Returns:
        The structure and the (size + 1, 3) outward directions, zero for the atom in the centre.
    """
    k = np.arange(size)
    z = 1 - (2 * k + 1) / size
    angle = k * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - z**2)
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
    outward = np.vstack([np.zeros(3), points @ random_orthogonal(rng).T])
    return Atoms(rng.choice(elements, size + 1), positions=radius * outward), outward
