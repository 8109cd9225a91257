"""Replay: frames of the old training data in every batch, so that the old task is not forgotten.

The replayed frames are a sample that depends on nothing but the data: the same number from every
group (molecule), evenly spaced in the order of the file. Where the new labels are of another level
of theory, the old ones go through the old head; a single head can't learn two surfaces at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from torch_geometric.data import Data

from zoo.datasets import AtomsDataset
from zoo.errors import ConfigError, DataError
from zoo.training.batches import EpochBatches, Indices
from zoo.training.report import dataset_name


def spread(dataset: AtomsDataset, count: int) -> np.ndarray:
    """Indices of a sample: equal numbers from every group, evenly spaced within it.

    Args:
        dataset: groups are told by its column `name`, or by composition where there is none.
        count: how many frames; all where there are not more.

    Returns:
        Ascending indices.
    """
    if count >= len(dataset):
        return np.arange(len(dataset))
    names = dataset.columns.get("name")
    if names is None:
        ends = np.cumsum(dataset.counts)[:-1]
        parts = np.split(dataset.numbers, ends)
        names = np.array([str(np.bincount(z).tolist()) for z in parts])
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]
    shares = _shares([len(group) for group in groups], count)
    chosen = [
        group[np.linspace(0, len(group) - 1, share).round().astype(np.int64)]
        for group, share in zip(groups, shares, strict=True)
    ]
    return np.unique(np.concatenate(chosen))


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many to take of each group: as equal as the groups' sizes allow, `count` in all."""
    shares = [0] * len(sizes)
    while count > 0:
        open_ = [k for k, size in enumerate(sizes) if shares[k] < size]
        each = max(count // max(len(open_), 1), 1)
        for k in open_:
            more = min(each, sizes[k] - shares[k], count)
            shares[k] += more
            count -= more
        if not open_:
            break
    return shares


@dataclass(frozen=True)
class Part:
    """Frames that one head is trained on.

    Attributes:
        data: the frames.
        head: name of the energy head.
        shift: eV by atomic number, added to the energies of these frames.
    """

    data: AtomsDataset
    head: str
    shift: Mapping[int, float] | None = None


class Mixture(Dataset[Data]):
    """New frames, and after them replayed ones; stands in for an `AtomsDataset` in training.

    Args:
        parts: the new frames first.
        heads: the model's energy heads, in its order.
        fraction: part of each batch that is replayed; without it all frames are alike.

    Attributes:
        fresh: number of new frames, the first ones.
        source: of the new frames, for messages.

    Raises:
        DataError: for a head without frames.
    """

    def __init__(
        self, parts: Sequence[Part], heads: Sequence[str], *, fraction: float | None = None
    ) -> None:
        for part in parts:
            if len(part.data) == 0:
                raise DataError(
                    f"the head {part.head!r} has 0 frames to train on ({part.data.source}); give "
                    "it frames, or leave it out"
                )
        self.parts, self.heads, self.fraction = list(parts), list(heads), fraction
        self.fresh = len(parts[0].data)
        self.source = parts[0].data.source
        self._starts = np.cumsum([0, *(len(part.data) for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Data:
        """One sample, its energy on the level of its head."""
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        part = self.parts[which]
        sample = part.data[index - int(self._starts[which])]
        if part.shift is not None and "energy" in sample:
            sample.energy = sample.energy + sum(
                part.shift.get(int(z), 0.0) for z in sample.atomic_numbers
            )
        return sample

    def order(self, size: int, batch_size: int, **options: Any) -> EpochBatches:
        """The batches of training: new frames shuffled, replayed ones added to each batch."""
        if self.fraction is None:
            return EpochBatches(size, batch_size, **options)
        return ReplayBatches(self.fresh, batch_size, self.fraction, size - self.fresh, **options)

    @property
    def labels(self) -> frozenset[str]:
        """Labels that every part has."""
        return frozenset.intersection(*(part.data.labels for part in self.parts))

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each frame (frames,)."""
        return np.concatenate([part.data.counts for part in self.parts])

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """`head` of each frame, and `weight` where a part has one (frames,)."""
        index = [np.full(len(p.data), self.heads.index(p.head), np.int64) for p in self.parts]
        columns = {"head": np.concatenate(index)}
        weights = [p.data.columns.get("weight") for p in self.parts]
        if any(weight is not None for weight in weights):
            pairs = zip(weights, self.parts, strict=True)
            filled = [np.ones(len(p.data)) if w is None else w for w, p in pairs]
            columns["weight"] = np.concatenate(filled).astype(np.float64)
        return columns


class ReplayBatches(EpochBatches):
    """Batches of new frames, to each of which replayed ones are added.

    Args:
        fresh: number of new frames.
        batch_size: new frames of a step.
        fraction: part of the whole batch that is replayed.
        old: number of frames to replay; their indices follow those of the new ones.
        seed: of both shufflings.
        costs: must be None.
        **options: see `EpochBatches`.

    Raises:
        ConfigError: batches are not counted in structures.
    """

    def __init__(
        self,
        fresh: int,
        batch_size: int,
        fraction: float,
        old: int,
        *,
        seed: int,
        costs: Indices | None = None,
        **options: Any,
    ) -> None:
        if costs is not None:
            raise ConfigError("replay counts batches in structures; leave out trainer.batch_by")
        super().__init__(fresh, batch_size, seed=seed, **options)
        self._old, self._ratio, self._run = old, fraction / (1.0 - fraction), 0

    def _order(self, run: int) -> Indices:
        self._run = run
        return super()._order(run)

    def _share(self, batch: Indices) -> list[int]:
        count = min(max(1, round(len(batch) * self._ratio)), self._old)
        # which frames is a function of the seed and the batch, so that a resumed run sees the same
        rng = np.random.default_rng((self.seed or 0, self._run, *batch.tolist()))
        old = self.size + rng.choice(self._old, size=count, replace=False)
        return super()._share(np.concatenate([batch, old]))


def replay_entry(sample: AtomsDataset, head: str) -> dict[str, Any]:
    """What reports say of a replayed sample."""
    return {
        "name": dataset_name(sample),
        "sha256": sample.hash,
        "frames": len(sample),
        "head": head,
    }
