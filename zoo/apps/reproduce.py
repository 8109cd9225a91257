"""`zoo.reproduce`: runs the recipe behind a row of a published table and says how it compares.

The rows stand in the recipes, under `reproduce:` (`zoo.training._reproduce_section`). Every run has
a folder of its own, named by the digest of its recipe and of its data's file: what is finished is
never run again, what was stopped goes on, and rows whose runs are equal share them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo._files import write_atomic
from zoo.apps import _reproduce_card
from zoo.apps._reproduce_rows import Row as Row
from zoo.apps._reproduce_rows import Run, check_alike, domain_of, find_row, plan_runs
from zoo.apps._reproduce_rows import find_rows as find_rows
from zoo.apps._reproduce_verdict import Verdict, judge, summary
from zoo.errors import ConfigError, Interrupted, OutputError, RecipeError, ZooError, nearest
from zoo.training import recipe as recipes
from zoo.training.fit import Line, check_writable
from zoo.training.metrics import HIGHER
from zoo.training.page import machine
from zoo.training.runner import train
from zoo.training.sweep import finished
from zoo.training.tasks.kinds import resolve_task
from zoo.training.tasks.parts import make_parts
from zoo.training.tasks.run import open_data

TIERS = ("smoke", "short", "full")


@dataclass
class Reproduction:
    """A row, reproduced at one tier.

    Attributes:
        row: the row and its recipe.
        tier: that was run.
        runs: one entry per run: its seed or fold, `value` (of the metric, scaled as the row says),
            `seconds`, `recipe_sha256`, `data`, `folder`, and `failed` where it failed.
        value: the mean, or median, over the runs; None where none was finished.
        std: over the runs; None for fewer than two.
        verdict: how it compares.
        against: the other row's outcome, for a row that is compared with one.
        path: the JSON file with all this.
    """

    row: Row
    tier: str
    runs: list[dict[str, Any]]
    value: float | None
    std: float | None
    verdict: Verdict
    path: Path
    against: "Reproduction | None" = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_the_row(self) -> bool:
        """Whether the tier is the one whose run is the row."""
        return self.tier in (self.row.spec.tier, "full")

    @property
    def passed(self) -> bool:
        """Whether the row itself was run, no run failed, and it is reproduced."""
        return self.is_the_row and self.verdict.result == "PASS"

    @property
    def count(self) -> int:
        """Number of finished runs."""
        return sum("value" in run for run in self.runs)

    def ours(self) -> str:
        """The result in words, such as "16.9 ± 0.4 (n=5)"."""
        if self.value is None:
            return "-"
        spec = self.row.spec
        median = "median " if spec.statistic == "median" and self.count > 1 else ""
        std = "" if self.std is None else f" ± {self.std:.2g}"
        return f"{median}{self.value:.4g}{std}{' %' if spec.percent else ''} (n={self.count})"

    def says(self) -> str:
        """The verdict in words; that of another tier than the row's never reads as the row's."""
        if self.is_the_row:
            return self.verdict.words
        word, _, size = self.verdict.words.partition(": ")
        stands = {"PASS": "within what is allowed", "GAP": "not within what is allowed"}
        return (
            f"{self.tier} run, not the row's ({self.row.spec.tier}): "
            f"{stands.get(word, 'failed')}, {size}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        verdict = asdict(self.verdict)
        other = self.against
        return {
            "row": self.row.name,
            "recipe": recipes.label(self.row.recipe),
            "tier": self.tier,
            "is_the_row": self.is_the_row,
            "passed": self.passed,
            "value": self.value,
            "std": self.std,
            "n": self.count,
            "published": self.row.reference(),
            "verdict": {**verdict, "words": self.says()},
            "spec": self.row.spec.model_dump(mode="json", exclude_unset=True),
            "against": None if other is None else other.to_dict(),
            "runs": self.runs,
            **self.details,
        }

    def save(self) -> None:
        """Writes the JSON file, whole or not at all."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        write_atomic(self.path, text + "\n")


def reproduce(
    row: str,
    *,
    output: str | Path = "reproduced",
    tier: Literal["smoke", "short", "full"] | None = None,
    seeds: int | None = None,
    recipe: str | Path | None = None,
    card: bool = False,
    overwrite: bool = False,
    progress: Line | None = None,
) -> Reproduction:
    """Runs the recipe behind a row of a published table, and compares.

    Args:
        row: its name, see `find_rows`.
        output: folder for `<row>.<tier>.json` and for the runs, in `runs/`. Runs that are finished
            there are taken as they are, a stopped one goes on.
        tier: smoke, short or full; the row's own if None.
        seeds: so many runs, with the seeds 0, 1, ... (or the folds, of a row over folds); as many
            as the row says if None.
        recipe: the recipe whose rows are meant; all shipped ones if None.
        card: also write the result into the architecture's card, `models/<architecture>.md`.
        overwrite: run everything again.
        progress: takes lines of text; None writes them to stderr.

    Returns:
        Ours, the published number, and PASS (not worse by more than two standard deviations, or
        5 %), GAP with its size, or FAILED where runs failed and nothing says GAP.

    Raises:
        UnknownNameError: no such row; offers the nearest.
        RecipeError: a tier or a metric that the recipe has not.
        ConfigError: `card` at a tier that is not the row's.
        OutputError: the folder, or the card, can't be written.
        Interrupted: by Ctrl-C; the same call goes on.
    """
    rows = find_rows(recipe)
    found = find_row(row, rows)
    chosen = tier or found.spec.tier
    if chosen not in TIERS:
        raise ConfigError(f"there is no tier {chosen!r}: {nearest(chosen, TIERS)}")
    if card and chosen not in (found.spec.tier, "full"):
        raise ConfigError(
            f"the tier {chosen} is not that of the row {row} ({found.spec.tier}), so its result "
            "has no place in the card; leave out card, or tier"
        )
    folder = Path(output)
    check_writable(folder)
    result = _row(found, rows, folder, chosen, seeds, overwrite, progress)
    if card:
        _reproduce_card.write(result)
    return result


