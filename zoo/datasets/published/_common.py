"""What the readers of published sets share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._frames import Frames
from zoo.datasets._labels import SHAPES
from zoo.datasets._lazy import Store
from zoo.datasets._survey import check_keys
from zoo.errors import DataError, nearest

Keys = Mapping[str, str | None]


@dataclass(frozen=True)
class Found:
    """What a reader found.

    Attributes:
        frames: in eV and Å.
        metadata: what is known about them, such as reference energies of the elements.
        splits: their published division, as `zoo.datasets.open` takes it.
    """

    frames: Store
    metadata: dict[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reader:
    """How a published set is read.

    Attributes:
        read: the folder or file, settings and `keys` -> what is there.
        sign: whether a file or folder is of this layout, from its name and first bytes.
        usual: settings for files that are opened by their path.
        check_splits: refuses divisions that would flatter a model on this set.
    """

    read: Callable[[Path, Mapping[str, Any], Keys], Found]
    sign: Callable[[Path], bool] = lambda _: False
    usual: Mapping[str, Any] = field(default_factory=dict)
    check_splits: Callable[[Mapping[str, Any]], None] = lambda _: None


def relabelled(frames: Frames, keys: Keys, where: str) -> Frames:
    """Frames whose labels are chosen by `keys`: label -> a label or column; None leaves it out.

    Raises:
        ConfigError: for an unknown label.
        DataError: for a name that the set doesn't have.
    """
    check_keys(keys, tuple(SHAPES))
    labels = dict(frames.labels)
    numeric = {n: c for n, c in frames.columns.items() if c.dtype.kind in "iuf"}
    known = {**numeric, **frames.labels}
    for label, key in keys.items():
        if key is None:
            labels.pop(label, None)
        elif key not in known:
            raise DataError(
                f"{where} has no {key!r} to take as {label}: {nearest(key, known)} "
                f"(all of them: {', '.join(known)})"
            )
        else:
            labels[label] = known[key].astype(np.float64)
    return replace(frames, labels={name: labels[name] for name in SHAPES if name in labels})


def drawn(count: int, sizes: Mapping[str, int], *, seed: int, whole: int) -> dict[str, Any]:
    """A division by a permutation of NumPy's older generator, as most authors draw it.

    Args:
        count: number of frames.
        sizes: how many of them each part gets, in order; the last one gets the rest.
        seed: of `numpy.random.RandomState`.
        whole: the number of frames for which the sizes are meant; a smaller set is divided in the
            same proportions, with one frame of each part at least.
    """
    order = np.random.RandomState(seed).permutation(count)
    names, rest = list(sizes), count
    parts: dict[str, np.ndarray] = {}
    first = 0
    for place, name in enumerate(names):
        last = place == len(names) - 1
        size = sizes[name] if count >= whole else max(count * sizes[name] // whole, 1)
        size = rest if last else min(size, max(rest - (len(names) - 1 - place), 0))
        parts[name] = np.sort(order[first : first + size])
        first, rest = first + size, rest - size
    return {"kind": "index", "indices": parts}


def one_file(place: Path, pattern: str, what: str) -> Path:
    """The file itself, or the only one of a folder that fits a pattern.

    Raises:
        DataError: for none, or several.
    """
    if place.is_file():
        return place
    found = sorted(place.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:4]) or "none"
        raise DataError(f"{place} should hold one {pattern} ({what}); found {names}")
    return found[0]


def per_element(values: Mapping[int, float], factor: float = 1.0) -> dict[str, float]:
    """Reference energies by chemical symbol, in eV."""
    from ase.data import chemical_symbols

    return {chemical_symbols[z]: value * factor for z, value in values.items()}


def text_lines(path: Path) -> list[str]:
    """The lines of a text.

    Raises:
        DataError: if it isn't there, or no text.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text: {error}") from error


def molecules(
    structures: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
) -> Frames:
    """Neutral molecules in their singlet state, as frames.

    Args:
        structures: atomic numbers (n,) and positions (n, 3) Å of each.
        labels: in eV and Å, their first axis over structures or over all atoms.
        columns: one value for each structure.
    """
    count = len(structures)
    return Frames(
        counts=np.array([len(numbers) for numbers, _ in structures], dtype=np.int64),
        numbers=np.concatenate([numbers for numbers, _ in structures]).astype(np.int64),
        positions=np.concatenate([positions for _, positions in structures]),
        cell=np.zeros((count, 3, 3)),
        pbc=np.zeros((count, 3), dtype=bool),
        charge=np.zeros(count),
        spin=np.zeros(count),
        labels=dict(labels),
        columns=dict(columns),
    )
