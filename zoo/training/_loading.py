"""Batches for the trainer: which samples, in which process, loaded beside the training."""

import signal
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from zoo.training.batches import EpochBatches
from zoo.training.recipe import TrainerSection

PREFETCH = 4  # batches that each worker prepares ahead
GRACE = 20  # seconds between a request to a worker to end and its end


class BatchesModule(pl.LightningDataModule):
    """Training and validation batches of data sets whose items are lists of samples.

    Args:
        train: training samples; an item is the batch of the given indices.
        val: validation samples, `val_size` of them.
        options: batch size, seed, workers.
        batches: what makes each training batch.
        val_size: number of validation samples.
        pack: what a worker does to a batch before it sends it.
        unpack: what is done to what arrives.

    Attributes:
        batches: as given.
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any],
        options: TrainerSection,
        *,
        batches: EpochBatches,
        val_size: int,
        pack: Callable[[Any], Any] | None = None,
        unpack: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._train, self._val, self._options = train, val, options
        self.batches, self._val_size = batches, val_size
        self._pack, self._unpack = pack or _same, unpack or _same

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches from the trainer's present step to the next validation."""
        self.batches.rank, self.batches.world = self._place()
        if (trainer := self.trainer) is not None:
            self.batches.start = lambda: trainer.global_step
        return self._loader(self._train, self.batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches in order; a process may have no share of the last one."""
        rank, world = self._place()
        size = self._options.eval_batch_size * world
        order = EpochBatches(self._val_size, size, seed=None, rank=rank, world=world)
        return self._loader(self._val, list(order))

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """What workers send becomes a batch again."""
        return self._unpack(batch)

    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _loader(self, samples: Dataset[Any], batches: Iterable[list[int]]) -> DataLoader[Any]:
        workers = self._options.num_workers
        extra: dict[str, Any] = {}
        if workers:
            extra = {
                "num_workers": workers,
                "persistent_workers": True,
                "prefetch_factor": PREFETCH,
                "worker_init_fn": _leave_signals,
            }
        # its own generator: with the global one, loading would change the model's random numbers
        generator = torch.Generator()
        generator.manual_seed(self._options.seed)
        return DataLoader(
            samples,
            batch_size=None,
            sampler=batches,
            collate_fn=self._pack if workers else _same,
            generator=generator,
            **extra,
        )


def _leave_signals(worker: int) -> None:
    """Ctrl-C and requests to end are the trainer's business; it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: Any) -> None:
    """A scheduler asks all processes of a job at once, and a trainer whose workers are gone can't
    stop in order: so much time it has."""
    signal.alarm(GRACE)


def _same(batch: Any) -> Any:
    return batch
