"""The data that weights came from, outside atoms: to measure forgetting on, and to replay."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo import datasets
from zoo.datasets.domains import DomainDataset
from zoo.errors import DataError
from zoo.training.methods import Method
from zoo.training.report import dataset_name
from zoo.training.tasks.evaluate import Outcome, assess_part
from zoo.training.tasks.parts import Part, renumbering
from zoo.training.tasks.run import Job

SHOWN = 1000  # samples to evaluate on


@dataclass(frozen=True)
class OldData:
    """What is at hand of the data that weights came from.

    Attributes:
        part: samples to evaluate on, never trained on here; None if there are none.
        sample: samples to replay, where the method does that.
        note: which samples, or why there are none.
    """

    part: Part | None
    sample: Part | None
    note: str

    @property
    def digest(self) -> str | None:
        """Hash of what is replayed."""
        return None if self.sample is None else self.sample.data.hash

    def measure(self, job: Job) -> Outcome | None:
        """Metrics on the old samples."""
        if self.part is None:
            return None
        size = job.recipe.trainer.eval_batch_size
        return assess_part(job.model, self.part, job.task, batch_size=size)


def open_old(job: Job, source: Any, method: Method, *, kept: bool) -> OldData:
    """Opens the old data: what the caller names, or the shipped set the weights were trained on.

    Args:
        job: of the new data; its model as loaded.
        source: a file, a shipped set or an open data set, or None.
        method: says how many samples to replay.
        kept: whether the head still answers for the old classes.

    Raises:
        DataError: samples are to be replayed, and there are none.
    """
    replays = method.kind == "replay"
    if not kept:
        return OldData(None, None, "not measured: the head is new")
    if source is None:
        training = getattr(job.model.manifest, "training", None)
        names = [entry.name for entry in training.data] if training is not None else []
        source = next((name for name in names if name in datasets.shipped()), None)
        if source is None:
            if replays:
                raise DataError(
                    f"replay needs samples of the old training data, and {', '.join(names) or 'it'}"
                    " does not ship with the package: name a file or a shipped set with "
                    "old_data=... (--set old_data=FILE)"
                )
            return OldData(None, None, f"not measured: {', '.join(names) or 'it'} does not ship")
    found = source if isinstance(source, DomainDataset) else datasets.open(source)
    if not isinstance(found, DomainDataset) or found.domain != job.model.domain:
        raise DataError(f"{found.source}: old_data must be of the domain {job.model.domain!r}")
    if found.row_splits or found.edge_splits:
        if replays:
            raise DataError(f"{found.source} is one graph, which can't be replayed in batches")
        return OldData(None, None, f"not measured: {found.source} is one graph")
    return _divide(job, found, method)


def _divide(job: Job, found: DomainDataset, method: Method) -> OldData:
    """Samples to evaluate on, and apart from them samples to replay."""
    order = renumbering(job.model, found) if job.task.classifies else None
    if "test" in found.splits and "train" in found.splits:
        shown, pool = found.split("test"), found.split("train")
    else:
        held = np.arange(len(found)) % 5 == 4
        shown, pool = found.take(np.flatnonzero(held)), found.take(np.flatnonzero(~held))
    if not len(shown) or not len(pool):
        raise DataError(f"{found.source}: {len(found)} old samples are too few; give at least 5")
    part = Part(_spread(shown, SHOWN), "old", renumbered=order)
    note = f"{len(part)} samples of {dataset_name(found)}"
    if method.kind != "replay":
        return OldData(part, None, note)
    return OldData(part, Part(_spread(pool, method.frames), "replayed", renumbered=order), note)


def _spread(data: DomainDataset, count: int) -> DomainDataset:
    """At most so many samples, evenly spaced in the order of the file."""
    chosen = np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(np.int64)
    return data.take(np.unique(chosen))
