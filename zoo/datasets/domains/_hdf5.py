"""HDF5 files of published sets, with whatever is wrong with them turned into one error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.published._hdf5 import open_file, told
from zoo.errors import DataError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open HDF5 file.

    Raises:
        DataError: for another format, or a damaged file.
        MissingExtraError: without h5py.
    """
    with told(str(path)), open_file(path) as file:
        yield file


def entry(group: Any, name: str, axes: int, where: str) -> Any:
    """A data set of numbers in a group, not yet read.

    Raises:
        DataError: if it isn't there, or has another number of axes.
    """
    found: Any = group.get(name) if hasattr(group, "get") else None
    shape = getattr(found, "shape", None)
    if shape is None or np.dtype(found.dtype).kind not in "biuf" or len(shape) != axes:
        have = ", ".join(group) if hasattr(group, "keys") else "nothing"
        raise DataError(
            f"{where} has no {name!r} of numbers with {axes} axes; it has {have or 'nothing'}"
        )
    return found


def number(
    keys: Mapping[str, str | None] | None, name: str, usual: int, where: Path, least: int = 1
) -> int:
    """A whole number among the settings of a reader.

    Raises:
        DataError: for anything else.
    """
    word = dict(keys or {}).get(name) or ""
    if word in ("", "all"):
        return usual
    if not (word.isascii() and word.isdigit()) or len(word) > 12 or int(word) < least:
        raise DataError(f"{where}: {name} is {word!r}; give a whole number from {least} on")
    return int(word)
