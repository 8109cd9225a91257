"""`DomainDataset`: samples of every domain but atoms, in memory."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from zoo.datasets import _published, _splits
from zoo.datasets._base import Dataset
from zoo.datasets._transfer import ADAPT
from zoo.datasets.domains import _links
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError, UnknownNameError, nearest

# the column that says which split a sample or a row belongs to
SPLIT = "split"
SPLITS = ("train", "val", "test")

Sample: TypeAlias = Data | dict[str, Tensor]


class DomainDataset(Dataset[Sample]):
    """Samples of one domain.

    Where there is one sample made of rows (one graph, one cloud of points), splits divide its rows:
    the sample then has `train_mask`, `val_mask`, ... and `split` has nothing to divide.

    Args:
        store: the samples.
        domain: its name.
        container: the class of a graph-like sample; None for a dict of tensors.
        examine: checks values; called with the store, the samples to look at, and the source.
        indices: which samples make this data set; all if None.
        splits: see `zoo.datasets.open`. If None, the file's own are used where it has one
            division; of several, one is chosen by {"kind": "index", "fold": 0}.
        metadata: what is known about the data.
        source: the file, for messages.

    Attributes:
        row_splits: rows by split, where splits divide rows.
    """

    def __init__(
        self,
        store: Store,
        *,
        domain: str,
        container: type[Data] | None,
        examine: Callable[[Store, np.ndarray, str], None],
        indices: np.ndarray | None = None,
        splits: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> None:
        self.domain = domain
        self._store = store
        self._container = container
        self._examine = examine
        self.row_splits: dict[str, np.ndarray] = {}
        self._links: dict[str, Store] = {}
        self._masks: dict[str, np.ndarray] = {}
        own = None
        if indices is None:
            indices = np.arange(store.size)
            rows = self._row_count()
            own = _published.published(store.arrays, rows or store.size, source)
            splits = self._usual(own) if splits is None else splits
            if splits is not None and splits.get("kind") == _links.KIND:
                self._links = _links.divide(store, splits, source)
                splits, own = None, None
            elif rows is not None:
                self._divide_rows(splits, own, rows)
                splits, own = None, None
        super().__init__(
            indices,
            columns=store.columns,
            splits=splits,
            published=own,
            metadata={**store.metadata, **(metadata or {})},
            source=source,
        )

    def _row_count(self) -> int | None:
        """Rows of the only sample, or None where splits divide samples."""
        if self._store.rows is None or self._store.size != 1:
            return None
        return len(self._store.fields[self._store.rows].values)

    def _usual(self, own: _published.Published) -> Mapping[str, Any] | None:
        """The file's own division, if it has one and no more."""
        if len(next(iter(own.values()), ())) == 1:
            return {"kind": "index"}
        columns = {**self._store.columns, **self._store.row_columns}
        if not own and set(map(str, columns.get(SPLIT, ()))) & {*SPLITS}:
            return {"kind": "assigned", "key": SPLIT}
        return None

    def _divide_rows(
        self, splits: Mapping[str, Any] | None, own: _published.Published, rows: int
    ) -> None:
        if splits is None:  # several folds: masks with one column for each
            for name, folds in own.items():
                mask = np.zeros((rows, len(folds)), dtype=bool)
                for column, numbers in enumerate(folds):
                    mask[_inside(numbers, rows, name), column] = True
                self._masks[f"{name}_mask"] = mask
            return
        columns = _with_labels(self._store.row_columns, self._store.fields.get("y"), rows)
        self.row_splits = _splits.make(splits, columns, rows, own)
        for name, numbers in self.row_splits.items():
            self._masks[f"{name}_mask"] = np.isin(np.arange(rows), numbers)

    def __getitem__(self, index: int) -> Sample:
        """One sample, as its domain has it (`zoo.datasets.domains`); floats keep the file's
        precision."""
        which = int(self._indices[index])
        fields = self._store.fields
        if self._container is None:
            # copies: a sample that is changed in place must not change the data set
            return {name: torch.tensor(entry.of(which)) for name, entry in fields.items()}
        tensors: dict[str, Tensor] = {}
        for name, entry in fields.items():
            array = entry.of(which)
            if name.endswith("_index") or name == "face":  # pairs and corners go down a column
                array = array.T
            # a field with one entry per sample keeps a leading 1, which grows in a batch
            tensors[name] = torch.tensor(array if entry.counts is not None else array[None])
        tensors |= {name: torch.tensor(mask) for name, mask in self._masks.items()}
        sample: Data = self._container(**tensors)
        return sample

    @property
    def edge_splits(self) -> tuple[str, ...]:
        """Names of the splits, where they divide edges."""
        return tuple(self._links)

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every sample has."""
        return self._store.labels

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes that the whole numbers in `y` stand for; None for other labels."""
        return self._store.classes

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the fields; the same for the same content in any file format."""
        return self._store.digest(self._indices)

    @property
    def split_hash(self) -> str:
        """SHA-256 of the numbers of each split, of samples, rows or edges; empty without splits."""
        if self._links:
            return _links.digest(self._links)
        if self.row_splits:
            return _splits.digest(self.row_splits, self._row_count() or 0)
        return super().split_hash

    def label(self, name: str) -> np.ndarray:
        """All values of a label, joined over the samples.

        Raises:
            DataError: if the data set has no such label.
        """
        self.require(name)
        return self._store.fields[name].take(self._indices).values

    def _split_columns(self) -> dict[str, np.ndarray]:
        """The columns, and the labels as "y" where there is one number per sample."""
        return _with_labels(self.columns, self._store.fields.get("y"), self._store.size)

    def without_labels(self) -> Self:
        """The same samples without their labels, for adapting to them; without splits."""
        fields = {k: v for k, v in self._store.fields.items() if k not in self._store.labels}
        bare = replace(self._store, fields=fields, labels=frozenset(), classes=None)
        return self._of(bare, self._indices)

    def with_features(self, order: np.ndarray) -> Self:
        """The same samples and splits with the features of `x` in another order.

        Args:
            order: which of the last axis comes first, second, ...
        """
        entry = self._store.fields["x"]
        moved = replace(entry, values=entry.values[..., order])
        result = copy.copy(self)
        result._store = replace(self._store, fields={**self._store.fields, "x": moved})
        result.__dict__.pop("hash", None)  # that of the former order
        return result

    def split(self, name: str) -> Self:
        """The samples of one split.

        Samples of the split "adapt" have no labels. Where splits divide the edges of the only
        graph, its edges are those to train on, and `edge_label_index` and `edge_label` are the
        split's own (`zoo.datasets.domains._links`).

        Raises:
            UnknownNameError: if there is no such split, or if the splits divide the rows of the
                only sample.
        """
        if self._links:
            if name not in self._links:
                raise UnknownNameError(
                    f"{self.source} has no split {name!r}: {nearest(name, self._links)}"
                )
            return self._of(self._links[name], self._indices)
        if self.row_splits or self._masks:
            raise UnknownNameError(
                f"{self.source} is one sample, whose rows its splits divide; use its masks: "
                f"{', '.join(f'sample.{mask}' for mask in self._masks)}"
            )
        chosen = super().split(name)
        return chosen.without_labels() if name == ADAPT else chosen

    def check(self) -> None:
        """Checks every sample.

        Raises:
            DataError: naming the first sample with NaN or infinite numbers, or with values that
                its domain rules out.
        """
        for entry in self._store.fields.values():
            if entry.values.dtype.kind != "f":
                continue
            taken = entry if len(self) == self._store.size else entry.take(self._indices)
            finite = np.isfinite(taken.values).all(axis=tuple(range(1, taken.values.ndim)))
            if not finite.all():
                row = int((~finite).argmax())
                sample, inside = taken.owner(row)
                place = f"row {inside} of " if taken.counts is not None else ""
                raise DataError(
                    f"{entry.name} is NaN or infinite in {place}sample "
                    f"{self._indices[sample]}; leave such samples out, or fill the gaps"
                )
        self._examine(self._store, self._indices, self.source)

    def _taken(self, indices: np.ndarray) -> Self:
        return self._of(self._store, indices)

    def _of(self, store: Store, indices: np.ndarray) -> Self:
        return type(self)(
            store,
            domain=self.domain,
            container=self._container,
            examine=self._examine,
            indices=indices,
            metadata=self.metadata,
            source=self.source,
        )


def _with_labels(
    columns: Mapping[str, np.ndarray], labels: Field | None, count: int
) -> dict[str, np.ndarray]:
    """Columns and the labels, which splits may go by, where there is one for each."""
    if labels is None or labels.values.shape != (count,) or "y" in columns:
        return dict(columns)
    return {**columns, "y": labels.values}


def _inside(numbers: np.ndarray, rows: int, name: str) -> np.ndarray:
    if numbers.size and not (0 <= numbers.min() and numbers.max() < rows):
        raise DataError(f"the split {name!r} names rows that aren't there; there are {rows}")
    return numbers
