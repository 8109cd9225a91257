"""Batches for training: drawn from a seed and the epoch alone, so that a resumed run sees the same.

The order of an epoch is a function of (seed, epoch); after an interruption in the middle of an
epoch the batches already done are skipped. Every process takes its own slice of each batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import Batch, Data

from zoo.datasets import AtomsDataset, collate
from zoo.functional import neighbor_pairs

Pairs = tuple[Tensor, Tensor]
_INPUTS = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")


class Samples(Dataset[Batch]):
    """Collated batches of a data set, whose samples and neighbour lists are built once and kept.

    Args:
        dataset: the frames.
        dtype: precision of positions and labels other than the energy.
        labels: the labels to keep.
        cutoff: of the neighbour lists that the batches carry, Å; None leaves them to the model.
    """

    def __init__(
        self,
        dataset: AtomsDataset,
        dtype: torch.dtype,
        *,
        labels: Sequence[str],
        cutoff: float | None,
    ) -> None:
        self.dataset, self.dtype, self.cutoff = dataset, dtype, cutoff
        self._fields = (*_INPUTS, *labels)
        self._kept: dict[int, tuple[Data, Pairs | None]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        kept = [self._sample(int(i)) for i in indices]
        batch = collate([sample for sample, _ in kept], self.dtype)
        pairs = [pair for _, pair in kept if pair is not None]
        if pairs:
            starts = batch.ptr[:-1].tolist()
            batch.pair_index = torch.cat(
                [index + start for (index, _), start in zip(pairs, starts, strict=True)], dim=1
            )
            batch.pair_shift = torch.cat([shift for _, shift in pairs])
            batch.pair_cutoff = torch.tensor([self.cutoff] * len(pairs), dtype=torch.float64)
        return batch

    def _sample(self, index: int) -> tuple[Data, Pairs | None]:
        if index not in self._kept:
            full = self.dataset[index]
            sample = Data(**{name: full[name] for name in self._fields if name in full})
            self._kept[index] = (sample, self._pairs(sample))
        return self._kept[index]

    def _pairs(self, sample: Data) -> Pairs | None:
        if self.cutoff is None:
            return None
        # in the training precision, as the model itself would list them
        pos, cell = sample.pos.to(self.dtype), sample.cell.to(self.dtype)
        return neighbor_pairs(pos, self.cutoff, None, cell, sample.pbc)


class EpochBatches(Sampler[list[int]]):
    """Lists of indices, one per step.

    Args:
        size: number of samples.
        batch_size: samples per step over all processes together with `world` processes.
        seed: of the shuffling; None keeps the order.
        rank: this process.
        world: number of processes.
        passes: over the data before the trainer validates; it takes them for one epoch.

    Attributes:
        skip: batches to leave out at the start of the next epoch, because they are done.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int | None,
        rank: int = 0,
        world: int = 1,
        passes: int = 1,
    ) -> None:
        self.size, self.batch_size, self.passes = size, batch_size, passes
        self.seed, self.rank, self.world = seed, rank, world
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    @property
    def per_pass(self) -> int:
        """Batches of one pass over the data."""
        return -(-self.size // self.batch_size)

    def __len__(self) -> int:
        return self.per_pass * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        first, self.skip = self.skip, 0
        for step in range(first, len(self)):
            run, place = divmod(step, self.per_pass)
            batch = self._order(run)[place * self.batch_size : (place + 1) * self.batch_size]
            share = batch[self.rank :: self.world]
            # a process without a share of a short last batch still has to take part in the step
            yield [int(i) for i in (share if len(share) else batch[:1])]

    def _order(self, run: int) -> npt.NDArray[np.int64]:
        """The order of one pass."""
        if self.seed is None:
            return np.arange(self.size)
        number = self.epoch * self.passes + run
        return np.random.default_rng((self.seed, number)).permutation(self.size)


class AtomsModule(pl.LightningDataModule):
    """Training and validation batches.

    Args:
        train: training frames.
        val: validation frames.
        batch_size: of a training step, over all processes.
        eval_batch_size: of validation, per process.
        dtype: precision of the model.
        labels: the labels that the loss needs.
        cutoff: of the neighbour lists, Å; None leaves them to the model.
        seed: of the shuffling.
        passes: over the training data between validations.
    """

    def __init__(
        self,
        train: AtomsDataset,
        val: AtomsDataset,
        *,
        batch_size: int,
        eval_batch_size: int,
        dtype: torch.dtype,
        labels: Sequence[str],
        cutoff: float | None,
        seed: int,
        passes: int,
    ) -> None:
        super().__init__()
        self._train = Samples(train, dtype, labels=labels, cutoff=cutoff)
        self._val = Samples(val, dtype, labels=labels, cutoff=cutoff)
        self._eval_batch_size = eval_batch_size
        self.batches = EpochBatches(len(train), batch_size, seed=seed, passes=passes)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches, the same for the same seed and epoch."""
        self.batches.rank, self.batches.world = self._place()
        return loader(self._train, self.batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches in order; the last ones of a process may repeat nothing and be short."""
        rank, world = self._place()
        size = self._eval_batch_size * world
        return loader(
            self._val, EpochBatches(len(self._val), size, seed=None, rank=rank, world=world)
        )

    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)


def loader(samples: Samples, batches: EpochBatches) -> DataLoader[Any]:
    """A loader whose sampler yields whole batches of indices."""
    return DataLoader(samples, batch_size=None, sampler=batches, collate_fn=_same)


def _same(batch: Batch) -> Batch:
    return batch
