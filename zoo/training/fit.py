"""One run of the trainer: builds it from a recipe, runs it, hands back the best weights."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from safetensors.torch import load_file

from zoo._files import refusal
from zoo.datasets import AtomsDataset
from zoo.errors import DataError, Interrupted, OutputError, RecipeError
from zoo.training import cluster, loggers, sharding
from zoo.training._base import Penalty, TrainingTask
from zoo.training._loading import BatchesModule
from zoo.training.callbacks import Clock, History, Progress
from zoo.training.data import AtomsModule, Samples
from zoo.training.losses import targets
from zoo.training.page import timings
from zoo.training.recipe import Recipe, TrainerSection
from zoo.training.saving import BEST, LAST, Checkpoints, Interrupts, Stopped
from zoo.training.schedule import seconds
from zoo.training.task import ForceFieldTask, energy_heads

DTYPES = {"32-true": torch.float32, "64-true": torch.float64}
Line = Callable[[str], None]


@dataclass(frozen=True)
class FitResult:
    """How a run went; the model now carries the best weights.

    Attributes:
        history: one row per validation.
        best_step: optimiser step after which the validation loss was lowest.
        best_score: that loss.
        epochs: passes over the training frames.
        steps: optimiser steps.
        seconds: time in training, validation included.
        first_step: of each energy head, if there are several: loss, structures, gradient norm.
    """

    history: list[dict[str, float]]
    best_step: int
    best_score: float
    epochs: float
    steps: int
    seconds: float
    first_step: dict[str, dict[str, float]] = field(default_factory=dict)

    def course(self) -> dict[str, Any]:
        """How long the run was, for reports."""
        names = ("epochs", "steps", "seconds", "best_step")
        course: dict[str, Any] = {name: getattr(self, name) for name in names}
        course["timings"] = timings(self.seconds, self.steps)
        return course | ({"first_step": self.first_step} if self.first_step else {})


def fit(
    model: Any,
    recipe: Recipe,
    train: Any,
    val: Any,
    folder: Path,
    *,
    logs: Path | None = None,
    resume: bool = False,
    progress: Line | None = None,
    every: float = 30.0,
    penalty: Penalty | None = None,
    kit: "Kit | None" = None,
) -> FitResult:
    """Trains a model in place and leaves the weights with the best validation score in it.

    Args:
        model: parameters that don't require gradients stay as they are.
        recipe: losses, optimiser, schedule, averaging, trainer.
        train: what to train on, with every label the loss names.
        val: what to validate on, likewise.
        folder: takes `best.safetensors` and `last.ckpt`; must be writable.
        logs: folder for the recipe's logs; None writes none.
        resume: go on from `last.ckpt` if there is one.
        progress: takes lines of text; None writes to stderr.
        every: seconds between writes of `last.ckpt`.
        penalty: takes the model and returns a scalar that is added to the loss of each step.
        kit: how batches and losses are made of the data; that of atoms if None.

    Returns:
        How it went.

    Raises:
        DataError: a label is missing, a split is empty, or a frame is larger than a batch.
        OutputError: the folder can't be written.
        RecipeError: nothing can be trained, or training diverged.
        MissingExtraError: a package that the logs need.
        Interrupted: by Ctrl-C; the state is saved.
    """
    kit = kit or ATOMS
    kit.check(recipe, train, val)
    _check(model, recipe)
    check_writable(folder)
    options = recipe.trainer
    limit = seconds(options.max_time)
    model.to(DTYPES[options.precision]).train()
    data = kit.batches(model, recipe, train, val)
    steps = _planned(data, options)
    # sharding takes the parameters apart for good, so it gets a copy
    trained = copy.deepcopy(model) if options.strategy == "fsdp" else model
    task = kit.task(trained, recipe, steps=steps, limit=limit, penalty=penalty)
    clock = Clock(limit, steps)
    task.clock = clock.seconds
    history = History(clock, data.batches)
    patience = options.early_stopping.patience if options.early_stopping is not None else None
    checkpoints = Checkpoints(folder, patience=patience, every=every)
    interrupts = Interrupts(checkpoints)
    callbacks = [clock, history, checkpoints, interrupts, Progress(clock, data.batches, progress)]
    last = folder / LAST
    written = loggers.make(recipe, logs)
    with _surroundings(model, options), interrupts.listening():
        trainer = _trainer(recipe, trained, written, callbacks)
        with _interruptions(last):
            trainer.fit(
                task,
                datamodule=data,
                ckpt_path=last if resume and last.is_file() else None,
                weights_only=True,
            )
    loggers.close(written)
    if not math.isfinite(checkpoints.best):
        raise RecipeError(
            f"training diverged: after {trainer.global_step} steps no validation loss was finite; "
            "lower optimizer.lr or trainer.clip, and look for outliers among the labels"
        )
    model.load_state_dict(load_file(folder / BEST))
    model.eval()
    return FitResult(
        history=history.rows,
        best_step=checkpoints.best_step,
        best_score=checkpoints.best,
        epochs=data.batches.passes_done(trainer.global_step),
        steps=trainer.global_step,
        seconds=clock.seconds(),
        first_step=task.first_step,
    )


def _planned(data: BatchesModule, options: TrainerSection) -> int:
    """Steps of the run, unless time is up before."""
    steps = data.batches.first_step(options.max_epochs)
    return min(steps, options.max_steps or steps)


def _batches(model: Any, recipe: Recipe, train: AtomsDataset, val: AtomsDataset) -> AtomsModule:
    options = recipe.trainer
    train_samples, val_samples = (
        Samples(
            part,
            DTYPES[options.precision],
            labels=targets(recipe.loss),
            cutoff=getattr(model, "cutoff", None),
            heads=energy_heads(model),
            keep=options.cache_mb * 2**20 * len(part) // (len(train) + len(val)),
        )
        for part in (train, val)
    )
    return AtomsModule(train_samples, val_samples, options)


@dataclass(frozen=True)
class Kit:
    """What a kind of data brings to a run.

    Attributes:
        check: refuses data that can't be trained on; takes recipe, training and validation data.
        batches: makes the batches; takes model, recipe, training and validation data.
        task: makes the task; takes model and recipe, and by name steps, limit and penalty.
    """

    check: Callable[[Recipe, Any, Any], None]
    batches: Callable[[Any, Recipe, Any, Any], BatchesModule]
    task: Callable[..., TrainingTask]


@contextmanager
def _interruptions(last: Path) -> Iterator[None]:
    """Turns every way of being stopped into one error that names the saved state."""
    try:
        yield
    except Stopped as error:
        raise Interrupted(str(error)) from None
    except SIGTERMException as error:
        raise Interrupted(f"terminated; the state is saved in {last}") from error
    except (KeyboardInterrupt, SystemExit) as error:
        raise Interrupted(f"interrupted; the state up to the last epoch is in {last}") from error


def _check_compiles(model: Any, recipe: Recipe) -> None:
    if recipe.trainer.compile and not callable(getattr(model, "compiled", None)):
        raise RecipeError(
            f"trainer.compile: {model.architecture} has no layers that can be compiled; leave the "
            "key out"
        )


def check_writable(folder: Path) -> None:
    """Writes a file in the folder, or where it will be made, before hours are spent.

    Raises:
        OutputError: it can't.
    """
    refused = refusal(folder)
    if refused is not None:
        raise OutputError(
            f"output folder {folder}: can't be written ({refused[1]}); "
            "choose a folder that you may write to"
        )


def _check_frames(recipe: Recipe, train: AtomsDataset, val: AtomsDataset) -> None:
    """Refuses runs that would train on nothing."""
    wanted = targets(recipe.loss)
    if recipe.trainer.neighbors:
        raise RecipeError("trainer.neighbors is for the nodes of one graph; on atoms leave it out")
    if not wanted:
        raise RecipeError(
            "loss: no term is given; name at least one of energy, forces, stress, properties"
        )
    for name, part in (("train", train), ("val", val)):
        if len(part) == 0:
            raise DataError(f"{part.source}: the {name} split has no frames; change data.splits")
        missing = sorted(set(wanted) - part.labels)
        if missing:
            raise DataError(
                f"{part.source}: the loss needs {', '.join(missing)} but the frames have "
                f"{', '.join(sorted(part.labels)) or 'no labels'}; give data.keys, or leave the "
                "term out of the loss"
            )


def _check(model: Any, recipe: Recipe) -> None:
    """Refuses what can't be run as it is."""
    sharding.check(recipe)
    cluster.check(recipe)
    loggers.check(recipe)
    _check_compiles(model, recipe)
    if not any(p.requires_grad for p in model.parameters()):
        raise RecipeError("every parameter is frozen; nothing can be trained")


