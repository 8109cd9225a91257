"""Files that don't open because of some frames: the frames that can be read, one by one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from zoo.datasets import _extxyz
from zoo.datasets._frames import from_atoms
from zoo.datasets._labels import SHAPES
from zoo.datasets._survey import Keys
from zoo.datasets._units import parse as parse_units
from zoo.datasets._xyz_frame import parse
from zoo.datasets.dataset import AtomsDataset
from zoo.errors import DataError, ZooError


def salvage(
    path: Path,
    keys: Keys,
    units: Mapping[str, str],
    splits: Mapping[str, Any] | None,
) -> tuple[AtomsDataset, np.ndarray, dict[int, str]]:
    """Reads what can be read of a file of structures, into memory.

    A frame is left out if it can't be read by itself, or lacks a label that most others have.

    Args:
        path: extended XYZ, or what ASE reads.
        keys: label -> name in the file.
        units: of the file.
        splits: of the frames that are left.

    Returns:
        The frames that are left, their numbers in the file, and the reasons of the others.

    Raises:
        DataError: if the format has no frames of their own, or none can be read.
    """
    bad: dict[int, str] = {}
    good: list[tuple[int, Any, frozenset[str]]] = []
    table = parse_units(units)
    for number, frame, reason in _frames(path):
        if frame is None:
            bad[number] = reason
            continue
        try:
            good.append((number, frame, frozenset(from_atoms([frame], keys=keys).labels)))
        except ZooError as error:
            bad[number] = str(error).removeprefix("frame 0").lstrip(": ")
    votes = Counter(label for _, _, labels in good for label in labels)
    needed = {label for label in SHAPES if votes[label] * 2 > len(good)}
    kept = []
    for number, frame, labels in good:
        if needed - labels:
            bad[number] = f"it has no {', '.join(sorted(needed - labels))}"
        else:
            kept.append((number, frame))
    if not kept:
        raise DataError(f"{path}: none of its {len(bad)} frames can be read")
    keys = dict(keys) | {label: None for label in SHAPES if 0 < votes[label] * 2 <= len(good)}
    frames = from_atoms([frame for _, frame in kept], keys=keys, units=table, where=str(path))
    dataset = AtomsDataset(frames, splits=splits, source=str(path))
    return dataset, np.array([number for number, _ in kept]), bad


def _frames(path: Path) -> Iterator[tuple[int, Any, str]]:
    """Number, structure or None, and why there is none."""
    if path.suffix.lower() in _extxyz.SUFFIXES:
        yield from _xyz_frames(path)
        return
    try:
        structures = ase.io.read(str(path), index=":", do_not_split_by_at_sign=True)
    except MemoryError:
        raise
    except Exception as error:  # ASE's parsers raise whatever their code runs into
        raise DataError(
            f"{path} can't be read frame by frame: {type(error).__name__}: {error}"
        ) from error
    for number, frame in enumerate(structures):
        yield number, frame, ""


def _xyz_frames(path: Path) -> Iterator[tuple[int, Any, str]]:
    """Frames of an extended XYZ file; after damage the next line of a count is looked for."""
    lines = path.read_bytes().split(b"\n")
    place, number = 0, 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        end = _end(lines, place)
        raw = b"\n".join(lines[place:end]) + b"\n"
        try:
            frame = parse(raw, place + 1, "")
            if len(frame) != end - place - 2:
                raise DataError(f"line {place + 1}: the frame has {end - place - 2} lines of atoms")
            yield number, frame, ""
        except (ZooError, ValueError, IndexError) as error:
            yield number, None, str(error).lstrip(", ")
        place, number = end, number + 1


def _end(lines: list[bytes], start: int) -> int:
    """Where the frame that begins at `start` ends: before the next count, as announced or not."""
    if lines[start].strip().isdigit():
        announced = start + 2 + int(lines[start])
        if announced <= len(lines) and (announced >= len(lines) - 1 or _count(lines, announced)):
            return announced
    following = start + 1
    while following < len(lines) and not _count(lines, following):
        following += 1
    return following


def _count(lines: list[bytes], place: int) -> bool:
    """Whether a frame begins here: a number, and a comment that names its columns."""
    if not lines[place].strip().isdigit() or place + 1 >= len(lines):
        return False
    return b"Properties=" in lines[place + 1]
