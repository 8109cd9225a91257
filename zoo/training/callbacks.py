"""What happens around the training steps: the clock, the history, checkpoints, progress, Ctrl-C."""

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import save

from zoo._files import write_atomic
from zoo.errors import OutputError
from zoo.training.data import EpochBatches
from zoo.training.task import ForceFieldTask

BEST, LAST = "best.safetensors", "last.ckpt"


class Stopped(Exception):
    """Leaves the trainer between two steps; `fit` turns it into `Interrupted`."""


class Clock(Timer):
    """Stops at the time limit, counting the time of the parts before a resume, or the last step.

    Args:
        limit: seconds, or None.
        steps: optimiser steps planned.
    """

    def __init__(self, limit: float | None, steps: int) -> None:
        duration = timedelta(seconds=limit) if limit is not None else None
        super().__init__(duration=duration, verbose=False)
        self.steps = steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run may be over already."""
        super().on_train_start(trainer, pl_module)
        self._stop_after_last(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Validation follows a stop, wherever in an epoch it comes."""
        super().on_train_batch_end(trainer, *args, **kwargs)
        self._stop_after_last(trainer)

    def _stop_after_last(self, trainer: pl.Trainer) -> None:
        if trainer.global_step >= self.steps:
            trainer.should_stop = True

    def seconds(self) -> float:
        """Seconds of training so far, validation included."""
        return self.time_elapsed("train")


class History(Callback):
    """One row per validation: losses, errors, learning rate, time.

    Args:
        clock: gives the seconds.
        batches: the training batches.

    Attributes:
        rows: the history, oldest first; survives a resume.
    """

    def __init__(self, clock: Clock, batches: EpochBatches) -> None:
        self.clock, self.batches = clock, batches
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Takes a row."""
        assert isinstance(task, ForceFieldTask)
        row = {
            "epoch": trainer.global_step / self.batches.per_pass,
            "step": float(trainer.global_step),
            "seconds": self.clock.seconds(),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": float(task.train_loss.compute()),
        }
        task.train_loss.reset()
        row["val_loss"] = task.score
        row |= {f"val_{name}": value for name, value in task.errors.items()}
        self.rows.append(row)
        task.log("train_loss", row["train_loss"])
        task.log("lr", row["lr"])

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the rows of the part before a resume."""
        self.rows = list(state_dict["rows"])


