"""NumPy archives: the benchmarks' layouts, and one of ours that holds structures of any size.

Theirs say no units, so `units` is needed: `z,R,E,F` (MD17, MD22) and `nuclear_charges, coords,
energies, forces` (rMD17), with one composition for all frames, or one row of atomic numbers per
frame padded with zeros.

Ours (`format` = "geometric-zoo atoms 1") is in eV and Å and says so: `counts` (F,), `numbers` (N,),
`positions` (N, 3), and where they aren't zero `cell`, `pbc`, `charge`, `spin`; `labels.<name>`,
`columns.<name>`; `units` and `metadata` as JSON.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from zoo._files import write_atomic
from zoo.datasets._archive import read_npz
from zoo.datasets._frames import Frames, from_atoms, stress_of
from zoo.datasets._labels import INPUTS, SCALARS, SHAPES, per_atom
from zoo.datasets._survey import check_keys
from zoo.datasets._units import Units, parse
from zoo.errors import ConfigError, DataError, UnitsRequiredError, nearest

FORMAT = "geometric-zoo atoms 1"
OWN_UNITS = {"energy": "eV", "length": "angstrom"}
# what we call it -> what the benchmarks call it
ALIASES: dict[str, tuple[str, ...]] = {
    "numbers": ("z", "nuclear_charges", "Z", "atomic_numbers", "numbers"),
    "positions": ("R", "coords", "positions", "coordinates", "pos"),
    "energy": ("E", "energies", "energy"),
    "forces": ("F", "forces"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
    "dipole": ("dipole", "D"),
    "polarizability": ("polarizability",),
    "charges": ("charges",),
    "homo": ("homo",),
    "lumo": ("lumo",),
    **{label: (label,) for label in SCALARS},
    "cell": ("cell",),
    "pbc": ("pbc",),
    "charge": ("charge",),
    "spin": ("spin",),
}


def read(
    path: Path, keys: Mapping[str, str | None], units: Mapping[str, str] | None
) -> tuple[Frames, dict[str, Any]]:
    """Reads either layout.

    Returns:
        The frames and the file's metadata.

    Raises:
        UnsafeFileError: for anything pickled.
        UnitsRequiredError: without units where the layout has none.
        DataError: for missing or ill-shaped arrays.
    """
    arrays = read_npz(path)
    if "format" in arrays:
        return _own(path, arrays, keys, units)
    return _plain(path, arrays, keys, units)


def save_npz(
    path: str | Path, frames: Sequence[Atoms] | Frames, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Writes structures and their labels into one archive of our own layout.

    Args:
        path: ends in .npz; it is replaced in one step, or left as it was.
        frames: structures of any size, all with the same labels, in ASE's units. Kept are the
            labels, charge, spin, and the plain values of `info` that every structure has;
            other per-atom arrays and constraints are not.
        metadata: what JSON can hold: level of theory, seeds, versions.

    Returns:
        The path.

    Raises:
        ConfigError: for another suffix, or metadata that JSON can't hold.
        OutputError: if the file can't be written.
        DataError: if a label is missing in some structures.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ConfigError(f"{path} should end in .npz")
    table = frames if isinstance(frames, Frames) else from_atoms(frames)
    try:
        described = json.dumps(dict(metadata or {}), sort_keys=True)
    except TypeError as error:
        raise ConfigError(
            f"metadata must be plain numbers, words, lists, dicts: {error}"
        ) from error
    if table.numbers.size and not 0 <= table.numbers.min() <= table.numbers.max() < 256:
        raise DataError(f"{table.numbers.max()} is no atomic number; remove dummy atoms")
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "units": np.array(json.dumps(OWN_UNITS)),
        "metadata": np.array(described),
        "counts": table.counts.astype(np.int32),
        "numbers": table.numbers.astype(np.uint8),
        "positions": table.positions,
    }
    optional = {"cell": table.cell, "pbc": table.pbc, "charge": table.charge, "spin": table.spin}
    arrays |= {name: array for name, array in optional.items() if array.any()}
    arrays |= {f"labels.{name}": array for name, array in table.labels.items()}
    arrays |= {f"columns.{name}": array for name, array in table.columns.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())
    return path


def _own(
    path: Path,
    arrays: dict[str, np.ndarray],
    keys: Mapping[str, str | None],
    units: Mapping[str, str] | None,
) -> tuple[Frames, dict[str, Any]]:
    if str(arrays["format"]) != FORMAT:
        raise DataError(
            f"{path} has the format {str(arrays['format'])!r}; this release reads {FORMAT!r}"
        )
    if units is not None and parse(units) != Units():
        raise ConfigError(f"{path} says that it is in {OWN_UNITS}, not in {units}; drop units=")
    check_keys(keys, (*SHAPES, *INPUTS))
    chosen: dict[str, np.ndarray] = {}
    for name in (*SHAPES, *INPUTS):
        array = _stored(path, arrays, name, keys)
        if array is not None:
            chosen[name] = array
    labels = {label: chosen[label] for label in SHAPES if label in chosen}
    for name in ("counts", "numbers", "positions", "metadata"):
        if name not in arrays:
            raise DataError(f"{path} lacks the array {name!r}; it is damaged")
    counts = _whole(path, "counts", arrays["counts"])
    count = len(counts)
    frames = Frames(
        counts=counts,
        numbers=_whole(path, "numbers", arrays["numbers"]),
        positions=_numeric(path, "positions", arrays["positions"]).astype(np.float64),
        cell=_numeric(path, "cell", arrays.get("cell", np.zeros((count, 3, 3)))).astype(float),
        pbc=_numeric(path, "pbc", arrays.get("pbc", np.zeros((count, 3)))).astype(bool),
        charge=chosen.get("charge", np.zeros(count)),
        spin=chosen.get("spin", np.zeros(count)),
        labels=labels,
        columns={
            n.removeprefix("columns."): a for n, a in arrays.items() if n.startswith("columns.")
        },
    )
    check_shapes(frames, str(path))
    return frames, _metadata(path, arrays["metadata"])


def _whole(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """A list of whole numbers from 0 on, such as the atoms of each structure."""
    plain = array.dtype.kind in "iu" and array.ndim == 1
    if not plain or (array.astype(np.int64) < 0).any():
        raise DataError(f"{path}: {name} must be a list of whole numbers from 0 on; it is damaged")
    return array.astype(np.int64)


def _metadata(path: Path, array: np.ndarray) -> dict[str, Any]:
    try:
        metadata = json.loads(str(array))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its metadata is no JSON ({error}); it is damaged") from error
    if not isinstance(metadata, dict):
        raise DataError(f"{path}: its metadata is no mapping; it is damaged")
    return metadata


def _stored(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, keys: Mapping[str, str | None]
) -> np.ndarray | None:
    """A label or input of our own layout, under its own name or the one that `keys` gives."""
    key = keys.get(name, name)
    if key is None:
        return None
    for place in (f"labels.{key}", f"columns.{key}", *([key] if key in INPUTS else [])):
        if place in arrays:
            return _numeric(path, place, arrays[place]).astype(np.float64)
    if name in keys:
        names = [n.split(".", 1)[1] for n in arrays if "." in n]
        raise DataError(
            f"{path} has no {key!r}, which keys asks for as {name}: {nearest(key, names)}"
        )
    return None


def check_shapes(frames: Frames, where: str) -> None:
    """Refuses arrays that don't fit each other."""
    atoms, count = int(frames.counts.sum()), len(frames)
    expected: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
        "numbers": (frames.numbers, (atoms,)),
        "positions": (frames.positions, (atoms, 3)),
        "cell": (frames.cell, (count, 3, 3)),
        "pbc": (frames.pbc, (count, 3)),
        "charge": (frames.charge, (count,)),
        "spin": (frames.spin, (count,)),
    }
    for label, array in frames.labels.items():
        first = (atoms, *SHAPES[label][1:]) if per_atom(label) else (count, *SHAPES[label])
        expected[label] = (array, first)
    for name, column in frames.columns.items():
        expected[name] = (column, (count,))
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise DataError(f"{where}: {name} has shape {array.shape}, expected {shape}")
    if count == 0:
        raise DataError(f"{where} has no structures")


