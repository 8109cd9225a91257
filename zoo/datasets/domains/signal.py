"""Domain `signal`: series of several channels, which a front end turns into matrices.

A sample is a dict with `x` (channels, times) and `y`. Archives hold `X` (samples, channels, times)
and `y`; a .npy holds `X` alone, and keys={"y": "labels.npy"} names a file of labels beside it.

Complex series, (samples, times) or (samples, channels, times), become their real parts followed by
their imaginary parts: two channels for one.

Where the archive has `domain` (samples,), or keys={"domain": "session"} names another array, a
sample has `domain` (), the number of the session, subject or device that it comes from, which
domain-specific layers use.
"""

from dataclasses import replace

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
    raw = replace(raw, arrays={name: _parts(array) for name, array in raw.arrays.items()})
    chooser, array, where = start(raw, keys, SERIES, SOURCES)
    if array.ndim != 3 or 0 in array.shape:
        raise shape_error(where, array.shape, "(samples, channels, times)")
    return store(chooser, array, where, **sources(chooser, len(array)))


def _parts(array: np.ndarray) -> np.ndarray:
    """Complex series (samples, t) or (samples, c, t) as real ones with twice the channels."""
    if array.dtype.kind != "c" or array.ndim not in (2, 3):
        return array
    series = array[:, None] if array.ndim == 2 else array
    return np.concatenate([series.real, series.imag], axis=1)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """`X` of three axes, or an array of a telling name."""
    array = arrays.get("X")
    series = array is not None and array.ndim in ((2, 3) if array.dtype.kind == "c" else (3,))
    return has(arrays, "signals", "signal", "eeg") or series


SIGNAL = Domain(
    name="signal", build=build, matches=matches, sign="X or signals (samples, channels, times)"
)
