"""A small grid of runs of one recipe: each in its own folder, ranked by validation errors.

Seeds (`trainer.seed`) and divisions of the data (`data.splits.fold`, see `zoo.training.folds`) are
swept like any other key; what differs in them alone is one setting, of which the mean and the
standard deviation are reported.

Every combination is checked before the first run starts. What is finished is not repeated, what
was stopped goes on; the ranking is written after each run, as `sweep.csv` and `sweep.yaml`.
"""

import csv
import hashlib
import io
import itertools
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo._files import write_atomic
from zoo.errors import ConfigError, Interrupted, OutputError, RecipeError, ZooError, nearest
from zoo.training import _yaml
from zoo.training import recipe as recipes
from zoo.training.fit import Line, check_writable
from zoo.training.folds import FOLD, fold_changes
from zoo.training.metrics import HIGHER, UNITS
from zoo.training.recipe import Recipe
from zoo.training.report import REPORT
from zoo.training.runner import start, train
from zoo.training.tasks.kinds import resolve_task

MAX_RUNS = 256
SEED = "trainer.seed"
#: what is chance, in words
CHANCE = {SEED: "seeds", FOLD: "folds"}


@dataclass
class SweepReport:
    """The outcome of a sweep.

    Attributes:
        path: its folder.
        by: the validation error that ranks, in `zoo.training.UNITS`.
        rows: one per run, the best first: `rank`, `run` (its folder's name), the swept values,
            `val` (that error), `test` (likewise, if there are test frames), `epochs`, `seconds`,
            `status` (`done`, `failed: <why>`, or `not run`).
        note: one line on what the seeds say.
        summary: one row per setting that was run with several seeds or folds: the other swept
            values, `runs` (how many are done), `seeds` and `folds` (how many different ones), and
            the mean and standard deviation over the runs (divisor n - 1) of `val` and `test`, both
            of the weights that were best on the validation split.
    """

    path: Path
    by: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    summary: list[dict[str, Any]] = field(default_factory=list)

    @property
    def winner(self) -> dict[str, Any] | None:
        """The best finished run."""
        return self.rows[0] if self.rows and self.rows[0]["status"] == "done" else None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "by": f"val {self.by}",
            "unit": UNITS.get(self.by, ""),
            "winner": self.winner["run"] if self.winner else None,
            "note": self.note,
            "summary": self.summary,
            "runs": self.rows,
        }

    def save(self) -> None:
        """Writes `sweep.csv` and `sweep.yaml`, each whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path / "sweep.csv", text.getvalue())
        plain = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        write_atomic(self.path / "sweep.yaml", plain)


def read_grid(*specs: str) -> dict[str, list[Any]]:
    """Reads a grid.

    Args:
        *specs: each a YAML file of recipe keys with lists of values
            (`optimizer.lr: [1e-3, 3e-3]`), or `key=value,value`.

    Returns:
        Dotted recipe key -> values.

    Raises:
        ConfigError: neither a file nor `key=value,value`, a key given twice, a value repeated, no
            values, or more than 256 combinations.
        RecipeError: a file or a value that is not YAML.
    """
    grid: dict[str, list[Any]] = {}
    for spec in specs:
        key, equals, values = spec.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][\w.]*", key):
            found = {key: _yaml.parse(f"[{values}]", where=f"sweep {spec!r}")}
        elif Path(spec).is_file():
            found = _yaml.read(Path(spec))[0]
        else:
            raise ConfigError(f"sweep {spec!r}: neither a file nor key=value,value")
        for name, entries in found.items():
            if name in grid:
                raise ConfigError(f"sweep: {name} is given twice")
            if not isinstance(entries, list) or not entries:
                raise ConfigError(f"sweep: {name} needs a list of values, not {entries!r}")
            if any(entry in entries[:k] for k, entry in enumerate(entries)):
                raise ConfigError(f"sweep: {name} repeats a value: {entries}")
            grid[name] = entries
    size = 1
    for entries in grid.values():
        size *= len(entries)
    if not grid or size > MAX_RUNS:
        raise ConfigError(f"sweep: {size if grid else 0} runs; expected 1 to {MAX_RUNS}")
    return grid


def sweep(
    recipe: str | Path,
    grid: Mapping[str, Sequence[Any]],
    *,
    output: str | Path,
    tier: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    by: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Line | None = None,
) -> SweepReport:
    """Trains one model for each combination of values, and ranks them.

    A run that fails (training diverged, say) is ranked last with its reason; the others go on.

    Args:
        recipe: a YAML file, or a shipped recipe by name.
        grid: dotted recipe keys with their values; see `read_grid`.
        output: takes one folder for each run, `sweep.csv` and `sweep.yaml`.
        tier: one of the recipe's sets of overrides.
        overrides: further changes, the same for all runs.
        by: the validation error that ranks; forces, else energies per atom, if None.
        resume: keep finished runs, and go on with what was stopped.
        overwrite: start every run again.
        progress: takes lines of text; None writes them to stderr.

    Returns:
        The ranking.

    Raises:
        RecipeError: a combination that is no valid recipe, or several processes per run.
        ConfigError: an unknown error to rank by, or a key both swept and overridden.
        OutputError: the folder can't be written or holds a run, and neither `resume` nor
            `overwrite` is given.
        Interrupted: by Ctrl-C; `resume` goes on.
    """
    plans = _plans(recipe, grid, tier, overrides or {})
    chosen = _rank_by(by, plans[0])
    folder = Path(output)
    check_writable(folder)
    if not (resume or overwrite):
        for plan in plans:
            if (folder / plan.name).exists():
                raise OutputError(
                    f"output folder {folder / plan.name}: holds a run already; choose another "
                    "folder, or say resume (go on) or overwrite (start again)"
                )
    rows = {plan.name: _row(plan.name, plan.values, chosen) for plan in plans}
    report = SweepReport(folder, chosen)
    for plan in plans:
        name = plan.name
        done = None if overwrite else finished(folder / name, plan.recipe)
        try:
            found = (
                done
                or train(
                    recipe,
                    output=folder / name,
                    tier=tier,
                    overrides=plan.overrides,
                    resume=resume,
                    overwrite=overwrite,
                    progress=progress,
                ).to_dict()
            )
            rows[name] |= _outcome(found, chosen)
        except (Interrupted, OutputError):
            raise
        except ZooError as error:
            rows[name]["status"] = f"failed: {str(error).splitlines()[0]}"
        report.rows = _ranked(list(rows.values()), chosen)
        report.summary = summarise(report.rows, list(grid))
        report.note = _on_chance(report.summary, list(grid), report.rows)
        report.save()
    return report


@dataclass(frozen=True)
class _Plan:
    """A run of the sweep: its folder, the swept values, what changes the recipe, the recipe with
    all changes, and the domain of its model."""

    name: str
    values: Mapping[str, Any]
    overrides: Mapping[str, Any]
    recipe: Recipe
    domain: str


def _plans(
    recipe: str | Path,
    grid: Mapping[str, Sequence[Any]],
    tier: str | None,
    overrides: Mapping[str, Any],
) -> list[_Plan]:
    """Every run, its recipe checked."""
    both = sorted(set(grid) & set(overrides))
    if both:
        raise ConfigError(f"{both[0]} is both swept and set; say it once")
    plans = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        words = ", ".join(f"{key}={value}" for key, value in values.items())
        try:
            changes = _changes(recipe, tier, overrides, values)
            resolved = recipes.load(recipe, tier=tier, overrides=changes)
            domain = str(getattr(start(resolved), "domain", "atoms"))
        except RecipeError as error:
            raise RecipeError(f"sweep, {words}: {error}") from error
        if resolved.trainer.devices * resolved.trainer.num_nodes > 1:
            raise RecipeError(
                f"sweep, {words}: several processes per run; the processes of the first run can't "
                "serve the next, so start such runs one by one with zoo train"
            )
        plans.append(_Plan(_folder(values), values, changes, resolved, domain))
    return plans


def _changes(
    recipe: str | Path, tier: str | None, overrides: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The overrides of one run; a fold becomes the splits that it means."""
    changes = {**overrides, **values}
    if FOLD not in changes:
        return changes
    fold = changes.pop(FOLD)
    if not isinstance(fold, int) or isinstance(fold, bool) or fold < 0:
        raise RecipeError(f"{FOLD} is {fold!r}; folds are counted from 0")
    return changes | fold_changes(recipes.load(recipe, tier=tier, overrides=changes), fold)