def _plain(
    path: Path,
    arrays: dict[str, np.ndarray],
    keys: Mapping[str, str | None],
    units: Mapping[str, str] | None,
) -> tuple[Frames, dict[str, Any]]:
    if units is None or not {"energy", "length"} <= set(units):
        raise UnitsRequiredError(
            f"{path} doesn't say its units; give both, such as "
            'units={"energy": "kcal/mol", "length": "angstrom"} (MD17, rMD17)'
        )
    factors = parse(units)
    check_keys(keys, tuple(ALIASES))
    names = {name: _name(path, arrays, name, keys) for name in ALIASES}
    for name in ("numbers", "positions"):
        if names[name] is None:
            raise DataError(
                f"{path} has no {name}: looked for {', '.join(ALIASES[name])}; it has "
                f"{', '.join(arrays)}; name it with keys={{{name!r}: ...}}"
            )
    taken = {name: _numeric(path, key, arrays[key]) for name, key in names.items() if key}
    frames = _stack(path, taken, factors)
    unused = sorted(set(arrays) - {key for key in names.values() if key})
    columns = {
        name: arrays[name]
        for name in unused
        if arrays[name].shape == (len(frames),) and arrays[name].dtype.kind in "iufbU"
    }
    ignored = [name for name in unused if name not in columns]
    return (
        replace(frames, columns=columns),
        {"units": dict(units)} | ({"ignored_arrays": ignored} if ignored else {}),
    )


