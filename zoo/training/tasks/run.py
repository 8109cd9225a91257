"""Training from a recipe, in every domain but atoms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo import datasets
from zoo.datasets.domains import DomainDataset
from zoo.errors import RecipeError
from zoo.models._inputs import batch_of
from zoo.training import prepare
from zoo.training._base import TrainingTask
from zoo.training._loading import BatchesModule
from zoo.training.fit import DTYPES, FitResult, Kit, Line, fit
from zoo.training.recipe import Recipe
from zoo.training.report import Report, dataset_name, training_entry
from zoo.training.tasks.data import TaskSamples, make_batches
from zoo.training.tasks.evaluate import (
    Outcome,
    assess_part,
    check_adapts,
    classes_of,
    inputs_of,
    rank_of,
)
from zoo.training.tasks.kinds import DOMAINS, Task, Where, resolve_task
from zoo.training.tasks.neighbors import drawn
from zoo.training.tasks.parts import Part, balanced_weights, check_labels, make_parts
from zoo.training.tasks.publish import Result, data_entry, metric_entries, publish, write_links
from zoo.training.tasks.task import SampleTask


@dataclass(frozen=True)
class Job:
    """All that is settled before the first step.

    Attributes:
        model: fresh, or the one to go on with.
        recipe: the settings.
        task: of the recipe, resolved.
        dataset: all samples.
        parts: its splits.
    """

    model: Any
    recipe: Recipe
    task: Task
    dataset: DomainDataset
    parts: Mapping[str, Part]

    @property
    def shown(self) -> str:
        """The split that errors are reported on."""
        return "test" if "test" in self.parts else "val"


def make_job(
    model: Any,
    recipe: Recipe,
    dataset: DomainDataset,
    where: Where,
    *,
    renumbered: np.ndarray | None = None,
    hold_out: bool = False,
) -> Job:
    """Checks task, data and model against each other.

    Args:
        model: of the data's domain.
        recipe: with a `task`.
        dataset: open.
        where: says where a key of the recipe stands.
        renumbered: the model's number of each class of the data, where they differ.
        hold_out: where there is no split to validate on, take every tenth training sample.

    Raises:
        RecipeError: a task that domain or model can't have, or another number of classes.
        DataError: labels or splits are missing.
        CapabilityError: `adapt` for a model that can't.
    """
    assert recipe.task is not None
    task = resolve_task(recipe.task, model.domain, where)
    if task.name == "own" and not callable(getattr(model, "objective", None)):
        raise RecipeError(
            f"{where('task.kind')}: {model.architecture} has no objective of its own; it returns "
            f"{', '.join(model.outputs)}"
        )
    if task.kind.output and task.kind.output not in model.outputs:
        raise RecipeError(
            f"{where('task.kind')}: {task.name} needs the output {task.kind.output!r}, "
            f"{model.architecture} as configured returns {', '.join(model.outputs)}"
        )
    dataset.check()
    parts = {
        name: replace(part, renumbered=renumbered)
        for name, part in make_parts(dataset, task, where, hold_out=hold_out).items()
    }
    check_labels(parts, task, model, where)
    if task.section.adapt:
        check_adapts(model)
    return Job(model, recipe, task, dataset, parts)


def train_samples(
    model: Any,
    recipe: Recipe,
    folder: Path,
    *,
    where: Where,
    beside: Path,
    about: Mapping[str, Any],
    resume: bool = False,
    overwrite: bool = False,
    progress: Line | None = None,
) -> Report:
    """Trains a model from a recipe and saves it; see `zoo.train`.

    Args:
        model: fresh.
        recipe: with a `task`.
        folder: takes everything that is written.
        where: says where a key of the recipe stands.
        beside: folder that a relative path of data may be relative to.
        about: what the report says of the recipe.
        resume: go on from the state in `folder`.
        overwrite: start again in a folder that holds a run.
        progress: takes lines of text; None writes them to stderr.
    """
    job = make_job(model, recipe, open_data(recipe, model.domain, beside, where), where)
    settings = recipe.model_dump(mode="json")
    prepare.open_run(folder, prepare.RECIPE, settings, resume=resume, overwrite=overwrite)
    prepare_model(job)
    result = run(job, folder, resume=resume, progress=progress)
    scores = evaluate(job)
    report = make_report(job, folder, result, scores, about)
    entry = training_entry(about["recipe"], recipe.sha256(), recipe.trainer.seed, result.seconds)
    shown = job.shown
    publish(
        report,
        Result(
            recipe.name, job.task, job.parts["train"], scores[shown], None, shown, prepare.RECIPE
        ),
        training={**entry, "data": [report.details["data"]]},
        metrics=manifest_metrics(job, scores),
        limits=recipe.publish.limits,
        license=licence(job),
        citation=recipe.publish.citation,
    )
    return report


def open_data(recipe: Recipe, domain: str, beside: Path, where: Where) -> DomainDataset:
    """Opens the data set; a relative path may be relative to the recipe.

    Raises:
        RecipeError: it is of another domain than the model takes.
    """
    options = recipe.data
    source = prepare.data_source(recipe, beside)
    found = datasets.open(
        source,
        keys=options.keys,
        units=options.units,
        splits=options.splits,
        domain=options.domain or (domain if _is_plain(Path(source)) else None),
    )
    if found.domain != domain or not isinstance(found, DomainDataset):
        raise RecipeError(
            f"{where('data.source')}: {options.source} holds samples of the domain "
            f"{found.domain!r}, the model takes {domain!r}; choose another data set, say "
            "data.domain, or give the model a front end"
        )
    return found


def _is_plain(path: Path) -> bool:
    """Whether a path is a file or folder of data, not a description or the name of a set."""
    return path.exists() and path.suffix not in (".yaml", ".yml")


def prepare_model(job: Job) -> None:
    """Tells the model the names of classes and features, and the constants of its inputs."""
    train, section = job.parts["train"], job.task.section
    if job.task.classifies:
        job.model.set_classes(job.dataset.classes)
    constants: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if section.normalise.inputs == "standard":
        channels = DOMAINS[job.model.domain].channels
        assert channels is not None
        constants["x"] = _moments(_joined(train), channels)
    if section.normalise.targets == "standard":
        values = train.labels(job.task.label).astype(np.float64)
        constants["prediction"] = _moments(values, _target_channels(job.model.domain, values.ndim))
    if constants:
        job.model.set_normalisation(**constants)


def _target_channels(domain: str, axes: int) -> int | None:
    """The axis of targets that has constants of its own: that of the channels, where they are
    fields as the inputs are."""
    if axes < 2:
        return None
    return 1 if DOMAINS[domain].channels == 1 and axes > 2 else -1


def _joined(train: Part) -> np.ndarray:
    samples = [train.data[i] for i in range(len(train))]
    arrays = [batch_of([s], train.data.domain, torch.float64)["x"].numpy() for s in samples]
    if train.data.domain in ("graph", "points", "sequence"):
        return np.concatenate([array.reshape(-1, array.shape[-1]) for array in arrays])
    return np.concatenate(arrays)


def _moments(values: np.ndarray, channels: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along all axes but that of the channels; 1 for constants."""
    kept = set() if channels is None else {channels % values.ndim}
    axes = tuple(axis for axis in range(values.ndim) if axis not in kept)
    mean, std = values.mean(axes, keepdims=True), values.std(axes, keepdims=True)
    std = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-12), std, 1.0)
    return mean[0], std[0]


