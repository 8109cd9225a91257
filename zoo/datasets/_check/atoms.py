"""The checks of structures, and what each of their samples is turned into."""

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.datasets._check.contents import Contents
from zoo.datasets._check.distances import Distances
from zoo.datasets._check.duplicates import Duplicates
from zoo.datasets._check.frame import Frame, to_frame
from zoo.datasets._check.outliers import Outliers
from zoo.datasets._check.scan import Collector
from zoo.datasets._check.steps import Steps
from zoo.datasets._check.stress import Stresses
from zoo.datasets._check.units import Consistency, Energies


def collectors(dataset: Any, splits: np.ndarray) -> tuple[list[Collector], Callable[[Any], Frame]]:
    """The checks of the domain `atoms`.

    Args:
        dataset: an `AtomsDataset`.
        splits: split of each frame, "" where it is in none.

    Returns:
        The checks, and what makes a `Frame` of a sample.
    """
    columns = dataset.columns
    labels = dataset.labels
    distances, energies = Distances(), Energies()
    steps = Steps(splits, trajectories(columns))
    checks: list[Collector] = [
        Contents(splits),
        distances,
        energies,
        Outliers(),
        steps,
        Consistency(distances, energies, steps),
        Duplicates(splits, columns.get("head")),
    ]
    if "stress" in labels:
        checks.append(Stresses(steps))
    return checks, lambda sample: to_frame(sample, labels)


def trajectories(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """What tells trajectories apart: the columns of words that few frames have their own value
    of (a name, a trajectory), joined; None without any."""
    words = [
        column
        for column in columns.values()
        if column.dtype.kind in "US" and len(np.unique(column)) <= max(len(column) // 4, 1)
    ]
    if not words:
        return None
    _, joined = np.unique(np.stack(words, axis=1), axis=0, return_inverse=True)
    return np.asarray(joined).reshape(-1)
