"""The old task: the data that weights came from, to measure forgetting on and to prevent it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo import datasets
from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.training.clash import head_level, same_level
from zoo.training.heads import Target
from zoo.training.metrics import UNITS
from zoo.training.properties import ERROR_UNITS
from zoo.training.replay import spread
from zoo.training.report import dataset_name

FRAMES = 100


@dataclass(frozen=True)
class OldTask:
    """What is at hand of the data that weights came from.

    Attributes:
        frames: to evaluate on, never trained on here; None if there are none.
        sample: a pinned sample of the old training frames, where the method uses one.
        head: the energy head that answers for the old data.
        note: which frames, or why there are none.
    """

    frames: AtomsDataset | None
    sample: AtomsDataset | None
    head: str
    note: str


def open_old(
    model: Any, source: str | Path | AtomsDataset | None, target: Target, *, sample: int
) -> OldTask:
    """Opens the old data: what the caller names, or the shipped set the weights were trained on.

    Args:
        model: loaded, with its manifest.
        source: a file, a shipped set or an open data set, or None.
        target: the head to be trained.
        sample: frames to take of the old training frames; 0 for none.

    Raises:
        DataError: a sample is wanted and there are no frames.
    """
    if source is None:
        training = getattr(model.manifest, "training", None)
        names = [entry.name for entry in training.data] if training is not None else []
        # of large sets the test frames ship alone: good to measure forgetting, not to train on
        wanted = names if sample else [each for n in names for each in (n, f"{n}-test")]
        shipped = [entry for entry in wanted if entry in datasets.shipped()]
        if not shipped:
            note = f"not measured: {', '.join(names) or 'the old data'} do not ship"
            if sample:
                raise DataError(
                    f"this method needs frames of the old training data, and "
                    f"{', '.join(names) or 'they'} do not ship with the package: name a file, or a "
                    "shipped set of the same level of theory, with old_data=... "
                    "(--set old_data=FILE)"
                )
            return OldTask(None, None, target.parent, note)
        source = shipped[0]
    dataset = source if isinstance(source, AtomsDataset) else datasets.open(source, domain="atoms")
    shown, pool = _parts(dataset, sample)
    chosen = np.unique(np.linspace(0, len(shown) - 1, min(FRAMES, len(shown))).astype(np.int64))
    return OldTask(
        frames=shown.take(chosen),
        sample=pool.take(spread(pool, sample)) if sample else None,
        head=_head_of(model, dataset, target),
        note=f"{len(chosen)} frames of {dataset_name(dataset)}",
    )


def _parts(dataset: AtomsDataset, sample: int) -> tuple[AtomsDataset, AtomsDataset]:
    """Frames to evaluate on, and frames to train on: apart wherever frames are trained on."""
    shown = dataset.split("test") if "test" in dataset.splits else dataset
    if not sample:
        return shown, shown
    if "train" in dataset.splits and "test" in dataset.splits:
        return shown, dataset.split("train")
    pool = dataset.split("train") if "train" in dataset.splits else dataset
    held = np.arange(len(pool)) % 5 == 4
    if not held.any():
        raise DataError(
            f"{dataset.source}: {len(pool)} old frames are too few to replay some and measure "
            "forgetting on others; give at least 5"
        )
    return pool.take(np.flatnonzero(held)), pool.take(np.flatnonzero(~held))


def _head_of(model: Any, dataset: AtomsDataset, target: Target) -> str:
    """The head whose level of theory the data state; else the one that training starts from."""
    level = str(dataset.metadata.get("level_of_theory") or "")
    heads = [name for name in model.energy_heads if not (target.new and name == target.name)]
    return next(
        (name for name in heads if level and same_level(head_level(model, name), level)),
        target.parent,
    )


def before_after(metrics: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Errors on the new and the old frames, before and after, one row per kind of error.

    Args:
        metrics: of a fine-tuning report.

    Returns:
        Rows with `error`, `unit`, `new_before` (untouched weights), `new_after`, `old_before` and
        `old_after`; what was not measured is left out.
    """
    columns = {
        "new_before": "zero_shot",
        "new_after": "fine_tuned",
        "old_before": "old_before",
        "old_after": "old_after",
    }
    rows = []
    energies = ("energy_mae_per_atom", "energy_mae_offset", "forces_mae", "stress_mae")
    for name in (*energies, *(f"{label}_mae" for label in ERROR_UNITS)):
        row = {
            column: metrics[part][name]
            for column, part in columns.items()
            if name in metrics.get(part, {})
        }
        if row:
            rows.append({"error": name, "unit": UNITS[name], **row})
    return rows
