"""The frames of a data set as a few long arrays, all in eV and Å and in float64."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from zoo.datasets._labels import INPUTS, SHAPES, find, per_atom, shaped, shortened, stored_results
from zoo.datasets._survey import Findings, Keys, Survey
from zoo.datasets._units import Units
from zoo.errors import DataError, OutputError

CHUNK = 1024  # frames in memory at once where all are gone through
SPOOL_BYTES = 1 << 22  # of one array that stay in memory while it is hashed


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
        labels: `energy` (F,) eV, `forces` (N, 3) eV/Å, `stress` (F, 3, 3) eV/Å^3, `virial`
            (F, 3, 3) eV, `dipole` (F, 3) e Å, `polarizability` (F, 3, 3) Å^3, `charges` (N,) e,
            `homo` and `lumo` (F,) eV, and the other scalar properties (F,).
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

    @cached_property
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
            labels={k: v[rows if per_atom(k) else indices] for k, v in self.labels.items()},
            columns={k: v[indices] for k, v in self.columns.items()},
        )

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """Copies of one structure's arrays, under the names of a batch's fields."""
        start = int(self.starts[index])
        rows, one = slice(start, start + int(self.counts[index])), slice(index, index + 1)
        arrays = {
            "atomic_numbers": self.numbers[rows].copy(),
            "pos": self.positions[rows].copy(),
            "cell": self.cell[one].copy(),
            "pbc": self.pbc[one].copy(),
            "charge": self.charge[one].copy(),
            "spin": self.spin[one].copy(),
        }
        for label, values in self.labels.items():
            arrays[label] = values[rows if per_atom(label) else one].copy()
        return arrays

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
            value = values[rows] if per_atom(label) else values[index]
            results[label] = value.copy() if SHAPES[label] else float(value)
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
        for name, (array, dtype) in self.hashed().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(plain_bytes(array, dtype))
        return digest.hexdigest()

    def hashed(self) -> dict[str, tuple[np.ndarray, str]]:
        """The arrays that make the digest, in its order, with the types they are hashed as."""
        arrays: dict[str, tuple[np.ndarray, str]] = {
            "counts": (self.counts, "<i8"),
            "numbers": (self.numbers, "<i8"),
            "positions": (self.positions, "<f8"),
            "cell": (self.cell, "<f8"),
            "pbc": (self.pbc, "|u1"),
            "charge": (self.charge, "<f8"),
            "spin": (self.spin, "<f8"),
        }
        return arrays | {
            f"labels/{name}": (self.labels[name], "<f8") for name in sorted(self.labels)
        }


def digest_of(parts: Iterable[Frames], counts: np.ndarray) -> str:
    """The digest of frames that come in parts, as if they were in memory together.

    The digest runs over whole arrays one after the other, so the parts are spooled, array by array,
    to temporary files where they are large.

    Args:
        parts: the frames.
        counts: atoms of all structures (F,).

    Raises:
        OutputError: if there is no space for the temporary files.
    """
    with contextlib.ExitStack() as stack:
        spools: dict[str, tuple[Any, tuple[int, ...]]] = {}
        try:
            for part in parts:
                for name, (array, dtype) in part.hashed().items():
                    if name not in spools:
                        file = stack.enter_context(SpooledTemporaryFile(max_size=SPOOL_BYTES))
                        spools[name] = file, array.shape[1:]
                    spools[name][0].write(plain_bytes(array, dtype))
        except OSError as error:
            raise OutputError(f"no space for temporary files to hash the data: {error}") from error
        digest = hashlib.sha256()
        for name, (file, rest) in spools.items():
            atomic = name in ("numbers", "positions") or per_atom(name.removeprefix("labels/"))
            rows = int(counts.sum()) if atomic else len(counts)
            digest.update(f"{name}{(rows, *rest)}".encode())
            file.seek(0)
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def plain_bytes(array: np.ndarray, dtype: str) -> bytes:
    """An array's bytes, the same on every machine; -0.0 and 0.0 are the same bytes."""
    plain = array if dtype in ("<i8", "|u1") else array + 0.0
    return np.ascontiguousarray(plain, dtype=dtype).tobytes()


def chunks(indices: np.ndarray, size: int = CHUNK) -> Iterator[np.ndarray]:
    """`indices` in pieces."""
    for first in range(0, len(indices), size):
        yield indices[first : first + size]


def join(parts: Sequence[Frames], columns: Mapping[str, np.ndarray]) -> Frames:
    """Frames with the same labels as one, with columns of their own."""
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("counts", "numbers", "positions", "cell", "pbc", "charge", "spin")
    }
    labels = {name: np.concatenate([part.labels[name] for part in parts]) for name in first.labels}
    return Frames(**arrays, labels=labels, columns=dict(columns))


