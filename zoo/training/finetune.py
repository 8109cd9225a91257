"""Fine-tuning: a pretrained model, a user's frames, one call.

Levels of theory differ first of all by a constant per element. The constants are therefore fitted
before training, on the residuals of the untouched model, by the regression that also fits
reference energies; what is left for the network is small. How much they explain, the errors
before and after, and the errors on the data the model came from are all part of the report.

New labels may get an energy head of their own beside the old one (`heads="new:NAME"`), and the
old task may be kept by replay or by elastic weight consolidation; see `zoo.training.methods`.

That is what happens on atoms; `zoo.training.tasks.finetune` does the same in every other domain.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import yaml

from zoo import hub
from zoo.datasets import AtomsDataset
from zoo.datasets._base import Dataset
from zoo.errors import ConfigError, DataError, nearest
from zoo.models._sample import SampleModel
from zoo.training import adapters, clash, prepare
from zoo.training.evidence import check_units
from zoo.training.fit import Line, check_writable, fit
from zoo.training.freeze import apply_method
from zoo.training.heads import Target, choose_head, survey
from zoo.training.lesson import make_lesson, make_penalty
from zoo.training.methods import Method, parse, split_patterns
from zoo.training.metrics import Evaluation, assess
from zoo.training.old import OldTask, before_after, open_old
from zoo.training.outcome import Run, details, parent_entry, publish
from zoo.training.plan import NewTask, Options, admit_elements, make_recipe, open_task
from zoo.training.references import References, fit_references
from zoo.training.replay import spread
from zoo.training.report import Report
from zoo.training.tasks.finetune import Wish, finetune_samples

SETTINGS = "finetune.yaml"
#: frames of the new training data that units and kinds of energy are judged by
EVIDENCE = 200


def finetune(
    name: str | Path,
    data: str | Path | Dataset[Any],
    *,
    output: str | Path,
    method: str = "full",
    heads: str | None = None,
    references: Literal["fit", "keep"] = "fit",
    new_elements: bool = False,
    old_data: str | Path | Dataset[Any] | None = None,
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
        method: `full`; `head`; `freeze:N` (the first N blocks; negative: see `apply_method`) or
            `freeze:PATTERN,...`; `replay` (`replay:frac=0.3,frames=500`: old training frames in
            every batch); `ewc` (`ewc:lambda=1,frames=200`: a spring on what the old data need);
            `adapter` (`adapter:kind=lora,r=4,scale=1,dropout=0,targets=layers.*+readout.*`:
            low-rank changes alone are trained and stored, with `merge=True` whole weights as well).
        heads: `new:NAME` for a new energy head beside the old ones, which starts as a copy of the
            default head and becomes the default; or the name of the head to train. The default
            head if None. Other heads stay frozen, unless their data are replayed. Outside atoms:
            `new` for a fresh head; if None the head is kept where the classes (or the number of
            targets) are those of the weights, and made anew where they are not.
        references: `fit` adds a constant per element, fitted on the training frames; `keep` not.
        new_elements: accept elements the model was not trained on; their embeddings start at the
            mean of the trained ones.
        old_data: frames to measure forgetting on and to replay; by default the shipped set the
            model was trained on. At most 100 of its frames are evaluated, always the same ones.
        resume: go on from the state in `output`, if there is one.
        overwrite: start again in a folder that holds a run.
        progress: takes lines of text; None writes them to stderr.
        **options: see `zoo.training.Options`.

    Returns:
        The report. Its `metrics` hold `zero_shot`, `offsets_only` and `fine_tuned` on the test
        frames (validation frames if there are no others), and `old_before` and `old_after`.

    Raises:
        ConfigError: an unknown option or method, or a pattern that matches no parameter.
        DataError: frames without energies and forces, labels that are not finite, that are in
            other units than stated, or of a level of theory that the method would mix with
            another.
        UnknownHeadError: a head that the model does not have.
        UnsupportedElementError: new elements without `new_elements`.
        UnsupportedInputError: new charges or periodicity without leave.
        OutputError: the folder can't be written or holds a run.
        Interrupted: by Ctrl-C; `resume` goes on.
    """
    chosen = _check_options(options, method, references)
    folder = Path(output)
    check_writable(folder)
    model = hub.load(name, allow_untrained_elements=True)
    freeze = options.get("freeze") or ()
    patterns = split_patterns(freeze, "freeze") if isinstance(freeze, str) else tuple(freeze)
    if isinstance(model, SampleModel):
        if new_elements or references != "fit":
            raise ConfigError("new_elements and references are for models on atoms; leave them out")
        wish = Wish(name, chosen, heads, patterns, old_data, options)
        return finetune_samples(
            model, data, wish, folder, resume=resume, overwrite=overwrite, progress=progress
        )
    if options.get("task") is not None:
        raise ConfigError("task is for models on anything but atoms; leave it out")
    data, old_data = _frames(data), None if old_data is None else _frames(old_data)
    task = open_task(data, options)
    admit_elements(model, task.data, new_elements)
    clash.check_inputs(
        model,
        task.data,
        new_pbc=options.get("new_pbc", False),
        new_charges=options.get("new_charges", False),
    )
    target = choose_head(model, heads)
    recipe = make_recipe(model, task, method, options)
    prepare.check_name(recipe.name, model.architecture)
    merge = bool(options.get("merge", False))
    adapters.check_wish(model, chosen, merge=merge)
    whole = adapters.fresh_parameters(model, target.name) if target.new else []
    seed = recipe.trainer.seed
    apply_method(model, method, freeze=patterns, heads={target.name}, whole=whole, seed=seed)
    old = open_old(model, old_data, target, sample=chosen.frames)
    stated = options.get("level_of_theory")
    level = _check_levels(model, task, old, target, chosen, references, stated)
    judged = not options.get("any_units", False)
    evidence = _check_evidence(model, task, target, references, units=judged)
    run = Run(model, task, old, target, recipe, level, evidence, name, whole, merge)
    settings = _settings(run, method, patterns, references)
    prepare.open_run(folder, SETTINGS, settings, resume=resume, overwrite=overwrite)
    return _carry_out(run, chosen, patterns, folder, references, resume, progress)


