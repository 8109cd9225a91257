"""What fine-tuning trains on: the new frames alone, or old ones with them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.training import ewc
from zoo.training.heads import Target
from zoo.training.losses import targets
from zoo.training.methods import Method
from zoo.training.old import OldTask
from zoo.training.plan import NewTask
from zoo.training.recipe import Recipe
from zoo.training.references import References
from zoo.training.replay import Mixture, Part


@dataclass(frozen=True)
class Lesson:
    """Frames to train and validate on.

    Attributes:
        train: an `AtomsDataset`, or a `Mixture` with the head of each frame.
        val: likewise.
        replayed: the old frames among them.
    """

    train: Any
    val: Any
    replayed: AtomsDataset | None


def make_lesson(
    model: Any,
    task: NewTask,
    old: OldTask,
    target: Target,
    method: Method,
    recipe: Recipe,
    offsets: References | None,
) -> Lesson:
    """Puts the frames together.

    Args:
        model: with all its heads.
        task: the new frames.
        old: the old ones; `sample` is replayed by the method `replay`.
        target: the head that learns the new labels.
        method: how to fine-tune.
        recipe: names the labels.
        offsets: constants per element that moved the references of the trained head. Old
            energies that go through the same head move with them.

    Raises:
        DataError: the old frames lack a label that is trained on.
    """
    train, val = [Part(task.train, target.name)], [Part(task.val, target.name)]
    if method.kind != "replay" or old.sample is None:
        if not target.several:
            return Lesson(task.train, task.val, None)
        heads = model.energy_heads
        return Lesson(Mixture(train, heads), Mixture(val, heads), None)
    sample = old.sample
    missing = sorted(set(targets(recipe.loss)) - sample.labels)
    if missing:
        raise DataError(
            f"{sample.source}: the frames to replay have no {', '.join(missing)}, which is trained "
            "on; give old_data with these labels, or leave them out of training "
            f"({missing[0]}_weight=0)"
        )
    shift = offsets.values if offsets is not None and old.head == target.name else None
    # as for new frames: some of them choose the weights and are not trained on
    held = np.arange(len(sample)) % 10 == 9 if len(sample) >= 20 else np.ones(len(sample), bool)
    seen = ~held if len(sample) >= 20 else held
    train.append(Part(sample.take(np.flatnonzero(seen)), old.head, shift))
    val.append(Part(sample.take(np.flatnonzero(held)), old.head, shift))
    heads = model.energy_heads
    return Lesson(Mixture(train, heads, fraction=method.fraction), Mixture(val, heads), sample)


def make_penalty(
    model: Any,
    old: OldTask,
    method: Method,
    recipe: Recipe,
    *,
    folder: Path,
    key: str,
    progress: Callable[[str], None] | None,
) -> ewc.Consolidation | None:
    """The spring of elastic weight consolidation, if the method is that.

    Args:
        model: untouched, with the parameters to train requiring gradients.
        old: with frames in `sample`.
        method: how to fine-tune.
        recipe: names the weights of the loss.
        folder: keeps the Fisher information for a resumed run.
        key: of the run's settings.
        progress: takes a line of text.
    """
    if method.kind != "ewc" or old.sample is None:
        return None
    if progress is not None:
        progress(f"Fisher information of {len(old.sample)} old frames")
    return ewc.consolidate(
        model,
        old.sample,
        recipe.loss,
        strength=method.strength,
        head=old.head,
        seed=recipe.trainer.seed,
        path=folder / ewc.FILE,
        key=key,
    )
