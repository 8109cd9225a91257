"""Domain `vector`: features (f,).

A sample is a dict with `x` (f,) and `y`. Archives hold `x` (also `X`, `features`, `data`)
(samples, f) and `y`. In a .csv each row is a sample; `y`, `label`, `target` or `class` is the
label, the other columns are features, listed in `metadata["features"]`.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import start, store
from zoo.datasets.domains._raw import Keys, Raw, shape_error
from zoo.datasets.domains._store import Store

FEATURES = ("X", "features", "data", "vectors")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Vectors.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser, array, where = start(raw, keys, FEATURES)
    if array.ndim != 2 or array.shape[1] == 0:
        raise shape_error(where, array.shape, "(samples, features)")
    return store(chooser, array, where)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Two axes, without edges."""
    if has(arrays, "edge_index", "edges"):
        return False
    return any(
        n in arrays and arrays[n].ndim == 2 and arrays[n].dtype.kind != "c"
        for n in ("x", *FEATURES)
    )


VECTOR = Domain(
    name="vector", build=build, matches=matches, sign="x, X or features (samples, features)"
)
