"""`AtomsDataset`: frames with labels, units known, splits fixed and everything hashed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms
from torch_geometric.data import Data

from zoo.datasets._base import Dataset
from zoo.datasets._frames import CHUNK, Frames, chunks, digest_of, from_atoms
from zoo.datasets._labels import per_atom
from zoo.datasets._lazy import Store
from zoo.datasets._lmdb import LmdbFrames
from zoo.datasets._survey import listed
from zoo.datasets._units import parse
from zoo.datasets.atoms import check_structures, sample_of
from zoo.errors import DataError, UnsupportedInputError


class AtomsDataset(Dataset[Data]):
    """Structures with labels in eV and Å.

    Args:
        frames: the structures, in memory or where they are read one by one.
        indices: which of them make this data set; all if None.
        splits: their division, see `zoo.datasets.open`.
        metadata: what is known about the data: level of theory, licence, temperatures, versions.
        source: the file or the name they came from, for messages.

    Attributes:
        splits: ascending indices by split.
        metadata: as given.
        source: as given.
    """

    domain = "atoms"
    noun = "frames"

    def __init__(
        self,
        frames: Store,
        *,
        indices: np.ndarray | None = None,
        splits: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str = "memory",
    ) -> None:
        self._store = frames
        super().__init__(
            np.arange(len(frames)) if indices is None else indices,
            columns=frames.columns,
            splits=splits,
            metadata=metadata,
            source=source,
        )

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

    def __getitem__(self, index: int) -> Data:
        """One sample, in float64.

        Returns:
            `atomic_numbers` (n,), `pos` (n, 3) Å, `cell` (1, 3, 3), `pbc` (1, 3), `charge` (1,),
            `spin` (1,), the labels with a leading 1 (`forces`: (n, 3)), `frame` (1,), the number
            of the frame in its file, and `name` if there is such a column. (It isn't called
            `index`: PyG shifts fields of that name when it joins samples.)
        """
        which = int(self._indices[index])
        # a sample owns its arrays: changing it in place doesn't change the data set
        arrays = self._store.sample(which)
        fields: dict[str, Any] = {name: torch.from_numpy(a) for name, a in arrays.items()}
        fields["frame"] = torch.tensor([which])
        if "name" in self._columns:
            fields["name"] = str(self._columns["name"][which])
        return sample_of(fields)

    def atoms(self, index: int) -> Atoms:
        """One structure, its labels as results of a `SinglePointCalculator` (stress in ASE's order
        of six), its columns and charge in `info`."""
        return self._store.take(self._indices[[index]]).atoms(0)

    def chunks(self, size: int = CHUNK) -> Iterator[Frames]:
        """The frames as arrays, at most `size` of them in memory at a time."""
        for part in chunks(self._indices, size):
            yield self._store.take(part)

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every frame has."""
        return frozenset(self._store.labels)

    def label(self, name: str) -> np.ndarray:
        """All values of a label: (frames, ...) in float64, for `forces` (all atoms, 3).

        Raises:
            DataError: if the data set has no such label.
        """
        self.require(name)
        parts = [frames.labels[name] for frames in self._parts()]
        return np.concatenate(parts)

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each frame (frames,)."""
        return np.asarray(self._store.counts[self._indices])

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of all atoms, frame after frame (atoms,)."""
        return np.concatenate([frames.numbers for frames in self._parts()])

    @cached_property
    def elements(self) -> dict[int, int]:
        """How many atoms of each element there are, by atomic number."""
        total: Counter[int] = Counter()
        for frames in self._parts():
            numbers, counts = np.unique(frames.numbers, return_counts=True)
            total.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        return dict(sorted(total.items()))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of structures and labels; the same for the same content in any file format."""
        if isinstance(self._store, Frames):
            return self._store.take(self._indices).digest()
        return digest_of(self.chunks(), self.counts)

    def require(self, *labels: str) -> None:
        """Checks that labels are there.

        Raises:
            DataError: naming the first that isn't, and how to find it.
        """
        if "stress" in labels and "virial" in self.labels and "stress" not in self.labels:
            raise DataError(
                f"{self.source} has a virial but no stress: stress = -virial/V needs three "
                "periodic directions in every frame, and some have fewer; put the periodic frames "
                "into a file of their own, or leave the stress out"
            )
        super().require(*labels)

    def _parts(self) -> Iterator[Frames]:
        """All frames: at once where they are in memory anyway, else in chunks."""
        whole = isinstance(self._store, Frames) or not len(self)
        return iter([self._store.take(self._indices)]) if whole else self.chunks()

    def _taken(self, indices: np.ndarray) -> Self:
        return type(self)(self._store, indices=indices, metadata=self.metadata, source=self.source)

    def check(self) -> None:
        """Checks every frame.

        Raises:
            DataError: naming frames with positions or labels that aren't finite, without atoms,
                with impossible cells or elements.
        """
        if isinstance(self._store, LmdbFrames):
            self._store.verify()
        bad: dict[str, list[int]] = {}
        for part in chunks(self._indices):
            frames = self._store.take(part)
            found = _not_finite(frames, part)
            for name, numbers in found.items():
                bad.setdefault(name, []).extend(numbers)
            if not found:
                self._check_structures(frames, part)
        for name, numbers in bad.items():
            raise DataError(
                f"{self.source}: {name} is NaN or infinite in frame {listed(numbers)}; remove "
                "these frames or compute them again"
            )

    def _check_structures(self, frames: Frames, numbers: np.ndarray) -> None:
        arrays = {
            "atomic_numbers": frames.numbers,
            "pos": frames.positions,
            "cell": frames.cell,
            "pbc": frames.pbc,
            "charge": frames.charge,
            "spin": frames.spin,
        }
        try:
            check_structures(arrays, frames.counts.tolist(), numbers.tolist())
        except UnsupportedInputError as error:
            raise DataError(f"{self.source}: {error}") from error


def _not_finite(frames: Frames, numbers: np.ndarray) -> dict[str, list[int]]:
    """Numbers of the frames with positions or labels that are NaN or infinite, by name."""
    owner = np.repeat(numbers, frames.counts)
    found = {}
    for name, array in ({"position": frames.positions} | dict(frames.labels)).items():
        finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if not finite.all():
            of_atoms = name == "position" or per_atom(name)
            found[name] = np.unique((owner if of_atoms else numbers)[~finite]).tolist()
    return found
