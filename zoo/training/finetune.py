"""Fine-tuning: a pretrained model, a user's frames, one call.

Levels of theory differ first of all by a constant per element. The constants are therefore fitted
before training, on the residuals of the untouched model, by the regression that also fits
reference energies; what is left for the network is small. How much they explain, the errors
before and after, and the errors on the data the model came from are all part of the report.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import yaml
from ase.data import chemical_symbols

from zoo import datasets, hub
from zoo.datasets import AtomsDataset
from zoo.errors import ConfigError, nearest
from zoo.training import prepare
from zoo.training.fit import FitResult, Line, check_writable, fit
from zoo.training.freeze import apply_method, check_method
from zoo.training.metrics import Evaluation, assess
from zoo.training.plan import NewTask, Options, admit_elements, make_recipe, open_task
from zoo.training.recipe import Recipe
from zoo.training.references import References, fit_references
from zoo.training.report import Report, data_entry, dataset_name, metric_entries, training_entry

SETTINGS = "finetune.yaml"
OLD_FRAMES = 100


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
        **options: see `zoo.training.Options`.

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
    task = open_task(data, options)
    admit_elements(model, task.data, new_elements)
    recipe = make_recipe(model, task, method, options)
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
        if offsets is not None:
            _drop_totals(scores["old_after"])
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


def _drop_totals(old_after: Evaluation) -> None:
    """Forgets total energy errors that only tell two levels of theory apart.

    The offsets have moved every total energy to the new level; what the model has unlearnt shows
    in forces and in energies up to a constant per element.
    """
    for name in ("energy_mae", "energy_mae_per_atom"):
        old_after.metrics.pop(name, None)


def _details(
    recipe: Recipe,
    model: Any,
    task: NewTask,
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
        **result.course(),
    }


def _publish(
    report: Report,
    recipe: Recipe,
    task: NewTask,
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