def _frames(data: str | Path | Dataset[Any]) -> str | Path | AtomsDataset:
    """Refuses what is no structures of atoms."""
    if isinstance(data, Dataset) and not isinstance(data, AtomsDataset):
        raise DataError(f"{data.source} holds samples of the domain {data.domain!r}, not atoms")
    return data


def _carry_out(
    run: Run,
    method: Method,
    patterns: Sequence[str],
    folder: Path,
    references: str,
    resume: bool,
    progress: Line | None,
) -> Report:
    """Evaluates, trains, evaluates, writes."""
    model, task, old, recipe = run.model, run.task, run.old, run.recipe
    scores = {"zero_shot": _assess(run, task.test, run.target.name)}
    if old.frames is not None:
        scores["old_before"] = _assess(run, old.frames, old.head)
    offsets = _fit_offsets(run) if references == "fit" else None
    if offsets is not None:
        scores["offsets_only"] = _assess(run, task.test, run.target.name)
    lesson = make_lesson(model, task, old, run.target, method, recipe, offsets)
    heads = {run.target.name, *([old.head] if lesson.replayed is not None else [])}
    seed = recipe.trainer.seed
    frozen = apply_method(
        model, method.text, freeze=patterns, heads=heads, whole=run.whole, seed=seed
    )
    state, digest = folder / prepare.STATE, prepare.sha256(folder / SETTINGS)
    key = f"{parent_entry(model)} {old.sample.hash if old.sample is not None else None}"
    penalty = make_penalty(model, old, method, recipe, folder=state, key=key, progress=progress)
    rows = survey(model, recipe.loss, lesson.train)
    for row in rows:
        (progress or _nowhere)(_line(row))
    result = fit(
        model,
        recipe,
        lesson.train,
        lesson.val,
        state,
        logs=folder / prepare.LOGS,
        resume=resume,
        progress=progress,
        penalty=penalty,
    )
    adapted = adapters.take_off(model, method, run.base)
    model.requires_grad_(True)
    scores["fine_tuned"] = _assess(run, task.test, run.target.name)
    if old.frames is not None:
        scores["old_after"] = _assess(run, old.frames, old.head)
        if offsets is not None and old.head == run.target.name:
            _drop_totals(scores["old_after"])
    metrics = {key: score.metrics for key, score in scores.items()}
    said = details(run, frozen, offsets, lesson, result)
    said |= {"first_gradients": rows, "before_after": before_after(metrics)}
    report = Report(model=model, metrics=metrics, path=folder, history=result.history, details=said)
    publish(report, run, scores, offsets, lesson, digest, adapted)
    return report