def _name(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, keys: Mapping[str, str | None]
) -> str | None:
    if name in keys:
        key = keys[name]
        if key is not None and key not in arrays:
            raise DataError(
                f"{path} has no array {key!r}, which keys asks for as {name}: "
                f"{nearest(key, arrays)}"
            )
        return key
    return next((alias for alias in ALIASES[name] if alias in arrays), None)


def _numeric(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iufb":
        raise DataError(f"{path}: the array {name!r} should hold numbers, not {array.dtype}")
    return array


def _stack(path: Path, taken: dict[str, np.ndarray], units: Units) -> Frames:
    """Frames (F, n, ...) to rows, without the padding."""
    positions = taken["positions"].astype(np.float64)
    if positions.ndim == 2:
        positions = positions[None]
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise DataError(
            f"{path}: positions have shape {positions.shape}, expected (frames, atoms, 3)"
        )
    count, atoms = positions.shape[:2]
    numbers = taken["numbers"]
    if numbers.dtype.kind == "f" and not (np.isfinite(numbers) & (numbers % 1 == 0)).all():
        raise DataError(f"{path}: numbers must be whole atomic numbers; name them with keys=")
    numbers = numbers.astype(np.int64)
    if numbers.shape not in ((atoms,), (count, atoms)):
        raise DataError(
            f"{path}: numbers have shape {numbers.shape}, expected {(atoms,)} or {(count, atoms)}"
        )
    numbers = np.broadcast_to(numbers, (count, atoms))
    real = numbers > 0  # (frames, atoms)
    labels = {}
    for label in SHAPES:
        if label in taken:
            values = _fit(path, label, taken[label], count, atoms) * units.factor(label)
            labels[label] = values[real] if per_atom(label) else values
    cell = _per_frame(path, "cell", taken, (count, 3, 3)) * units.length
    pbc = _per_frame(path, "pbc", taken, (count, 3)).astype(bool)
    if "virial" in labels and "stress" not in labels and count and pbc.all():
        labels["stress"] = stress_of(labels["virial"], cell, lambda k: f"{path}: frame {k}")
    frames = Frames(
        counts=real.sum(axis=1),
        numbers=numbers[real],
        positions=positions[real] * units.length,
        cell=cell,
        pbc=pbc,
        charge=_per_frame(path, "charge", taken, (count,)),
        spin=_per_frame(path, "spin", taken, (count,)),
        labels=labels,
    )
    check_shapes(frames, str(path))
    return frames


def _fit(path: Path, label: str, array: np.ndarray, count: int, atoms: int) -> np.ndarray:
    shape = (count, *(atoms if n < 0 else n for n in SHAPES[label]))
    flat = array.ndim <= 2 and array.shape[:1] == (count,) and array.size == math.prod(shape)
    if not flat and [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        raise DataError(f"{path}: {label} has shape {array.shape}, expected {shape}")
    return array.astype(np.float64).reshape(shape)


def _per_frame(
    path: Path, name: str, taken: dict[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """One value per frame, or one for all."""
    array = taken.get(name, np.zeros(shape[1:])).astype(np.float64)
    if array.shape not in (shape, shape[1:]):
        raise DataError(f"{path}: {name} has shape {array.shape}, expected {shape} or {shape[1:]}")
    return np.broadcast_to(array, shape).copy()
