"""Fine-tuning: a pretrained model, a user's frames, one call.

Levels of theory differ first of all by a constant per element. The constants are therefore fitted
before training, on the residuals of the untouched model, by the regression that also fits
reference energies; what is left for the network is small. How much they explain, the errors
before and after, and the errors on the data the model came from are all part of the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import yaml
from ase.data import chemical_symbols

from zoo import datasets, hub
from zoo.datasets import AtomsDataset
from zoo.errors import ConfigError, DataError, UnsupportedElementError, nearest
from zoo.training import prepare
from zoo.training.fit import FitResult, check_writable, fit
from zoo.training.fit import Report as Line
from zoo.training.freeze import apply_method, check_method
from zoo.training.metrics import Evaluation, assess
from zoo.training.recipe import Recipe, resolve
from zoo.training.references import References, fit_references
from zoo.training.report import Report, data_entry, dataset_name, metric_entries, training_entry

SETTINGS = "finetune.yaml"
OLD_FRAMES = 100
_DEFAULT_SPLITS = {
    "kind": "random",
    "fractions": {"train": 0.8, "val": 0.1, "test": 0.1},
    "seed": 0,
}


class Options(TypedDict, total=False):
    """Optional arguments of `finetune`.

    Attributes:
        keys: names of the labels in the file; see `zoo.datasets.open`.
        units: of a file that does not state them.
        splits: how to split; by default the set's own, else 80/10/10 % at random.
        epochs: passes over the training frames; by default about 1500 steps, at least 20 passes.
        max_time: `HH:MM:SS`; whichever of the two is reached first ends the run.
        lr: peak learning rate, 1e-3 by default, or 3e-3 for `method="head"`.
        batch_size: frames per step.
        seed: of the order of the frames.
        energy_weight: of the squared energy error per atom; forces have weight 1.
        forces_weight: of the squared force errors.
        stress_weight: of the squared stress errors.
        new_name: of the new checkpoint; by default from the parent's name and the data's.
    """

    keys: Mapping[str, str | None] | None
    units: Mapping[str, str] | None
    splits: Mapping[str, Any] | None
    epochs: int | None
    max_time: str | None
    lr: float | None
    batch_size: int | None
    seed: int | None
    energy_weight: float | None
    forces_weight: float | None
    stress_weight: float | None
    new_name: str | None


@dataclass
class _Task:
    """The new data, split."""

    data: AtomsDataset
    train: AtomsDataset
    val: AtomsDataset
    test: AtomsDataset
    shown: str


def finetune(
    name: str | Path,
    data: str | Path | AtomsDataset,
    *,
    output: str | Path,
    method: str = "full",
    references: Literal["fit", "keep"] = "fit",
    new_elements: bool = False,
    old_data: str | Path | AtomsDataset | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Line | None = None,
    **options: Unpack[Options],
) -> Report:
    """Fine-tunes a pretrained model on a user's frames and saves the result.

    Args:
        name: a checkpoint by name or path.
        data: a file, a shipped set, or an open data set.
        output: folder for weights, manifest, card, report, plots, logs and state.
        method: `full`, `head`, or `freeze:N` (the first N blocks; negative: see `apply_method`).
        references: `fit` adds a constant per element, fitted on the training frames; `keep` not.
        new_elements: accept elements the model was not trained on; their embeddings start at the
            mean of the trained ones.
        old_data: frames to measure forgetting on; by default the shipped set the model was
            trained on. At most 100 of its frames are used, always the same ones.
        resume: go on from the state in `output`, if there is one.
        overwrite: start again in a folder that holds a run.
        progress: takes lines of text; None writes them to stderr.
        **options: see `Options`.

    Returns:
        The report. Its `metrics` hold `zero_shot`, `offsets_only` and `fine_tuned` on the test
        frames (validation frames if there are no others), and `old_before` and `old_after`.

    Raises:
        ConfigError: an unknown option or method.
        DataError: frames without energies and forces, labels that are not finite.
        UnsupportedElementError: new elements without `new_elements`.
        OutputError: the folder can't be written or holds a run.
        Interrupted: by Ctrl-C; `resume` goes on.
    """
    _check_options(options, method, references)
    folder = Path(output)
    check_writable(folder)
    model = hub.load(name, allow_untrained_elements=True)
    task = _open(data, options)
    _admit_elements(model, task.data, new_elements)
    recipe = _recipe(model, task, method, options)
    prepare.check_name(recipe.name, model.architecture)
    _start(folder, model, recipe, method, references, resume=resume, overwrite=overwrite)
    old, old_note = _old_task(model, old_data)
    size = recipe.trainer.eval_batch_size
    scores = {"zero_shot": assess(model, task.test, batch_size=size)}
    if old is not None:
        scores["old_before"] = assess(model, old, batch_size=size)
    offsets = _fit_offsets(model, task.train) if references == "fit" else None
    if offsets is not None:
        scores["offsets_only"] = assess(model, task.test, batch_size=size)
    frozen = apply_method(model, method)
    result = fit(
        model,
        recipe,
        task.train,
        task.val,
        folder / prepare.STATE,
        logs=folder / prepare.LOGS,
        resume=resume,
        progress=progress,
    )
    model.requires_grad_(True)
    scores["fine_tuned"] = assess(model, task.test, batch_size=size)
    if old is not None:
        scores["old_after"] = assess(model, old, batch_size=size)
    report = Report(
        model=model,
        metrics={key: score.metrics for key, score in scores.items()},
        path=folder,
        history=result.history,
        details=_details(recipe, model, task, frozen, offsets, old, old_note, result),
    )
    _publish(report, recipe, task, scores, old, offsets)
    return report


def _check_options(options: Options, method: str, references: str) -> None:
    for key in options:
        if key not in Options.__annotations__:
            raise ConfigError(
                f"finetune: no option {key!r}; {nearest(key, Options.__annotations__)}"
            )
    check_method(method)
    if references not in ("fit", "keep"):
        raise ConfigError(f"references {references!r}: expected 'fit' or 'keep'")


def _open(data: str | Path | AtomsDataset, options: Options) -> _Task:
    """Opens, checks and splits the data."""
    dataset, splits = data, options.get("splits")
    if not isinstance(dataset, AtomsDataset):
        arguments = {"keys": options.get("keys"), "units": options.get("units")}
        dataset = datasets.open(data, splits=splits, **arguments)  # type: ignore[arg-type]
        if not dataset.splits:
            dataset = datasets.open(data, splits=_DEFAULT_SPLITS, **arguments)  # type: ignore[arg-type]
    dataset.check()
    train = prepare.split(dataset, "train")
    if "val" in dataset.splits:
        val = dataset.split("val")
    elif len(train) > 1:
        # every tenth frame, so that a trajectory is covered
        held = np.arange(len(train)) % 10 == 9 if len(train) >= 10 else _last(len(train))
        train, val = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
    else:
        raise DataError(f"{dataset.source}: one training frame; at least two are needed")
    shown = "test" if "test" in dataset.splits else "val"
    test = dataset.split("test") if shown == "test" else val
    return _Task(data=dataset, train=train, val=val, test=test, shown=shown)


def _last(count: int) -> Any:
    return np.arange(count) == count - 1


def _admit_elements(model: Any, data: AtomsDataset, new_elements: bool) -> None:
    """Compares elements; new ones are embedded like the mean of the old ones."""
    known = model.trained_elements
    if known is None:
        return
    new = sorted(z for z in data.elements if known.get(z, 0) == 0)
    if new and not new_elements:
        words = ", ".join(f"{chemical_symbols[z]} ({data.elements[z]} atoms)" for z in new)
        have = ", ".join(chemical_symbols[z] for z in sorted(known) if known[z] > 0)
        raise UnsupportedElementError(
            f"{data.source}: holds {words}, which the model was not trained on (it knows {have}); "
            "to train them now, say new_elements=True (--new-elements)"
        )
    if new:
        model.add_elements(new)


def _recipe(model: Any, task: _Task, method: str, options: Options) -> Recipe:
    """The settings as a recipe: defaults by the size of the data, then the user's options."""
    batch = options.get("batch_size") or min(4, len(task.train))
    steps = -(-len(task.train) // batch)
    lr = options.get("lr") or (3e-3 if method == "head" else 1e-3)
    seed = options.get("seed") or 0
    name = options.get("new_name") or hub.derive_name(
        model.checkpoint_name or model.architecture, dataset_name(task.data)
    )
    epochs = options.get("epochs") or max(-(-1500 // steps), 20)
    values = {
        "recipe": 1,
        "name": name,
        "model": {"name": model.architecture, "config": dict(model.hparams)},
        "data": {"source": str(task.data.source)},
        "loss": _loss(task.data, options),
        "references": {"kind": "none"},
        "normalise": {"scale": "none"},
        "optimizer": {"lr": lr},
        "schedule": {"kind": "cosine", "warmup_steps": 50, "final": 0.001},
        "ema": {"decay": 0.99},
        "trainer": {
            "max_epochs": epochs,
            "max_time": options.get("max_time"),
            "batch_size": batch,
            "val_every": max(1, -(-50 // steps)),
            "precision": "64-true" if str(model.dtype) == "torch.float64" else "32-true",
            "seed": seed,
        },
    }
    return resolve(values, where="finetune")


def _loss(data: AtomsDataset, options: Options) -> dict[str, Any]:
    """Terms for the labels that the data hold; an explicit weight demands its label."""
    defaults = {"energy": 10.0, "forces": 1.0, "stress": 100.0}
    periodic = "stress" in data.labels and all(data[i].pbc.all() for i in range(len(data)))
    terms: dict[str, Any] = {}
    for label, default in defaults.items():
        weight: Any = options.get(f"{label}_weight")
        if weight is not None and label not in data.labels:
            raise DataError(
                f"{data.source}: {label}_weight is given but the frames have no {label} "
                f"(they have {', '.join(sorted(data.labels)) or 'no labels'}); give keys"
            )
        if label in data.labels and weight != 0 and (label != "stress" or periodic):
            terms[label] = {"kind": "mse", "weight": float(default if weight is None else weight)}
    if not {"energy", "forces"} & set(terms):
        raise DataError(
            f"{data.source}: no energies or forces to train on (labels: "
            f"{', '.join(sorted(data.labels)) or 'none'}); give keys, such as "
            "{'energy': 'my_energy'}"
        )
    return terms


def _start(
    folder: Path,
    model: Any,
    recipe: Recipe,
    method: str,
    references: str,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Makes the folder ready and stores all settings there."""
    settings = {
        "parent": _parent(model),
        "method": method,
        "references": references,
        **yaml.safe_load(recipe.to_yaml()),
    }
    prepare.open_run(folder, SETTINGS, settings, resume=resume, overwrite=overwrite)


def _parent(model: Any) -> dict[str, str] | None:
    if model.manifest is None or model.manifest.source != "zoo":
        return None
    return {"name": model.manifest.name, "sha256": model.manifest.weights.sha256}


def _old_task(
    model: Any, old_data: str | Path | AtomsDataset | None
) -> tuple[AtomsDataset | None, str]:
    """Frames of the data the model came from, and which they are or why there are none."""
    source = old_data
    if source is None:
        training = getattr(model.manifest, "training", None)
        names = [entry.name for entry in training.data] if training is not None else []
        shipped = [entry for entry in names if entry in datasets.shipped()]
        if not shipped:
            return None, f"not measured: {', '.join(names) or 'the old data'} do not ship"
        source = shipped[0]
    dataset = source if isinstance(source, AtomsDataset) else datasets.open(source)
    part = dataset.split("test") if "test" in dataset.splits else dataset
    chosen = np.unique(np.linspace(0, len(part) - 1, min(OLD_FRAMES, len(part))).astype(np.int64))
    return part.take(chosen), f"{len(chosen)} frames of {dataset_name(dataset)}"


def _fit_offsets(model: Any, train: AtomsDataset) -> References | None:
    """Adds a constant per element, fitted to the residuals of the training energies."""
    if "energy" not in train.labels:
        return None
    score = assess(model, train)
    fitted = fit_references(score.numbers, score.energy[1] - score.energy[0], l2=1e-9)
    table = model.energy_scale.reference
    model.set_references({z: float(table[z]) + value for z, value in fitted.values.items()})
    return fitted


def _details(
    recipe: Recipe,
    model: Any,
    task: _Task,
    frozen: dict[str, Any],
    offsets: References | None,
    old: AtomsDataset | None,
    old_note: str,
    result: FitResult,
) -> dict[str, Any]:
    """What the report says besides errors."""
    counts = {"train": len(task.train), "val": len(task.val), task.shown: len(task.test)}
    return {
        "name": recipe.name,
        "derived_from": _parent(model),
        "data": data_entry(task.data, len(task.train)),
        "frames": counts,
        "evaluated_on": task.shown,
        "offsets": offsets.summary() if offsets is not None else None,
        "old_task": old_note,
        "old_data": data_entry(old, len(old)) if old is not None else None,
        **frozen,
        "lr": recipe.optimizer.lr,
        "batch_size": recipe.trainer.batch_size,
        "seed": recipe.trainer.seed,
        "epochs": result.epochs,
        "steps": result.steps,
        "seconds": result.seconds,
        "best_step": result.best_step,
    }


def _publish(
    report: Report,
    recipe: Recipe,
    task: _Task,
    scores: Mapping[str, Evaluation],
    old: AtomsDataset | None,
    offsets: References | None,
) -> None:
    """Writes weights, manifest, card, plots, report."""
    model, parent = report.model, report.model.manifest
    seen = dict(model.trained_elements or {})
    untouched = [z for z in seen if seen[z] > 0 and z not in task.train.elements]
    for z, count in task.train.elements.items():
        seen[z] = seen.get(z, 0) + count
    model.restrict_elements(seen)
    limits = list(parent.limits) if parent is not None else []
    if offsets is not None and untouched:
        words = ", ".join(chemical_symbols[z] for z in sorted(untouched))
        limits.append(f"reference energies of {words} are still those of {parent.name}")
    metrics = metric_entries(scores["fine_tuned"], dataset_name(task.data), task.shown)
    if old is not None:
        metrics += metric_entries(scores["old_after"], dataset_name(old), "old task")
    settings_sha256 = prepare.sha256(report.path / SETTINGS)
    seconds = report.details["seconds"]
    training = training_entry("fine-tuning", settings_sha256, recipe.trainer.seed, seconds)
    level = task.data.metadata.get("level_of_theory") or "not stated"
    derived = _parent(model)
    licence = parent.license.model_dump(exclude_none=True) if parent is not None else {}
    prepare.publish(
        report,
        name=recipe.name,
        train=task.train,
        after=scores["fine_tuned"],
        before=scores["zero_shot"],
        title=f"{recipe.name}, {task.shown} frames",
        outputs={"energy": {"kind": "total", "level_of_theory": level}},
        training={**training, "data": [data_entry(task.data, len(task.train))]},
        metrics=metrics,
        limits=limits,
        license=licence or {"weights": "not stated"},
        citation=list(parent.citation) if parent is not None else [],
        **({"derived_from": derived} if derived is not None else {}),
    )
