"""`Dataset`: what the data sets of all domains share: samples, columns, splits, hashes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch.utils.data

from zoo.datasets import _splits
from zoo.datasets._published import Published
from zoo.errors import DataError, UnknownNameError, nearest

Sample = TypeVar("Sample", covariant=True)


class RefusedDataError(DataError):
    """A file that was read, with values that its domain rules out.

    Args:
        message: what is wrong.
        dataset: what was read, for checks that go on from there.
    """

    def __init__(self, message: str, dataset: "Dataset[Any]") -> None:
        super().__init__(message)
        self.dataset = dataset


class Dataset(torch.utils.data.Dataset[Sample], ABC):
    """Samples of one domain, with labels, columns, and splits; everything is hashed.

    Args:
        indices: which samples of the store make this data set, (samples,).
        columns: plain values of the samples of the whole store, by name.
        splits: their division, see `zoo.datasets.open`.
        published: the file's own splits, for splits of kind "index".
        metadata: what is known about the data: source, licence, versions.
        source: the file or the name they came from, for messages.

    Attributes:
        domain: the row of the design's domain table ("atoms", "graph", ...).
        splits: ascending indices by split.
        metadata: as given.
        source: as given.
    """

    domain: str
    # what a sample is called in messages
    noun: ClassVar[str] = "samples"

    def __init__(
        self,
        indices: np.ndarray,
        *,
        columns: Mapping[str, np.ndarray] | None = None,
        splits: Mapping[str, Any] | None = None,
        published: Published | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> None:
        self._indices = indices
        self._columns = dict(columns or {})
        self.metadata = dict(metadata or {})
        self.source = source
        self.splits: dict[str, np.ndarray] = {}
        if splits is not None:
            self.splits = _splits.make(splits, self._split_columns(), len(self), published)

    def __len__(self) -> int:
        return len(self._indices)

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """One sample; changing it leaves the data set as it was."""

    @property
    @abstractmethod
    def labels(self) -> frozenset[str]:
        """Labels that every sample has."""

    @property
    @abstractmethod
    def hash(self) -> str:
        """SHA-256 of the content (not of the columns), in hexadecimal."""

    @abstractmethod
    def check(self) -> None:
        """Checks every sample.

        Raises:
            DataError: naming samples with values that can't be right.
        """

    @abstractmethod
    def _taken(self, indices: np.ndarray) -> Self:
        """The data set of other samples of the same store, without splits."""

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Other values of each sample, such as `name` (samples,)."""
        return {name: values[self._indices] for name, values in self._columns.items()}

    def _split_columns(self) -> dict[str, np.ndarray]:
        """What splits may go by."""
        return self.columns

    @property
    def split_hash(self) -> str:
        """SHA-256 of the sample numbers of each split; empty without splits."""
        return _splits.digest(self.splits, len(self))

    def split(self, name: str) -> Self:
        """The samples of one split.

        Raises:
            UnknownNameError: if there is no such split.
        """
        if name not in self.splits:
            hint = nearest(name, self.splits) if self.splits else "give splits= when you open it"
            raise UnknownNameError(f"{self.source} has no split {name!r}: {hint}")
        return self.take(self.splits[name])

    def take(self, indices: Sequence[int] | np.ndarray) -> Self:
        """Some of the samples, in the order given; the result has no splits.

        Raises:
            DataError: for an index that isn't there.
        """
        given = np.asarray(indices)
        if given.size and (given.dtype.kind not in "iu" or given.ndim != 1):
            raise DataError(
                f"take needs a list of whole numbers, not {given.dtype} of shape {given.shape}; "
                "numpy.flatnonzero makes one of a mask"
            )
        wanted = given.astype(np.int64)
        bad = (wanted < -len(self)) | (wanted >= len(self))
        if bad.any():
            raise DataError(
                f"{self.source} has {len(self)} {self.noun}; {wanted[bad][0]} is not there"
            )
        return self._taken(self._indices[wanted])

    def require(self, *labels: str) -> None:
        """Checks that labels are there.

        Raises:
            DataError: naming the first that isn't, and how to find it.
        """
        for label in labels:
            if label not in self.labels:
                have = ", ".join(sorted(self.labels)) or "none"
                raise DataError(
                    f"{self.source} has no {label} (labels: {have}); if it goes by another name, "
                    f'say so with keys={{"{label}": "..."}}'
                )

    def __repr__(self) -> str:
        labels = ", ".join(sorted(self.labels)) or "no labels"
        return f"{type(self).__name__}({self.source!r}, {len(self)} {self.noun}, {labels})"
