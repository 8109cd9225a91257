"""Fine-tuning in every domain but atoms: shipped weights, a user's file, one call.

Where the file has other classes (or another number of targets) than the weights, the head is made
anew; where it has the same ones, in whatever order, the head goes on from what it knows, and the
old task can be kept by replay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from geoopt import ManifoldParameter

from zoo import datasets, hub
from zoo.datasets._base import Dataset
from zoo.datasets.domains import DomainDataset
from zoo.errors import CapabilityError, ConfigError, DataError
from zoo.training import adapters, prepare
from zoo.training.fit import DTYPES, FitResult, Kit, Line
from zoo.training.freeze import apply_method
from zoo.training.methods import Method
from zoo.training.metrics import UNITS
from zoo.training.outcome import parent_entry
from zoo.training.plan import DEFAULT_SPLITS, Options
from zoo.training.recipe import Recipe, resolve
from zoo.training.report import Report, dataset_name, training_entry
from zoo.training.tasks.data import TaskSamples, make_batches
from zoo.training.tasks.evaluate import Outcome, rank_of, task_section
from zoo.training.tasks.heads import fit_head
from zoo.training.tasks.kinds import Task
from zoo.training.tasks.old import OldData, open_old
from zoo.training.tasks.parts import renumbering
from zoo.training.tasks.publish import Result, data_entry, metric_entries, publish
from zoo.training.tasks.run import (
    Job,
    evaluate,
    make_job,
    make_kit,
    manifest_metrics,
    prepare_model,
    run,
)

#: options of `finetune` that mean something here
_OPTIONS = {"keys", "splits", "epochs", "max_time", "lr", "batch_size", "seed", "layer_decay"}
_OPTIONS |= {"freeze", "new_name", "task", "merge"}
_EDGES = {**DEFAULT_SPLITS, "kind": "edges"}
STEPS = 1000  # of a run, at least MIN_EPOCHS passes
MIN_EPOCHS = 20


@dataclass(frozen=True)
class Wish:
    """How a user wants weights to be fine-tuned.

    Attributes:
        base: the weights.
        method: read from what the user wrote.
        heads: "new" for a fresh head in any case, or None.
        patterns: of parameters that stay as they are.
        old_data: to measure forgetting on and to replay.
        options: of `finetune`.
    """

    base: str | Path
    method: Method
    heads: str | None
    patterns: tuple[str, ...]
    old_data: Any
    options: Options


def finetune_samples(
    model: Any,
    data: str | Path | Dataset[Any],
    wish: Wish,
    folder: Path,
    *,
    resume: bool,
    overwrite: bool,
    progress: Line | None,
) -> Report:
    """Fine-tunes a model of any domain but atoms; see `zoo.finetune`.

    Args:
        model: as loaded.
        data: a file, a shipped set, or an open data set.
        wish: how.
        folder: takes everything that is written.
        resume: go on from the state in `folder`.
        overwrite: start again in a folder that holds a run.
        progress: takes lines of text; None writes them to stderr.

    Raises:
        ConfigError: an option or method that means nothing here.
        CapabilityError: a model that can't be fine-tuned.
        DataError: labels are missing, or unknown to a head that is to be kept.
    """
    _check_wish(model, wish)
    options = wish.options
    section = task_section(model, options.get("task"))
    dataset = _open(data, model.domain, section.kind, options)
    replays = wish.method.kind == "replay"
    head = fit_head(model, dataset, section, heads=wish.heads, replays=replays)
    recipe = make_recipe(model, dataset, wish, fresh=head != "kept")
    prepare.check_name(recipe.name, model.architecture)
    job = _make(model, recipe, dataset)
    if head != "kept":
        prepare_model(job)
    old = open_old(job, wish.old_data, wish.method, kept=head == "kept")
    frozen = apply_method(
        model,
        wish.method.text,
        freeze=wish.patterns,
        whole=[] if head == "kept" else adapters.fresh_parameters(model, None),
        seed=recipe.trainer.seed,
    )
    settings = {
        "parent": parent_entry(model),
        "method": wish.method.text,
        "head": head,
        "freeze": list(wish.patterns),
        "old_sample": old.digest,
        **yaml.safe_load(recipe.to_yaml()),
    }
    prepare.open_run(folder, prepare.FINETUNE, settings, resume=resume, overwrite=overwrite)
    before, forgotten = evaluate(job), old.measure(job)
    result = run(job, folder, resume=resume, progress=progress, kit=_kit(job, wish, old))
    adapted = adapters.take_off(model, wish.method, wish.base)
    model.requires_grad_(True)
    scores = {"zero_shot": before[job.shown], "fine_tuned": evaluate(job)[job.shown]}
    if forgotten is not None:
        remembered = old.measure(job)
        assert remembered is not None
        scores |= {"old_before": forgotten, "old_after": remembered}
    report = _report(job, folder, result, scores, frozen | {"head": head, "old_task": old.note})
    _publish(report, job, scores, old, {"adapted": adapted, "merge": _merges(wish)})
    return report


def _merges(wish: Wish) -> bool:
    return bool(wish.options.get("merge", False))


def _check_wish(model: Any, wish: Wish) -> None:
    adapters.check_wish(model, wish.method, merge=_merges(wish))
    for name, value in wish.options.items():
        if name not in _OPTIONS and value not in (None, False):
            raise ConfigError(
                f"finetune: {name} is for models on atoms; {model.checkpoint_name} takes samples "
                f"of the domain {model.domain!r}, where there are {', '.join(sorted(_OPTIONS))}"
            )
    if wish.method.kind == "ewc":
        raise ConfigError(
            "method 'ewc' is for models on atoms; outside them, replay (with old_data) keeps the "
            "old task, and freeze:N or layer_decay change less"
        )
    if wish.heads not in (None, "new"):
        raise ConfigError(
            f"heads={wish.heads!r}: a model on samples of the domain {model.domain!r} has one "
            "head; say 'new' for a fresh one, or nothing to keep it where the classes agree"
        )
    if wish.heads == "new" and wish.method.kind == "replay":
        raise ConfigError("heads='new' has nothing to replay: a fresh head knows no old classes")
    if model.transductive:
        raise CapabilityError(
            f"{model.checkpoint_name} holds a place for each node of the graph that it was made "
            "from; another graph has other nodes, so train it from its recipe instead"
        )


def _open(data: Any, domain: str, kind: str, options: Options) -> DomainDataset:
    """Opens the data, divided by themselves, by the user, or at random."""
    keys, splits = options.get("keys"), options.get("splits")
    if isinstance(data, DomainDataset):
        if keys is not None or splits is not None:
            raise ConfigError(
                "keys, splits: the data set is open already; give them to zoo.datasets.open"
            )
        found: Any = data
    else:
        plain = Path(data).exists() and Path(data).suffix not in (".yaml", ".yml")
        wanted = domain if plain else None
        usual = _EDGES if kind == "link_prediction" else DEFAULT_SPLITS
        found = datasets.open(data, keys=keys, splits=splits, domain=wanted)
        divided = found.splits or getattr(found, "row_splits", None)
        if not (divided or getattr(found, "edge_splits", None)):
            found = datasets.open(data, keys=keys, splits=usual, domain=wanted)
    if not isinstance(found, DomainDataset) or found.domain != domain:
        raise DataError(
            f"{found.source} holds samples of the domain {found.domain!r}, the model takes "
            f"{domain!r}"
        )
    return found


def make_recipe(model: Any, dataset: DomainDataset, wish: Wish, *, fresh: bool) -> Recipe:
    """The settings as a recipe: defaults by the size of the data, then the user's options.

    Raises:
        RecipeError: an option with a value that it can't have.
    """
    given: dict[str, Any] = {k: v for k, v in wish.options.items() if v is not None}
    count = len(dataset.splits.get("train", np.arange(len(dataset))))
    batch = given.get("batch_size", max(1, min(32, count // 4)))
    steps = -(-count // max(batch, 1))
    base = model.checkpoint_name or model.architecture
    stored = task_section(model, None).model_dump(mode="json")
    normalise = {"inputs": "none", "targets": "none"}
    if fresh and stored["kind"] == "regression":
        normalise["targets"] = "standard"
    task = {**stored, "normalise": normalise, **given.get("task", {})}
    points = any(isinstance(p, ManifoldParameter) for p in model.parameters())
    values = {
        "recipe": 1,
        "name": given.get("new_name", hub.derive_name(base, dataset_name(dataset))),
        "model": {"name": model.architecture, "config": dict(model.hparams)},
        "data": {"source": str(dataset.source)},
        "task": task,
        "optimizer": {
            "name": "riemannian_adam" if points else "adamw",
            "lr": given.get("lr", wish.method.rate),
            "layer_decay": given.get("layer_decay"),
        },
        "schedule": {"kind": "cosine", "warmup_steps": 20, "final": 0.01},
        "ema": None,
        "trainer": {
            "max_epochs": given.get("epochs", max(-(-STEPS // steps), MIN_EPOCHS)),
            "max_time": given.get("max_time"),
            "batch_size": batch,
            "val_every": max(1, -(-20 // steps)),
            "precision": "64-true" if str(model.dtype) == "torch.float64" else "32-true",
            "seed": given.get("seed", 0),
        },
    }
    return resolve(values, where="finetune")


def _make(model: Any, recipe: Recipe, dataset: DomainDataset) -> Job:
    """The job, its classes numbered as the model has them."""
    order = None
    if recipe.task is not None and recipe.task.kind == "classification":
        order = renumbering(model, dataset)
    return make_job(
        model,
        recipe,
        dataset,
        lambda key: f"finetune: {key}",
        renumbered=order,
        hold_out=True,
    )


def _kit(job: Job, wish: Wish, old: OldData) -> Kit | None:
    """Batches with old samples among them, where the method is replay."""
    if wish.method.kind != "replay" or old.sample is None:
        return None
    usual, sample = make_kit(job), old.sample

    def batches(model: Any, recipe: Recipe, train: Any, val: Any) -> Any:
        dtype, rank = DTYPES[recipe.trainer.precision], rank_of(model)
        mixed = TaskSamples(train, job.task, dtype, rank=rank, replayed=sample)
        plain = TaskSamples(val, job.task, dtype, rank=rank)
        return make_batches(mixed, plain, recipe.trainer, fraction=wish.method.fraction)

    return replace(usual, batches=batches)


def _report(
    job: Job,
    folder: Path,
    result: FitResult,
    scores: Mapping[str, Outcome],
    said: Mapping[str, Any],
) -> Report:
    metrics = {name: outcome.metrics for name, outcome in scores.items()}
    train, recipe = job.parts["train"], job.recipe
    return Report(
        model=job.model,
        metrics=metrics,
        path=folder,
        history=result.history,
        details={
            "name": recipe.name,
            "derived_from": parent_entry(job.model),
            "data": data_entry(train, job.dataset),
            "samples": {name: part.labelled for name, part in job.parts.items()},
            "evaluated_on": job.shown,
            "heads": ["head"],
            **said,
            "lr": recipe.optimizer.lr,
            "layer_decay": recipe.optimizer.layer_decay,
            "batch_size": recipe.trainer.batch_size,
            "seed": recipe.trainer.seed,
            "score": job.task.score,
            "before_after": before_after(metrics, job.task),
            **result.course(),
        },
    )


def before_after(metrics: Mapping[str, Mapping[str, float]], task: Task) -> list[dict[str, Any]]:
    """Metrics on the new and the old data, before and after, one row per metric."""
    columns = {
        "new_before": "zero_shot",
        "new_after": "fine_tuned",
        "old_before": "old_before",
        "old_after": "old_after",
    }
    names: Sequence[str] = task.metrics or ("loss",)
    return [
        {"error": name, "unit": UNITS.get(name, "")}
        | {c: metrics[p][name] for c, p in columns.items() if name in metrics.get(p, {})}
        for name in names
    ]


def _publish(
    report: Report,
    job: Job,
    scores: Mapping[str, Outcome],
    old: OldData,
    storage: Mapping[str, Any],
) -> None:
    model, recipe = job.model, job.recipe
    parent = model.manifest
    entry = training_entry(
        "fine-tuning",
        prepare.sha256(report.path / prepare.FINETUNE),
        recipe.trainer.seed,
        report.details["seconds"],
    )
    entries = [report.details["data"]]
    metrics = manifest_metrics(job, {job.shown: scores["fine_tuned"]})
    if old.part is not None and "old_after" in scores:
        name = dataset_name(old.part.data)
        metrics += metric_entries(scores["old_after"].metrics, name, "old task", job.task)
    derived = parent_entry(model)
    more: dict[str, Any] = {**storage} | ({} if derived is None else {"derived_from": derived})
    terms = parent.license.model_dump(exclude_none=True) if parent is not None else {}
    result = Result(
        recipe.name,
        job.task,
        job.parts["train"],
        scores["fine_tuned"],
        scores["zero_shot"],
        job.shown,
        prepare.FINETUNE,
    )
    publish(
        report,
        result,
        training={**entry, "data": entries},
        metrics=metrics,
        limits=list(parent.limits) if parent is not None else [],
        license=terms or {"weights": "not stated"},
        citation=list(parent.citation) if parent is not None else [],
        **more,
    )
