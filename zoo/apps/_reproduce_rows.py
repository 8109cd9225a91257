"""The rows of published tables that recipes name, and the runs that one of them takes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo import share
from zoo.errors import ConfigError, RecipeError, UnknownNameError, nearest
from zoo.training import prepare
from zoo.training import recipe as recipes
from zoo.training.folds import fold_changes
from zoo.training.metrics import UNITS
from zoo.training.recipe import Recipe, ReproduceRow
from zoo.training.runner import start
from zoo.training.tasks.kinds import resolve_task


@dataclass(frozen=True)
class Row:
    """A row and the recipe that it stands in.

    Attributes:
        recipe: the recipe's file.
        spec: what the recipe says of it.
    """

    recipe: Path
    spec: ReproduceRow

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.row

    def reference(self) -> str:
        """What it is held against, in words."""
        spec, per_cent = self.spec, " %" if self.spec.percent else ""
        if spec.published is not None:
            std = "" if spec.published.std is None else f" ± {spec.published.std:.4g}"
            trials = "" if spec.published.trials is None else f" (n={spec.published.trials})"
            return f"{spec.published.mean:.4g}{std}{per_cent}{trials}"
        if spec.limit is not None:
            return f"goal {spec.limit:.4g}{per_cent}"
        assert spec.against is not None
        margin = spec.against.margin
        words = f"{margin:.4g} better than" if margin >= 0 else f"at most {-margin:.4g} worse than"
        return f"{words} {spec.against.row}"


def find_rows(recipe: str | Path | None = None) -> dict[str, Row]:
    """All rows by name, those of one recipe or of all that ship.

    Raises:
        RecipeError: a recipe that is not valid, or a row that two recipes name.
    """
    if recipe is None:
        files = sorted(Path(str(share.folder("recipes"))).rglob("*.yaml"))
        # reading a recipe whole costs more than looking whether it has any
        files = [path for path in files if "\nreproduce:" in path.read_text(encoding="utf-8")]
    else:
        files = [recipes.find(recipe)]
    found: dict[str, Row] = {}
    for path in files:
        for spec in recipes.rows(path):
            if spec.row in found:
                raise RecipeError(
                    f"{path}: the row {spec.row!r} is in {found[spec.row].recipe} too; rename it"
                )
            found[spec.row] = Row(path, spec)
    return found


def find_row(name: str, rows: Mapping[str, Row]) -> Row:
    """One row.

    Raises:
        UnknownNameError: offers the nearest names.
    """
    if name not in rows:
        raise UnknownNameError(
            f"no table row is called {name!r}: {nearest(name, rows)} "
            "(all rows: zoo reproduce --list)"
        )
    return rows[name]


def check_alike(row: Row, other: Row) -> None:
    """Refuses to hold a row against one whose number means something else.

    Raises:
        RecipeError: naming what differs.
    """
    for name in ("metric", "split", "scale", "percent"):
        ours, theirs = getattr(row.spec, name), getattr(other.spec, name)
        if ours != theirs:
            raise RecipeError(
                f"{row.recipe}: {row.name} has {name}: {ours}, but is held against {other.name}, "
                f"which has {name}: {theirs}; make them equal"
            )


@dataclass(frozen=True)
class Run:
    """One run: which seed or fold, and the recipe with all changes.

    Attributes:
        label: such as {"seed": 0} or {"fold": 3}.
        tier: of the recipe, if it has the tier.
        overrides: of the recipe.
        recipe: resolved.
        data: digest of the file or folder with the data; empty for a set by name.
    """

    label: Mapping[str, int]
    tier: str | None
    overrides: Mapping[str, Any]
    recipe: Recipe
    data: str = ""

    @cached_property
    def folder(self) -> str:
        """The name of its folder: the digest of recipe and data, so that rows share equal runs and
        other data make other runs."""
        whole = self.recipe.sha256()
        if self.data:
            whole = hashlib.sha256(f"{whole} {self.data}".encode()).hexdigest()
        return whole[:16]


def plan_runs(row: Row, tier: str, count: int | None) -> list[Run]:
    """The runs of a row, every recipe checked.

    Args:
        row: the row.
        tier: smoke, short or full.
        count: seeds (or folds); the row's if None.

    Raises:
        RecipeError: a tier that there is not, or a recipe that can't be run like this.
        ConfigError: fewer than one run.
    """
    spec = row.spec
    name, changes = recipes.row_settings(row.recipe, spec, tier)
    changes |= _metric(row, recipes.load(row.recipe, tier=name, overrides=changes))
    total = count if count is not None else (spec.folds or spec.seeds)
    if total < 1:
        raise ConfigError(f"{total} runs of {row.name}; one is the least")
    runs: list[Run] = []
    for number in range(total):
        if spec.folds is not None:
            base = recipes.load(row.recipe, tier=name, overrides=changes)
            label, overrides = {"fold": number}, {**changes, **fold_changes(base, number)}
        else:
            label, overrides = {"seed": number}, {**changes, "trainer.seed": number}
            if spec.redraw:
                overrides["data.settings.seed"] = number
        resolved = recipes.load(row.recipe, tier=name, overrides=overrides)
        data = runs[0].data if runs else _data_digest(resolved, row.recipe.parent)
        runs.append(Run(label, name, overrides, resolved, data))
    start(runs[0].recipe, lambda key: recipes.place(row.recipe, key))
    trainer = runs[0].recipe.trainer
    if trainer.devices * trainer.num_nodes > 1:
        raise RecipeError(
            f"{row.name}: several processes per run; the processes of the first run can't serve "
            "the next, so set trainer.devices and trainer.num_nodes to 1 in the row"
        )
    return runs


def _data_digest(recipe: Recipe, beside: Path) -> str:
    """SHA-256 of the bytes of the data, or of their description beside; empty for the name of a
    set that ships, or is computed."""
    place = Path(prepare.data_source(recipe, beside))
    if not place.exists():
        place = Path(f"{place}.yaml")
        if not place.is_file():
            return ""
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    words = [f"{path.relative_to(place)} {prepare.sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _metric(row: Row, recipe: Recipe) -> dict[str, Any]:
    """Overrides that make the runs measure the row's metric.

    Raises:
        RecipeError: the task has no such metric, or no targets to scale by.
    """
    spec = row.spec
    if recipe.task is None:
        if spec.metric not in UNITS or spec.scale != "none":
            raise RecipeError(
                f"{row.recipe}: the row {row.name} asks for {spec.metric}, scale {spec.scale}; on "
                f"atoms the metrics are errors as they are: {nearest(spec.metric, UNITS)}"
            )
        return {}
    if spec.scale != "none" and recipe.task.kind != "regression":
        raise RecipeError(
            f"{row.recipe}: the row {row.name} scales by the variance of the targets, but the task "
            f"is {recipe.task.kind}; leave scale out"
        )
    task = resolve_task(recipe.task, domain_of(recipe), lambda key: recipes.place(row.recipe, key))
    if spec.metric in task.metrics or (task.name == "own" and spec.metric == "loss"):
        return {}
    if spec.metric not in task.kind.metrics:
        known = task.kind.metrics or (*task.metrics, "loss")
        raise RecipeError(
            f"{row.recipe}: the row {row.name} asks for {spec.metric!r}, which the task "
            f"{task.name} does not measure; {nearest(spec.metric, known)}"
        )
    # the score stays what it was: the first metric, unless the recipe says another
    return {"task.metrics": [*task.metrics, spec.metric]}


def domain_of(recipe: Recipe) -> str:
    """The domain of a recipe's model as configured, not that of its architecture."""
    return str(prepare.build(recipe).domain)
