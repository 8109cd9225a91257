"""Writing sharded LMDB, see `zoo.datasets._lmdb`."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from zoo._extras import require
from zoo.datasets._frames import Frames, chunks, from_atoms
from zoo.datasets._lmdb import FORMAT, INDEX, META, OWN_UNITS, WRITING
from zoo.datasets._pages import Pages
from zoo.datasets._record import encode, layout
from zoo.errors import ConfigError, DataError, OutputError

START_BYTES = 1 << 24  # of a shard's map, which grows as it is filled


class Chunked(Protocol):
    """What can be written: an `AtomsDataset`."""

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every frame has."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known about the data."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Plain values of every frame."""

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[Frames]:
        """The frames, some at a time."""


def save_lmdb(
    path: str | Path,
    frames: Chunked | Frames | Sequence[Atoms],
    *,
    shard_frames: int = 100_000,
    metadata: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Writes a data set that need not fit into memory; `zoo.datasets.open(path)` opens it.

    Args:
        path: a folder that doesn't exist yet. It appears complete or not at all.
        frames: a data set (streamed), or structures in ASE's units. Kept are the labels, charge,
            spin and columns, all exactly; splits are not.
        shard_frames: frames of a file.
        metadata: what JSON can hold; a data set's own if None.
        progress: is told about every shard that is done.

    Returns:
        The path.

    Raises:
        ConfigError: for a wrong `shard_frames`, or metadata that JSON can't hold.
        DataError: for no frames, or a label that some frames lack.
        OutputError: if the folder exists, or can't be written.
        MissingExtraError: without the extra `lmdb`.
    """
    lmdb = require("lmdb", extra="lmdb", package="lmdb")
    if not isinstance(shard_frames, int) or isinstance(shard_frames, bool) or shard_frames < 1:
        raise ConfigError(f"shard_frames is a whole number from 1 on, not {shard_frames!r}")
    path = Path(path)
    source = _source(frames)
    described = dict(source.metadata if metadata is None else metadata)
    try:
        json.dumps(described)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"metadata must be plain numbers, words, lists, dicts: {error}"
        ) from error
    if not len(source):
        raise DataError("there are no frames to write; is the split empty?")
    if path.exists():
        raise OutputError(f"{path} exists already; remove it or choose another folder")
    try:
        with _partial(path) as folder:
            meta = _write(lmdb, folder, source, shard_frames, progress or (lambda _: None))
            text = json.dumps(meta | {"metadata": described}, indent=1, sort_keys=True)
            _write_file(folder / META, text.encode())
            (folder / WRITING).unlink()
            os.rename(folder, path)  # refused if another writer was faster
            _sync(path.parent)
    except (OSError, lmdb.Error) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{path} can't be written ({error}); choose a folder that can be made, is writable "
            "and has space"
        ) from error
    return path


class _Whole:
    """Frames in memory as something that comes in chunks."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.labels, self.columns = frozenset(frames.labels), frames.columns
        self.metadata: Mapping[str, Any] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def chunks(self) -> Iterator[Frames]:
        return map(self._frames.take, chunks(np.arange(len(self))))


def _source(frames: Chunked | Frames | Sequence[Atoms]) -> Chunked:
    if isinstance(frames, Frames):
        return _Whole(frames)
    if isinstance(frames, Sequence):
        return _Whole(from_atoms(frames))
    if not hasattr(frames, "chunks"):
        raise ConfigError(
            "frames must be a data set of atoms or a list of ase.Atoms, not "
            f"{type(frames).__name__}"
        )
    return frames


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write into; those that stopped writers left are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError), (left / WRITING).open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living writer holds it
            shutil.rmtree(left, ignore_errors=True)
    folder = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    folder.mkdir()
    try:
        with (folder / WRITING).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # ends with the process
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    lmdb: Any, folder: Path, source: Chunked, shard_frames: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Shards and index; returns `meta.json` without the metadata."""
    labels = sorted(source.labels)
    total = len(source)
    shards: list[dict[str, Any]] = []
    counts: list[np.ndarray] = []
    places: list[np.ndarray] = []
    records = _records(source, labels, counts)
    while sum(shard["frames"] for shard in shards) < total:
        done = sum(shard["frames"] for shard in shards)
        number = min(shard_frames, total - done)
        file = folder / f"data.{len(shards):04d}.lmdb"
        _write_shard(lmdb, file, records, number)
        places.append(np.array([place for _, place, _ in Pages(file).items()], dtype=np.int64))
        shards.append(_entry(file) | {"frames": number})
        progress(f"{done + number} of {total} frames")
    index = {"counts": np.concatenate(counts), "places": np.concatenate(places)}
    index |= {f"columns.{name}": column for name, column in source.columns.items()}
    with (folder / INDEX).open("wb") as stream:
        np.savez(stream, allow_pickle=False, **index)
        stream.flush()
        os.fsync(stream.fileno())
    return {
        "format": FORMAT,
        "units": OWN_UNITS,
        "frames": total,
        "labels": labels,
        "record": layout(labels),
        "shards": shards,
        "index": _entry(folder / INDEX),
    }


def _records(source: Chunked, labels: Sequence[str], counts: list[np.ndarray]) -> Iterator[bytes]:
    for part in source.chunks():
        counts.append(part.counts)
        yield from encode(part, labels)


def _write_shard(lmdb: Any, file: Path, records: Iterator[bytes], number: int) -> None:
    """`number` records in order; the map doubles whenever it is full."""
    size = START_BYTES
    environment = lmdb.open(str(file), subdir=False, lock=False, map_size=size, sync=False)
    try:
        for first in range(0, number, 256):
            batch = [
                (key.to_bytes(8, "big"), next(records))
                for key in range(first, min(first + 256, number))
            ]
            while True:
                try:
                    with environment.begin(write=True) as transaction:
                        for key, record in batch:
                            transaction.put(key, record, append=True)
                    break
                except lmdb.MapFullError:
                    size *= 2
                    environment.set_mapsize(size)
        environment.sync(True)
    finally:
        environment.close()


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": digest}


def _write_file(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
