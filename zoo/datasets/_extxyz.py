"""Extended XYZ files: surveyed in one pass, then read frame by frame where they are large.

The pass keeps the place of each frame and the plain values of its comment line, never the atoms, so
that a file of any size opens in little memory. A file below `STREAM_BYTES` is then read into
memory, a larger one stays where it is; the samples are the same.
"""

import itertools
from array import array
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.datasets._frames import Frames
from zoo.datasets._handle import Handle
from zoo.datasets._lazy import LazyFrames
from zoo.datasets._survey import Keys, Survey
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import DEFAULT, Raw, comment, parse, properties, value
from zoo.errors import DataError

SUFFIXES = frozenset({".extxyz", ".xyz"})
STREAM_BYTES = 64 << 20  # files from here on are not read into memory
MAX_COUNT_LINE = 64  # bytes of a line that holds the number of atoms
MAX_COMMENT = 1 << 24
_LINES = 4096  # lines of atoms read at once
_PER_FRAME = frozenset({"Lattice", "pbc", "Properties"})


def read(path: Path, keys: Keys, units: Units, *, stream: bool | None = None) -> Any:
    """Opens a file.

    Args:
        path: the file.
        keys: label -> name in the file.
        units: of the file.
        stream: whether the frames stay in the file; by its size if None.

    Returns:
        `Frames` or `ExtxyzFrames`.

    Raises:
        DataError: naming the frame and the line that can't be read.
    """
    frames = ExtxyzFrames(path, keys, units)
    if stream if stream is not None else path.stat().st_size >= STREAM_BYTES:
        return frames
    return frames.in_memory()


class ExtxyzFrames(LazyFrames):
    """The frames of an extended XYZ file, read when they are asked for.

    Args:
        path: the file.
        keys: label -> name in the file.
        units: of the file.
    """

    def __init__(self, path: Path, keys: Keys, units: Units) -> None:
        self._file = Handle(path)
        survey = Survey(keys, str(path))
        offsets, lines = array("q"), array("q")
        try:
            with path.open("rb", buffering=1 << 20) as stream:
                for offset, line in _scan(stream, path, survey):
                    offsets.append(offset)
                    lines.append(line)
                offsets.append(stream.tell())
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}") from error
        self._offsets = np.frombuffer(offsets, np.int64)
        self._lines = np.frombuffer(lines, np.int64)
        super().__init__(survey.finish(), keys, units)

    def raw(self, index: int) -> Raw:
        """One frame as the file states it."""
        first, last = int(self._offsets[index]), int(self._offsets[index + 1])
        path = self._file.path
        raw = self._file.read(first, last - first)
        head = raw.split(b"\n", 1)[0].strip()
        if not head.isdigit() or int(head) != self.counts[index]:
            raise DataError(f"{path} was changed since it was opened; open it again")
        return parse(raw, int(self._lines[index]), f"{path}: frame {index}")

    def name(self, index: int) -> str:
        """The file, the frame and its first line."""
        return f"{self._file.path}: frame {index} (line {self._lines[index]})"

    def in_memory(self) -> Frames:
        """All frames as arrays."""
        return replace(self.take(np.arange(len(self))), columns=self._found.columns)


def _scan(stream: BinaryIO, path: Path, survey: Survey) -> Iterable[tuple[int, int]]:
    """Reports every frame to the survey; yields where it starts and in which line."""
    offset, line = 0, 1
    for number in itertools.count():
        header = stream.readline(MAX_COUNT_LINE)
        if not header.strip():
            _only_blank(header, stream, path, line)
            stream.seek(offset)
            return
        count = _count(header, path, line)
        where = f"{path}: frame {number}, line {line + 1}"
        text = stream.readline(MAX_COMMENT)
        if not text.endswith(b"\n") and (count or len(text) == MAX_COMMENT):
            raise DataError(f"{where}: the file ends here, or this is no comment line")
        size = len(header) + len(text) + _skip(stream, count, f"{path}: frame {number}", line)
        _report(survey, count, text, where)
        yield offset, line
        offset, line = offset + size, line + 2 + count


def _only_blank(header: bytes, stream: BinaryIO, path: Path, line: int) -> None:
    """ASE stops at a blank line; what comes after it would be lost without a word."""
    while header:
        if header.strip():
            raise DataError(
                f"{path}, line {line}: a blank line stands between frames; remove it (the number "
                "of atoms is expected there)"
            )
        header = stream.readline(MAX_COUNT_LINE)


def _count(header: bytes, path: Path, line: int) -> int:
    word = header.strip()
    if not word.isdigit() or not header.endswith((b"\n", word)):
        shown = header[:40].decode("utf-8", "replace").strip()
        raise DataError(
            f"{path}, line {line}: expected the number of atoms of a frame, found {shown!r}"
        )
    return int(word)


def _skip(stream: BinaryIO, count: int, where: str, line: int) -> int:
    """Passes over the atoms of a frame; returns their bytes."""
    size, left = 0, count
    while left:
        lines = list(itertools.islice(stream, min(left, _LINES)))
        left -= len(lines)
        size += sum(map(len, lines))
        if not lines:
            raise DataError(
                f"{where}, line {line}: {count} atoms are announced but the file ends after "
                f"{count - left}"
            )
    return size


def _report(survey: Survey, count: int, text: bytes, where: str) -> None:
    try:
        found = comment(text.decode("utf-8"), where)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: this is no UTF-8 text ({error})") from error
    names = properties(str(found.get("Properties", DEFAULT)), where)
    lattice = "Lattice" in found
    pbc = value("pbc", found["pbc"], where) if "pbc" in found else lattice
    info = {
        name: text if name in survey.used else value(name, text, where)
        for name, text in found.items()
        if name not in _PER_FRAME
    }
    others = [name for name, _, _ in names if name not in ("numbers", "symbols", "positions")]
    directions = np.asarray(pbc)  # what is no direction is refused when the frame is read
    periodic = directions.dtype.kind in "bi" and bool(directions.all())
    survey.add(count, info, others, periodic=periodic)