def _folder(values: Mapping[str, Any]) -> str:
    """A readable folder name that is the same whenever the values are."""
    last = [key.rpartition(".")[2] for key in values]
    short = last if len(set(last)) == len(last) else list(values)
    pairs = zip(short, values.values(), strict=True)
    text = ",".join(f"{key}={value}" for key, value in pairs)
    plain = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)
    if plain == text and len(text) <= 80:
        return text
    return f"{plain[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def finished(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The report of a run that is over, of this very recipe; None if there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("recipe_sha256") == recipe.sha256() else None


def _rank_by(by: str | None, plan: _Plan) -> str:
    """The error that ranks.

    Raises:
        ConfigError: there is no such error.
    """
    recipe = plan.recipe
    if recipe.task is not None:
        task = resolve_task(recipe.task, plan.domain, str)
        if by is not None and by not in (*task.metrics, "loss"):
            raise ConfigError(f"can't rank by {by!r}; {nearest(by, task.metrics)}")
        return by or (task.metrics[0] if task.score == "loss" and task.metrics else task.score)
    if by is not None and by not in UNITS:
        raise ConfigError(f"can't rank by {by!r}; {nearest(by, UNITS)}")
    return by or ("forces_mae" if recipe.loss.forces is not None else "energy_mae_per_atom")


