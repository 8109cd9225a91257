"""Sharded LMDB: data sets beyond memory, of structures in eV and Å.

A folder with `meta.json` (what it holds: frames, labels, units, the layout of a record, the size
and SHA-256 of every file), `index.npz` (atoms, place in its shard and columns of every frame) and
`data.0000.lmdb`, `data.0001.lmdb`, ... The keys of a shard are its frames' numbers within it, from
0 on, as eight bytes, most significant first; a value is a record (`zoo.datasets._record`). Nothing
is pickled. Any LMDB library reads the shards; here they are read at the places in the index.

The folder is written under another name and renamed when it is complete, so a writer that was
stopped leaves nothing that opens.
"""

import bisect
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._archive import read_npz
from zoo.datasets._frames import Frames, chunks, join
from zoo.datasets._handle import Handle
from zoo.datasets._labels import SHAPES
from zoo.datasets._record import decode, layout, size
from zoo.datasets._survey import check_keys
from zoo.errors import ConfigError, DataError, IntegrityError

FORMAT = "geometric-zoo lmdb 1"
META, INDEX = "meta.json", "index.npz"
WRITING = "writing"  # a file in a folder that is not finished
OWN_UNITS = {"energy": "eV", "length": "angstrom"}
META_LIMIT = 64 << 20
VERIFIED_BYTES = 256 << 20  # shards of up to so many bytes together are hashed when they are opened


def is_folder(path: Path) -> bool:
    """Whether a folder was written, or begun, by `save_lmdb`."""
    return (path / META).is_file() or (path / WRITING).is_file()


def read(path: Path, keys: Mapping[str, str | None]) -> tuple["LmdbFrames", dict[str, Any]]:
    """Opens a folder.

    Args:
        path: the folder.
        keys: None as a label's name leaves the label out; labels have no other names here.

    Returns:
        The frames and the metadata.

    Raises:
        DataError: if it is incomplete or of another layout.
        IntegrityError: if a file was changed.
        ConfigError: for a key that isn't the label's own name.
    """
    meta = _meta(path)
    left_out = _left_out(path, keys, meta["labels"])
    total = sum(shard["bytes"] for shard in meta["shards"])
    handles = []
    for entry in (meta["index"], *meta["shards"]):
        handle = Handle(path / entry["file"])
        if handle.size != entry["bytes"]:
            raise IntegrityError(
                f"{handle.path} has {handle.size} bytes, but {META} says {entry['bytes']}; "
                "restore it, or write the folder again with zoo.datasets.save_lmdb"
            )
        if entry is meta["index"] or total <= VERIFIED_BYTES:
            _verify(handle.path, entry["sha256"])
        handles.append(handle)
    frames = LmdbFrames(path, meta, handles[1:], read_npz(path / INDEX), left_out)
    return frames, meta["metadata"]


def _left_out(path: Path, keys: Mapping[str, str | None], labels: Sequence[str]) -> set[str]:
    check_keys(keys, tuple(SHAPES))
    for label, key in keys.items():
        if key is not None and (key != label or label not in labels):
            raise ConfigError(
                f"{path} has no {key!r} to take as {label}: its labels are {', '.join(labels)}, "
                "under these names"
            )
    return {label for label, key in keys.items() if key is None}


