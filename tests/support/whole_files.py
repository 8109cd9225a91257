"""A small valid file or folder for every reader of structures, and a count of its samples."""

import json
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import raw_relaxations
from ase.db import connect
from data_samples import frames, md17

import zoo.datasets as zd

MD17 = {"energy": "kcal/mol", "length": "angstrom"}


@dataclass(frozen=True)
class Whole:
    """A kind of file.

    Attributes:
        name: of the reader.
        make: writes a valid data set into an empty folder; returns what to open.
        read: reads it.
        count: number of samples by an independent look, None where that can't tell.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    count: Callable[[Path], int | None]


def _extxyz(folder: Path) -> Path:
    ase.io.write(folder / "a.extxyz", frames(4))
    return folder / "a.extxyz"


def _streamed(path: Path) -> Any:
    from zoo.datasets import _extxyz as reader
    from zoo.datasets._units import parse

    return zd.AtomsDataset(reader.read(path, {}, parse({}), stream=True))


def count_xyz(path: Path) -> int | None:
    """Frames, by their counts alone."""
    lines = path.read_bytes().split(b"\n")
    place, found = 0, 0
    while place < len(lines) and lines[place].strip():
        if not lines[place].strip().isdigit():
            return None
        place, found = place + 2 + int(lines[place]), found + 1
    return found if not b"".join(lines[place:]).strip() else None


def _traj(folder: Path) -> Path:
    ase.io.write(folder / "a.traj", frames(4))
    return folder / "a.traj"


def _md17(folder: Path) -> Path:
    np.savez(folder / "a.npz", **md17())  # type: ignore[arg-type]
    return folder / "a.npz"


def _rmd17(folder: Path) -> Path:
    arrays = md17(("nuclear_charges", "coords", "energies", "forces"))
    np.savez(folder / "a.npz", **arrays, old_indices=np.arange(5))  # type: ignore[arg-type]
    return folder / "a.npz"


def _own(folder: Path) -> Path:
    return zd.save_npz(folder / "a.npz", frames(4), {"level_of_theory": "none"})


def arrays_of(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an archive as NumPy reads them, None if it can't."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError):
        return None


def _first(*names: str) -> Callable[[Path], int | None]:
    """Length of the first of some arrays that is there."""

    def count(path: Path) -> int | None:
        arrays = arrays_of(path) or {}
        array = next((arrays[n] for n in names if n in arrays), None)
        return len(array) if array is not None and array.ndim else None

    return count


def _positions(*names: str) -> Callable[[Path], int | None]:
    """Frames of positions (frames, atoms, 3)."""

    def count(path: Path) -> int | None:
        arrays = arrays_of(path) or {}
        found = [arrays[n] for n in names if n in arrays]
        return (len(found[0]) if found[0].ndim == 3 else 1) if len(found) == 1 else None

    return count


def _db(folder: Path) -> Path:
    with connect(folder / "a.db") as base:
        for atoms in frames(4):
            base.write(atoms, name=atoms.info["name"])
    return folder / "a.db"


def count_rows(path: Path) -> int | None:
    """Rows of a SQLite database."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
            found = base.execute("select count(*) from systems").fetchone()[0]
        base.close()
    except sqlite3.Error:
        return None
    return int(found)


def _json(folder: Path) -> Path:
    with connect(folder / "a.json") as base:
        for atoms in frames(3):
            base.write(atoms)
    return folder / "a.json"


def count_json(path: Path) -> int | None:
    """Rows of a database in JSON."""
    try:
        return len(json.loads(path.read_text())["ids"])
    except (ValueError, KeyError, TypeError):
        return None


def _aselmdb(folder: Path) -> Path:
    with connect(str(folder / "a.aselmdb"), type="aselmdb") as base:
        for atoms in frames(4):
            base.write(atoms)
    for lock in folder.glob("*-lock"):
        lock.unlink()
    return folder / "a.aselmdb"


def _lmdb(folder: Path) -> Path:
    return zd.save_lmdb(folder / "set", frames(4), shard_frames=2)


def count_meta(path: Path) -> int | None:
    """Frames that `meta.json` announces."""
    try:
        return int(json.loads((path / "meta.json").read_text())["frames"])
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _described(folder: Path) -> Path:
    from zoo.datasets._open import file_sha256

    data = _own(folder)
    text = [
        "title: a test", "file: a.npz", f"sha256: {file_sha256(data)}", "level_of_theory: none",
        "units: {energy: eV, length: angstrom}", "splits:", "  kind: time",
        "  fractions: {train: 0.5, test: 0.5}", "keys: {dipole: null}", "elements: {H: 12}",
    ]  # fmt: skip
    (folder / "a.yaml").write_text("\n".join(text) + "\n")
    return folder / "a.yaml"


def _opened(**options: Any) -> Callable[[Path], Any]:
    return lambda path: zd.open(path, **options)


def _relaxations(folder: Path) -> Path:
    return raw_relaxations.write(folder / "Data06.lmdb", raw_relaxations.records(3))


ATOMS = [
    Whole("extxyz", _extxyz, _opened(), count_xyz),
    Whole("extxyz streamed", _extxyz, _streamed, count_xyz),
    Whole("traj", _traj, _opened(), lambda path: None),
    Whole("md17 npz", _md17, _opened(units=MD17), _positions("R", "positions", "coords")),
    Whole("rmd17 npz", _rmd17, _opened(units=MD17), _positions("R", "positions", "coords")),
    Whole("own npz", _own, _opened(), _first("counts")),
    Whole("db", _db, _opened(), count_rows),
    Whole("json", _json, _opened(), count_json),
    Whole("aselmdb", _aselmdb, _opened(), lambda path: None),
    Whole("lmdb", _lmdb, _opened(), count_meta),
    Whole("pubchemqcr", _relaxations, _opened(), lambda path: None),
    Whole("yaml", _described, _opened(), lambda path: 4),
]
