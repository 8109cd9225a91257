"""Where the labels of an ASE structure are, and what shape they have.

Writers disagree on names: ASE moves `energy`, `forces`, `stress` and a few more to the results of a
calculator when it reads a file, others keep them in `info` and `arrays`, some under a `REF_`
prefix. The order here is: the key the caller asked for; else `REF_<label>`; else `<label>` in
`info` or `arrays`; else the calculator's results.

Signs. `stress` is ASE's: (1/V) dE/dε, positive under tension, in the order xx, yy, zz, yz, xz, xy
where it is written as six numbers. `virial` is -dE/dε = -V stress, as QUIP, GAP and MACE write it.
(VASP's OUTCAR lists kilobars of the opposite sign in the order xx, yy, zz, xy, yz, zx: no file with
such numbers is recognised; ASE's own reader of OUTCAR converts them.)
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from zoo.errors import DataError

# further numbers that a molecule has one of, the targets of QM9 among them, with their powers of
# energy and length as in POWERS
SCALARS: dict[str, tuple[int, int]] = {
    "gap": (1, 0),  # lumo - homo
    "dipole_norm": (0, 1),
    "alpha": (0, 3),  # isotropic polarizability, as a volume
    "r2": (0, 2),  # electronic spatial extent
    "zpve": (1, 0),
    "u0": (1, 0),  # internal energy at 0 K
    "u298": (1, 0),  # at 298.15 K, as are
    "h298": (1, 0),  # the enthalpy,
    "g298": (1, 0),  # the free energy
    "cv": (1, 0),  # and the heat capacity, per kelvin
}
# label -> shape for one structure, with -1 for its number of atoms
SHAPES: dict[str, tuple[int, ...]] = {
    "energy": (),
    "forces": (-1, 3),
    "stress": (3, 3),
    "virial": (3, 3),
    "dipole": (3,),
    "polarizability": (3, 3),
    "charges": (-1,),
    "homo": (),
    "lumo": (),
    **{label: () for label in SCALARS},
}
# label -> powers of (energy, length, charge); the charge's unit is always e
POWERS: dict[str, tuple[int, int]] = {
    "energy": (1, 0),
    "forces": (1, -1),
    "stress": (1, -3),
    "virial": (1, 0),
    "dipole": (0, 1),
    "polarizability": (0, 3),  # as a volume
    "charges": (0, 0),
    "homo": (1, 0),
    "lumo": (1, 0),
    **SCALARS,
}
# total energies: float32 would round them by more than models err
TOTALS = frozenset({"energy", "u0", "u298", "h298", "g298"})
# quantities of a structure that are no labels, with the value they have where none is written
INPUTS: dict[str, float] = {"charge": 0.0, "spin": 0.0}
_ALIASES = {"charge": ("charge", "total_charge"), "spin": ("spin", "total_spin")}
# further names of labels that common writers use
_SPELLINGS = {"virial": ("REF_virials", "virials")}


def per_atom(label: str) -> bool:
    """Whether a label has one entry per atom (forces, charges) and not one per structure."""
    return SHAPES.get(label, ())[:1] == (-1,)


def names(label: str) -> tuple[str, ...]:
    """Where a label is looked for without a key of the caller's, the first that is there wins."""
    if label in INPUTS:
        return _ALIASES[label]
    return (f"REF_{label}", label, *_SPELLINGS.get(label, ()))


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
        return next((atoms.info[n] for n in names(label) if n in atoms.info), None)
    return _first(atoms, names(label), stored_results(atoms), label)


def _first(atoms: Atoms, known: tuple[str, ...], results: Mapping[str, Any], last: str) -> Any:
    for name in known:
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
    """A label as float64 array of its shape; stress and virial may be 6, 9 or 3 x 3 numbers.

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
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise DataError(f"{where}: {label} must be numbers, not {shortened(value)}") from error
    if array.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: {label} must be numbers, not {shortened(value)}; a key can be left out "
            "with keys={" + f"{label!r}: None" + "}"
        )
    array = array.astype(np.float64)
    if label in ("stress", "virial") and array.shape == (6,):
        # ASE's order: xx, yy, zz, yz, xz, xy
        return np.asarray(voigt_6_to_full_3x3_stress(array), dtype=np.float64)
    flat = array.ndim <= 1 and array.size == math.prod(wanted)
    if not flat and [n for n in array.shape if n != 1] != [n for n in wanted if n != 1]:
        raise DataError(
            f"{where}: {label} has shape {array.shape}, expected {wanted}; "
            "a key can be left out with keys={" + f"{label!r}: None" + "}"
        )
    return array.reshape(wanted)


def shortened(value: Any, length: int = 60) -> str:
    """The start of a value's repr, for messages."""
    text = repr(value)
    return text if len(text) <= length else text[:length] + "..."
