"""Structures that stay in their file until they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np

from zoo.datasets._frames import Frames, chunks, gather, join
from zoo.datasets._survey import Findings, Keys
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import Raw


class Store(Protocol):
    """Where a data set's frames are: in memory (`Frames`), in text, in a database, in LMDB."""

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each structure (F,)."""

    @property
    def labels(self) -> Collection[str]:
        """Labels that every frame has."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Plain values that every frame has (F,)."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One structure's arrays under the names of a batch's fields, the caller's own."""

    def take(self, indices: np.ndarray) -> Frames:
        """Some of the structures, in memory."""


class LazyFrames(ABC):
    """Frames read one by one from where they are.

    Subclasses say how to read one (`raw`); what all frames have in common was found when the file
    was opened. Objects can be pickled and forked.

    Args:
        found: what the survey said.
        keys: label -> name in the file.
        units: of the file.
    """

    def __init__(self, found: Findings, keys: Keys, units: Units) -> None:
        self._found, self._keys, self._units = found, dict(keys), units
        self.counts, self.labels, self.columns = found.counts, found.labels, found.columns

    def __len__(self) -> int:
        return len(self.counts)

    @abstractmethod
    def raw(self, index: int) -> Raw:
        """One structure as the file states it.

        Raises:
            DataError: if it is damaged, or no longer what it was when the file was opened.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Says in messages which structure it is."""

    def take(self, indices: np.ndarray) -> Frames:
        """Some of the structures, in memory."""
        if not len(indices):
            first = self.take(np.zeros(1, dtype=np.int64))
            return first.take(np.zeros(0, dtype=np.int64))
        parts = [self._gather(part) for part in chunks(indices)]
        return join(parts, {name: column[indices] for name, column in self.columns.items()})

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """One structure's arrays, under the names of a batch's fields."""
        frame = self._gather(np.array([index]))
        fields = {"atomic_numbers": frame.numbers, "pos": frame.positions}
        fields |= {"cell": frame.cell, "pbc": frame.pbc}
        fields |= {"charge": frame.charge, "spin": frame.spin}
        return fields | dict(frame.labels)

    def _gather(self, indices: np.ndarray) -> Frames:
        structures = [self.raw(int(index)) for index in indices]
        return gather(
            structures,
            self._found,
            self._keys,
            self._units,
            lambda place: self.name(int(indices[place])),
        )
