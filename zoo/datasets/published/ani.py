"""ANI-1x, ANI-1ccx and ANI-2x: conformations of small organic molecules.

J. S. Smith et al., The ANI-1ccx and ANI-1x data sets, coupled-cluster and density functional theory
properties for molecules, Scientific Data 7, 134 (2020). C. Devereux et al., Extending the
applicability of the ANI deep learning molecular potential to sulfur and halogens, Journal of
Chemical Theory and Computation 16, 4192 (2020).

Hartree and hartree/Å. In ANI-1x a group is a molecular formula, and a NaN says that a property was
not computed: such conformations are left out and counted. In ANI-2x a group is a number of atoms,
with the elements of each conformation in `species`. Energies are total ones; what the authors
take off them for each atom is in `metadata["references"]`: a linear fit to their energies (their
files `sae_linfit.dat`), not the energies of free atoms, which some loaders subtract.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from zoo.datasets.published._common import Found, Keys, Reader, one_file
from zoo.datasets.published._hdf5 import GroupedFrames, has

#: the authors' linear fits, hartree for each atom
REFERENCES: Mapping[str, Mapping[str, float]] = {
    "wb97x": {"H": -0.60095298, "C": -38.08316124, "N": -54.7077577, "O": -75.19446356},
    "ccsd": {"H": -0.59915013, "C": -38.03750806, "N": -54.67448347, "O": -75.16043537},
    "ani2x": {
        "H": -0.59785839,
        "C": -38.08933878,
        "N": -54.7119683,
        "O": -75.19106775,
        "F": -99.80348507,
        "S": -398.15771253,
        "Cl": -460.16819394,
    },
}
_ARRAYS = {
    "wb97x": {"energy": "wb97x_dz.energy", "forces": "wb97x_dz.forces"},
    "ccsd": {"energy": "ccsd(t)_cbs.energy"},
    "ani2x": {"energy": "energies", "forces": "forces"},
}


def read_1x(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens ANI-1x; its conformations stay in the file.

    Args:
        place: `ani1x-release.h5`, or its folder.
        settings: `level`: wb97x (energies and forces) or ccsd (ANI-1ccx, energies only).
        keys: None as a name leaves a label out.

    Raises:
        DataError: for a damaged file.
        MissingExtraError: without h5py.
    """
    path = one_file(place, "*.h5", "ANI-1x")
    return _found(AniFrames(path, str(settings.get("level", "wb97x")), "atomic_numbers", keys))


def read_2x(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens ANI-2x (wB97X/6-31G(d)); arguments and errors as for `read_1x`, without settings."""
    return _found(AniFrames(one_file(place, "**/*.h5", "ANI-2x"), "ani2x", "species", keys))


def _found(frames: "AniFrames") -> Found:
    values = {k: v * units.Hartree for k, v in REFERENCES[frames.level].items()}
    return Found(frames, {"left_out": frames.skipped, "references": {"energy": values}})


class AniFrames(GroupedFrames):
    """The conformations of one file.

    Args:
        path: the file.
        level: of theory, which decides on the arrays.
        elements: the array of atomic numbers.
        keys: None as a name leaves a label out.
    """

    def __init__(self, path: Path, level: str, elements: str, keys: Keys) -> None:
        self.level, self._elements = level, elements
        self._arrays = _ARRAYS[level]
        super().__init__(path, tuple(self._arrays), keys)

    def survey(self, name: str, group: Any) -> tuple[np.ndarray, int, dict[str, str]]:
        """The rows of which all labels were computed."""
        count, atoms, _ = group["coordinates"].shape
        there = np.ones(count, dtype=bool)
        checked = self.labels if self.level != "ani2x" else ("energy",)  # complete, and large
        for label in checked:
            values = group[self._arrays[label]][()].reshape(count, -1)
            there &= np.isfinite(values).all(axis=1)
        self.skip("conformations without labels (NaN)", int((~there).sum()))
        return np.flatnonzero(there), atoms, {}

    def rows(self, group: Any, first: int, last: int) -> dict[str, Any]:
        """Some conformations in eV and Å."""
        numbers = group[self._elements]
        found = {
            "numbers": (
                np.broadcast_to(numbers[()], (last - first, len(numbers)))
                if numbers.ndim == 1
                else numbers[first:last]
            ),
            "positions": group["coordinates"][first:last],
            "charge": np.zeros(last - first),
        }
        for label in self.labels:
            array = group[self._arrays[label]][first:last].astype(np.float64)
            found[label] = array * units.Hartree
        return found


def _sign_1x(path: Path) -> bool:
    return has(path, lambda group: "wb97x_dz.energy" in group and "coordinates" in group)


def _sign_2x(path: Path) -> bool:
    return has(path, lambda group: {"species", "coordinates", "energies"} <= set(group))


ANI1X = Reader(read_1x, _sign_1x)
ANI2X = Reader(read_2x, _sign_2x)