def _row(
    row: Row,
    rows: Mapping[str, Row],
    folder: Path,
    tier: str,
    seeds: int | None,
    overwrite: bool,
    progress: Line | None,
    asked: tuple[str, ...] = (),
) -> Reproduction:
    """Runs a row, the one that it is compared with first, and stores the outcome."""
    other = None
    against = row.spec.against
    plans = plan_runs(row, tier, seeds)  # refuses what it can before anything is run
    if against is not None:
        if against.row in (*asked, row.name):
            raise RecipeError(
                f"{row.recipe}: {row.name} is held against {against.row}, which is held against it "
                "in turn; one of them needs a number of its own"
            )
        second = find_row(against.row, rows if against.row in rows else find_rows())
        check_alike(row, second)
        other = _row(second, rows, folder, tier, seeds, overwrite, progress, (*asked, row.name))
    runs = [_run(row, plan, folder / "runs" / plan.folder, overwrite, progress) for plan in plans]
    values = [run["value"] for run in runs if "value" in run]
    value, std = summary(values, row.spec.statistic) if values else (None, None)
    result = Reproduction(
        row=row,
        tier=tier,
        runs=runs,
        value=value,
        std=std,
        verdict=judge(
            row.spec,
            value,
            _reference(row, other),
            higher=row.spec.metric in HIGHER,
            failed=_failures(runs, other),
        ),
        path=folder / f"{row.name}.{tier}.json",
        against=other,
        details={
            "recipe_sha256": plans[0].recipe.sha256(),
            "data": next((run["data"] for run in runs if "data" in run), None),
            "seconds": sum(run.get("seconds", 0.0) for run in runs),
            "machine": machine(),
        },
    )
    result.save()
    return result


def _failures(runs: Sequence[Mapping[str, Any]], other: Reproduction | None) -> str:
    """Which runs failed, also of the row that this one is held against, and why the first did."""
    words = []
    for whose, some in (("", runs), (f" of {other.row.name}", other.runs) if other else ("", ())):
        why = [run["failed"] for run in some if "failed" in run]
        if why:
            words.append(f"{len(why)} of {len(some)} runs{whose} failed ({why[0]})")
    return "; ".join(words)


def _reference(row: Row, other: Reproduction | None) -> float:
    """The number that a row is held against.

    Raises:
        RecipeError: no run of the other row was finished.
    """
    spec = row.spec
    if spec.published is not None:
        return spec.published.mean
    if spec.limit is not None:
        return spec.limit
    assert other is not None
    if other.value is None:
        raise RecipeError(
            f"{row.name} can't be compared: no run of {other.row.name} was finished "
            f"({other.runs[0].get('failed')})"
        )
    return other.value


def _run(
    row: Row, plan: Run, folder: Path, overwrite: bool, progress: Line | None
) -> dict[str, Any]:
    """One run, or what is left of it; a run that diverges is noted, and the others go on."""
    entry: dict[str, Any] = dict(plan.label)
    try:
        report = (None if overwrite else finished(folder, plan.recipe)) or train(
            row.recipe,
            output=folder,
            tier=plan.tier,
            overrides=plan.overrides,
            resume=not overwrite,
            overwrite=overwrite,
            progress=progress,
        ).to_dict()
        value = _value(row, plan, report)
    except (Interrupted, OutputError):
        raise
    except ZooError as error:
        return entry | {"failed": str(error).splitlines()[0], "folder": str(folder)}
    return entry | {
        "value": value,
        "seconds": report["seconds"],
        "steps": report["steps"],
        "best_step": report["best_step"],
        "recipe_sha256": report["recipe_sha256"],
        "data": report["data"],
        "machine": report.get("machine"),
        "folder": str(folder),
    }


def _value(row: Row, plan: Run, report: Mapping[str, Any]) -> float:
    """The row's number of one run.

    Raises:
        RecipeError: the run has no such split or metric, or it is not finite.
    """
    spec = row.spec
    part = report["metrics"].get(spec.split, {})
    if spec.metric not in part:
        raise RecipeError(
            f"{row.recipe}: the row {row.name} asks for {spec.metric} of the {spec.split} split; "
            f"the run has {', '.join(part) or 'no such split'}"
        )
    found = part[spec.metric]
    if found is None or not math.isfinite(found):
        raise RecipeError(f"{spec.metric} of the {spec.split} split is not finite")
    value = float(found) * (100.0 if spec.percent else 1.0)
    return value if spec.scale == "none" else value / _variance(row, plan)


def _variance(row: Row, plan: Run) -> float:
    """Variance of the targets of the row's split, the mean over their components.

    Raises:
        RecipeError: all targets are equal.
    """

    def where(key: str) -> str:
        return recipes.place(row.recipe, key)

    recipe = plan.recipe
    assert recipe.task is not None
    domain = domain_of(recipe)
    task = resolve_task(recipe.task, domain, where)
    part = make_parts(open_data(recipe, domain, row.recipe.parent, where), task, where)
    labels = part[row.spec.split].labels(task.label).astype(np.float64)
    variance = float(labels.reshape(len(labels), -1).var(axis=0).mean())
    if variance == 0:
        raise RecipeError(
            f"{row.recipe}: the row {row.name} divides by the variance of the targets, but they "
            "are all equal; leave scale out"
        )
    return variance