def make_kit(job: Job) -> Kit:
    """How batches and losses are made of the splits of a job."""
    task = job.task

    def batches(model: Any, recipe: Recipe, train: Part, val: Part) -> BatchesModule:
        options, rank = recipe.trainer, rank_of(model)
        seed = options.seed if task.name == "link_prediction" else None
        keep = options.cache_mb * 2**20 // 2
        dtype = DTYPES[options.precision]
        samples = TaskSamples(train, task, dtype, rank=rank, negatives_seed=seed, keep=keep)
        return make_batches(
            drawn(samples, model, options) if options.neighbors else samples,
            TaskSamples(val, task, dtype, rank=rank, keep=keep),
            options,
        )

    def make(model: Any, recipe: Recipe, **options: Any) -> TrainingTask:
        classes = classes_of(model, task)
        unseen = inputs_of(model, job.parts["val"], task) if task.section.adapt else None
        weights = class_weights(job, classes)
        return SampleTask(
            model, recipe, task, classes=classes, class_weights=weights, inputs=unseen, **options
        )

    return Kit(check=_check, batches=batches, task=make)


def _check(recipe: Recipe, train: Part, val: Part) -> None:
    if recipe.trainer.batch_by != "structures":
        raise RecipeError(
            f"trainer.batch_by is {recipe.trainer.batch_by}; outside atoms batches count samples: "
            "leave it out"
        )


