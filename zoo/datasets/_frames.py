"""The frames of a data set as a few long arrays, all in eV and Å and in float64."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from zoo.datasets._labels import INPUTS, SHAPES, available, find, shaped
from zoo.datasets._units import Units
from zoo.errors import ConfigError, DataError, nearest

SHOWN = 8  # frame numbers in an error message


@dataclass(frozen=True, kw_only=True)
class Frames:
    """N atoms of F structures.

    Attributes:
        counts: atoms of each structure (F,).
        numbers: atomic numbers (N,), int64.
        positions: (N, 3) Å.
        cell: lattice vectors as rows (F, 3, 3) Å.
        pbc: periodic directions (F, 3).
        charge: total charge (F,) e.
        spin: multiplicity 2S + 1 (F,), 0 where it isn't stated.
        labels: `energy` (F,) eV, `forces` (N, 3) eV/Å, `stress` (F, 3, 3) eV/Å^3, `dipole` (F, 3)
            e Å, `polarizability` (F, 3, 3).
        columns: anything else that each structure has one of, such as a name (F,).
    """

    counts: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    charge: np.ndarray
    spin: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> np.ndarray:
        """Row of each structure's first atom (F,)."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Rows of all atoms of the structures `indices`, in their order."""
        counts = self.counts[indices]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(np.repeat(self.starts[indices], counts) + inside)

    def take(self, indices: np.ndarray) -> "Frames":
        """A copy of some of the structures."""
        rows = self.rows(indices)
        return Frames(
            counts=self.counts[indices],
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            cell=self.cell[indices],
            pbc=self.pbc[indices],
            charge=self.charge[indices],
            spin=self.spin[indices],
            labels={k: v[rows if k == "forces" else indices] for k, v in self.labels.items()},
            columns={k: v[indices] for k, v in self.columns.items()},
        )

    def atoms(self, index: int) -> Atoms:
        """One structure with its labels as calculator results."""
        start = int(self.starts[index])
        rows = slice(start, start + int(self.counts[index]))
        atoms = Atoms(
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            cell=self.cell[index],
            pbc=self.pbc[index],
        )
        atoms.info = {name: column[index].item() for name, column in self.columns.items()}
        atoms.info["charge"] = float(self.charge[index])
        if self.spin[index]:
            atoms.info["spin"] = float(self.spin[index])
        results: dict[str, Any] = {}
        for label, values in self.labels.items():
            results[label] = values[rows].copy() if label == "forces" else values[index].copy()
        if "energy" in results:
            results["energy"] = float(results["energy"])
        if "stress" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
        if results:
            # no constructor argument: ASE checks names there, and knows no polarizability of ours
            atoms.calc = SinglePointCalculator(atoms)
            atoms.calc.results.update(results)
        return atoms

    def digest(self) -> str:
        """SHA-256 of structures and labels (not of the columns), whatever file they came from."""
        digest = hashlib.sha256()
        arrays: dict[str, tuple[np.ndarray, str]] = {
            "counts": (self.counts, "<i8"),
            "numbers": (self.numbers, "<i8"),
            "positions": (self.positions, "<f8"),
            "cell": (self.cell, "<f8"),
            "pbc": (self.pbc, "|u1"),
            "charge": (self.charge, "<f8"),
            "spin": (self.spin, "<f8"),
        }
        arrays |= {f"labels/{name}": (self.labels[name], "<f8") for name in sorted(self.labels)}
        for name, (array, dtype) in arrays.items():
            digest.update(f"{name}{array.shape}".encode())
            # + 0.0 makes -0.0 and 0.0 the same bytes
            plain = array if dtype in ("<i8", "|u1") else array + 0.0
            digest.update(np.ascontiguousarray(plain, dtype=dtype).tobytes())
        return digest.hexdigest()


