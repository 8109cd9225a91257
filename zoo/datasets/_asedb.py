"""ASE databases: SQLite and JSON files, ASE-LMDB (`.aselmdb`), and folders of several of a kind.

An `.aselmdb` file, as `ase-db-backends` (and with it fairchem: OC22, OMat24, OMol25) writes it, is
an LMDB file whose keys are row numbers in decimal digits, besides `nextid`, `deleted_ids` and
`metadata`; its values are JSON, compressed by zlib, with arrays as {"__ndarray__": [shape, type,
numbers]}. Objects that the JSON describes are not made: only numbers, words, lists and arrays are
read. A row's `data` and key-value pairs take the part of `info`.

Like extended XYZ, databases are surveyed once, kept in memory below `STREAM_BYTES`, and read row by
row from there on.
"""

import bisect
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import ase.db
import numpy as np
from ase.calculators.calculator import all_properties

from zoo.datasets._extxyz import STREAM_BYTES
from zoo.datasets._frames import Frames, from_atoms
from zoo.datasets._labels import shortened
from zoo.datasets._lazy import LazyFrames
from zoo.datasets._pages import Pages
from zoo.datasets._survey import Keys, Survey
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import Raw
from zoo.errors import DataError

SUFFIXES = (".aselmdb", ".db", ".json")
MAX_DIGITS = 19  # of a row number
MAX_ROW = 1 << 28  # bytes of a row when unpacked
_SQLITE = b"SQLite format 3\0"
_RESERVED = frozenset({b"nextid", b"deleted_ids", b"metadata"})


def shards(path: Path) -> list[Path]:
    """The database itself, or those in a folder, by name; all of one kind.

    Raises:
        DataError: for a folder with databases of two kinds.
    """
    if path.is_file():
        return [path]
    found = {end: sorted(path.glob(f"*{end}")) for end in (".aselmdb", ".db")}
    kinds = [end for end, files in found.items() if files]
    if len(kinds) > 1:
        raise DataError(f"{path} holds both .aselmdb and .db files; name one of them")
    return found[kinds[0]] if kinds else []


def read(
    path: Path, keys: Keys, units: Units, *, stream: bool | None = None
) -> tuple[Any, dict[str, Any]]:
    """Opens a database, or a folder of them.

    Args:
        path: the file or folder.
        keys: label -> name in key-value pairs, data or results.
        units: of the rows.
        stream: whether rows stay in the file; by their size if None.

    Returns:
        `Frames` or `RowFrames`, and what the file says about itself.

    Raises:
        DataError: naming the row that can't be read.
    """
    files = shards(path)
    tables = [_table(file) for file in files]
    said = tables[0].metadata()
    metadata = {"database": said} if said else {}
    size = sum(file.stat().st_size for file in files)
    lazy = stream if stream is not None else size >= STREAM_BYTES
    if lazy and not any(isinstance(table, _Json) for table in tables):
        return RowFrames(tables, keys, units, str(path)), metadata
    rows = [table.row(number) for table in tables for number in range(len(table))]
    frames: Frames = from_atoms(rows, keys=keys, units=units, where=str(path))
    return frames, metadata


class Table(Protocol):
    """Rows of one file."""

    path: Path

    def __len__(self) -> int: ...

    def row(self, number: int) -> Raw:
        """One row, counted from 0."""

    def metadata(self) -> dict[str, Any]:
        """What the file says about itself."""


