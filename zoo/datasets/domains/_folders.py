"""Folders with one sub-folder per class, and one file per sample.

`<class>/<file>`, `<split>/<class>/<file>` or `<class>/<split>/<file>` (ModelNet), with the splits
train, val or test; or files without classes. Where no sub-folder says a class and every file is
called `<anything>_<whole number>`, some of those numbers more than once, the number is the class
(the published folders of HDM05, AFEW and radar signals). Names that begin with a dot are passed
over; files of other kinds are listed in `metadata["ignored_files"]`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import is_whole
from zoo.errors import DataError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Listing:
    """The files of a folder.

    Attributes:
        files: one per sample, in the order of classes, splits and names.
        classes: class of each file, or None where there are none.
        splits: split of each file, or None.
        others: files of other kinds.
    """

    files: list[Path] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def suffixes(path: Path) -> set[str]:
    """Suffixes of the files in a folder, at most three levels deep."""
    found: set[str] = set()
    for pattern in ("*", "*/*", "*/*/*"):
        found |= {file.suffix.lower() for file in path.glob(pattern) if _shown(file, path)}
    return found


def _shown(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    return file.is_file() and not any(part.startswith(".") for part in parts)


def listing(path: Path, kinds: tuple[str, ...]) -> Listing:
    """The files with one of the suffixes.

    Raises:
        DataError: for none of them, for files deeper than a class and a split, or for files with a
            class beside files without.
    """
    result = Listing()
    for file in sorted(path.rglob("*")):
        if not _shown(file, path):
            continue
        parts = list(file.relative_to(path).parts[:-1])
        if file.suffix.lower() not in kinds:
            result.others.append(str(file.relative_to(path)))
            continue
        named = [part for part in parts if part.lower() in SPLITS]
        classes = [part for part in parts if part.lower() not in SPLITS]
        if len(named) > 1 or len(classes) > 1:
            raise DataError(
                f"{file} lies deeper than a class and a split; expected {path.name}/<class>/ or "
                f"{path.name}/<train|val|test>/<class>/"
            )
        result.files.append(file)
        result.classes.append(classes[0] if classes else None)
        result.splits.append(SPLITS[named[0].lower()] if named else None)
    if not result.files:
        raise DataError(f"{path} has no {' or '.join(kinds)} files")
    for what, entries in (("class", result.classes), ("split", result.splits)):
        if None in entries and any(entries):
            raise DataError(
                f"{result.files[entries.index(None)]} belongs to no {what}, but other files do; "
                "move it into a sub-folder"
            )
    return result


def gathered(path: Path, found: Listing, arrays: dict[str, np.ndarray], kind: str) -> Raw:
    """Arrays of all files with their labels, splits and names."""
    raw = Raw(path, dict(arrays), kind)
    if found.classes[0] is not None:
        names = sorted({str(name) for name in found.classes})
        raw.arrays["y"] = np.array([names.index(str(name)) for name in found.classes])
        raw.classes = tuple(names)
    else:
        numbers = _numbers(found.files)
        if numbers is not None:
            raw.arrays["y"] = numbers
            raw.metadata["labels"] = "numbers at the end of the files' names"
    if found.splits[0] is not None:
        raw.arrays["split"] = np.array([str(name) for name in found.splits])
    raw.arrays["file"] = np.array([str(file.relative_to(path)) for file in found.files])
    if found.others:
        raw.metadata["ignored_files"] = found.others
    return raw


def _numbers(files: list[Path]) -> np.ndarray | None:
    """The numbers after the last underscore of the files' names, if they look like classes."""
    ends = [file.name.split(".")[0].rpartition("_")[2] for file in files]
    if not all(
        "_" in file.name.split(".")[0] and is_whole(end)
        for file, end in zip(files, ends, strict=True)
    ):
        return None
    numbers = np.array([int(end) for end in ends], dtype=np.int64)
    return numbers if len(np.unique(numbers)) < len(numbers) and numbers.min() >= 0 else None


def stacked(path: Path, found: Listing, read: Callable[[Path], np.ndarray], kind: str) -> Raw:
    """Files of one array each, all of one shape.

    Raises:
        DataError: naming the first file of another shape or type.
    """
    arrays = [read(file) for file in found.files]
    for file, array in zip(found.files, arrays, strict=True):
        if array.shape != arrays[0].shape or array.dtype != arrays[0].dtype:
            raise DataError(
                f"{file} has shape {array.shape} and type {array.dtype}, but {found.files[0].name} "
                f"has {arrays[0].shape} and {arrays[0].dtype}; make them alike"
            )
    return gathered(path, found, {"x": np.stack(arrays)}, kind)


def clouds(path: Path, found: Listing, read: Callable[[Path, Keys | None], Raw]) -> Raw:
    """Files of one cloud of points each.

    Raises:
        DataError: for files of which only some have features, faces or labels of points.
    """
    raws = [read(file, None) for file in found.files]
    for file, raw in zip(found.files, raws, strict=True):
        wires = "edges" in raw.arrays
        if set(raw.arrays) != set(raws[0].arrays) or wires:
            have = ", ".join(raw.arrays)
            raise DataError(
                f"{file} holds {have}, but {found.files[0].name} holds "
                f"{', '.join(raws[0].arrays)}; all files must hold the same, and no loose edges"
            )
    arrays: dict[str, np.ndarray] = {}
    for name in raws[0].arrays:
        parts = [raw.arrays[name] for raw in raws]
        if len({part.shape[1:] for part in parts}) > 1:
            shapes = sorted({part.shape[1:] for part in parts})
            raise DataError(
                f"{path}: {name} has {shapes[0]} entries in one file, {shapes[1]} in another"
            )
        arrays[name] = np.concatenate(parts)
    arrays["counts"] = np.array([len(raw.arrays["pos"]) for raw in raws])
    if "face_sizes" in arrays:
        arrays["face_counts"] = np.array([len(raw.arrays["face_sizes"]) for raw in raws])
    points = arrays.pop("y", None)
    result = gathered(path, found, arrays, raws[0].kind)
    if points is not None:
        if "y" in result.arrays:
            result.arrays["class"] = np.array([str(name) for name in found.classes])
            result.classes = None
        result.arrays["y"] = points
    result.metadata |= raws[0].metadata
    return result
