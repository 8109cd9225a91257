"""What survives: the best weights, the last state, and a run that someone or something stops."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import save
from torch import Tensor

from zoo._files import write_atomic
from zoo.errors import OutputError
from zoo.training._base import TrainingTask
from zoo.training.sharding import full_state

BEST, LAST = "best.safetensors", "last.ckpt"


class Stopped(Exception):
    """Leaves the trainer between two steps; `fit` turns it into `Interrupted`."""


class Checkpoints(Callback):
    """Keeps the best weights and the last state, and stops when nothing improves.

    Both files are written beside their place and moved there in one step, so that a kill leaves
    the one before. Only plain data and tensors are stored: they load with `weights_only=True`. The
    last state holds the best weights too, so that a resumed run never takes up weights that come
    from steps after that state.

    Args:
        folder: where `best.safetensors` and `last.ckpt` go.
        patience: validations without improvement before stopping; None never stops.
        every: seconds between writes of `last.ckpt`.

    Attributes:
        best: lowest validation score; `best_step` the optimiser step after which it was found. Of
            equal scores, such as accuracies, the one with the lower loss is better.
    """

    def __init__(self, folder: Path, *, patience: int | None, every: float = 30.0) -> None:
        self.folder = folder
        self.patience, self.every = patience, every
        self.best = self.best_loss = float("inf")
        self.best_step = 0
        self.waited = 0
        self._weights: dict[str, Tensor] = {}
        self._random: list[dict[str, Tensor]] = []  # of each process
        self._restore = False
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """A resumed run goes on with the random numbers it had, whatever was drawn to get here."""
        if self._restore:
            self._restore = False
            mine = self._random[min(trainer.global_rank, len(self._random) - 1)]
            torch.set_rng_state(mine["cpu"])
            if "cuda" in mine and trainer.strategy.root_device.type == "cuda":
                torch.cuda.set_rng_state(mine["cuda"], trainer.strategy.root_device)

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Keeps the weights if they are the best so far."""
        assert isinstance(task, TrainingTask)
        if (task.score, task.loss) < (self.best, self.best_loss):
            self.best, self.best_loss = task.score, task.loss
            self.best_step = trainer.global_step
            self.waited = 0
            self._weights = full_state(trainer, task.model)
            if trainer.is_global_zero:
                write_atomic(self.folder / BEST, save(self._weights))
        else:
            self.waited += 1
            if self.patience is not None and self.waited >= self.patience:
                trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Writes the last state at the end, and not more often than every so many seconds."""
        due = self.due
        if trainer.world_size > 1:
            due = bool(trainer.strategy.reduce_boolean_decision(due, all=False))
        if trainer.should_stop or due:
            self.save_last(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """A request to terminate stops between steps: the state is saved."""
        if isinstance(exception, SIGTERMException):
            self.save_last(trainer)

    @property
    def due(self) -> bool:
        """Whether the last state is older than it should be."""
        return time.monotonic() - self._saved_at >= self.every

    def save_last(self, trainer: pl.Trainer) -> None:
        """Writes everything that resuming needs; every process takes part, the first one writes.

        Raises:
            OutputError: it can't be written.
        """
        self._random = _random_states(trainer)
        place = self.folder / LAST
        # the name ends as Lightning expects
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
        """Best score and weights, patience, random state of every process."""
        return {
            "best": self.best,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "waited": self.waited,
            "weights": self._weights,
            "random": self._random,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them back."""
        self.best = float(state_dict["best"])
        self.best_loss = float(state_dict.get("best_loss", self.best))
        self.best_step = int(state_dict["best_step"])
        self.waited = int(state_dict["waited"])
        self._weights = dict(state_dict["weights"])
        self._random = list(state_dict["random"])
        self._restore = bool(self._random)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The best weights are those of the state, not of steps that a kill has undone."""
        if self._restore and self._weights and trainer.is_global_zero:
            write_atomic(self.folder / BEST, save(self._weights))


def _random_states(trainer: pl.Trainer) -> list[dict[str, Tensor]]:
    """The random state of every process."""
    mine = {"cpu": torch.get_rng_state()}
    device = trainer.strategy.root_device
    if device.type == "cuda":
        mine["cuda"] = torch.cuda.get_rng_state(device)
    if trainer.world_size == 1:
        return [mine]
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, mine)
    return found


class Interrupts(Callback):
    """Ctrl-C ends the run between two steps, with the state saved; a second one at once.

    So do SIGUSR1, which job schedulers can send before the time is up, and among several processes
    a request to terminate; whichever of them is asked, all stop after the same step.

    Inside a long epoch the state is also saved from time to time, so that a kill costs no more
    than the steps since then.

    Args:
        checkpoints: saves the state.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.asked = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes SIGTERM over from the trainer, which gives it back at its end: its own handler
        talks to the other processes in the middle of whatever they are talking about."""
        if trainer.world_size > 1 and _in_main_thread():
            signal.signal(signal.SIGTERM, self._request)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stops or saves inside an epoch."""
        asked, due = self._agree(trainer)
        # at the end of an epoch validation comes first, so that nothing is left out on resuming
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or trainer.should_stop:
            return
        if asked:
            self._stop(trainer)
        elif due:
            self.checkpoints.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops at the end of an epoch."""
        if self._agree(trainer)[0]:
            self._stop(trainer)

    def _agree(self, trainer: pl.Trainer) -> tuple[bool, bool]:
        """Whether any process was asked to stop, or finds the state old: all act at one step."""
        asked, due = self.asked, self.checkpoints.due
        if trainer.world_size == 1:
            return asked, due
        flags = torch.tensor([asked, due], device=trainer.strategy.root_device).float()
        both = trainer.strategy.reduce(flags, reduce_op="sum").tolist()
        return both[0] > 0, both[1] > 0

    def _stop(self, trainer: pl.Trainer) -> None:
        self.checkpoints.save_last(trainer)
        raise Stopped(
            f"interrupted after {trainer.global_step} steps; the state is saved in "
            f"{self.checkpoints.folder / LAST}: to go on, run the same with resume=True (--resume)"
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGINT over for the duration of the context, and SIGUSR1 unless somebody else has;
        only the main thread may."""
        if not _in_main_thread():
            yield
            return
        before = {signal.SIGINT: signal.signal(signal.SIGINT, self._ask)}
        if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._request)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise Stopped("interrupted twice: stopped without saving the running epoch")
        self.asked = True

    def _request(self, number: int, frame: Any) -> None:
        """Schedulers may ask more than once."""
        self.asked = True


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
