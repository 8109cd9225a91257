"""Domain `tensor`: elements of tensor powers, (n, ..., n).

A sample is a dict with `x` (n, ..., n), or `x_<k>` for parts of several orders k, and `y`.
Archives hold `tensors` (samples, n, ..., n), or `T0` (samples,), `T1` (samples, n), `T2`
(samples, n, n), ...
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import first_axis, labelled, start, store
from zoo.datasets.domains._raw import Chooser, Keys, Raw, shape_error
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

TENSORS = ("tensors", "tensor", "T")
MAX_ORDER = 8
_PARTS = {f"x_{k}": f"T{k}" for k in range(MAX_ORDER + 1)}


def build(raw: Raw, keys: Keys | None) -> Store:
    """Tensors.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    parted = any(n in raw.arrays for n in (*_PARTS, *_PARTS.values())) or bool(
        set(_PARTS) & set(keys or {})
    )
    if parted and not has(raw.arrays, "x", *TENSORS):
        return _parts(raw, keys)
    chooser, array, where = start(raw, keys, TENSORS)
    if array.ndim < 2 or len(set(array.shape[1:])) != 1 or array.shape[1] == 0:
        raise shape_error(where, array.shape, "(samples, n, ..., n), all axes of one length")
    return store(chooser, array, where)


def _parts(raw: Raw, keys: Keys | None) -> Store:
    chooser = Chooser(raw, keys, _PARTS)
    fields: dict[str, Field] = {}
    size, width = None, None
    for order, (name, alias) in enumerate(_PARTS.items()):
        array = chooser.floats(name, (alias,))
        if array is None:
            continue
        where = chooser.where(name, (alias,))
        size = first_axis(array, where) if size is None else size
        width = array.shape[1] if width is None and array.ndim > 1 else width
        if array.shape != (size, *[width] * order) or width == 0:
            expected = f"({', '.join([str(size), *[str(width or 'n')] * order])})"
            raise shape_error(where, array.shape, f"{expected}: order {order}")
        fields[name] = Field(array, name=where)
    if size is None:
        raise DataError(f"{raw.path} has no tensors: looked for {', '.join(_PARTS.values())}")
    return labelled(chooser, size, fields)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Arrays of a telling name."""
    return has(arrays, *TENSORS, *_PARTS.values())


TENSOR = Domain(
    name="tensor", build=build, matches=matches, sign="tensors (samples, n, ..., n) or T0, T1, ..."
)