def _row(name: str, values: Mapping[str, Any], by: str) -> dict[str, Any]:
    empty = dict.fromkeys(("val", "test", "epochs", "seconds"))
    return {"rank": None, "run": name, **values, **empty, "status": "not run"}


def _outcome(report: Mapping[str, Any], by: str) -> dict[str, Any]:
    metrics = report["metrics"]
    return {
        "val": metrics["val"].get(by),
        "test": metrics.get("test", {}).get(by),
        "epochs": report["epochs"],
        "seconds": report["seconds"],
        "status": "done",
    }


def _ranked(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """The best first; runs without a result last, in their order."""
    sign = -1.0 if by in HIGHER else 1.0
    done = sorted((r for r in rows if r["val"] is not None), key=lambda r: sign * float(r["val"]))
    rest = [row | {"rank": None} for row in rows if row["val"] is None]
    return [row | {"rank": place + 1} for place, row in enumerate(done)] + rest


def summarise(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds and folds of each setting, as they are ranked.

    Args:
        rows: of a sweep.
        keys: swept.

    Returns:
        Nothing unless seeds or folds are swept, and of settings with fewer than two finished runs.
    """
    chance = [key for key in CHANCE if key in keys]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows if chance else ():
        if row["val"] is not None:
            words = [f"{key}={row[key]}" for key in keys if key not in chance]
            groups.setdefault(", ".join(words) or "all", []).append(row)
    found = []
    for setting, same in groups.items():
        if len(same) < 2:
            continue
        entry: dict[str, Any] = {"setting": setting, "runs": len(same)}
        entry |= {CHANCE[key]: len({row[key] for row in same}) for key in chance}
        for part in ("val", "test"):
            values = [float(row[part]) for row in same if row[part] is not None]
            if len(values) == len(same):
                entry[f"{part}_mean"] = statistics.mean(values)
                entry[f"{part}_std"] = statistics.stdev(values)
        found.append(entry)
    return found


def _on_chance(
    summary: Sequence[Mapping[str, Any]], keys: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> str:
    """What seeds and folds say about how much a difference means."""
    words = " and ".join(word for key, word in CHANCE.items() if key in keys)
    if not words:
        return (
            "one seed for each setting: how much of a difference is chance is not known; add "
            f"{SEED}=0,1,2 to the sweep"
        )
    listed = "; ".join(
        f"{row['setting']}: {row['val_mean']:.4g} ± {row['val_std']:.2g}"
        + (f" (test {row['test_mean']:.4g} ± {row['test_std']:.2g})" if "test_mean" in row else "")
        for row in summary
    )
    missing = sum(row["val"] is None for row in rows)
    rest = f"; without the {missing} runs that are not done" if missing else ""
    return f"mean ± standard deviation over {words}: {listed or 'not enough runs yet'}{rest}"
