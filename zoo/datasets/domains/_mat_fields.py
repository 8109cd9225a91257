"""Fields in MATLAB files, as the authors of the Fourier neural operator publish theirs.

Files of level 5 are read by `_matlab`, those of version 7.3, which are HDF5, with h5py, whose axes
are turned to MATLAB's order. keys={"x": "a", "y": "u"} names the arrays, the first axis of which
counts samples; keys={"every": "8"} takes every eighth place of each axis of the grid, from the
first on, as papers do for coarser grids. Arrays become float32 with the grid's coordinates left
out. Only the arrays that are named are unpacked.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.domains import _matlab
from zoo.datasets.domains._hdf5 import number, opened
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.published._hdf5 import is_hdf5
from zoo.errors import DataError

_LIMIT = 8 << 30  # bytes that one array unpacks to; Darcy flow on 421 x 421 places has 1.5e9
CONSUMED = frozenset(("every",))
_V73 = b"MATLAB 7.3"


def read_field_mat(path: Path, keys: Keys | None) -> Raw:
    """Reads fields.

    Raises:
        DataError: for a damaged file, arrays that aren't there, or without two named arrays.
        MissingExtraError: for a file of version 7.3 without h5py.
    """
    settings = dict(keys or {})
    every = number(keys, "every", 1, path)
    wanted = [name for field in ("x", "y") if (name := settings.get(field))]
    if len(wanted) < 1:
        raise DataError(f'{path}: say which arrays are meant, such as keys={{"x": "a", "y": "u"}}')
    read = _hdf5 if _is_hdf5(path) else _level5
    arrays = {name: _thinned(array, every) for name, array in read(path, wanted).items()}
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise DataError(f"{path} has no array of numbers {missing[0]!r} that is complete")
    return Raw(path, arrays, "mat", consumed=CONSUMED)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(520)
    return head.startswith(_V73) or is_hdf5(path)


def _level5(path: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream:
            data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    order = _matlab.order_of(bytes(data[: _matlab._HEADER]), path)
    names = frozenset(wanted)
    found = _matlab._variables(data[_matlab._HEADER :], order, path, _LIMIT, names)
    return {name: array for name, array in found if name in names}


def _hdf5(path: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    def numbers(item: Any) -> bool:
        return hasattr(item, "shape") and np.dtype(item.dtype).kind in "biuf"

    with opened(path) as held:
        found = {name: held[name] for name in wanted if name in held}
        return {name: np.asarray(item).T for name, item in found.items() if numbers(item)}


def _thinned(array: np.ndarray, every: int) -> np.ndarray:
    """(samples, *grid) with every so many places; axes of length one at the end are left out."""
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    steps = (slice(None), *(slice(None, None, every) for _ in array.shape[1:]))
    return np.ascontiguousarray(array[steps], dtype=np.float32)
