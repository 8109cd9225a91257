"""Domain `signal`: series of several channels, which a front end turns into matrices.

A sample is a dict with `x` (channels, times) and `y`. Archives hold `X` (samples, channels, times)
and `y`; a .npy holds `X` alone, and keys={"y": "labels.npy"} names a file of labels beside it.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import start, store
from zoo.datasets.domains._raw import Keys, Raw, shape_error
from zoo.datasets.domains._store import Store

SERIES = ("X", "signals", "signal", "eeg")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Series.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser, array, where = start(raw, keys, SERIES)
    if array.ndim != 3 or 0 in array.shape:
        raise shape_error(where, array.shape, "(samples, channels, times)")
    return store(chooser, array, where)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """`X` of three axes, or an array of a telling name."""
    array = arrays.get("X")
    return has(arrays, "signals", "signal", "eeg") or (array is not None and array.ndim == 3)


SIGNAL = Domain(
    name="signal", build=build, matches=matches, sign="X or signals (samples, channels, times)"
)
