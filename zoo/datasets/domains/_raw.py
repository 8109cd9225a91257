"""What every reader of a file format yields: named arrays, before any domain looks at them.

Helpers here choose arrays by name, refuse those that don't hold numbers, and turn labels into class
numbers. Each error names the file, the array, what was expected, and how to mend it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._published import split_of
from zoo.errors import ConfigError, DataError, nearest

Keys = Mapping[str, str | None]

LABEL_ALIASES = ("y", "label", "labels", "target", "targets", "class")
COUNTS = "counts"
CLASS_NAMES = ("class_names", "classes", "label_names", "target_names")


@dataclass
class Raw:
    """A file's arrays.

    Attributes:
        path: the file or folder.
        arrays: by the file's names.
        classes: names of the integer labels where the format has them (folders by class).
        metadata: what the file says about itself.
        kind: the format, for messages ("npz", "off", ...).
        consumed: entries of `keys` that the reader has followed already.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    kind: str
    classes: tuple[str, ...] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    consumed: frozenset[str] = frozenset()


class Chooser:
    """Picks arrays for the fields of a domain and remembers which are left.

    Args:
        raw: the file.
        keys: field -> name in the file; None leaves a field out.
        known: fields that `keys` may name.
    """

    def __init__(self, raw: Raw, keys: Keys | None, known: Iterable[str]) -> None:
        self.raw = raw
        self.keys = {k: v for k, v in (keys or {}).items() if k not in raw.consumed}
        self._used: set[str] = set()
        known = {*known, "y", COUNTS, "class_names", *raw.consumed}
        for name, key in self.keys.items():
            if name not in known:
                raise ConfigError(f"keys: there is no {name!r} here: {nearest(str(name), known)}")
            if key is not None and not isinstance(key, str):
                raise ConfigError(f"keys: {name!r} must name an array of the file, not {key!r}")

    def name(self, field: str, aliases: Sequence[str] = ()) -> str | None:
        """The file's name for a field, or None if it has none."""
        arrays = self.raw.arrays
        if field in self.keys:
            key = self.keys[field]
            if key is not None and key not in arrays:
                raise DataError(
                    f"{self.raw.path} has no {key!r}, which keys asks for as {field}: "
                    f"{nearest(key, arrays)}"
                )
            return key
        taken = {k for k in self.keys.values() if k is not None} | self._used
        return next((a for a in (field, *aliases) if a in arrays and a not in taken), None)

    def find(self, field: str, aliases: Sequence[str] = ()) -> np.ndarray | None:
        """The raw array of a field, or None."""
        name = self.name(field, aliases)
        if name is None:
            return None
        self._used.add(name)
        return self.raw.arrays[name]

    def floats(self, field: str, aliases: Sequence[str] = ()) -> np.ndarray | None:
        """Numbers as float32 or float64 (whole numbers become float64), or None."""
        array = self.find(field, aliases)
        return None if array is None else as_floats(array, self.where(field, aliases))

    def whole(self, field: str, aliases: Sequence[str] = ()) -> np.ndarray | None:
        """Whole numbers as int64, or None."""
        array = self.find(field, aliases)
        return None if array is None else as_whole(array, self.where(field, aliases))

    def needed(self, field: str, aliases: Sequence[str] = ()) -> np.ndarray:
        """As `floats`, for a field that must be there.

        Raises:
            DataError: with the line of `keys` that mends it.
        """
        array = self.floats(field, aliases)
        if array is None:
            raise self.lacks(field, aliases)
        return array

    def lacks(self, field: str, aliases: Sequence[str] = ()) -> DataError:
        """The error for a field that isn't there."""
        have = ", ".join(list(self.raw.arrays)[:20]) or "nothing"
        looked = ", ".join((field, *aliases))
        return DataError(
            f"{self.raw.path} has no {field}: looked for {looked}; it has {have}; name it with "
            f'keys={{"{field}": "..."}}'
        )

    def where(self, field: str, aliases: Sequence[str] = ()) -> str:
        """The file and the array's name, for messages."""
        key = self.keys.get(field)
        names = [a for a in (field, *aliases) if a in self.raw.arrays]
        return f"{self.raw.path}: {key or (names or [field])[0]}"

    def labels(self) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
        """The array of labels, words turned into class numbers, and the names of the classes."""
        array = self.find("y", LABEL_ALIASES)
        names = self.find("class_names", CLASS_NAMES)
        where = self.where("y", LABEL_ALIASES)
        classes = self.raw.classes
        if names is not None:
            if names.ndim != 1 or names.dtype.kind not in "US":
                raise DataError(f"{self.where('class_names', CLASS_NAMES)} must be a list of words")
            classes = tuple(as_words(names, where))
        if array is None:
            return None, None
        return as_labels(array, classes, where)

    def rest(self, count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
        """What no field took: columns (count,), arrays of splits, and names of everything else."""
        columns, splits, others = {}, {}, []
        left_out = {field for field, key in self.keys.items() if key is None}
        for name, array in self.raw.arrays.items():
            if name in self._used or name in left_out:
                continue
            if split_of(name) is not None:
                splits[name] = array
            elif array.shape == (count,) and array.dtype.kind in "iufbU":
                columns[name] = array
            else:
                others.append(name)
        return columns, splits, others


def as_floats(array: np.ndarray, where: str) -> np.ndarray:
    """Numbers in float32 or float64 and this machine's byte order.

    Raises:
        DataError: for anything but real numbers.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8):
        return array.astype(np.float32 if array.dtype.itemsize == 2 else f"=f{array.itemsize}")
    if array.dtype.kind in "biu":
        result = array.astype(np.float64)
        if array.dtype.itemsize == 8 and array.size and np.abs(result).max() > 2.0**53:
            raise DataError(f"{where} holds whole numbers beyond 2**53; save them as float64")
        return result
    raise DataError(f"{where} should hold real numbers, not {array.dtype}; save it as float64")


def as_whole(array: np.ndarray, where: str) -> np.ndarray:
    """Whole numbers as int64.

    Raises:
        DataError: for others.
    """
    if array.dtype.kind not in "biu":
        raise DataError(f"{where} should hold whole numbers, not {array.dtype}; save it as int64")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"{where} holds numbers beyond 2**63; save it as int64")
    return array.astype(np.int64)


def as_words(array: np.ndarray, where: str) -> list[str]:
    """An array of words as a list of str."""
    if array.dtype.kind == "U":
        return [str(word) for word in array.ravel().tolist()]
    try:
        return [word.decode("utf-8") for word in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise DataError(f"{where} holds bytes that aren't UTF-8 text") from error


def as_labels(
    array: np.ndarray, classes: tuple[str, ...] | None, where: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels as int64 (classes) or floats (values to regress).

    Words become the numbers of their classes, in the classes' order if it is known and in
    alphabetical order otherwise. Whole numbers stay as they are, so 1 and 2 stay 1 and 2.

    Returns:
        The labels, and the classes' names: given ones, the words, or "0", "1", ... where the
        numbers start at 0 and leave none out.

    Raises:
        DataError: for a label that none of the given classes has.
    """
    if array.dtype.kind in "US":
        words = as_words(array, where)
        names = classes or tuple(sorted(set(words)))
        numbers = {name: number for number, name in enumerate(names)}
        unknown = sorted(set(words) - set(numbers))
        if unknown:
            raise DataError(f"{where} has the class {unknown[0]!r}: {nearest(unknown[0], names)}")
        if "" in numbers:
            raise DataError(
                f"{where} has an empty label; give each sample a class, or leave it out"
            )
        numbered = np.array([numbers[w] for w in words], dtype=np.int64)
        return numbered.reshape(array.shape), names
    if array.dtype.kind == "f":
        if classes is not None:
            raise DataError(f"{where} must be whole numbers, as its classes have names; cast it")
        return as_floats(array, where), None
    labels = as_whole(array, where)
    if classes is None:
        present = np.unique(labels)
        if present.size and np.array_equal(present, np.arange(present.size)):
            return labels, tuple(str(k) for k in range(present.size))
        return labels, None
    bad = labels[(labels < 0) | (labels >= len(classes))]
    if bad.size:
        raise DataError(
            f"{where} has the class {bad.flat[0]}, but there are {len(classes)} classes, 0 to "
            f"{len(classes) - 1}"
        )
    return labels, classes


def shape_error(where: str, shape: tuple[int, ...], expected: str) -> DataError:
    """The error for an ill-shaped array."""
    return DataError(f"{where} has shape {shape}, expected {expected}")
