"""The checks of every domain but atoms."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zoo.datasets._check.duplicates import Copies
from zoo.datasets._check.graphs import Graphs
from zoo.datasets._check.matrices import Bases, Matrices
from zoo.datasets._check.others import JUDGES, Judged
from zoo.datasets._check.report import Finding, finding
from zoo.datasets._check.scan import Collector
from zoo.datasets._check.values import Labels, Sample, Values, to_arrays
from zoo.errors import ZooError


def collectors(dataset: Any, splits: np.ndarray) -> tuple[list[Collector], Callable[[Any], Sample]]:
    """The checks of a domain.

    Args:
        dataset: of any domain but `atoms`.
        splits: split of each sample, "" where it is in none.

    Returns:
        The checks, and what makes arrays of a sample.
    """
    labels = dataset.labels
    checks: list[Collector] = [
        Values(labels, dataset.domain),
        Labels(splits, getattr(dataset, "classes", None)),
        Copies(splits, labels),
    ]
    if dataset.domain == "graph":
        checks.append(Graphs())
    elif dataset.domain == "matrix":
        bases = dataset.metadata.get("kind") == "bases"
        checks.append(Bases("x") if bases else Matrices("x"))
    elif dataset.domain in JUDGES:
        checks.append(Judged(JUDGES[dataset.domain]))
    return checks, to_arrays


def refused(dataset: Any, found: Sequence[Finding]) -> Iterator[Finding]:
    """What the data set's own check refuses, unless an error was found already."""
    if any(f.severity == "error" for f in found):
        return
    try:
        dataset.check()
    except ZooError as error:
        yield finding(
            "error", "values", str(error), mend="leave these samples out, or correct them"
        )
