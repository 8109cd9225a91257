"""Domain `image`: pictures (c, h, w).

A sample is a dict with `x` (c, h, w) and `y`; pictures of bytes stay uint8, 0 to 255. Archives hold
`images` (samples, h, w), (samples, h, w, c) with 1 to 4 channels, or (samples, c, h, w); where both
readings fit, the channels come first. Folders hold PNG files in one sub-folder per class, all of
one size and with the same channels.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import first_axis, store
from zoo.datasets.domains._raw import Chooser, Keys, Raw, as_floats, shape_error
from zoo.datasets.domains._store import Store

IMAGES = ("images", "image", "imgs")
_FEW = 4


def build(raw: Raw, keys: Keys | None) -> Store:
    """Pictures.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, ("x",))
    array = chooser.find("x", (*IMAGES, "X"))
    if array is None:
        raise chooser.lacks("x", IMAGES)
    where = chooser.where("x", (*IMAGES, "X"))
    first_axis(array, where)
    if array.dtype != np.uint8:
        array = as_floats(array, where)
    return store(chooser, channels_first(array, where), where)


def channels_first(array: np.ndarray, where: str) -> np.ndarray:
    """Pictures as (samples, c, h, w).

    Raises:
        DataError: for other numbers of axes.
    """
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise shape_error(where, array.shape, "(samples, h, w), (samples, h, w, c) or (s, c, h, w)")
    if array.ndim == 3:
        return array[:, None]
    if array.shape[-1] <= _FEW < array.shape[1]:
        return array.transpose(0, 3, 1, 2)
    return array


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Arrays of a telling name."""
    return has(arrays, *IMAGES)


IMAGE = Domain(
    name="image", build=build, matches=matches, sign="images (samples, h, w), with or without c"
)