class Checkpoints(Callback):
    """Keeps the best weights and the last state, and stops when nothing improves.

    Both files are written beside their place and moved there in one step, so that a kill leaves
    the one before. Only plain data and tensors are stored: they load with `weights_only=True`.

    Args:
        folder: where `best.safetensors` and `last.ckpt` go.
        batches: the training batches, told what to skip after a resume.
        patience: validations without improvement before stopping; None never stops.
        every: seconds between writes of `last.ckpt`.

    Attributes:
        best: lowest validation loss; `best_step` the optimiser step after which it was found.
    """

    def __init__(
        self, folder: Path, batches: EpochBatches, *, patience: int | None, every: float = 30.0
    ) -> None:
        self.folder, self.batches = folder, batches
        self.patience, self.every = patience, every
        self.best = float("inf")
        self.best_step = 0
        self.waited = 0
        self._done = 0
        self._saved_at = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Keeps the weights if they are the best so far."""
        assert isinstance(task, ForceFieldTask)
        if task.score < self.best:
            self.best, self.best_step = task.score, trainer.global_step
            self.waited = 0
            if trainer.is_global_zero:
                state = task.model.state_dict()
                plain = {name: t.detach().cpu().contiguous() for name, t in state.items()}
                write_atomic(self.folder / BEST, save(plain))
        else:
            self.waited += 1
            if self.patience is not None and self.waited >= self.patience:
                trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Writes the last state, not more often than every so many seconds."""
        if trainer.should_stop or time.monotonic() - self._saved_at >= self.every:
            self.save_last(trainer, 0)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """A request to terminate stops between steps: the state is saved."""
        if isinstance(exception, SIGTERMException):
            self.save_last(trainer, trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def save_last(self, trainer: pl.Trainer, done: int) -> None:
        """Writes everything that resuming needs.

        Args:
            trainer: the trainer.
            done: batches of the running epoch that are done.
        """
        self._done = done
        place = self.folder / LAST
        # the name ends as Lightning expects; every process takes part, only the first one writes
        name = f".{place.name}.{uuid.uuid4().hex}.tmp" if trainer.world_size == 1 else ".last.tmp"
        temporary = self.folder / name
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                os.replace(temporary, place)
        except OSError as error:
            raise OutputError(f"{place} can't be written: {error}") from error
        finally:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Best score, patience, random state, and how far the epoch had got."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
            "done": self._done,
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them back."""
        self.best = float(state_dict["best"])
        self.best_step = int(state_dict["best_step"])
        self.waited = int(state_dict["waited"])
        self.batches.skip = int(state_dict["done"])
        torch.set_rng_state(state_dict["random"])


class Interrupts(Callback):
    """Ctrl-C ends the run between two steps, with the state saved; a second one at once.

    Args:
        checkpoints: saves the state.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.asked = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stops inside an epoch."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        # at the end of an epoch validation comes first, so that nothing is left out on resuming
        if self._asked_anywhere(trainer) and not progress.is_last_batch:
            self._stop(trainer, progress.current.ready)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at the end of an epoch."""
        if self._asked_anywhere(trainer):
            self._stop(trainer, 0)

    def _asked_anywhere(self, trainer: pl.Trainer) -> bool:
        """All processes must leave at the same step."""
        if trainer.world_size == 1:
            return self.asked
        return bool(trainer.strategy.reduce_boolean_decision(self.asked, all=False))

    def _stop(self, trainer: pl.Trainer, done: int) -> None:
        self.checkpoints.save_last(trainer, done)
        raise Stopped(
            f"interrupted after {trainer.global_step} steps; the state is saved in "
            f"{self.checkpoints.folder / LAST}: to go on, run the same with resume=True (--resume)"
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGINT over for the duration of the context; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise Stopped("interrupted twice: stopped without saving the running epoch")
        self.asked = True


class Progress(Callback):
    """Reports losses and the time left, one line at a time.

    Args:
        clock: gives the seconds spent.
        batches: the training batches.
        report: takes each line; None writes to stderr, over the same line on a terminal.
        every: seconds between lines; 1 on a terminal, else 30.
    """

    def __init__(
        self,
        clock: Clock,
        batches: EpochBatches,
        report: Callable[[str], None] | None,
        every: float | None = None,
    ) -> None:
        self.clock, self.batches = clock, batches
        self._terminal = report is None and sys.stderr.isatty()
        self._report = report if report is not None else self._write
        self._every = every if every is not None else (1.0 if self._terminal else 30.0)
        self._next = 0.0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """A line, when it is time for one."""
        now = time.monotonic()
        if now >= self._next and trainer.is_global_zero:
            self._next = now + self._every
            assert isinstance(pl_module, ForceFieldTask)
            self._report(self._line(trainer, pl_module))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last line stays."""
        assert isinstance(pl_module, ForceFieldTask)
        if trainer.is_global_zero:
            self._report(self._line(trainer, pl_module))
            if self._terminal:
                sys.stderr.write("\n")

    def _line(self, trainer: pl.Trainer, task: ForceFieldTask) -> str:
        errors = task.errors
        parts = [f"epoch {trainer.global_step / self.batches.per_pass:.1f}"]
        parts.append(f"step {trainer.global_step}")
        if "forces_mae" in errors:
            parts.append(f"val forces {errors['forces_mae']:.1f} meV/Å")
        if "energy_mae_per_atom" in errors:
            parts.append(f"energy {errors['energy_mae_per_atom']:.2f} meV/atom")
        return "  ".join([*parts, self._left(task)])

    def _left(self, task: ForceFieldTask) -> str:
        spent, part = self.clock.seconds(), min(task.progress, 1.0)
        if part <= 0.0:
            return "estimating the time left"
        return f"{timedelta(seconds=round(spent * (1.0 - part) / part))} left"

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()
