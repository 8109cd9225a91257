"""`zoo.datasets.convert`: any data set that opens, in another format, whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._base import RefusedDataError
from zoo.datasets._check.frame import Frame, to_frame
from zoo.datasets._convert import domains
from zoo.datasets._convert.salvage import salvage
from zoo.datasets._convert.writers import WRITERS, plain
from zoo.datasets._frames import join
from zoo.datasets._npz import save_npz
from zoo.datasets._open import open as open_dataset
from zoo.datasets._save_lmdb import save_lmdb
from zoo.errors import ConfigError, DataError, OutputError, ZooError

SHOWN = 5  # bad frames in an error message
SPLIT = "split"  # the column that says which split a frame belongs to
HOLDS_METADATA = (".npz", "")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion wrote.

    Attributes:
        path: the output.
        written: number of frames in it.
        skipped: number of each frame that was left out in the input, and why.
        notes: what the format can't hold, and how to give it when the file is opened.
        hash: SHA-256 of structures and labels, which opening the output gives again.
    """

    path: Path
    written: int
    skipped: Mapping[int, str]
    notes: tuple[str, ...] = ()
    hash: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "path": str(self.path),
            "written": self.written,
            "skipped": {str(k): v for k, v in self.skipped.items()},
            "notes": list(self.notes),
            "hash": self.hash,
        }


@dataclass
class Source:
    """A data set to convert, its frames' numbers in the file, and those that can't be read."""

    dataset: Any
    numbers: np.ndarray
    bad: dict[int, str] = field(default_factory=dict)


def convert(
    source: str | Path,
    output: str | Path,
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
    domain: str | None = None,
    trust_pickle: bool = False,
    shard_frames: int = 100_000,
    max_bad: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Writes a data set in another format; the output appears complete or not at all.

    Structures are written in eV and Å with every digit; the output is opened again and its hash
    compared with the input's before it takes its place.

    Args:
        source: what `zoo.datasets.open` opens.
        output: .npz, .extxyz, .xyz, .db, or a name without suffix: a folder of LMDB shards. Other
            domains than atoms are written as .npz.
        keys: as in `zoo.datasets.open`.
        units: as in `zoo.datasets.open`.
        splits: as in `zoo.datasets.open`; written as a column `split`.
        domain: as in `zoo.datasets.open`.
        trust_pickle: as in `zoo.datasets.open`; the output is no pickle.
        shard_frames: frames of an LMDB file.
        max_bad: frames that may be left out because they can't be read, lack a label that others
            have, or hold what no model takes. Each is named with its reason.
        overwrite: whether an existing output may be replaced.
        progress: called with (done, in all).

    Returns:
        What was written, left out, and can't be held by the format.

    Raises:
        DataError: for more than `max_bad` bad frames, or content that the format can't hold.
        OutputError: if the output exists or can't be written.
        ConfigError: for an unknown format.
    """
    output = Path(output)
    form = _form(output)
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; choose another name, or overwrite=True (--overwrite)")
    if not isinstance(max_bad, int) or isinstance(max_bad, bool) or max_bad < 0:
        raise ConfigError(f"max_bad is a whole number from 0 on, not {max_bad!r}")
    report = progress or (lambda done, total: None)
    options = {"keys": keys, "units": units, "splits": splits}
    found = _open(Path(source), options | {"domain": domain, "trust_pickle": trust_pickle}, max_bad)
    atoms = found.dataset.domain == "atoms"
    if not atoms and form != ".npz":
        raise ConfigError(f"samples of the domain {found.dataset.domain!r} are written as .npz")
    chosen = _sound(found, max_bad, report)
    part = found.dataset.take(chosen)
    with _Place(output) as place:
        if atoms:
            columns = _columns(found.dataset, chosen)
            write = _lmdb if form == "" else _npz if form == ".npz" else _rows
            write(part, place.path, columns, shard_frames, report)
            notes = [*_verified(place.path, part, columns), *_lost(found.dataset, form, columns)]
        else:
            domains.write(found.dataset, chosen, place.path)
            notes = list(domains.verified(place.path, found.dataset, part))
    return Conversion(
        path=output, written=len(part), skipped=found.bad, notes=tuple(notes), hash=part.hash
    )


def _form(output: Path) -> str:
    form = output.suffix.lower()
    if form not in ("", ".npz", *WRITERS):
        known = ", ".join([".npz", *WRITERS])
        raise ConfigError(f"{output}: write {known}, or a folder of LMDB shards (no suffix)")
    return form


def _open(source: Path, options: Mapping[str, Any], max_bad: int) -> Source:
    try:
        dataset = open_dataset(source, **options)
    except RefusedDataError as error:
        dataset = error.dataset  # its bad samples are found one by one
    except DataError:
        if not max_bad or not source.is_file():
            raise
        names, units = options["keys"] or {}, options["units"] or {}
        return Source(*salvage(source, names, units, options["splits"]))
    return Source(dataset, np.arange(len(dataset)))


def _sound(found: Source, max_bad: int, report: Progress) -> np.ndarray:
    """Indices of the frames that can be read and that a model can take; fills in `bad`."""
    chosen = []
    labels = found.dataset.labels
    for index, number in enumerate(found.numbers.tolist()):
        reason = _reason(found.dataset, index, labels)
        if reason:
            found.bad[number] = reason
        else:
            chosen.append(index)
        if index % 256 == 0:
            report(index, len(found.numbers))
    found.bad = dict(sorted(found.bad.items()))
    if len(found.bad) > max_bad:
        shown = "; ".join(f"frame {k}: {why}" for k, why in list(found.bad.items())[:SHOWN])
        more = f"; and {len(found.bad) - SHOWN} more" if len(found.bad) > SHOWN else ""
        raise DataError(
            f"{found.dataset.source}: {len(found.bad)} bad frames, {max_bad} allowed: {shown}"
            f"{more}; remove them, or leave out up to N with --max-bad N"
        )
    if not chosen:
        raise DataError(f"{found.dataset.source}: no frame is left")
    return np.array(chosen, dtype=np.int64)


def _reason(dataset: Any, index: int, labels: frozenset[str]) -> str:
    if dataset.domain != "atoms":
        return domains.reason(dataset, index)
    try:
        frame = to_frame(dataset[index], labels)
    except ZooError as error:
        return str(error)
    if frame.refusal:
        return frame.refusal.removeprefix("structure 0").lstrip(", :")
    for name in sorted(labels):
        if frame.label(name) is None:
            return f"{name} is NaN or infinite"
    return ""


def _columns(dataset: Any, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of the chosen frames, and which split they are in."""
    columns = {name: column[chosen] for name, column in dataset.columns.items()}
    if dataset.splits:
        if SPLIT in columns:
            raise DataError(
                f"{dataset.source} has a column {SPLIT!r} already; leave out splits= and open the "
                "output with splits={'kind': 'assigned', 'key': 'split'}"
            )
        names = np.full(len(dataset), "none", dtype=f"<U{max(map(len, [*dataset.splits, 'none']))}")
        for name, indices in dataset.splits.items():
            names[indices] = name
        columns[SPLIT] = names[chosen]
    return columns


def _npz(
    part: Any, path: Path, columns: Mapping[str, np.ndarray], shard_frames: int, report: Progress
) -> None:
    save_npz(path, join(list(part.chunks()), columns), part.metadata)


def _lmdb(
    part: Any, path: Path, columns: Mapping[str, np.ndarray], shard_frames: int, report: Progress
) -> None:
    def told(text: str) -> None:  # "2000 of 5000 frames"
        done, _, total, _ = text.split()
        report(int(done), int(total))

    save_lmdb(path, _WithColumns(part, columns), shard_frames=shard_frames, progress=told)


@dataclass
class _WithColumns:
    """A data set with other columns."""

    part: Any
    columns: Mapping[str, np.ndarray]

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every frame has."""
        return frozenset(self.part.labels)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known about the data."""
        return dict(self.part.metadata)

    def __len__(self) -> int:
        return len(self.part)

    def chunks(self) -> Iterator[Any]:
        """The frames, some at a time."""
        return iter(self.part.chunks())


def _rows(
    part: Any, path: Path, columns: Mapping[str, np.ndarray], shard_frames: int, report: Progress
) -> None:
    def rows() -> Iterator[tuple[Frame, dict[str, Any]]]:
        for index in range(len(part)):
            frame = to_frame(part[index], part.labels)
            yield frame, {name: plain(column[index], name) for name, column in columns.items()}
            if index % 256 == 0:
                report(index, len(part))

    WRITERS[path.suffix.lower()](path, rows())


class _Place:
    """A name beside the output that takes its place when all went well, and vanishes if not."""

    def __init__(self, output: Path) -> None:
        self.output = output
        mark = uuid.uuid4().hex[:12]
        self.path = output.parent / f".{output.stem}.{mark}{output.suffix}"

    def __enter__(self) -> "_Place":
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.output} can't be written: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self._replace()
        except OSError as problem:
            raise OutputError(f"{self.output} can't be written: {problem.strerror}") from problem
        finally:
            if self.path.is_dir():
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                self.path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ZooError):
            raise OutputError(f"{self.output} can't be written: {error.strerror}") from error

    def _replace(self) -> None:
        if self.output.is_dir():  # no system call replaces a folder that isn't empty
            old = self.path.with_name(f"{self.path.name}.old")
            os.rename(self.output, old)
            os.rename(self.path, self.output)
            shutil.rmtree(old, ignore_errors=True)
        else:
            if self.path.is_file():
                with self.path.open("rb") as stream:
                    os.fsync(stream.fileno())
            os.replace(self.path, self.output)