def from_atoms(
    structures: Sequence[Atoms],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Units | None = None,
) -> Frames:
    """Gathers structures and the labels they carry.

    Args:
        structures: in ASE's units, or those of `units`.
        keys: label -> name in `info`, `arrays` or the calculator's results; None leaves the label
            out. Labels that are not mentioned are looked for under their usual names.
        units: factors; ASE's own if None.

    Raises:
        ConfigError: for an unknown label in `keys`.
        DataError: if there are no structures, or a label is not in each of them.
    """
    keys = dict(keys or {})
    check_keys(keys, (*SHAPES, *INPUTS))
    if not structures:
        raise DataError("the data set has no structures")
    units = units or Units()
    labels = {}
    for label in SHAPES:
        values = _column(structures, label, keys)
        if values is not None:
            pairs = enumerate(zip(values, structures, strict=True))
            stacked = [shaped(v, label, len(s), f"frame {k}") for k, (v, s) in pairs]
            array = np.concatenate(stacked) if label == "forces" else np.stack(stacked)
            labels[label] = array * units.factor(label)
    inputs = {name: _inputs(structures, name, keys) for name in INPUTS}
    return Frames(
        counts=np.array([len(s) for s in structures], dtype=np.int64),
        numbers=np.concatenate([s.numbers for s in structures]).astype(np.int64),
        positions=np.concatenate([s.positions for s in structures]) * units.length,
        cell=np.stack([s.cell.array for s in structures]) * units.length,
        pbc=np.stack([s.pbc for s in structures]),
        labels=labels,
        columns=_other_columns(structures, keys),
        **inputs,
    )


def check_keys(keys: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuses unknown names in `keys`."""
    for name in keys:
        if name not in allowed:
            raise ConfigError(f"keys has no entry {name!r}: {nearest(name, allowed)}")


def listed(indices: Iterable[int]) -> str:
    """A few frame numbers in words."""
    numbers = [str(int(i)) for i in indices]
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return ", ".join(numbers[:SHOWN]) + more


def _column(
    structures: Sequence[Atoms], name: str, keys: Mapping[str, str | None]
) -> list[Any] | None:
    """One value per structure, or None where no structure has one and none was asked for."""
    asked = name in keys
    key = keys.get(name)
    if asked and key is None:
        return None
    values = [find(s, name, key) for s in structures]
    missing = [k for k, value in enumerate(values) if value is None]
    if len(missing) == len(values):
        if not asked:
            return None
        names = available(structures[0])
        raise DataError(
            f"no frame has {key!r}, which keys asks for as {name}; "
            f"{nearest(str(key), names)} (frame 0 has: {', '.join(names) or 'no labels'})"
        )
    if missing and (asked or name in SHAPES):
        raise DataError(
            f"{len(missing)} of {len(values)} frames have no {key or name!r}: frames "
            f"{listed(missing)}; remove them, or leave the label out with keys={{{name!r}: None}}"
        )
    return values


def _inputs(structures: Sequence[Atoms], name: str, keys: Mapping[str, str | None]) -> np.ndarray:
    values = _column(structures, name, keys) or [None] * len(structures)
    result = np.full(len(values), INPUTS[name])
    for index, value in enumerate(values):
        if value is not None:
            try:
                result[index] = float(value)
            except (TypeError, ValueError) as error:
                raise DataError(f"frame {index}: {name} must be a number, not {value!r}") from error
    return result


def _other_columns(
    structures: Sequence[Atoms], keys: Mapping[str, str | None]
) -> dict[str, np.ndarray]:
    """Plain values in `info` that every structure has and that are no label."""
    used = {*SHAPES, *INPUTS, *(f"REF_{s}" for s in SHAPES), "total_charge", "total_spin"}
    used |= {key for key in keys.values() if key is not None}
    columns = {}
    for name in structures[0].info:
        values = [s.info.get(name) for s in structures]
        if name not in used and all(_plain(v) for v in values):
            columns[name] = np.array(values)
    return columns


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, np.bool_, np.integer, np.floating))
