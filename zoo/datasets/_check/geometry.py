"""Distances, and a fingerprint that motions and the order of the atoms don't change."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase.data import covalent_radii

from zoo.functional.neighbors import complete_cell, neighbor_pairs

ENUMERATED = 300  # atoms up to which all pairs of an open structure are enumerated
LARGEST = 4000  # atoms above which no fingerprint is made
MOST_PAIRS = 2e7  # candidates above which no distances are computed
REACH = 5.0  # Å, of the fingerprint in periodic and large structures
FARTHEST = 12.0  # Å, an atom without a neighbour there is alone
FEATURES = 6


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One sample as plain arrays; lengths in Å, all finite and of at least one atom.

    Attributes:
        numbers: atomic numbers (n,).
        positions: (n, 3).
        cell: lattice vectors as rows (3, 3).
        pbc: periodic directions (3,).
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray

    @property
    def volume(self) -> float:
        """Of the cell, Å^3."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def periodic(self) -> bool:
        """Whether any direction is periodic."""
        return bool(self.pbc.any())

    @cached_property
    def radii(self) -> np.ndarray:
        """Covalent radius of each atom (n,) Å."""
        return np.asarray(covalent_radii[np.clip(self.numbers, 0, len(covalent_radii) - 1)])

    @cached_property
    def _all_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        i, j = np.triu_indices(len(self.numbers), 1)
        return i, j, np.linalg.norm(self.positions[i] - self.positions[j], axis=1)

    def pairs(self, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices and distances of the pairs closer than `cutoff`, each once."""
        if not self.periodic and len(self.numbers) <= ENUMERATED:
            i, j, distance = self._all_pairs
            near = distance < cutoff
            return i[near], j[near], distance[near]
        position, cell = torch.from_numpy(self.positions), torch.from_numpy(self.cell)
        index, shift = neighbor_pairs(
            position, cutoff, cell=cell[None], pbc=torch.from_numpy(self.pbc)[None]
        )
        vector = position[index[0]] + shift.to(position.dtype) @ cell - position[index[1]]
        return index[0].numpy(), index[1].numpy(), vector.norm(dim=1).numpy()

    def crowded(self, cutoff: float) -> bool:
        """Whether there are far too many candidates for pairs, as in a cell in a wrong unit."""
        n = len(self.numbers)
        if not self.periodic:
            if n <= ENUMERATED:
                return False
            box = np.ptp(self.positions, axis=0) + cutoff
            near = min(1.0, 4.2 * cutoff**3 / float(box.prod()))
            return n * n * near > MOST_PAIRS
        full = complete(self.cell, self.pbc)
        inverse = np.linalg.inv(full)
        heights = 1 / np.linalg.norm(inverse, axis=0)
        images = np.where(self.pbc, 2 * np.ceil(cutoff / heights) + 1, 1.0)
        room = np.where(self.pbc, 1.0, np.ptp(self.positions @ inverse, axis=0) + cutoff)
        volume = float(abs(np.linalg.det(full)) * room.prod())
        return bool(max(n * n * 4.2 * cutoff**3 / volume, n * images.prod()) > MOST_PAIRS)

    @cached_property
    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance (n,) of each atom to its nearest neighbour in Å, and in units of the sum of
        their covalent radii; infinite where it has none within 12 Å."""
        distance, ratio = np.full((2, len(self.numbers)), np.inf)
        cutoff = 1.5
        while np.isinf(distance).any() and cutoff <= FARTHEST and not self.crowded(cutoff):
            i, j, d = self.pairs(cutoff)
            relative = d / (self.radii[i] + self.radii[j])
            for atoms in (i, j):
                np.minimum.at(distance, atoms, d)
                np.minimum.at(ratio, atoms, relative)
            cutoff *= 2
        return distance, ratio

    @cached_property
    def fingerprint(self) -> np.ndarray | None:
        """Six sums over pairs and triples (6,), the same for a moved, turned, mirrored or
        renumbered copy and smooth in the positions; None for very large structures."""
        if len(self.numbers) > LARGEST or self.crowded(REACH):
            return None
        whole = not self.periodic and len(self.numbers) <= ENUMERATED
        i, j, d = self.pairs(np.inf if whole else REACH)
        fade = np.ones_like(d) if whole else (1 - (d / REACH) ** 2) ** 3
        z = self.numbers.astype(np.float64)
        field = np.zeros((2, len(z)))
        for k, width in enumerate((1.0, 2.5)):
            term = fade * np.exp(-d / width)
            np.add.at(field[k], i, z[j] * term)
            np.add.at(field[k], j, z[i] * term)
        product = z[i] * z[j] * fade
        sums = [
            (product * d).sum(),
            ((z[i] + z[j]) * fade * d**2).sum(),
            (z * field[0]).sum(),
            (z * field[1]).sum(),
            (field[0] ** 2).sum(),
            (z * field[0] * field[1]).sum(),
        ]
        return np.asarray(sums) / len(z)


def complete(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The lattice vectors, with unit vectors normal to the others in open directions."""
    return complete_cell(torch.from_numpy(cell), torch.from_numpy(pbc)).numpy()


def near_image(step: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Displacements (n, 3) with whole lattice vectors of the periodic directions taken out."""
    if not pbc.any():
        return step
    full = complete(cell, pbc)
    fraction = step @ np.linalg.inv(full)
    return np.asarray(step - np.where(pbc, np.rint(fraction), 0.0) @ full)
