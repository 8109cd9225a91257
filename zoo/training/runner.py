"""Training from a recipe."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo import datasets
from zoo.datasets import AtomsDataset
from zoo.errors import RecipeError
from zoo.models._atomistic import AtomisticModel
from zoo.training import cluster, loggers, prepare, properties, sharding, symmetry
from zoo.training import recipe as recipes
from zoo.training.fit import Line, check_writable, fit
from zoo.training.metrics import Evaluation, assess
from zoo.training.recipe import Recipe
from zoo.training.report import (
    Report,
    data_entry,
    dataset_name,
    metric_entries,
    outputs_entry,
    training_entry,
)
from zoo.training.tasks.kinds import DOMAINS, resolve_task
from zoo.training.tasks.run import train_samples


def train(
    recipe: str | Path,
    *,
    output: str | Path,
    tier: str | None = None,
    seed: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    overrides: Mapping[str, Any] | None = None,
    progress: Line | None = None,
) -> Report:
    """Trains a model from a recipe and saves it.

    Args:
        recipe: a YAML file, or a shipped recipe by name, such as `gfn2-md10/tensornet`.
        output: folder for weights, manifest, card, resolved recipe, report, plots, logs, state.
        tier: one of the recipe's sets of overrides, such as `smoke`.
        seed: replaces `trainer.seed`.
        resume: go on from the state in `output`, if there is one.
        overwrite: start again in a folder that holds a run.
        overrides: further changes, nested or with dotted keys.
        progress: takes lines of text; None writes them to stderr.

    Returns:
        The report: `.model` with the best weights, `.metrics` on the validation and test splits,
        `.path` for `zoo.load`.

    Raises:
        RecipeError: an unknown or ill-typed key.
        DataError: missing labels or splits, or labels that are not finite.
        MissingExtraError: a package that `log` needs.
        OutputError: the folder can't be written or holds a run.
        Interrupted: by Ctrl-C; `resume` goes on.
    """
    changes = dict(overrides or {})
    if seed is not None:
        changes["trainer.seed"] = seed
    resolved = recipes.load(recipe, tier=tier, overrides=changes)
    folder = Path(output)
    check_writable(folder)
    model = start(resolved, lambda key: recipes.place(recipe, key))
    if resolved.task is not None:
        return train_samples(
            model,
            resolved,
            folder,
            where=lambda key: recipes.place(recipe, key),
            beside=recipes.find(recipe).parent,
            about=_about(recipe, resolved, tier),
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    return _train_atoms(
        model,
        resolved,
        recipe,
        folder,
        tier,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )


def _train_atoms(
    model: Any,
    resolved: Recipe,
    recipe: str | Path,
    folder: Path,
    tier: str | None,
    *,
    resume: bool,
    overwrite: bool,
    progress: Line | None,
) -> Report:
    """Trains a potential."""
    dataset = _open(resolved, recipes.find(recipe).parent)
    train_set, val_set = prepare.split(dataset, "train"), prepare.split(dataset, "val")
    prepare.check_elements(train_set, dataset)
    settings = resolved.model_dump(mode="json")
    prepare.open_run(folder, prepare.RECIPE, settings, resume=resume, overwrite=overwrite)
    model.restrict_elements(train_set.elements)
    references = prepare.set_scales(model, resolved, train_set)
    scales = properties.set_scales(model, resolved, train_set)
    result = fit(
        model,
        resolved,
        train_set,
        val_set,
        folder / prepare.STATE,
        logs=folder / prepare.LOGS,
        resume=resume,
        progress=progress,
    )
    scores = _scores(model, resolved, dataset, val_set)
    report = Report(
        model=model,
        metrics={name: score.metrics for name, score in scores.items()},
        path=folder,
        history=result.history,
        details={
            "name": resolved.name,
            **_about(recipe, resolved, tier),
            "data": data_entry(dataset, len(train_set)),
            "references": references.summary() if references is not None else None,
            **({"scales": scales} if scales else {}),
            **result.course(),
        },
    )
    shown = "test" if "test" in scores else "val"
    title = f"{resolved.name}, {shown} split"
    fields = _manifest(resolved, report.details, dataset, scores) | {
        "domain": (train_set, val_set),
        "outputs": outputs_entry(dataset.metadata.get("level_of_theory"), model.outputs),
    }
    name, after = resolved.name, scores[shown]
    prepare.publish(report, name=name, train=train_set, after=after, title=title, **fields)
    return report


def _about(ref: str | Path, recipe: Recipe, tier: str | None) -> dict[str, Any]:
    """What the report says of the recipe."""
    return {
        "description": recipe.description,
        "recipe": recipes.label(ref),
        "tier": tier,
        "recipe_sha256": recipe.sha256(),
    }


def start(recipe: Recipe, where: Callable[[str], str] = str) -> Any:
    """Makes the fresh model, and refuses now what would else be refused hours later.

    Args:
        recipe: resolved.
        where: says where a key stands in the recipe's file.

    Raises:
        ConfigError: a name under which the weights could not be saved.
        RecipeError: an unknown architecture or argument, a strategy that can't do this, or a task
            that the domain of the architecture has not.
        MissingExtraError: a package that `log` needs.
    """
    loggers.check(recipe)
    sharding.check(recipe)
    cluster.check(recipe)
    model = prepare.build(recipe)
    symmetry.check(model, recipe)
    prepare.check_name(recipe.name, model.architecture)
    atoms = isinstance(model, AtomisticModel)
    if atoms and recipe.task is not None:
        raise RecipeError(
            f"{where('task')}: {model.architecture} is a model on atoms, whose losses stand under "
            "loss; leave task out"
        )
    if not atoms and recipe.task is None:
        raise RecipeError(
            f"{where('task')}: missing; {model.architecture} takes samples of the domain "
            f"{model.domain!r}: say task: {{kind: ...}} ({', '.join(DOMAINS[model.domain].kinds)})"
        )
    if recipe.task is not None:
        resolve_task(recipe.task, model.domain, where)
    return model


def _scores(
    model: Any, recipe: Recipe, dataset: AtomsDataset, val: AtomsDataset
) -> dict[str, Evaluation]:
    """Errors on the validation frames and, if there are any, on the test frames."""
    parts = {"val": val}
    if "test" in dataset.splits:
        parts["test"] = dataset.split("test")
    size = recipe.trainer.eval_batch_size
    return {name: assess(model, part, batch_size=size) for name, part in parts.items()}


def _open(recipe: Recipe, beside: Path) -> AtomsDataset:
    """Opens the data set; a relative path may be relative to the recipe."""
    options = recipe.data
    dataset = datasets.open(
        prepare.data_source(recipe, beside),
        keys=options.keys,
        units=options.units,
        splits=options.splits,
        domain="atoms",
    )
    dataset.check()
    return dataset


def _manifest(
    recipe: Recipe,
    details: Mapping[str, Any],
    dataset: AtomsDataset,
    scores: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """The manifest's fields that follow from recipe, data and errors."""
    training = training_entry(
        details["recipe"], details["recipe_sha256"], recipe.trainer.seed, details["seconds"]
    )
    metrics = [
        entry
        for name, score in scores.items()
        for entry in metric_entries(score, dataset_name(dataset), name)
    ]
    data_license = dataset.metadata.get("licence")
    return {
        "training": {**training, "data": [details["data"]]},
        "metrics": metrics,
        "limits": recipe.publish.limits,
        "license": {"weights": recipe.publish.license, "code": "Apache-2.0"}
        | ({"data": data_license} if data_license else {}),
        "citation": recipe.publish.citation,
    }
