"""One pass over the samples of a data set, which every check watches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from zoo.datasets._check.report import Finding, finding
from zoo.errors import ZooError

BLOCK = 200  # samples in a row, so that checks of neighbouring frames still see pairs
UNREADABLE_SHOWN = 3

Progress = Callable[[int, int], None]


class Collector(Protocol):
    """A check: it sees every sample once, keeps a few numbers of each, and reports at the end."""

    def see(self, index: int, sample: Any) -> None:
        """Takes in one sample."""

    def findings(self) -> Iterator[Finding]:
        """What was found."""

    def summary(self) -> dict[str, Any]:
        """Plain numbers for the report."""


def chosen(count: int, limit: int) -> np.ndarray:
    """Indices to look at: all, or blocks of neighbours spread evenly over the data set."""
    if count <= limit:
        return np.arange(count)
    blocks = max(limit // BLOCK, 1)
    starts = np.linspace(0, count - BLOCK, blocks).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(BLOCK)).ravel())


def scan(
    dataset: Any,
    indices: np.ndarray,
    prepare: Callable[[Any], Any],
    collectors: Sequence[Collector],
    progress: Progress,
) -> Iterator[Finding]:
    """Shows each sample to each collector; samples that can't be read become findings.

    Args:
        dataset: anything with `__getitem__`.
        indices: which samples.
        prepare: makes of a sample what the collectors take.
        collectors: the checks.
        progress: called with (done, in all).

    Yields:
        One finding for all samples that can't be read.
    """
    broken: list[int] = []
    reasons: list[str] = []
    for done, index in enumerate(indices.tolist()):
        try:
            sample = prepare(dataset[index])
        except ZooError as error:
            broken.append(index)
            reasons.append(str(error))
            continue
        for collector in collectors:
            collector.see(index, sample)
        if done % 64 == 0:
            progress(done, len(indices))
    progress(len(indices), len(indices))
    if broken:
        shown = "; ".join(dict.fromkeys(reasons[:UNREADABLE_SHOWN]))
        yield finding(
            "error",
            "readable",
            f"{len(broken)} of {len(indices)} samples can't be read: {shown}",
            frames=broken,
            mend="zoo data convert IN OUT --max-bad N leaves them out and names each",
        )
