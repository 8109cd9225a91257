"""What the samples of a domain are kept in: long arrays, joined over all samples."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Field:
    """One field of all samples.

    Attributes:
        values: entry k is sample k's; or with `counts` the rows of all samples, one sample after
            another.
        counts: rows of each sample (samples,), or None.
        name: of the array in the file, for messages.
    """

    values: np.ndarray
    counts: np.ndarray | None = None
    name: str = ""

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each sample (samples,)."""
        counts = self.counts if self.counts is not None else np.ones(len(self.values), np.int64)
        return np.asarray(np.cumsum(counts) - counts)

    def of(self, index: int) -> np.ndarray:
        """One sample's entry or rows; not a copy."""
        if self.counts is None:
            return np.asarray(self.values[index])
        start = int(self.starts[index])
        return np.asarray(self.values[start : start + int(self.counts[index])])

    def take(self, indices: np.ndarray) -> "Field":
        """A copy for some of the samples."""
        if self.counts is None:
            return Field(self.values[indices], name=self.name)
        counts = self.counts[indices]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(self.starts[indices], counts) + inside
        return Field(self.values[rows], counts, self.name)

    def owner(self, row: int) -> tuple[int, int]:
        """Which sample a row of `values` belongs to, and its place there."""
        if self.counts is None:
            return row, 0
        sample = int(np.searchsorted(np.cumsum(self.counts), row, side="right"))
        return sample, row - int(self.starts[sample])


@dataclass(frozen=True, kw_only=True)
class Store:
    """Samples of one domain.

    Attributes:
        size: number of samples.
        fields: by the name that they have in a sample.
        labels: names of the fields that are labels.
        columns: plain values of each sample (samples,).
        classes: names of the integer labels in `y`, or None.
        arrays: arrays whose names speak of splits, as the file has them.
        rows: name of the field whose rows the splits divide where there is one sample only; None
            where they always divide samples.
        row_columns: plain values of each of those rows.
        metadata: what the file says about itself.
    """

    size: int
    fields: Mapping[str, Field]
    labels: frozenset[str] = frozenset()
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: str | None = None
    row_columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def digest(self, indices: np.ndarray) -> str:
        """SHA-256 of the fields of some samples, whatever file they came from."""
        digest = hashlib.sha256()
        for name in sorted(self.fields):
            taken = self.fields[name].take(indices)
            parts = [taken.values] if taken.counts is None else [taken.values, taken.counts]
            for part in parts:
                plain = np.ascontiguousarray(part)
                digest.update(f"{name} {plain.dtype.str} {plain.shape}\n".encode())
                digest.update(plain.tobytes())
        return digest.hexdigest()
