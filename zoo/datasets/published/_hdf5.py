"""Structures in HDF5: groups of conformations, read when they are asked for.

The place of every frame (its group and row) is found once; conformations stay in the file. A handle
belongs to one process and is opened anew in others.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zoo._extras import require
from zoo.datasets._frames import CHUNK, Frames, chunks, join
from zoo.datasets._survey import check_keys
from zoo.errors import DataError, ZooError

_MAGIC = b"\x89HDF\r\n\x1a\n"
#: a column of words is kept for every frame only up to so many bytes
WORDS_BYTES = 256 << 20


def is_hdf5(path: Path) -> bool:
    """Whether a file starts as HDF5 does."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def open_file(path: Path) -> Any:
    """An HDF5 file, to be read.

    Raises:
        MissingExtraError: without h5py.
        DataError: if it is cut off or no HDF5.
    """
    h5py = require("h5py", extra="hdf5", package="h5py")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} can't be read as HDF5 ({error}); is it complete?") from error


def has(path: Path, test: Callable[[Any], bool]) -> bool:
    """Whether some group of an HDF5 file passes a test; False for other files."""
    if not is_hdf5(path):
        return False
    with told(str(path)), open_file(path) as file:
        found = [file.get(name) for name in list(file)[:3]]
        return any(test(group) for group in found if hasattr(group, "keys"))  # else an array


@contextmanager
def told(where: str) -> Iterator[None]:
    """Errors of h5py, and arrays that don't fit, as ours.

    Raises:
        DataError: in the place of anything that h5py raises.
    """
    try:
        yield
    except (ZooError, MemoryError):
        raise
    except Exception as error:  # damaged files make h5py raise whatever its code runs into
        raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error


class GroupedFrames(ABC):
    """The conformations of an HDF5 file.

    Args:
        path: the file.
        labels: what is read.
        keys: None as a label's name leaves it out; labels have no other names here.

    Attributes:
        skipped: what was left out, and why.
        columns: `group`, the number of a frame's group (frames of one molecule, say), and the words
            that describe it, unless there are so many frames that these would fill the memory.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], keys: Mapping[str, str | None]) -> None:
        check_keys(keys, labels)
        self.path = path
        self.labels = tuple(label for label in labels if keys.get(label, label) is not None)
        self.skipped: dict[str, int] = {}
        self._file: tuple[Any, int] | None = None
        self._groups: list[str] = []
        places: list[np.ndarray] = []
        sizes: list[np.ndarray] = []
        words: dict[str, list[str]] = {}
        with told(str(path)):
            for name in self._names():
                group = self._handle()[name]
                rows, atoms, more = self.survey(name, group)
                if not len(rows):
                    continue
                places.append(np.stack([np.full(len(rows), len(self._groups)), rows], axis=1))
                sizes.append(np.broadcast_to(atoms, len(rows)))
                self._groups.append(name)
                for key, value in {"name": name, **more}.items():
                    words.setdefault(key, []).append(value)
        if not places:
            raise DataError(f"{path} holds no conformations that could be used ({self.skipped})")
        self._places = np.concatenate(places)
        self.counts = np.concatenate(sizes).astype(np.int64)
        self.columns = {"group": self._places[:, 0].copy()}
        for key, values in words.items():
            table = np.array(values)
            if table.itemsize * len(self) <= WORDS_BYTES:
                self.columns[key] = table[self._places[:, 0]]

    @abstractmethod
    def survey(self, name: str, group: Any) -> tuple[np.ndarray, int, dict[str, str]]:
        """The rows of a group to use, the atoms of each, and words that describe them."""

    @abstractmethod
    def rows(self, group: Any, first: int, last: int) -> dict[str, Any]:
        """`numbers` (rows, n), `positions` (rows, n, 3), `charge`, and the labels of some rows."""

    def skip(self, why: str, count: int = 1) -> None:
        """Notes that conformations are left out."""
        if count:
            self.skipped[why] = self.skipped.get(why, 0) + count

    def __len__(self) -> int:
        return len(self.counts)

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One structure's arrays, under the names of a batch's fields."""
        return self.take(np.array([index])).sample(0)

    def take(self, indices: np.ndarray) -> Frames:
        """Some of the structures, in memory."""
        indices = np.asarray(indices, dtype=np.int64)
        if not len(indices):
            return self.take(np.zeros(1, dtype=np.int64)).take(indices)
        parts = [self._chunk(part) for part in chunks(indices, CHUNK)]
        return join(parts, {name: column[indices] for name, column in self.columns.items()})

    def _chunk(self, indices: np.ndarray) -> Frames:
        """Neighbours of one group are read at once."""
        wanted = self._places[indices]
        cuts = np.flatnonzero((np.diff(wanted[:, 0]) != 0) | (np.diff(wanted[:, 1]) < 1)) + 1
        found = []
        for run in np.split(wanted, cuts):
            first, last = int(run[0, 1]), int(run[-1, 1]) + 1
            if last - first > 4 * len(run):  # far apart: one by one
                found += [self._run(int(run[0, 0]), row[1:2]) for row in run]
            else:
                found.append(self._run(int(run[0, 0]), run[:, 1]))
        return join(found, {})

    def _run(self, number: int, rows: np.ndarray) -> Frames:
        name = self._groups[number]
        first, last = int(rows[0]), int(rows[-1]) + 1
        with told(f"{self.path}: {name}"):
            found = self.rows(self._handle()[name], first, last)
            chosen = {key: np.asarray(value)[rows - first] for key, value in found.items()}
            count, atoms = chosen["numbers"].shape
            if chosen["positions"].shape != (count, atoms, 3):
                raise ValueError(f"{atoms} elements, positions {chosen['positions'].shape}")
            flat = {"forces": (count * atoms, 3), "charges": (count * atoms,)}
            labels = {
                label: chosen[label].astype(np.float64).reshape(flat.get(label, (count,)))
                for label in self.labels
            }
        return Frames(
            counts=np.full(count, atoms, dtype=np.int64),
            numbers=chosen["numbers"].astype(np.int64).reshape(-1),
            positions=chosen["positions"].astype(np.float64).reshape(-1, 3),
            cell=np.zeros((count, 3, 3)),
            pbc=np.zeros((count, 3), dtype=bool),
            charge=chosen["charge"].astype(np.float64),
            spin=np.zeros(count),
            labels=labels,
        )

    def _names(self) -> list[str]:
        return sorted(self._handle())

    def _handle(self) -> Any:
        if self._file is None or self._file[1] != os.getpid():
            self._file = open_file(self.path), os.getpid()
        return self._file[0]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_file": None}
