"""SPICE: conformations of drug-like molecules, peptides, ions and pairs (wB97M-D3(BJ)/def2-TZVPPD).

P. Eastman et al., SPICE, a dataset of drug-like molecules and peptides for training machine
learning potentials, Scientific Data 10, 11 (2023).

One HDF5 group per molecule: `atomic_numbers`, `conformations` (bohr), `formation_energy` and
`dft_total_energy` (hartree), `dft_total_gradient` (hartree/bohr; forces are its negative),
`subset`, `smiles`. The formation energy is the total one less the energies of free atoms, so it
needs no references. The total charge is the sum of the formal charges in the SMILES. Groups whose
arrays don't have the shapes of conformations, which some releases hold, are left out and counted.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from zoo.datasets.published._common import Found, Keys, Reader, one_file
from zoo.datasets.published._hdf5 import GroupedFrames, has
from zoo.errors import ConfigError

_ENERGIES = {"formation": "formation_energy", "total": "dft_total_energy"}
_FORCE = -units.Hartree / units.Bohr
_CHARGE = re.compile(r"\[[^\]]*?([+-]+)(\d*)(?::\d+)?\]")


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens the file; its conformations stay in it.

    Args:
        place: the file, or the folder that holds it.
        settings: `version`: which file of a folder; `energy`: formation or total; `max_gradient`:
            conformations with a force on an atom beyond it are left out, eV/Å; `subset`: only
            subsets whose name contains the word.
        keys: None as a name leaves a label out.

    Raises:
        DataError: for a damaged file, or one without such conformations.
        MissingExtraError: without h5py.
    """
    file = f"SPICE-{settings.get('version', '*')}.hdf5"
    frames = SpiceFrames(one_file(place, file, "SPICE"), settings, keys)
    return Found(frames, {"left_out": frames.skipped, "energy": settings.get("energy")})


class SpiceFrames(GroupedFrames):
    """The conformations of SPICE; arguments as those of `read`."""

    def __init__(self, path: Path, settings: Mapping[str, Any], keys: Keys) -> None:
        self._energy = _ENERGIES[settings.get("energy", "formation")]
        self._limit = _limit(settings.get("max_gradient"))
        self._subset = str(settings.get("subset") or "")
        super().__init__(path, ("energy", "forces"), keys)

    def survey(self, name: str, group: Any) -> tuple[np.ndarray, int, dict[str, str]]:
        """The rows that can be used: all of a sound group's, but those beyond the limit."""
        subset = _word(group["subset"][()]) if "subset" in group else ""
        nothing = np.zeros(0, dtype=np.int64)
        if self._subset not in subset:
            return nothing, 0, {}
        shape, atoms = group["conformations"].shape, group["atomic_numbers"].shape[0]
        count = shape[0] if shape else 0
        sound = (
            shape == (count, atoms, 3)
            and group[self._energy].shape == (count,)
            and group["dft_total_gradient"].shape == shape
        )
        if not sound or not count:
            self.skip("groups of a wrong shape")
            return nothing, 0, {}
        rows = np.arange(count)
        finite = np.isfinite(group[self._energy][()])
        self.skip("conformations without a finite energy", int((~finite).sum()))
        rows = rows[finite]
        if self._limit is not None and len(rows):
            forces = group["dft_total_gradient"][()].astype(np.float64)[rows] * _FORCE
            small = np.linalg.norm(forces, axis=2).max(axis=1) <= self._limit
            self.skip("conformations beyond max_gradient", int((~small).sum()))
            rows = rows[small]
        return rows, atoms, {"subset": subset}

    def rows(self, group: Any, first: int, last: int) -> dict[str, Any]:
        """Some conformations in eV and Å."""
        count = last - first
        smiles = _word(group["smiles"][()]) if "smiles" in group else ""
        numbers = group["atomic_numbers"][()]
        return {
            "numbers": np.broadcast_to(numbers, (count, len(numbers))),
            "positions": group["conformations"][first:last].astype(np.float64) * units.Bohr,
            "charge": np.full(count, formal_charge(smiles)),
            "energy": group[self._energy][first:last].astype(np.float64) * units.Hartree,
            "forces": group["dft_total_gradient"][first:last].astype(np.float64) * _FORCE,
        }


def formal_charge(smiles: str) -> int:
    """The sum of the charges in the brackets of a SMILES: [NH3+:4], [O--], [Ca+2]."""
    total = 0
    for signs, number in _CHARGE.findall(smiles):
        total += (1 if signs[0] == "+" else -1) * (int(number) if number else len(signs))
    return total


def _word(value: Any) -> str:
    first = np.asarray(value).reshape(-1)[0]
    return first.decode() if isinstance(first, bytes) else str(first)


def _limit(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"max_gradient is {value!r}; give the largest force in eV/Å, above 0")
    return float(value)


def _sign(path: Path) -> bool:
    return has(path, lambda group: "dft_total_gradient" in group and "conformations" in group)


READER = Reader(read, _sign, {"energy": "formation"})