def _verified(path: Path, part: Any, columns: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Opens the output and compares it with what was to be written.

    Yields:
        Columns that come back otherwise.

    Raises:
        DataError: if structures or labels do.
    """
    again = open_dataset(path)
    if again.hash != part.hash:
        missing = sorted(set(part.labels) - set(again.labels))
        what = f"lacks {', '.join(missing)}" if missing else "has other numbers"
        raise DataError(
            f"{path.suffix or 'LMDB'} can't hold this data set (what it reads back {what}); write "
            ".npz or a folder of LMDB shards"
        )
    stored = again.columns
    for name, column in columns.items():
        if name not in stored:
            yield f"the column {name!r} is not kept by {path.suffix}; .npz and LMDB keep it"
        elif stored[name].tolist() != column.tolist():
            yield (
                f"the column {name!r} is read back otherwise from {path.suffix} (words that look "
                "like numbers); .npz and LMDB keep it"
            )


def _lost(dataset: Any, form: str, columns: Mapping[str, np.ndarray]) -> Iterator[str]:
    if SPLIT in columns and dataset.splits:
        values = {name: [name] for name in dataset.splits}
        yield (
            f"splits are kept as the column {SPLIT!r}; open the output with splits="
            f'{{"kind": "assigned", "key": "{SPLIT}", "values": {values}}}'
        )
    told = sorted(k for k, v in dataset.metadata.items() if v and k != "units")
    if form not in HOLDS_METADATA and told:
        yield f"{form} holds no metadata; not kept: {', '.join(told)} (.npz and LMDB keep it)"
