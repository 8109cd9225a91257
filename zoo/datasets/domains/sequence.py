"""Domain `sequence`: steps with features (t, f), or numbers of tokens (t,).

A sample is a dict with `x` and `y` (one label per sample, or one per step). Samples of two or more
sequences each are `pairs` (samples, 2, t), tokens padded at the end with 0: a sample then has `x`
(2, t) and `lengths` (2,). Archives hold `tokens`
(samples, t) or `sequences` (samples, t, f); sequences of different lengths stand one after another
with `counts` (samples,), or are padded at the end with `lengths` (samples,). In a .csv the column
`sequence` says which sequence a row belongs to, the others are features; or each row is one
sequence, its column `tokens` a list of whole numbers with spaces between.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import first_axis, labelled
from zoo.datasets.domains._raw import (
    COUNTS,
    LABEL_ALIASES,
    Chooser,
    Keys,
    Raw,
    as_floats,
    as_whole,
    shape_error,
)
from zoo.datasets.domains._rows import joined, sample_field
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

STEPS = ("sequences", "tokens", "series", "X")
PAIRS = "pairs"


def build(raw: Raw, keys: Keys | None) -> Store:
    """Sequences.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, ("x", "lengths", PAIRS))
    several = chooser.whole(PAIRS)
    if several is not None:
        return _tuples(chooser, several, chooser.where(PAIRS))
    array = chooser.find("x", STEPS)
    if array is None:
        raise chooser.lacks("x", STEPS)
    where = chooser.where("x", STEPS)
    first_axis(array, where)
    tokens = array.dtype.kind in "iu" and array.ndim <= 2
    array = as_whole(array, where) if tokens else as_floats(array, where)
    counts, lengths = chooser.whole(COUNTS), chooser.whole("lengths")
    form = _Steps(array, where, counts, lengths)
    if tokens and form.values.size and form.values.min() < 0:
        raise DataError(f"{where} holds negative tokens; say lengths= for padded sequences")
    label, classes = chooser.labels()
    entry = None if label is None else form.label(label, chooser.where("y", LABEL_ALIASES))
    fields = {"x": Field(form.values, form.counts, where)}
    return joined(chooser, len(form.counts), fields, entry, classes)


def _tuples(chooser: Chooser, array: np.ndarray, where: str) -> Store:
    """Samples of as many sequences each, all padded to one length."""
    if array.ndim != 3 or 0 in array.shape:
        raise shape_error(where, array.shape, "(samples, sequences, t), tokens padded with 0")
    there = array > 0
    lengths = there.sum(axis=-1)
    padded = np.arange(array.shape[-1]) >= lengths[..., None]
    bad = ((array < 0) | (there == padded)).any(axis=(1, 2)) | (lengths < 1).any(axis=1)
    if bad.any():
        raise DataError(
            f"{where}: sample {bad.argmax()} is not made of tokens from 1 on, padded at the end "
            "with 0, one token or more in each sequence"
        )
    fields = {"x": Field(array, name=where), "lengths": Field(lengths, name=where)}
    return labelled(chooser, len(array), fields)


class _Steps:
    """Steps one after another, from any of the three layouts."""

    def __init__(
        self,
        array: np.ndarray,
        where: str,
        counts: np.ndarray | None,
        lengths: np.ndarray | None,
    ) -> None:
        self.mask: np.ndarray | None = None
        if counts is not None:
            good = counts.ndim == 1 and counts.size and counts.min() >= 1
            if not good or array.ndim > 2 or sum(counts.tolist()) != len(array):
                raise DataError(
                    f"{where} has shape {array.shape}; {COUNTS} must list the steps of each "
                    "sequence, 1 or more, and add up to the first axis"
                )
            self.values, self.counts = array, counts
            return
        if array.ndim not in (2, 3) or array.shape[1] == 0:
            raise shape_error(where, array.shape, "(samples, t, f), or tokens (samples, t)")
        full = np.full(len(array), array.shape[1])
        self.counts = full if lengths is None else lengths
        bad = self.counts.shape != full.shape or (self.counts < 1).any()
        if bad or (self.counts > full).any():
            raise DataError(f"{where}: lengths must be {len(array)} numbers, 1 to {full[0]} each")
        self.mask = np.arange(array.shape[1]) < self.counts[:, None]
        self.values = array[self.mask]

    def label(self, array: np.ndarray, where: str) -> Field:
        """Labels, one per step or one per sequence."""
        if self.mask is not None and array.shape[:2] == self.mask.shape:
            return Field(array[self.mask], self.counts, where)
        if self.mask is None and array.ndim and len(array) == len(self.values) != len(self.counts):
            return Field(array, self.counts, where)
        return sample_field(array, len(self.counts), where)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Arrays of a telling name."""
    return has(arrays, "sequences", "tokens", "series", PAIRS)


SEQUENCE = Domain(
    name="sequence",
    build=build,
    matches=matches,
    sign="tokens (samples, t), sequences (samples, t, f) or pairs (samples, 2, t)",
)