def _trainer(recipe: Recipe, model: Any, written: list[Logger], callbacks: list[Any]) -> pl.Trainer:
    """The trainer, without anything that prints."""
    options = recipe.trainer
    return pl.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=sharding.strategy(recipe, model),
        plugins=cluster.environment(),
        max_epochs=-1,  # the clock counts steps, so that a run can stop inside an epoch and go on
        gradient_clip_val=options.clip,
        callbacks=callbacks,
        logger=written or False,
        log_every_n_steps=1_000_000,  # epochs are logged, steps are not
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        use_distributed_sampler=False,
        deterministic=options.deterministic,
    )


@contextmanager
def _surroundings(model: Any, options: TrainerSection) -> Iterator[None]:
    """Compiled layers, random state, determinism, log level and warning filters, as before
    afterwards."""
    compiled = model.compiled() if options.compile else nullcontext()
    quiet = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in quiet]
    was = torch.are_deterministic_algorithms_enabled()
    devices = list(range(torch.cuda.device_count()))
    with compiled, torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        # of a head without validation frames
        warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
        # of classes without validation samples
        warnings.filterwarnings("ignore", module=r"torchmetrics\..*")
        # the user's business, and no reason to fail where warnings are errors
        for message in ("This DataLoader will create", "Grad strides do not match"):
            warnings.filterwarnings("ignore", message=message)
        for logger in quiet:
            logger.setLevel(logging.WARNING)
        torch.manual_seed(options.seed)
        try:
            yield
        finally:
            for logger, level in zip(quiet, levels, strict=True):
                logger.setLevel(level)
            if options.deterministic:
                torch.use_deterministic_algorithms(was)


ATOMS = Kit(check=_check_frames, batches=_batches, task=ForceFieldTask)
