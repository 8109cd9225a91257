"""Samples to batches: neighbour lists, the columns that losses read, loading beside the training.

A batch may carry `weight` (g,), how much each structure counts in the losses (column `weight` of
the data set, 1 without one), and `head` (g,), which of the model's energy heads it belongs to
(column `head`: names, or numbers in the model's order).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data

from zoo.datasets import AtomsDataset, collate
from zoo.datasets._base import Dataset as Dataset_
from zoo.datasets.atoms import assemble
from zoo.errors import DataError, RecipeError, nearest
from zoo.functional import neighbor_pairs
from zoo.training._loading import BatchesModule
from zoo.training.batches import EpochBatches, Indices
from zoo.training.recipe import TrainerSection

Pairs = tuple[Tensor, Tensor]
_INPUTS = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")
_OVERHEAD = 4096  # bytes of a kept sample besides its numbers, roughly


class Samples(Dataset[Batch]):
    """Collated batches of a data set; samples and neighbour lists are kept as far as memory goes.

    Args:
        dataset: the frames.
        dtype: precision of positions and labels other than the energy.
        labels: the labels to keep.
        cutoff: of the neighbour lists that the batches carry, Å; None leaves them to the model.
        heads: names of the model's energy heads, if it has several.
        keep: bytes that kept samples may take; what comes after that is prepared each time anew.
    """

    def __init__(
        self,
        dataset: AtomsDataset,
        dtype: torch.dtype,
        *,
        labels: Sequence[str],
        cutoff: float | None,
        heads: Sequence[str] = (),
        keep: int = 2**31,
    ) -> None:
        self.dataset, self.dtype, self.cutoff = dataset, dtype, cutoff
        self._fields = (*_INPUTS, *labels)
        self._weights = column_weights(dataset)
        self._heads = _heads(dataset, heads)
        self._left = keep
        self._kept: dict[int, tuple[Data, Pairs | None]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """The batch of some samples; without any, the first sample at weight zero.

        A process whose share of a batch is empty takes part in the step all the same: the
        stand-in adds nothing to losses, gradients and errors.
        """
        kept = [self._sample(int(i)) for i in indices] or [self._sample(0)]
        batch = collate([sample for sample, _ in kept], self.dtype)
        if not len(indices):
            batch.weight = torch.zeros(1, dtype=self.dtype)
        pairs = [pair for _, pair in kept if pair is not None]
        if pairs:
            starts = batch.ptr[:-1].tolist()
            batch.pair_index = torch.cat(
                [index + start for (index, _), start in zip(pairs, starts, strict=True)], dim=1
            )
            batch.pair_shift = torch.cat([shift for _, shift in pairs])
            batch.pair_cutoff = torch.tensor([self.cutoff] * len(pairs), dtype=torch.float64)
        return batch

    def edges(self) -> Indices:
        """Directed edges of each sample's neighbour list (samples,).

        Raises:
            RecipeError: the model has no cutoff.
        """
        if self.cutoff is None:
            raise RecipeError(
                "trainer.batch_by is edges but the model has no cutoff; count atoms instead"
            )
        pairs = (self._sample(i)[1] for i in range(len(self)))
        return np.array([2 * pair[0].shape[1] for pair in pairs if pair is not None])

    def split_memory(self, parts: int) -> None:
        """Says that as many copies of this object as `parts` share what may still be kept."""
        self._left //= parts

    def _sample(self, index: int) -> tuple[Data, Pairs | None]:
        if index in self._kept:
            return self._kept[index]
        full = self.dataset[index]
        sample = Data(**{name: full[name] for name in self._fields if name in full})
        if self._weights is not None:
            sample.weight = self._weights[index : index + 1]
        if self._heads is not None:
            sample.head = self._heads[index : index + 1]
        prepared = (sample, self._pairs(sample))
        tensors = [*sample.to_dict().values(), *(prepared[1] or ())]
        size = _OVERHEAD + sum(t.numel() * t.element_size() for t in tensors)
        if size <= self._left:
            self._left -= size
            self._kept[index] = prepared
        return prepared

    def _pairs(self, sample: Data) -> Pairs | None:
        if self.cutoff is None:
            return None
        # in the training precision, as the model itself would list them
        pos, cell = sample.pos.to(self.dtype), sample.cell.to(self.dtype)
        return neighbor_pairs(pos, self.cutoff, None, cell, sample.pbc)


def column_weights(dataset: Dataset_[Any]) -> Tensor | None:
    """The column `weight`, if there is one.

    Raises:
        DataError: a weight that is no number, not finite, or negative.
    """
    column = dataset.columns.get("weight")
    if column is None:
        return None
    try:
        values = np.asarray(column, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{dataset.source}: the column 'weight' holds no numbers") from error
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise DataError(
            f"{dataset.source}: the weight of frame {bad.argmax()} is {values[bad.argmax()]}; "
            "the column 'weight' says how much a frame counts in the loss, so it must be finite "
            "and not negative"
        )
    return torch.from_numpy(values)


def _heads(dataset: AtomsDataset, names: Sequence[str]) -> Tensor | None:
    """The column `head` as numbers, where the model has several heads.

    Raises:
        DataError: a head that the model does not have.
    """
    column = dataset.columns.get("head")
    if column is None or len(names) < 2:
        return None
    numbers = {name: k for k, name in enumerate(names)} | {str(k): k for k in range(len(names))}
    wrong = sorted({str(entry) for entry in column} - set(numbers))
    if wrong:
        raise DataError(
            f"{dataset.source}: the column 'head' says {wrong[0]!r}, which is no head of the "
            f"model; {nearest(wrong[0], names)}"
        )
    return torch.tensor([numbers[str(entry)] for entry in column])


@dataclass(frozen=True)
class Packed:
    """A batch as plain arrays, for the way between processes.

    Each tensor would travel through a shared memory block of its own, which for dozens of small
    ones costs more than the copies that this makes.

    Attributes:
        fields: what `assemble` takes.
        extra: what was added to the batch after that.
        counts: atoms of each structure.
    """

    fields: dict[str, np.ndarray]
    extra: dict[str, np.ndarray]
    counts: list[int]


def pack(batch: Batch) -> Packed:
    """Takes a batch of tensors apart."""
    arrays = {k: v.numpy() for k, v in batch.to_dict().items() if k not in ("batch", "ptr")}
    joined = set(batch._slice_dict)
    return Packed(
        {name: array for name, array in arrays.items() if name in joined},
        {name: array for name, array in arrays.items() if name not in joined},
        (batch.ptr[1:] - batch.ptr[:-1]).tolist(),
    )


def unpack(packed: Packed) -> Batch:
    """Puts a batch together again."""
    tensors = {name: torch.from_numpy(array) for name, array in packed.fields.items()}
    batch = assemble(tensors, packed.counts)
    for name, array in packed.extra.items():
        batch[name] = torch.from_numpy(array)
    return batch


class AtomsModule(BatchesModule):
    """Training and validation batches.

    Args:
        train: training samples.
        val: validation samples.
        options: batch size and unit, seed, workers.

    Raises:
        DataError: a structure is larger than a batch may be.
    """

    def __init__(self, train: Samples, val: Samples, options: TrainerSection) -> None:
        order = getattr(train.dataset, "order", EpochBatches)
        batches: EpochBatches = order(
            len(train),
            options.batch_size,
            seed=options.seed,
            passes=options.val_every,
            costs=costs(train, options),
        )
        super().__init__(
            train,
            val,
            options,
            batches=batches,
            val_size=len(val),
            pack=pack,
            unpack=lambda batch: unpack(batch) if isinstance(batch, Packed) else batch,
        )
        copies = max(options.num_workers, 1)
        for samples in (train, val):
            samples.split_memory(copies)


def costs(samples: Samples, options: TrainerSection) -> Indices | None:
    """What each sample counts in a batch, or None where samples are counted.

    Raises:
        DataError: naming a structure that is larger than a batch may be.
    """
    unit, limit = options.batch_by, options.batch_size
    if unit == "structures":
        return None
    found = samples.edges() if unit == "edges" else np.asarray(samples.dataset.counts)
    worst = int(found.argmax())
    if found[worst] > limit:
        raise DataError(
            f"{samples.dataset.source}: training frame {worst} alone has {found[worst]} {unit}, "
            f"more than a step may hold (trainer.batch_size: {limit}, batch_by: {unit}); "
            "raise batch_size, or leave the frame out"
        )
    return found.astype(np.int64)
