"""Samples that are one array each: a dict with `x` and, where there are labels, `y`."""

from collections.abc import Sequence

import numpy as np

from zoo.datasets.domains._raw import LABEL_ALIASES, Chooser, Keys, Raw, shape_error
from zoo.datasets.domains._rows import joined, sample_field
from zoo.datasets.domains._store import Field, Store

# the field that says where a sample comes from: a session, a subject, a device
SOURCES = "domain"


def first_axis(array: np.ndarray, where: str) -> int:
    """Number of samples.

    Raises:
        DataError: if there are none.
    """
    if array.ndim == 0 or len(array) == 0:
        raise shape_error(where, array.shape, "(samples, ...), with one sample or more")
    return len(array)


def store(chooser: Chooser, array: np.ndarray, where: str, **further: Field) -> Store:
    """`x` with one entry per sample, further fields, and the labels.

    Raises:
        DataError: for labels of another number.
    """
    size = first_axis(array, where)
    fields = {"x": Field(array, name=where), **further}
    return labelled(chooser, size, fields)


def sources(chooser: Chooser, size: int) -> dict[str, Field]:
    """The field `domain` (samples,): numbers of where samples come from, if the file says it.

    Words and other numbers are numbered from 0 in ascending order.

    Raises:
        DataError: for an array that isn't one word or whole number per sample.
    """
    name = chooser.name(SOURCES)
    if name is None:
        return {}
    array = chooser.raw.arrays[name]  # not taken: it stays a column, which splits go by
    where = chooser.where(SOURCES)
    if array.shape != (size,) or array.dtype.kind not in "biuUS":
        raise shape_error(where, array.shape, f"({size},), a word or a whole number per sample")
    values = np.unique(array, return_inverse=True)[1].astype(np.int64)
    return {SOURCES: Field(values.reshape(-1), name=where)}


def labelled(chooser: Chooser, size: int, fields: dict[str, Field]) -> Store:
    """Fields with the labels of the file, one per sample."""
    label, classes = chooser.labels()
    if label is None:
        return joined(chooser, size, fields, None, None)
    entry = sample_field(label, size, chooser.where("y", LABEL_ALIASES))
    return joined(chooser, size, fields, entry, classes)


def start(
    raw: Raw, keys: Keys | None, aliases: Sequence[str], *further: str
) -> tuple[Chooser, np.ndarray, str]:
    """The chooser, the array `x` as floats, and its place for messages.

    Args:
        raw: the file.
        keys: field -> name in the file.
        aliases: other names of `x`.
        further: fields beside `x` that `keys` may name.
    """
    chooser = Chooser(raw, keys, ("x", *further))
    array = chooser.needed("x", aliases)
    where = chooser.where("x", aliases)
    first_axis(array, where)
    return chooser, array, where
