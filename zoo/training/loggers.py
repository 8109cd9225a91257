"""Where the losses and errors of a run are written: CSV, TensorBoard, Weights & Biases."""

import hashlib
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from zoo._environment import offline
from zoo._extras import require
from zoo.training.recipe import Recipe

EXTRA = "logs"
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check(recipe: Recipe) -> None:
    """Imports what the recipe's logs need, before anything long starts.

    Raises:
        MissingExtraError: naming the package and the extra that brings it.
    """
    for kind in recipe.log:
        if kind in _PACKAGES:
            require(_PACKAGES[kind], extra=EXTRA, package=_PACKAGES[kind])


def make(recipe: Recipe, folder: Path | None) -> list[Logger]:
    """The loggers of a run.

    Args:
        recipe: its `log` says which.
        folder: takes `version_<k>/metrics.csv`, one for each start, `tensorboard/` and `wandb/`,
            where a resumed run goes on; None makes no logger.
    """
    if folder is None:
        return []
    check(recipe)
    makers = {"csv": _csv, "tensorboard": _tensorboard, "wandb": _wandb}
    return [makers[kind](recipe, folder) for kind in dict.fromkeys(recipe.log)]


def close(loggers: list[Logger]) -> None:
    """Ends what runs beside the trainer: W&B keeps a process of its own until then."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _csv(recipe: Recipe, folder: Path) -> Logger:
    return CSVLogger(folder.parent, name=folder.name)


def _tensorboard(recipe: Recipe, folder: Path) -> Logger:
    return TensorBoardLogger(folder, name="", version="tensorboard")


def _wandb(recipe: Recipe, folder: Path) -> Logger:
    settings: Any = require("wandb", extra=EXTRA, package="wandb").Settings
    folder.mkdir(parents=True, exist_ok=True)
    # the same folder is the same run, so that a resumed one goes on where it stopped
    run = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return WandbLogger(
        name=recipe.name,
        save_dir=folder,
        project="geometric-zoo",
        id=run,
        mode="offline" if offline() else "online",  # Lightning's own switch changes the environment
        resume=None if offline() else "allow",
        settings=settings(console="off", silent=True),
    )