class RowFrames(LazyFrames):
    """The rows of databases, read when they are asked for.

    Args:
        tables: the files.
        keys: label -> name.
        units: of the rows.
        where: the path, for messages.
    """

    def __init__(self, tables: Sequence[Table], keys: Keys, units: Units, where: str) -> None:
        self._tables = list(tables)
        self._ends = np.cumsum([len(table) for table in tables]).tolist()
        survey = Survey(keys, where)
        for table in tables:
            for number in range(len(table)):
                row = table.row(number)
                survey.add(len(row), row.info, row.arrays, periodic=bool(row.pbc.all()))
        super().__init__(survey.finish(), keys, units)

    def raw(self, index: int) -> Raw:
        """One row as the file states it."""
        table, number = self._place(index)
        row = table.row(number)
        if len(row) != self.counts[index]:
            raise DataError(f"{table.path} was changed since it was opened; open it again")
        return row

    def name(self, index: int) -> str:
        """The file and the row in it."""
        table, number = self._place(index)
        return f"{table.path}: frame {index} (row {number} of this file)"

    def _place(self, index: int) -> tuple[Table, int]:
        which = bisect.bisect_right(self._ends, index)
        return self._tables[which], index - (self._ends[which - 1] if which else 0)


def _table(path: Path) -> Table:
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_SQLITE))
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if path.suffix.lower() == ".aselmdb":
        return _Lmdb(path)
    if path.suffix.lower() == ".json":
        return _Json(path)
    if head != _SQLITE:
        raise DataError(f"{path} is no SQLite database; is it complete?")
    return _Sqlite(path)


# --- ASE-LMDB ---------------------------------------------------------------------------------


class _Lmdb:
    def __init__(self, path: Path) -> None:
        self.path = path
        pages = Pages(path)
        self._file = pages.file
        rows: list[tuple[int, int, int]] = []
        self._others: dict[bytes, tuple[int, int]] = {}
        for key, place, size in pages.items():
            if key.isdigit() and len(key) < MAX_DIGITS:
                rows.append((int(key), place, size))
            elif key in _RESERVED:
                self._others[key] = place, size
            else:
                raise DataError(f"{path} is no ASE database: it has the key {shortened(key)}")
        self._rows = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Every row number below `nextid` is there or in `deleted_ids`."""
        following, deleted = self._other(b"nextid", 1), self._other(b"deleted_ids", [])
        right = isinstance(following, int) and isinstance(deleted, list)
        if not right or following - 1 - len(deleted) != len(self._rows):
            raise DataError(
                f"{self.path} has {len(self._rows)} rows but announces nextid={following!r} and "
                f"{shortened(deleted)} as deleted; it is incomplete"
            )

    def _other(self, key: bytes, default: Any) -> Any:
        if key not in self._others:
            return default
        return _unpacked(self._file.read(*self._others[key]), f"{self.path}: {key.decode()}")

    def metadata(self) -> dict[str, Any]:
        found = self._other(b"metadata", {})
        return found if isinstance(found, dict) else {}

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, number: int) -> Raw:
        key, place, size = (int(n) for n in self._rows[number])
        where = f"{self.path}: row {key}"
        found = _unpacked(self._file.read(place, size), where)
        if not isinstance(found, dict):
            raise DataError(f"{where} is no row of an ASE database")
        return _raw(found, where)


def _unpacked(raw: bytes, where: str) -> Any:
    """JSON that zlib packed, with its arrays.

    Raises:
        DataError: if it is damaged or too large.
    """
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(raw, MAX_ROW)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("it is cut off, or longer than a row can be")
        return json.loads(text.decode("utf-8"), object_hook=_array)
    except (zlib.error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where} can't be read: {error}") from error


def _array(found: dict[str, Any]) -> Any:
    if set(found) != {"__ndarray__"}:
        return found
    shape, kind, flat = found["__ndarray__"]
    dtype = np.dtype(str(kind))
    if dtype.kind not in "iufbU" or not isinstance(flat, list):
        raise ValueError(f"an array of type {kind!r}")
    # words get the length that they need, not the one announced
    return np.array(flat, dtype=str if dtype.kind == "U" else dtype).reshape(shape)


# --- SQLite and JSON --------------------------------------------------------------------------


class _Sqlite:
    """Rows by number; the connection belongs to one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: tuple[Any, int] | None = None
        query = "select id from systems order by id"
        self._ids: list[int] = self._try(
            lambda db: [int(row[0]) for row in db.connection.execute(query)], "its rows"
        )

    def __len__(self) -> int:
        return len(self._ids)

    def row(self, number: int) -> Raw:
        key = self._ids[number]
        where = f"{self.path}: row {key}"
        return _raw(self._try(lambda db: _fields(db.get(id=key)), f"row {key}"), where)

    def metadata(self) -> dict[str, Any]:
        found = self._try(lambda db: db.metadata, "its metadata")
        return found if isinstance(found, dict) else {}

    def _try(self, read: Callable[[Any], Any], what: str) -> Any:
        try:
            if self._connection is None or self._connection[1] != os.getpid():
                # serial: no lock file beside the data
                database = ase.db.connect(str(self.path), type="db", serial=True)
                # read-only: ASE would make its tables in a file that lacks them
                place = f"file:{quote(str(self.path.absolute()))}?mode=ro"
                database.connection = sqlite3.connect(place, uri=True, check_same_thread=False)
                database.change_count = 0  # which its own `with` block would set
                self._connection = database, os.getpid()
            return read(self._connection[0])
        except MemoryError:
            raise
        except Exception as error:  # ASE's parsers raise whatever their code runs into
            raise DataError(
                f"{self.path}: {what} can't be read: {type(error).__name__}: {error}"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_connection": None}

    def __del__(self) -> None:
        held = getattr(self, "_connection", None)
        connection = getattr(held[0], "connection", None) if held else None
        if connection is not None and held is not None and held[1] == os.getpid():
            connection.close()


class _Json:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            database = ase.db.connect(str(path), type="json", serial=True, use_lock_file=False)
            self._rows = [_fields(row) for row in database.select()]
            self._metadata = database.metadata
        except MemoryError:
            raise
        except Exception as error:  # ASE's parsers raise whatever their code runs into
            raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, number: int) -> Raw:
        return _raw(self._rows[number], f"{self.path}: row {number + 1}")

    def metadata(self) -> dict[str, Any]:
        return self._metadata if isinstance(self._metadata, dict) else {}


