"""Pictures of a run: learning curve, confusion matrix, parity plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zoo.training.plots import AFTER, BEFORE, INK, _curve, _save, _scatter, _style, _thin
from zoo.training.tasks.evaluate import Outcome
from zoo.training.tasks.kinds import Task

MAX_CLASSES = 40
_COLOURS = (AFTER, "#c8553d", "#8a6d3b", "#5b8c5a")


def learning_curve(
    path: Path, history: Sequence[Mapping[str, float]], task: Task, title: str
) -> None:
    """Draws the metrics and the losses over the time spent.

    Args:
        path: the PNG to write.
        history: rows with `seconds`, `train_loss`, `val_loss` and `val_<metric>`.
        task: names the metrics.
        title: of the figure.
    """
    figure = Figure(figsize=(10.4, 4.4), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    for metric, colour in zip(task.metrics, _COLOURS, strict=False):
        _curve(left, history, f"val_{metric}", metric.replace("_", " "), colour, 1.0)
    for key, label, colour in (
        ("train_loss", "training", BEFORE),
        ("val_loss", "validation", AFTER),
    ):
        _curve(right, history, key, label, colour, 1.0)
    left.set_ylabel("on the validation split")
    right.set_ylabel(f"loss ({task.loss.replace('_', ' ')})")
    if right.lines:
        right.set_yscale("log")
    for axis in (left, right):
        axis.set_xlabel("training time (s)")
        if axis.lines:
            axis.legend(frameon=False)
        _style(axis)
    figure.suptitle(title, color=INK)
    _save(figure, path)


def outcome_plot(path: Path, after: Outcome, before: Outcome | None, task: Task, title: str) -> str:
    """Draws what the task calls for.

    Args:
        path: the folder to write to.
        after: of the model.
        before: of the model before training, drawn behind it where it makes sense.
        task: what was learnt.
        title: of the figure.

    Returns:
        The file's name; empty where there is nothing to draw.
    """
    if not len(after.target):
        return ""
    if task.name == "regression":
        _parity(path / "parity.png", after, before, title)
        return "parity.png"
    if int(max(after.target.max(), after.output.max())) < MAX_CLASSES:
        _confusion(path / "confusion.png", after, task, title)
        return "confusion.png"
    return ""


def _parity(path: Path, after: Outcome, before: Outcome | None, title: str) -> None:
    figure = Figure(figsize=(5.2, 5.2), dpi=130, layout="constrained")
    axis = figure.subplots()
    target, output = after.target.reshape(-1), after.output.reshape(-1)
    chosen = _thin(len(target))
    earlier = None if before is None else before.output.reshape(-1)
    fits = earlier is not None and len(earlier) == len(target)
    first = earlier[chosen] if fits and earlier is not None else None
    _scatter(axis, target[chosen], output[chosen], first, size=8.0)
    axis.set_xlabel("label")
    axis.set_ylabel("prediction")
    axis.set_title(title, fontsize=10, color=INK)
    _save(figure, path)


def _confusion(path: Path, after: Outcome, task: Task, title: str) -> None:
    target, output = after.target.astype(np.int64), after.output.astype(np.int64)
    size = int(max(target.max(), output.max(), len(after.classes or ()) - 1)) + 1
    matrix = np.zeros((size, size), dtype=np.int64)
    np.add.at(matrix, (target, output), 1)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    width = 3.4 + 0.42 * size
    figure = Figure(figsize=(max(width, 4.6), max(width, 4.6)), dpi=130, layout="constrained")
    axis: Any = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    if size <= 12:
        for i, j in np.ndindex(size, size):
            colour = "white" if share[i, j] > 0.6 else INK
            axis.text(j, i, str(matrix[i, j]), ha="center", va="center", color=colour, fontsize=8)
    names = after.classes or (("no edge", "edge") if task.kind.output == "score" else None)
    words = names if names and len(names) == size else [str(k) for k in range(size)]
    axis.set_xticks(range(size), words, rotation=90 if size > 6 else 0, fontsize=8)
    axis.set_yticks(range(size), words, fontsize=8)
    axis.set_xlabel("prediction")
    axis.set_ylabel("label")
    axis.set_title(title, fontsize=10, color=INK)
    _save(figure, path)
