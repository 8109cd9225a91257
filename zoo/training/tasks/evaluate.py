"""How good a model is at its task, on one split or a whole data set."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric

from zoo.datasets.domains import DomainDataset
from zoo.errors import CapabilityError, DataError, UnknownNameError, nearest
from zoo.models._inputs import SampleBatch
from zoo.training._task_section import TaskSection
from zoo.training.tasks.data import TaskSamples
from zoo.training.tasks.kinds import Task, resolve_task
from zoo.training.tasks.parts import Part, domain_numbers, out_channels, renumbering
from zoo.training.tasks.rows import rows_of
from zoo.training.tasks.task import TaskMeter

#: rows that are kept for plots
KEPT = 20_000
Count = Callable[[int, int], None]


@dataclass
class Outcome:
    """Metrics, and what plots need.

    Attributes:
        metrics: name -> value, in the units of `zoo.training.UNITS`.
        output: of the first rows, (rows, ...); class numbers for classes and pairs.
        target: labels of the same rows.
        classes: names of the classes, if they have any.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    output: np.ndarray = field(default_factory=lambda: np.zeros(0))
    target: np.ndarray = field(default_factory=lambda: np.zeros(0))
    classes: tuple[str, ...] | None = None


def assess_samples(
    model: Any,
    dataset: DomainDataset,
    *,
    split: str | None = None,
    task: TaskSection | Mapping[str, Any] | None = None,
    batch_size: int = 64,
    progress: Count | None = None,
) -> Outcome:
    """Evaluates a model on a labelled data set of any domain but atoms.

    Args:
        model: derived from `SampleModel`; its mode is left as it was.
        dataset: samples of the model's domain.
        split: of the data set; all samples if None.
        task: what the model does; what its manifest says if None, else what its outputs suggest.
        batch_size: samples at once.
        progress: called with samples done and their number.

    Raises:
        UnknownNameError: there is no such split.
        DataError: the data lack the label, or their shapes do not fit the outputs.
    """
    section = task_section(model, task)
    resolved = resolve_task(section, model.domain, lambda key: key)
    numbers, _ = domain_numbers(dataset, section.domain, lambda key: key)
    order = renumbering(model, dataset) if resolved.classifies else None
    if split is None or not dataset.row_splits:  # edges are divided as samples are
        chosen = dataset if split is None else dataset.split(split)
        if split is not None and numbers is not None:
            numbers = numbers[dataset.splits[split]]
        part = Part(chosen, split or "all", None, numbers, order)
    elif split in dataset.row_splits:
        part = Part(dataset, split, f"{split}_mask", numbers, order)
    else:
        hint = nearest(split, dataset.row_splits)
        raise UnknownNameError(f"{dataset.source} has no split {split!r}: {hint}")
    return assess_part(model, part, resolved, batch_size=batch_size, progress=progress)


def task_section(model: Any, given: TaskSection | Mapping[str, Any] | None) -> TaskSection:
    """What a model does: what is given, what its manifest says, or what its outputs suggest.

    Raises:
        CapabilityError: neither says so.
    """
    if isinstance(given, TaskSection):
        return given
    stored = getattr(getattr(model, "manifest", None), "task", None)
    if given is None and stored is None:
        kinds = {"logits": "classification", "prediction": "regression", "score": "link_prediction"}
        kind = next((kinds[name] for name in model.outputs if name in kinds), None)
        if kind is None and hasattr(model, "objective"):
            kind = "own"
        if kind is None:
            raise CapabilityError(
                f"what the outputs {', '.join(model.outputs)} are to be compared with is not "
                "known; say task={'kind': ...}"
            )
        given = {"kind": kind}
    values: Any = given if given is not None else stored
    return TaskSection.model_validate(dict(values))


