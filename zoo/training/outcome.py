"""What fine-tuning reports and publishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from zoo.hub import Adapted
from zoo.training import prepare
from zoo.training.fit import FitResult
from zoo.training.heads import Target
from zoo.training.lesson import Lesson
from zoo.training.metrics import Evaluation
from zoo.training.old import OldTask
from zoo.training.plan import NewTask
from zoo.training.recipe import Recipe
from zoo.training.references import References
from zoo.training.replay import replay_entry
from zoo.training.report import (
    Report,
    data_entry,
    dataset_name,
    inputs_entry,
    metric_entries,
    training_entry,
)


@dataclass(frozen=True)
class Run:
    """All that is settled before the first step.

    Attributes:
        model: with the head to train.
        task: the new frames.
        old: the old ones.
        target: the head to train.
        recipe: the settings.
        level: level of theory of the new labels, or empty.
        evidence: how labels compare with the untouched predictions.
        base: the weights that training starts from, as the user named them.
        whole: names of parameters that adapters leave to be trained as they are.
        merge: whether merged weights are stored beside adapters.
    """

    model: Any
    task: NewTask
    old: OldTask
    target: Target
    recipe: Recipe
    level: str
    evidence: Mapping[str, float]
    base: str | Path
    whole: Sequence[str] = ()
    merge: bool = False


def parent_entry(model: Any) -> dict[str, str] | None:
    """Name and digest of the weights that a model was loaded from."""
    if model.manifest is None or model.manifest.source != "zoo":
        return None
    return {"name": model.manifest.name, "sha256": model.manifest.weights.sha256}


def details(
    run: Run,
    frozen: Mapping[str, Any],
    offsets: References | None,
    lesson: Lesson,
    result: FitResult,
) -> dict[str, Any]:
    """What the report says besides errors."""
    task, old, recipe = run.task, run.old, run.recipe
    counts = {"train": len(task.train), "val": len(task.val), task.shown: len(task.test)}
    replayed = lesson.replayed
    return {
        "name": recipe.name,
        "derived_from": parent_entry(run.model),
        "data": data_entry(task.data, len(task.train)),
        "frames": counts,
        "evaluated_on": task.shown,
        "level_of_theory": run.level or "not stated",
        "head": run.target.name,
        "heads": list(run.model.energy_heads),
        "evidence": dict(run.evidence),
        "offsets": offsets.summary() if offsets is not None else None,
        "old_task": old.note,
        "old_data": data_entry(old.frames, len(old.frames)) if old.frames is not None else None,
        "old_head": old.head,
        "replay": replay_entry(replayed, old.head) if replayed is not None else None,
        **frozen,
        "lr": recipe.optimizer.lr,
        "layer_decay": recipe.optimizer.layer_decay,
        "batch_size": recipe.trainer.batch_size,
        "seed": recipe.trainer.seed,
        **result.course(),
    }


def publish(
    report: Report,
    run: Run,
    scores: Mapping[str, Evaluation],
    offsets: References | None,
    lesson: Lesson,
    settings_sha256: str,
    adapted: Adapted | None = None,
) -> None:
    """Writes weights, manifest, card, plots, report."""
    model, task, recipe = run.model, run.task, run.recipe
    parent = model.manifest
    limits = list(parent.limits) if parent is not None else []
    limits += _count_elements(model, run, offsets)
    metrics = metric_entries(scores["fine_tuned"], dataset_name(task.data), task.shown)
    if run.old.frames is not None:
        metrics += metric_entries(scores["old_after"], dataset_name(run.old.frames), "old task")
    seconds = report.details["seconds"]
    training = training_entry("fine-tuning", settings_sha256, recipe.trainer.seed, seconds)
    entries = [data_entry(task.data, len(task.train))]
    if lesson.replayed is not None:
        entry = replay_entry(lesson.replayed, run.old.head)
        entries.append({key: entry[key] for key in ("name", "sha256", "frames")})
    derived = parent_entry(model)
    licence = parent.license.model_dump(exclude_none=True) if parent is not None else {}
    prepare.publish(
        report,
        name=recipe.name,
        train=task.train,
        after=scores["fine_tuned"],
        before=scores["zero_shot"],
        title=f"{recipe.name}, {task.shown} frames",
        settings=prepare.FINETUNE,
        domain=(lesson.train, lesson.val),
        inputs=_inputs(model, task),
        outputs=_outputs(model, run),
        training={**training, "data": entries},
        metrics=metrics,
        limits=limits,
        license=licence or {"weights": "not stated"},
        citation=list(parent.citation) if parent is not None else [],
        adapted=adapted,
        merge=run.merge,
        **({"derived_from": derived} if derived is not None else {}),
    )


def _count_elements(model: Any, run: Run, offsets: References | None) -> list[str]:
    """Adds the new atoms to those seen; says which references were not touched."""
    seen = dict(model.trained_elements or {})
    untouched = [z for z in seen if seen[z] > 0 and z not in run.task.train.elements]
    for z, count in run.task.train.elements.items():
        seen[z] = seen.get(z, 0) + count
    model.restrict_elements(seen)
    if offsets is None or not untouched or model.manifest is None:
        return []
    words = ", ".join(chemical_symbols[z] for z in sorted(untouched))
    head = f" of the head {run.target.name}" if run.target.several else ""
    return [f"reference energies of {words}{head} are still those of {model.manifest.name}"]


def _inputs(model: Any, task: NewTask) -> dict[str, Any]:
    """What parent and child have seen together."""
    entry = inputs_entry(task.train, model.trained_elements or {})
    if model.manifest is not None:
        known = model.manifest.inputs
        entry["pbc"] = sorted({*entry["pbc"], *known.pbc})
        entry["charge"] = entry["charge"] or known.charge
    return entry


def _outputs(model: Any, run: Run) -> dict[str, dict[str, str]]:
    """Kind and level of theory of every energy head, or of the properties of a model without."""
    if not model.energy_heads:
        return {name: {"level_of_theory": run.level or "not stated"} for name in model.outputs}
    known = model.manifest.outputs if model.manifest is not None else {}
    entries = {}
    for head in model.energy_heads:
        name = "energy" if head == "energy" else f"energy/{head}"
        kind, level = run.task.data.metadata.get("energy_kind") or "total", run.level
        if head != run.target.name and name in known:
            kind, level = known[name].kind or kind, known[name].level_of_theory or ""
        entries[name] = {"kind": kind, "level_of_theory": level or "not stated"}
    return entries
