"""Domain `signal`: series of several channels, which a front end turns into matrices.

A sample is a dict with `x` (channels, times) and `y`. Archives hold `X` (samples, channels, times)
and `y`; a .npy holds `X` alone, and keys={"y": "labels.npy"} names a file of labels beside it.

Where the archive has `domain` (samples,), or keys={"domain": "session"} names another array, a
sample has `domain` (), the number of the session, subject or device that it comes from, which
domain-specific layers use.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import SOURCES, sources, start, store
from zoo.datasets.domains._raw import Keys, Raw, shape_error
from zoo.datasets.domains._store import Store

SERIES = ("X", "signals", "signal", "eeg")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Series.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser, array, where = start(raw, keys, SERIES, SOURCES)
    if array.ndim != 3 or 0 in array.shape:
        raise shape_error(where, array.shape, "(samples, channels, times)")
    return store(chooser, array, where, **sources(chooser, len(array)))


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """`X` of three axes, or an array of a telling name."""
    array = arrays.get("X")
    return has(arrays, "signals", "signal", "eeg") or (array is not None and array.ndim == 3)


SIGNAL = Domain(
    name="signal", build=build, matches=matches, sign="X or signals (samples, channels, times)"
)
