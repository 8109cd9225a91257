"""When a molecule is no longer what it was, and how far its potential can be trusted on the way.

Broken means: a number is not finite; a bond between heavier atoms is half as long again as at the
start; a hydrogen atom that was bound to a heavier one is further than 1.6 times the sum of covalent
radii from all of them (a proton that moves from one oxygen to the next breaks nothing); or two
atoms come closer than half the sum of their covalent radii.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from zoo.apps.physics.dynamics import Array, Joined, Watch

#: atoms closer than this share of the sum of their covalent radii are bound
BOND = 1.25
STRETCHED, FAR, COLLAPSED = 1.5, 1.6, 0.5


class _Limits(NamedTuple):
    """Pairs of atoms with the lowest and highest distances allowed (Å)."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    low: Array
    high: Array


def watch(structures: Sequence[Atoms]) -> Watch:
    """Tells which molecules have broken.

    Args:
        structures: the molecules as they should be, near a minimum.

    Returns:
        A function of the joined positions (n, 3), telling for each molecule (g,).
    """
    joined = Joined.of(structures)
    pairs = _limits(structures)
    light, near = _partners(structures)

    def broken(positions: Array) -> npt.NDArray[np.bool_]:
        result = ~np.isfinite(joined.per_molecule(positions.sum(axis=1)))
        gap = np.linalg.norm(positions[pairs.first] - positions[pairs.second], axis=1)
        # not (inside) rather than (outside): NaN is outside
        bad = ~((gap >= pairs.low) & (gap <= pairs.high))
        result[joined.owner[pairs.first[bad]]] = True
        if len(light):
            arms = positions[near] - positions[light][:, None]  # (hydrogens, partners, 3)
            reach = FAR * (covalent_radii[1] + covalent_radii[joined.numbers[near]])
            bound = (np.linalg.norm(arms, axis=2) <= reach).any(axis=1)
            result[joined.owner[light[~bound]]] = True
        return np.asarray(result)

    return broken


def _limits(structures: Sequence[Atoms]) -> _Limits:
    first, second, low, high = [], [], [], []
    start = 0
    for atoms in structures:
        i, j = np.triu_indices(len(atoms), k=1)
        radii = covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]]
        gap = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
        heavy = (atoms.numbers[i] > 1) & (atoms.numbers[j] > 1)
        lone = len(atoms) == 2  # hydrogen's own molecule, or a hydride
        bonds = (heavy | lone) & (gap < BOND * radii)
        first.append(i + start)
        second.append(j + start)
        low.append(COLLAPSED * radii)
        high.append(np.where(bonds, STRETCHED * gap, np.inf))
        start += len(atoms)
    return _Limits(*(np.concatenate(each) for each in (first, second, low, high)))


def _partners(structures: Sequence[Atoms]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Hydrogens bound to heavier atoms, and the heavier atoms of their molecules, padded."""
    light: list[int] = []
    near: list[list[int]] = []
    start = 0
    for atoms in structures:
        heavy = np.flatnonzero(atoms.numbers > 1)
        for index in np.flatnonzero(atoms.numbers == 1):
            gaps = np.linalg.norm(atoms.positions[heavy] - atoms.positions[index], axis=1)
            if (gaps < BOND * (covalent_radii[1] + covalent_radii[atoms.numbers[heavy]])).any():
                light.append(int(index) + start)
                near.append((heavy + start).tolist())
        start += len(atoms)
    width = max((len(entry) for entry in near), default=0)
    padded = [entry + entry[:1] * (width - len(entry)) for entry in near]
    return np.array(light, dtype=np.int64), np.array(padded, dtype=np.int64)


@dataclass(frozen=True)
class Agreement:
    """Forces of a model against a reference on the same frames (eV/Å).

    Attributes:
        mae: mean absolute error of a component.
        mean: mean absolute component of the reference.
        along: the error of each frame, in order.
    """

    mae: float
    mean: float
    along: Array


def agreement(found: Array, reference: Array) -> Agreement:
    """Compares forces (frames, n, 3) of a model and a reference."""
    errors = abs(found - reference).mean(axis=(1, 2))
    return Agreement(float(errors.mean()), float(abs(reference).mean()), errors)