def assess_part(
    model: Any,
    part: Part,
    task: Task,
    *,
    batch_size: int = 64,
    adapt_to: SampleBatch | None = None,
    progress: Count | None = None,
) -> Outcome:
    """Evaluates a model on one split.

    Args:
        model: its mode is left as it was.
        part: the split.
        task: what is learnt.
        batch_size: samples at once.
        adapt_to: unlabelled inputs that a copy of the model adapts to first.
        progress: called with samples done and their number.
    """
    if adapt_to is not None:
        model = adapted(model, adapt_to)
    meter = TaskMeter(task, classes_of(model, task)).to(model.device)
    for metric in meter.modules():
        if isinstance(metric, Metric):  # every process has seen the whole split
            metric.sync_on_compute = False
    samples = TaskSamples(part, task, model.dtype, rank=rank_of(model))
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    was_training = model.training
    model.eval()
    loss = [0.0, 0.0]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # of classes that the split does not hold
            warnings.filterwarnings("ignore", module=r"torchmetrics\..*")
            for start in range(0, len(part), batch_size):
                stop = min(start + batch_size, len(part))
                batch = to_device(samples[range(start, stop)], model.device)
                out = model(batch)
                meter.update(model, out, batch)
                if task.name == "own":
                    above, below = meter.sums(model, out, batch)
                    loss = [loss[0] + float(above), loss[1] + float(below)]
                elif sum(len(rows) for _, rows in kept) < KEPT:
                    kept.append(_kept(out, batch, task))
                if progress is not None:
                    progress(stop, len(part))
            metrics = meter.compute()
    finally:
        model.train(was_training)
    if task.name == "own":
        metrics = {"loss": loss[0] / max(loss[1], 1.0), **metrics}
    output, target = (np.concatenate([pair[k] for pair in kept] or [np.zeros(0)]) for k in (0, 1))
    return Outcome(metrics, output[:KEPT], target[:KEPT], model.classes)


def _kept(out: Mapping[str, Any], batch: SampleBatch, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Predictions beside labels, as plots show them."""
    rows = rows_of(out, batch, task).counted()
    output = rows.output
    if task.kind.output == "logits":
        output = output.argmax(-1)
    elif task.kind.output == "score":
        output = (output > 0).long()
    return output.cpu().double().numpy(), rows.target.cpu().double().numpy()


def adapted(model: Any, inputs: SampleBatch) -> Any:
    """A copy of a model, with its statistics set by unlabelled inputs.

    Raises:
        CapabilityError: the architecture can't do that.
    """
    check_adapts(model)
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        twin.adapt(to_device(inputs, twin.device))
    return twin


def check_adapts(model: Any) -> None:
    """Refuses models that have nothing to adapt.

    Raises:
        CapabilityError: the architecture has no `adapt`.
    """
    if not callable(getattr(model, "adapt", None)):
        raise CapabilityError(
            f"task.adapt is true, but {type(model).__name__} has no statistics of domains to "
            "adapt; set it to false"
        )


def inputs_of(model: Any, part: Part, task: Task) -> SampleBatch:
    """All inputs of a split as one batch, without labels."""
    if not len(part):
        raise DataError(f"{part.source}: the {part.name} split is empty; there is nothing to see")
    samples = TaskSamples(part, task, model.dtype, rank=rank_of(model), labelled=False)
    return samples[range(len(part))]


def to_device(batch: SampleBatch, device: torch.device) -> SampleBatch:
    """A batch on a device."""
    if isinstance(batch, dict):
        return {name: value.to(device) for name, value in batch.items()}
    return batch.to(device)


def rank_of(model: Any) -> int | None:
    """Axes of one sample's main field, as a model takes it."""
    rank = getattr(model, "_rank", None)
    return int(rank()) if callable(rank) else None


def classes_of(model: Any, task: Task) -> int:
    """Number of classes, or of tokens, that the outputs of a model stand for; 0 if none."""
    if task.name == "language_model":
        return int(model.tokens or out_channels(model) or 0)
    return int(out_channels(model) or len(model.classes or ())) if task.classifies else 0