def from_atoms(
    structures: Sequence[Any],
    *,
    keys: Keys | None = None,
    units: Units | None = None,
    where: str = "",
) -> Frames:
    """Gathers structures and the labels they carry.

    Args:
        structures: in ASE's units, or those of `units`.
        keys: label -> name in `info`, `arrays` or the calculator's results; None leaves the label
            out. Labels that are not mentioned are looked for under their usual names.
        units: factors; ASE's own if None.
        where: the file, for messages.

    Raises:
        ConfigError: for an unknown label in `keys`.
        DataError: if there are no structures, or a label is not in each of them.
    """
    keys = dict(keys or {})
    survey = Survey(keys, where)
    for atoms in structures:
        others = (*atoms.arrays, *stored_results(atoms))
        survey.add(len(atoms), atoms.info, others, periodic=bool(np.all(atoms.pbc)))
    found = survey.finish()
    prefix = f"{where}: " if where else ""
    frames = gather(structures, found, keys, units or Units(), lambda k: f"{prefix}frame {k}")
    return replace(frames, columns=found.columns)


def gather(
    structures: Sequence[Any],
    found: Findings,
    keys: Keys,
    units: Units,
    name: Callable[[int], str],
) -> Frames:
    """Frames of structures that were surveyed; the columns are left out.

    Args:
        structures: `ase.Atoms`, or anything with their `numbers`, `positions`, `cell`, `pbc`,
            `info`, `arrays` and `calc`.
        found: what the survey of the whole file said.
        keys: label -> name in the file.
        units: factors.
        name: of a structure in messages, from its place in `structures`.

    Raises:
        DataError: for a label that isn't there or has another shape.
    """
    labels: dict[str, np.ndarray] = {}
    for label in found.labels:
        values = [find(s, label, keys.get(label)) for s in structures]
        if label == "stress" and "virial" in found.labels and all(v is None for v in values):
            continue  # it follows from the virial below
        stacked = []
        for place, (value, atoms) in enumerate(zip(values, structures, strict=True)):
            if value is None:
                raise DataError(f"{name(place)} has no {label}, which it had when it was opened")
            stacked.append(shaped(value, label, len(atoms), name(place)))
        array = np.concatenate(stacked) if per_atom(label) else np.stack(stacked)
        labels[label] = array * units.factor(label)
    cell = np.stack([np.asarray(s.cell[:], dtype=np.float64) for s in structures]) * units.length
    if "stress" in found.labels and "stress" not in labels:
        labels["stress"] = stress_of(labels["virial"], cell, name)
    return Frames(
        counts=np.array([len(s) for s in structures], dtype=np.int64),
        numbers=np.concatenate([s.numbers for s in structures]).astype(np.int64),
        positions=np.concatenate([s.positions for s in structures]) * units.length,
        cell=cell,
        pbc=np.stack([s.pbc for s in structures]).astype(bool),
        charge=_inputs(structures, "charge", keys, name),
        spin=_inputs(structures, "spin", keys, name),
        labels={label: labels[label] for label in found.labels},
    )


def stress_of(virial: np.ndarray, cell: np.ndarray, name: Callable[[int], str]) -> np.ndarray:
    """The stress that belongs to a virial: -virial / V (F, 3, 3).

    Args:
        virial: -dE/dε (F, 3, 3) eV.
        cell: of structures with three periodic directions (F, 3, 3) Å.
        name: of a structure in messages.

    Raises:
        DataError: for a cell without volume.
    """
    volume = np.abs(np.linalg.det(cell))
    flat = ~(volume > 0)
    if flat.any():
        raise DataError(
            f"{name(int(flat.argmax()))} is periodic in three directions but its cell has no "
            "volume, so its virial gives no stress; leave it out with keys={'virial': None}"
        )
    return np.asarray(-virial / volume[:, None, None])


def _inputs(
    structures: Sequence[Any], label: str, keys: Keys, name: Callable[[int], str]
) -> np.ndarray:
    """Charge or spin of each structure (F,)."""
    result = np.full(len(structures), INPUTS[label])
    if label in keys and keys[label] is None:
        return result
    for place, atoms in enumerate(structures):
        value = find(atoms, label, keys.get(label))
        if value is None:
            continue
        plain = isinstance(value, (int, float, np.generic, np.ndarray))
        number = np.asarray(value if plain else "")
        if number.dtype.kind not in "iuf" or number.size != 1:
            raise DataError(
                f"{name(place)}: {label} must be a number, not {shortened(value)}; leave it out "
                f"with keys={{{label!r}: None}}"
            )
        result[place] = number.item()
    return result
