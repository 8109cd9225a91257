"""Several stores of frames as one, and extended XYZ files inside a zip archive."""

import bisect
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo.datasets._extxyz import _scan
from zoo.datasets._frames import Frames, join
from zoo.datasets._lazy import LazyFrames, Store
from zoo.datasets._survey import Keys, Survey
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import Raw, parse
from zoo.errors import DataError


class Joined:
    """The frames of several stores, one store after the other.

    Args:
        parts: all with the same labels.
        columns: of all frames (F,).
        less: what is subtracted from the energies (F,), in double precision.
        where: for messages.

    Raises:
        DataError: for parts with different labels.
    """

    def __init__(
        self,
        parts: Sequence[Store],
        columns: Mapping[str, np.ndarray],
        *,
        less: np.ndarray | None = None,
        where: str = "",
    ) -> None:
        self._parts, self._less = list(parts), less
        self.columns = dict(columns)
        self.labels = tuple(parts[0].labels)
        for part in parts:
            if set(part.labels) != set(self.labels):
                raise DataError(
                    f"{where}: its files hold different labels, {sorted(self.labels)} and "
                    f"{sorted(part.labels)}; leave the others out with keys={{...: None}}"
                )
        self.counts = np.concatenate([part.counts for part in parts])
        self._ends = np.cumsum([len(part) for part in parts]).tolist()

    def __len__(self) -> int:
        return len(self.counts)

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One structure's arrays, under the names of a batch's fields."""
        which = bisect.bisect_right(self._ends, index)
        first = self._ends[which - 1] if which else 0
        fields = self._parts[which].sample(index - first)
        if self._less is not None and "energy" in fields:
            fields["energy"] = fields["energy"] - self._less[index]
        return fields

    def take(self, indices: np.ndarray) -> Frames:
        """Some of the structures, in memory."""
        indices = np.asarray(indices, dtype=np.int64)
        if not len(indices):
            return self.take(np.zeros(1, dtype=np.int64)).take(indices)
        owner = np.searchsorted(self._ends, indices, side="right")
        runs = np.split(np.arange(len(indices)), np.flatnonzero(np.diff(owner)) + 1)
        found = []
        for run in runs:
            which = int(owner[run[0]])
            first = self._ends[which - 1] if which else 0
            found.append(self._parts[which].take(indices[run] - first))
        whole = join(found, {name: column[indices] for name, column in self.columns.items()})
        if self._less is None or "energy" not in whole.labels:
            return whole
        energy = whole.labels["energy"] - self._less[indices]
        return replace(whole, labels={**whole.labels, "energy": energy})


class ZippedXyz(LazyFrames):
    """The frames of the extended XYZ files in a zip archive, read when they are asked for.

    Args:
        path: the archive.
        keys: label -> name in the files.
        name: of the column that holds the names of the files, without their suffix.

    Raises:
        DataError: for a damaged archive or file, or one without such files.
    """

    def __init__(self, path: Path, keys: Keys, name: str) -> None:
        self._path = path
        self._open: tuple[zipfile.ZipFile, int] | None = None
        self._held: tuple[int, bytes] = (-1, b"")
        survey = Survey(keys, str(path))
        owners: list[int] = []
        spans: list[tuple[int, int, int]] = []
        names = [n for n in self._archive().namelist() if n.endswith((".extxyz", ".xyz"))]
        if not names:
            raise DataError(f"{path} holds no .extxyz files")
        self._names = sorted(names)
        for number, member in enumerate(self._names):
            data = self._member(number)
            stream = io.BytesIO(data)
            found = list(_scan(stream, path / member, survey))
            ends = [offset for offset, _ in found[1:]] + [stream.tell()]
            owners += [number] * len(found)
            spans += [(a, b, line) for (a, line), b in zip(found, ends, strict=True)]
        self._owner, self._spans = np.array(owners), np.array(spans, dtype=np.int64)
        super().__init__(survey.finish(), keys, Units())
        stems = np.array([Path(member).stem for member in self._names])
        self.columns = {**self.columns, name: stems[self._owner]}

    def raw(self, index: int) -> Raw:
        """One frame as its file states it."""
        number = int(self._owner[index])
        first, last, line = (int(n) for n in self._spans[index])
        return parse(self._member(number)[first:last], line, self.name(index))

    def name(self, index: int) -> str:
        """The archive, the file in it and the frame."""
        return f"{self._path}: {self._names[self._owner[index]]}: frame {index}"

    def _archive(self) -> zipfile.ZipFile:
        if self._open is None or self._open[1] != os.getpid():
            try:
                self._open = zipfile.ZipFile(self._path), os.getpid()
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(f"{self._path} is no complete zip archive: {error}") from error
        return self._open[0]

    def _member(self, number: int) -> bytes:
        if self._held[0] != number:
            name = self._names[number]
            try:
                self._held = number, self._archive().read(name)
            except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
                raise DataError(f"{self._path}: {name} can't be read: {error}") from error
        return self._held[1]

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_open": None, "_held": (-1, b"")}
