"""Samples made of rows: particles, points, nodes.

An archive holds them in one of three ways: one sample (rows, ...), samples of equal size
(samples, rows, ...), or samples of any size one after another with `counts` (samples,).
"""

from dataclasses import dataclass

import numpy as np

from zoo.datasets.domains._raw import COUNTS, LABEL_ALIASES, Chooser, shape_error
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError


@dataclass(frozen=True)
class Layout:
    """How rows make samples.

    Attributes:
        counts: rows of each sample (samples,).
        stacked: whether arrays are (samples, rows, ...).
        noun: what a row is.
    """

    counts: np.ndarray
    stacked: bool
    noun: str

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.counts)

    @property
    def total(self) -> int:
        """Number of rows of all samples."""
        return int(self.counts.sum())

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading axes of an array with one entry per row."""
        return (self.size, int(self.counts[0])) if self.stacked else (self.total,)

    def rows(self, array: np.ndarray, where: str, tail: int | None = None) -> Field:
        """An array with one entry per row.

        Args:
            array: as the file has it.
            where: for messages.
            tail: number of axes after those of the rows; any if None.

        Raises:
            DataError: for another shape.
        """
        lead = self.lead
        fits = array.shape[: len(lead)] == lead
        if not fits or (tail is not None and array.ndim != len(lead) + tail):
            axes = ", ".join([*map(str, lead), *(["..."] if tail is None else ["d"] * tail)])
            raise shape_error(where, array.shape, f"({axes}): one entry for each {self.noun}")
        return Field(array.reshape(self.total, *array.shape[len(lead) :]), self.counts, where)

    def has_rows(self, array: np.ndarray) -> bool:
        """Whether an array has one entry per row and not one per sample."""
        lead = self.lead
        return array.shape[: len(lead)] == lead and (self.stacked or array.shape[0] != self.size)


def layout(chooser: Chooser, lead: np.ndarray, where: str, noun: str) -> Layout:
    """How the rows of the leading array (such as the positions) make samples.

    Raises:
        DataError: for counts that don't add up, samples without rows, or another shape.
    """
    counts = chooser.whole(COUNTS)
    if counts is not None:
        place = chooser.where(COUNTS)
        if counts.ndim != 1 or not counts.size or counts.min() < 1:
            raise DataError(f"{place} must list how many {noun}s each sample has, 1 or more each")
        total = sum(counts.tolist())
        if lead.ndim != 2 or len(lead) != total:
            raise shape_error(where, lead.shape, f"({total}, d), as {COUNTS} add up to {total}")
        return Layout(counts, False, noun)
    if lead.ndim not in (2, 3) or 0 in lead.shape[:-1]:
        raise shape_error(
            where, lead.shape, f"({noun}s, d) or (samples, {noun}s, d), with one {noun} or more"
        )
    if lead.ndim == 2:
        return Layout(np.array([len(lead)]), False, noun)
    return Layout(np.full(lead.shape[0], lead.shape[1]), True, noun)


def row_labels(chooser: Chooser, form: Layout) -> tuple[Field | None, tuple[str, ...] | None]:
    """The labels `y`, one per row or one per sample, and the names of their classes."""
    array, classes = chooser.labels()
    if array is None:
        return None, None
    where = chooser.where("y", LABEL_ALIASES)
    if form.has_rows(array):
        return form.rows(array, where), classes
    return sample_field(array, form.size, where, form), classes


def sample_field(array: np.ndarray, size: int, where: str, form: Layout | None = None) -> Field:
    """A field with one entry per sample; where there is one sample it may stand alone.

    Raises:
        DataError: for another number of entries.
    """
    if size == 1 and (array.ndim == 0 or array.shape[0] != 1) and form is not None:
        if array.ndim:
            lead = form.lead[0]
            raise shape_error(
                where, array.shape, f"({lead},), one for each {form.noun}, or (1,) for the sample"
            )
        array = array[None]
    if array.ndim == 0 or array.shape[0] != size:
        also = f", or ({', '.join(map(str, form.lead))}): one for each {form.noun}" if form else ""
        raise shape_error(where, array.shape, f"({size}, ...): one for each sample{also}")
    if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind == "i":
        array = array[:, 0]  # a column of class numbers
    return Field(array, name=where)


def joined(
    chooser: Chooser,
    size: int,
    fields: dict[str, Field],
    label: Field | None,
    classes: tuple[str, ...] | None,
    rows: str | None = None,
) -> Store:
    """Fields, the label, and whatever else the file holds."""
    total = len(fields[rows].values) if rows and size == 1 else size
    columns, splits, others = chooser.rest(total)
    of_rows = rows is not None and size == 1
    metadata = dict(chooser.raw.metadata) | ({"ignored_arrays": sorted(others)} if others else {})
    return Store(
        size=size,
        fields=fields | ({"y": label} if label is not None else {}),
        labels=frozenset({"y"} if label is not None else ()),
        columns={} if of_rows else columns,
        row_columns=columns if of_rows else {},
        classes=classes,
        arrays=splits,
        rows=rows,
        metadata=metadata,
    )
