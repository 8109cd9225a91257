"""What is told about a run: the clock, the history, the progress."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Timer

from zoo.training._base import TrainingTask
from zoo.training.batches import EpochBatches


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
        assert isinstance(task, TrainingTask)
        row = {
            "epoch": self.batches.passes_done(trainer.global_step),
            "step": float(trainer.global_step),
            "seconds": self.clock.seconds(),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": float(task.train_loss.compute()),
        }
        task.train_loss.reset()
        row["val_loss"] = task.loss
        row |= {f"val_{name}": value for name, value in task.errors.items()}
        self.rows.append(row)
        for name in ("train_loss", "lr", "epoch"):
            task.log("passes" if name == "epoch" else name, row[name])

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the rows of the part before a resume."""
        self.rows = list(state_dict["rows"])


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
            assert isinstance(pl_module, TrainingTask)
            self._report(self._line(trainer, pl_module))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last line stays."""
        assert isinstance(pl_module, TrainingTask)
        if trainer.is_global_zero:
            self._report(self._line(trainer, pl_module))
            if self._terminal:
                sys.stderr.write("\n")

    def _line(self, trainer: pl.Trainer, task: TrainingTask) -> str:
        errors = task.errors
        parts = [f"epoch {self.batches.passes_done(trainer.global_step):.1f}"]
        parts.append(f"step {trainer.global_step}")
        for name, (label, form) in task.headline.items():
            if name in errors:
                parts.append(f"{label} {form.format(errors[name])}")
        return "  ".join([*parts, self._left(task)])

    def _left(self, task: TrainingTask) -> str:
        spent, part = self.clock.seconds(), min(task.progress, 1.0)
        if part <= 0.0:
            return "estimating the time left"
        return f"{timedelta(seconds=round(spent * (1.0 - part) / part))} left"

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()
