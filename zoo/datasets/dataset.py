"""`AtomsDataset`: frames with labels, units known, splits fixed and everything hashed."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch.utils.data import Dataset
from torch_geometric.data import Data

from zoo.datasets import _splits
from zoo.datasets._frames import Frames, from_atoms, listed
from zoo.datasets._units import parse
from zoo.datasets.atoms import check_structures
from zoo.errors import DataError, UnknownNameError, UnsupportedInputError, nearest


class AtomsDataset(Dataset[Data]):
    """Structures with labels in eV and Å.

    Args:
        frames: the structures.
        indices: which of them make this data set; all if None.
        splits: their division, see `zoo.datasets.open`.
        metadata: what is known about the data: level of theory, licence, temperatures, versions.
        source: the file or the name they came from, for messages.

    Attributes:
        splits: ascending indices by split.
        metadata: as given.
        source: as given.
    """

    def __init__(
        self,
        frames: Frames,
        *,
        indices: np.ndarray | None = None,
        splits: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> None:
        self._frames = frames
        self._indices = np.arange(len(frames)) if indices is None else indices
        self._starts = frames.starts
        self.metadata = dict(metadata or {})
        self.source = source
        self.splits: dict[str, np.ndarray] = {}
        if splits is not None:
            columns = {name: column[self._indices] for name, column in frames.columns.items()}
            self.splits = _splits.make(splits, columns, len(self))

    @classmethod
    def from_atoms(
        cls,
        structures: Sequence[Atoms],
        *,
        keys: Mapping[str, str | None] | None = None,
        units: Mapping[str, str] | None = None,
        splits: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> "AtomsDataset":
        """A data set of structures that are in memory; arguments as in `zoo.datasets.open`."""
        frames = from_atoms(structures, keys=keys, units=parse(units or {}))
        return cls(frames, splits=splits, metadata=metadata, source=source)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Data:
        """One sample, in float64.

        Returns:
            `atomic_numbers` (n,), `pos` (n, 3) Å, `cell` (1, 3, 3), `pbc` (1, 3), `charge` (1,),
            `spin` (1,), the labels with a leading 1 (`forces`: (n, 3)), `frame` (1,), the number
            of the frame in its file, and `name` if there is such a column. (It isn't called
            `index`: PyG shifts fields of that name when it joins samples.)
        """
        frames, which = self._frames, int(self._indices[index])
        start = int(self._starts[which])
        rows = slice(start, start + int(frames.counts[which]))
        one = slice(which, which + 1)
        arrays = {
            "atomic_numbers": frames.numbers[rows],
            "pos": frames.positions[rows],
            "cell": frames.cell[one],
            "pbc": frames.pbc[one],
            "charge": frames.charge[one],
            "spin": frames.spin[one],
        }
        for label, values in frames.labels.items():
            arrays[label] = values[rows if label == "forces" else one]
        # copies: a sample that is changed in place must not change the data set
        fields: dict[str, Any] = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
        fields["frame"] = torch.tensor([which])
        if "name" in frames.columns:
            fields["name"] = str(frames.columns["name"][which])
        return Data(**fields)

    def atoms(self, index: int) -> Atoms:
        """One structure, its labels as results of a `SinglePointCalculator` (stress in ASE's order
        of six), its columns and charge in `info`."""
        return self._frames.atoms(int(self._indices[index]))

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every frame has."""
        return frozenset(self._frames.labels)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Other values of each frame, such as `name` (frames,)."""
        return {name: values[self._indices] for name, values in self._frames.columns.items()}

    def label(self, name: str) -> np.ndarray:
        """All values of a label: (frames, ...) in float64, for `forces` (all atoms, 3).

        Raises:
            DataError: if the data set has no such label.
        """
        self.require(name)
        rows = self._frames.rows(self._indices) if name == "forces" else self._indices
        return np.asarray(self._frames.labels[name][rows])

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each frame (frames,)."""
        return np.asarray(self._frames.counts[self._indices])

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of all atoms, frame after frame (atoms,)."""
        return np.asarray(self._frames.numbers[self._frames.rows(self._indices)])

    @cached_property
    def elements(self) -> dict[int, int]:
        """How many atoms of each element there are, by atomic number."""
        numbers, counts = np.unique(self.numbers, return_counts=True)
        return {int(z): int(n) for z, n in zip(numbers, counts, strict=True)}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of structures and labels; the same for the same content in any file format."""
        return self._frames.take(self._indices).digest()

    @property
    def split_hash(self) -> str:
        """SHA-256 of the frame numbers of each split; empty without splits."""
        return _splits.digest(self.splits, len(self))

    def split(self, name: str) -> "AtomsDataset":
        """The frames of one split.

        Raises:
            UnknownNameError: if there is no such split.
        """
        if name not in self.splits:
            hint = nearest(name, self.splits) if self.splits else "give splits= when you open it"
            raise UnknownNameError(f"{self.source} has no split {name!r}: {hint}")
        return self.take(self.splits[name])

    def take(self, indices: Sequence[int] | np.ndarray) -> "AtomsDataset":
        """Some of the frames, in the order given; the result has no splits.

        Raises:
            DataError: for an index that isn't there.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise DataError(f"{self.source} has {len(self)} frames; {wanted.max()} is not there")
        return AtomsDataset(
            self._frames,
            indices=self._indices[wanted],
            metadata=self.metadata,
            source=self.source,
        )

    def require(self, *labels: str) -> None:
        """Checks that labels are there.

        Raises:
            DataError: naming the first that isn't, and how to find it.
        """
        for label in labels:
            if label not in self._frames.labels:
                have = ", ".join(sorted(self._frames.labels)) or "none"
                raise DataError(
                    f"{self.source} has no {label} (labels: {have}); if it goes by another name, "
                    f'say so with keys={{"{label}": "..."}}'
                )

    def check(self) -> None:
        """Checks every frame.

        Raises:
            DataError: naming frames with positions or labels that aren't finite, without atoms,
                with impossible cells or elements.
        """
        frames = self._frames.take(self._indices)
        owner = np.repeat(self._indices, frames.counts)
        values = {"position": frames.positions} | dict(frames.labels)
        for name, array in values.items():
            finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            if not finite.all():
                per_atom = name in ("position", "forces")
                bad = np.unique((owner if per_atom else self._indices)[~finite])
                raise DataError(
                    f"{self.source}: {name} is NaN or infinite in frame {listed(bad)}; remove "
                    "these frames or compute them again"
                )
        arrays = {
            "atomic_numbers": frames.numbers,
            "pos": frames.positions,
            "cell": frames.cell,
            "pbc": frames.pbc,
            "charge": frames.charge,
            "spin": frames.spin,
        }
        try:
            check_structures(arrays, frames.counts.tolist())
        except UnsupportedInputError as error:
            raise DataError(f"{self.source}: {error}") from error

    def __repr__(self) -> str:
        labels = ", ".join(sorted(self.labels)) or "no labels"
        return f"AtomsDataset({self.source!r}, {len(self)} frames, {labels})"