def _fields(row: Any) -> dict[str, Any]:
    names = ("numbers", "positions", "cell", "pbc", *all_properties)
    found = {name: row.get(name) for name in names}
    return found | {"key_value_pairs": dict(row.key_value_pairs), "data": dict(row.data)}


def _raw(fields: Mapping[str, Any], where: str) -> Raw:
    """A row's structure.

    Raises:
        DataError: for a row without a structure, or one whose arrays don't fit.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, kinds in {"numbers": "iu", "positions": "iuf", "cell": "iuf", "pbc": "iub"}.items():
        value = fields.get(name)
        default = np.zeros((3, 3)) if name == "cell" else np.zeros(3, bool)
        try:
            array = np.asarray(default if value is None and name in ("cell", "pbc") else value)
        except ValueError as error:  # rows of unequal length
            raise DataError(f"{where}: {name} can't be {shortened(value)}") from error
        if array.dtype.kind not in kinds and array.size:
            raise DataError(f"{where}: {name} must be numbers, not {shortened(value)}")
        arrays[name] = array
    atoms = arrays["numbers"].size
    shapes = {"numbers": (atoms,), "positions": (atoms, 3), "cell": (3, 3), "pbc": (3,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise DataError(f"{where}: {name} has shape {arrays[name].shape}, expected {shape}")
    info: dict[str, Any] = {}
    for name in ("data", "key_value_pairs"):
        part = fields.get(name) or {}
        if not isinstance(part, Mapping):
            raise DataError(f"{where}: {name} must be a mapping, not {shortened(part)}")
        info |= part
    return Raw(
        numbers=arrays["numbers"].astype(np.int64),
        positions=arrays["positions"].astype(np.float64),
        cell=arrays["cell"].astype(np.float64),
        pbc=arrays["pbc"].astype(bool),
        info=info,
        arrays={k: fields[k] for k in all_properties if fields.get(k) is not None},
    )
