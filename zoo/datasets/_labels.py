"""Where the labels of an ASE structure are, and what shape they have.

Writers disagree on names: ASE moves `energy`, `forces`, `stress` and a few more to the results of a
calculator when it reads a file, others keep them in `info` and `arrays`, some under a `REF_`
prefix. The order here is: the key the caller asked for; else `REF_<label>`; else `<label>` in
`info` or `arrays`; else the calculator's results.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from zoo.errors import DataError

# label -> shape for one structure, with -1 for its number of atoms
SHAPES: dict[str, tuple[int, ...]] = {
    "energy": (),
    "forces": (-1, 3),
    "stress": (3, 3),
    "dipole": (3,),
    "polarizability": (3, 3),
}
# label -> powers of (energy, length, charge); the charge's unit is always e
POWERS: dict[str, tuple[int, int]] = {
    "energy": (1, 0),
    "forces": (1, -1),
    "stress": (1, -3),
    "dipole": (0, 1),
    "polarizability": (-1, 2),  # e^2 length^2 / energy
}
# quantities of a structure that are no labels, with the value they have where none is written
INPUTS: dict[str, float] = {"charge": 0.0, "spin": 0.0}
_ALIASES = {"charge": ("charge", "total_charge"), "spin": ("spin", "total_spin")}


def find(atoms: Atoms, label: str, key: str | None = None) -> Any:
    """The raw value of a label, or None.

    Args:
        atoms: any structure; nothing is computed.
        label: a name in `SHAPES` or `INPUTS`.
        key: the name it was written under; None for the default order above.
    """
    if key is not None:
        return _first(atoms, (key,), stored_results(atoms), key)
    if label in INPUTS:  # in `info` only: an array called "charge" holds one per atom
        return next((atoms.info[n] for n in _ALIASES[label] if n in atoms.info), None)
    return _first(atoms, (f"REF_{label}", label), stored_results(atoms), label)


def _first(atoms: Atoms, names: tuple[str, ...], results: Mapping[str, Any], last: str) -> Any:
    for name in names:
        for place in (atoms.info, atoms.arrays):
            if place.get(name) is not None:
                return place[name]
    return results.get(last)


def stored_results(atoms: Atoms) -> Mapping[str, Any]:
    """What the structure's calculator has stored for this very geometry; computes nothing.

    Results are read directly, never through `get_forces`, which sets the forces on constrained
    atoms to zero.
    """
    results = getattr(atoms.calc, "results", None)
    if not results:
        return {}
    check = getattr(atoms.calc, "check_state", None)
    if check is not None and check(atoms):
        return {}  # they belong to the structure before it was moved
    return {name: value for name, value in results.items() if value is not None}


def available(atoms: Atoms) -> list[str]:
    """Names that an explicit key may take for this structure."""
    own = {"numbers", "positions"}
    return sorted({*atoms.info, *atoms.arrays, *stored_results(atoms)} - own)


def shaped(value: Any, label: str, atoms: int, where: str) -> np.ndarray:
    """A label as float64 array of its shape; a stress may be written as 6, 9 or 3 x 3 numbers.

    Args:
        value: the raw value.
        label: a name in `SHAPES`.
        atoms: number of atoms of the structure.
        where: names the structure in the error message.

    Raises:
        DataError: if it isn't numeric or has another shape.
    """
    wanted = tuple(atoms if n < 0 else n for n in SHAPES[label])
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {label} must be numbers, not {value!r}") from error
    if label == "stress" and array.shape == (6,):
        # ASE's order: xx, yy, zz, yz, xz, xy
        return np.asarray(voigt_6_to_full_3x3_stress(array), dtype=np.float64)
    if array.size != int(np.prod(wanted)) or array.ndim > 2:
        raise DataError(
            f"{where}: {label} has shape {array.shape}, expected {wanted}; "
            "a key can be left out with keys={" + f"{label!r}: None" + "}"
        )
    return array.reshape(wanted)