def class_weights(job: Job, classes: int) -> torch.Tensor | None:
    """Weights of the classes, as the loss has them.

    Raises:
        RecipeError: a list of another length.
    """
    given = job.task.section.loss.class_weights
    if given is None or not job.task.classifies:
        return None
    if given == "balanced":
        return balanced_weights(job.parts["train"], job.task, classes)
    if len(given) != classes:
        raise RecipeError(
            f"task.loss.class_weights: {len(given)} weights for {classes} classes; give one each"
        )
    return torch.tensor(given, dtype=torch.float64)


def run(
    job: Job, folder: Path, *, resume: bool, progress: Line | None, kit: Kit | None = None
) -> FitResult:
    """Trains the model of a job in place."""
    if job.task.name == "link_prediction" and prepare.is_first_process():
        write_links(folder, job.parts)
    return fit(
        job.model,
        job.recipe,
        job.parts["train"],
        job.parts["val"],
        folder / prepare.STATE,
        logs=folder / prepare.LOGS,
        resume=resume,
        progress=progress,
        kit=kit or make_kit(job),
    )


def evaluate(job: Job) -> dict[str, Outcome]:
    """Metrics of every split; where the model adapts, also without that (`<split>_unadapted`)."""
    found: dict[str, Outcome] = {}
    size = job.recipe.trainer.eval_batch_size
    for name in ("val", "test"):
        if name not in job.parts:
            continue
        part = job.parts[name]
        if not job.task.section.adapt:
            found[name] = assess_part(job.model, part, job.task, batch_size=size)
            continue
        source = job.parts["adapt"] if name == "test" and "adapt" in job.parts else part
        seen = inputs_of(job.model, source, job.task)
        found[name] = assess_part(job.model, part, job.task, batch_size=size, adapt_to=seen)
        found[f"{name}_unadapted"] = assess_part(job.model, part, job.task, batch_size=size)
    return found


def make_report(
    job: Job,
    folder: Path,
    result: FitResult,
    scores: Mapping[str, Outcome],
    about: Mapping[str, Any],
) -> Report:
    """The report of a run."""
    train = job.parts["train"]
    return Report(
        model=job.model,
        metrics={name: outcome.metrics for name, outcome in scores.items()},
        path=folder,
        history=result.history,
        details={
            "name": job.recipe.name,
            **about,
            "data": data_entry(train, job.dataset),
            "samples": {name: part.labelled for name, part in job.parts.items()},
            "score": job.task.score,
            "parameters": sum(p.numel() for p in job.model.parameters()),
            **result.course(),
        },
    )


def manifest_metrics(job: Job, scores: Mapping[str, Outcome]) -> list[Any]:
    """The manifest's entries of all evaluations."""
    name = dataset_name(job.dataset)
    return [
        entry
        for split, outcome in scores.items()
        for entry in metric_entries(outcome.metrics, name, split, job.task)
    ]


def licence(job: Job) -> dict[str, str]:
    """Terms of use of weights, code and data."""
    of_data = job.dataset.metadata.get("licence")
    terms = {"weights": job.recipe.publish.license, "code": "Apache-2.0"}
    return terms | ({"data": str(of_data)} if of_data else {})