def _nowhere(line: str) -> None:
    """Where lines go that nobody asked for."""


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"head {row['head']}: {row['frames']} frames, weight {row['weight']:g}, first loss "
        f"{row['loss']:.4g}, gradient {row['gradient_norm']:.4g}"
    )


def _check_options(options: Options, method: str, references: str) -> Method:
    for key in options:
        if key not in Options.__annotations__:
            raise ConfigError(
                f"finetune: no option {key!r}; {nearest(key, Options.__annotations__)}"
            )
    if references not in ("fit", "keep"):
        raise ConfigError(f"references {references!r}: expected 'fit' or 'keep'")
    return parse(method)


def _check_levels(
    model: Any,
    task: NewTask,
    old: OldTask,
    target: Target,
    method: Method,
    references: str,
    stated: str | None,
) -> str:
    """Refuses two levels of theory in one head; returns that of the new labels."""
    before = clash.head_level(model, target.parent)
    level = clash.new_level(task.data, stated, before)
    clash.check_levels(
        before,
        level,
        references=references,
        replay=method.kind == "replay" and old.head == target.name,
        source=task.data.source,
    )
    return "" if level == "same" else level


def _check_evidence(
    model: Any, task: NewTask, target: Target, references: str, *, units: bool
) -> dict[str, float]:
    """Refuses labels that, by the untouched model's predictions, are something else."""
    frames = task.train.take(spread(task.train, EVIDENCE))
    score = assess(model, frames, head=target.name or None)
    evidence = check_units(score, frames) if units else {}
    if references == "keep" and len(score.energy[0]):
        fitted = fit_references(score.numbers, score.energy[1] - score.energy[0], l2=1e-9)
        clash.check_kept(score, fitted, task.data.source)
    return evidence


def _settings(run: Run, method: str, patterns: Sequence[str], references: str) -> dict[str, Any]:
    """Everything that decides the result, to be stored in the folder."""
    sample = run.old.sample
    return {
        "parent": parent_entry(run.model),
        "method": method,
        "head": run.target.name,
        "freeze": list(patterns),
        "references": references,
        "old_sample": sample.hash if sample is not None else None,
        **yaml.safe_load(run.recipe.to_yaml()),
    }


def _assess(run: Run, data: AtomsDataset, head: str) -> Evaluation:
    size = run.recipe.trainer.eval_batch_size
    return assess(run.model, data, batch_size=size, head=head or None)


def _fit_offsets(run: Run) -> References | None:
    """Adds a constant per element, fitted to the residuals of the training energies."""
    if "energy" not in run.task.train.labels or not run.model.energy_heads:
        return None
    head = run.target.name
    score = _assess(run, run.task.train, head)
    fitted = fit_references(score.numbers, score.energy[1] - score.energy[0], l2=1e-9)
    table = run.model.scale_of(head).reference
    values = {z: float(table[z]) + value for z, value in fitted.values.items()}
    run.model.set_references(values, head)
    return fitted


def _drop_totals(old_after: Evaluation) -> None:
    """Forgets total energy errors that only tell two levels of theory apart.

    The offsets have moved every total energy to the new level; what the model has unlearnt shows
    in forces and in energies up to a constant per element.
    """
    for name in ("energy_mae", "energy_mae_per_atom"):
        old_after.metrics.pop(name, None)