class LmdbFrames:
    """The frames of a folder of shards, read when they are asked for.

    Args:
        path: the folder.
        meta: its `meta.json`.
        shards: its data files.
        index: its `index.npz`.
        left_out: labels that are not returned.
    """

    def __init__(
        self,
        path: Path,
        meta: Mapping[str, Any],
        shards: Sequence[Handle],
        index: Mapping[str, np.ndarray],
        left_out: Collection[str] = (),
    ) -> None:
        self._path, self._shards = path, list(shards)
        self._digests = [shard["sha256"] for shard in meta["shards"]]
        self._stored: tuple[str, ...] = tuple(meta["labels"])
        self._left_out = frozenset(left_out)
        self.labels = tuple(label for label in self._stored if label not in self._left_out)
        self._ends = np.cumsum([shard["frames"] for shard in meta["shards"]]).tolist()
        self.counts = _whole(path, index, "counts", meta["frames"])
        self._places = _whole(path, index, "places", meta["frames"])
        self.columns = {
            name.removeprefix("columns."): array
            for name, array in index.items()
            if name.startswith("columns.")
        }
        for name, column in self.columns.items():
            if column.shape != (meta["frames"],):
                raise DataError(f"{path}: the column {name!r} has shape {column.shape}")

    def __len__(self) -> int:
        return len(self.counts)

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One structure's arrays, under the names of a batch's fields."""
        index = int(index)
        shard = self._shards[bisect.bisect_right(self._ends, index)]
        raw = shard.read(int(self._places[index]), size(int(self.counts[index]), self._stored))
        fields = decode(raw, self._stored, f"{shard.path}: frame {index}")
        for label in self._left_out & fields.keys():
            del fields[label]
        return fields

    def take(self, indices: np.ndarray) -> Frames:
        """Some of the structures, in memory."""
        columns = {name: column[indices] for name, column in self.columns.items()}
        if not len(indices):
            one = self.take(np.zeros(1, dtype=np.int64))
            return one.take(np.zeros(0, dtype=np.int64))
        parts = [self._stack([self.sample(k) for k in part]) for part in chunks(indices)]
        return join(parts, columns)

    def verify(self) -> None:
        """Compares every shard with its digest.

        Raises:
            IntegrityError: for one that was changed.
        """
        for shard, digest in zip(self._shards, self._digests, strict=True):
            _verify(shard.path, digest)

    def _stack(self, samples: Sequence[Mapping[str, np.ndarray]]) -> Frames:
        arrays = {name: np.concatenate([s[name] for s in samples]) for name in samples[0]}
        return Frames(
            counts=np.array([len(s["pos"]) for s in samples], dtype=np.int64),
            numbers=arrays["atomic_numbers"],
            positions=arrays["pos"],
            cell=arrays["cell"],
            pbc=arrays["pbc"],
            charge=arrays["charge"],
            spin=arrays["spin"],
            labels={label: arrays[label] for label in self.labels},
        )


def _verify(path: Path, digest: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise IntegrityError(
            f"{path} has sha256 {found}, but {META} says {digest}: it was changed; restore it"
        )


def _meta(path: Path) -> dict[str, Any]:
    file = path / META
    if not file.is_file():
        raise DataError(
            f"{path} has no {META}: it was never finished; write it again with "
            "zoo.datasets.save_lmdb"
        )
    try:
        if file.stat().st_size > META_LIMIT:
            raise DataError(f"{file} is larger than {META_LIMIT} bytes; it is damaged")
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} can't be read: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise DataError(f"{file} has the format {str(found)[:60]!r}; this release reads {FORMAT!r}")
    wrong = _wrong(meta)
    if wrong:
        raise DataError(f"{file}: {wrong}; it is damaged")
    return meta


def _wrong(meta: Mapping[str, Any]) -> str:
    """What is ill-formed in a `meta.json`, in words; empty if nothing is."""
    labels, shards = meta.get("labels"), meta.get("shards")
    if not isinstance(labels, list) or any(label not in SHAPES for label in labels):
        return f"labels must be some of {', '.join(SHAPES)}"
    if len(set(labels)) < len(labels):
        return "labels has one twice"
    if meta.get("record") != layout(labels) or meta.get("units") != OWN_UNITS:
        return "its record or its units are not those of this format"
    if not isinstance(meta.get("metadata"), dict):
        return "metadata must be a mapping"
    if not isinstance(shards, list) or not shards:
        return "shards must be a list"
    for entry in (meta.get("index"), *shards):
        if not isinstance(entry, dict) or not _is_entry(entry):
            return "every file needs file, bytes and sha256"
    if any(not _is_count(shard.get("frames")) for shard in shards):
        return "every shard needs frames"
    if not _is_count(meta.get("frames")) or meta["frames"] != sum(s["frames"] for s in shards):
        return "frames is not the sum over the shards"
    return ""


def _is_entry(entry: Mapping[str, Any]) -> bool:
    name, digest = entry.get("file"), entry.get("sha256")
    return (
        isinstance(name, str)
        and Path(name).name == name
        and isinstance(digest, str)
        and _is_count(entry.get("bytes"))
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _whole(path: Path, index: Mapping[str, np.ndarray], name: str, frames: int) -> np.ndarray:
    array = index.get(name, np.zeros(0))
    if array.shape != (frames,) or array.dtype.kind not in "iu" or (array < 0).any():
        raise DataError(f"{path / INDEX}: {name} must be {frames} whole numbers; it is damaged")
    return array.astype(np.int64)
