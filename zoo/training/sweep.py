"""A small grid of runs of one recipe: each in its own folder, ranked by validation errors.

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

from zoo import registry
from zoo._files import write_atomic
from zoo.errors import ConfigError, Interrupted, OutputError, RecipeError, ZooError, nearest
from zoo.training import _yaml
from zoo.training import recipe as recipes
from zoo.training.fit import Line, check_writable
from zoo.training.metrics import HIGHER, UNITS
from zoo.training.recipe import Recipe
from zoo.training.report import REPORT
from zoo.training.runner import start, train
from zoo.training.tasks.kinds import resolve_task

MAX_RUNS = 256
SEED = "trainer.seed"


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
        summary: one row per setting that was run with several seeds: the swept values but the
            seed, `seeds` (how many), and the mean and standard deviation over them (divisor
            n - 1) of `val` and `test`.
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
    chosen = _rank_by(by, plans[0][2])
    folder = Path(output)
    check_writable(folder)
    if not (resume or overwrite):
        for name, _, _ in plans:
            if (folder / name).exists():
                raise OutputError(
                    f"output folder {folder / name}: holds a run already; choose another folder, "
                    "or say resume (go on) or overwrite (start again)"
                )
    rows = {name: _row(name, values, chosen) for name, values, _ in plans}
    report = SweepReport(folder, chosen)
    for name, values, resolved in plans:
        done = None if overwrite else _finished(folder / name, resolved)
        try:
            found = (
                done
                or train(
                    recipe,
                    output=folder / name,
                    tier=tier,
                    overrides={**(overrides or {}), **values},
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
        report.note = _on_seeds(report.summary, list(grid))
        report.save()
    return report


def _plans(
    recipe: str | Path,
    grid: Mapping[str, Sequence[Any]],
    tier: str | None,
    overrides: Mapping[str, Any],
) -> list[tuple[str, dict[str, Any], Recipe]]:
    """Folder, values and checked recipe of every run."""
    both = sorted(set(grid) & set(overrides))
    if both:
        raise ConfigError(f"{both[0]} is both swept and set; say it once")
    plans = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        words = ", ".join(f"{key}={value}" for key, value in values.items())
        try:
            resolved = recipes.load(recipe, tier=tier, overrides={**overrides, **values})
            start(resolved)
        except RecipeError as error:
            raise RecipeError(f"sweep, {words}: {error}") from error
        if resolved.trainer.devices * resolved.trainer.num_nodes > 1:
            raise RecipeError(
                f"sweep, {words}: several processes per run; the processes of the first run can't "
                "serve the next, so start such runs one by one with zoo train"
            )
        plans.append((_folder(values), values, resolved))
    return plans


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


def _finished(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The report of a run that is over, of this very recipe."""
    try:
        found: dict[str, Any] = json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("recipe_sha256") == recipe.sha256() else None


def _rank_by(by: str | None, recipe: Recipe) -> str:
    """The error that ranks.

    Raises:
        ConfigError: there is no such error.
    """
    if recipe.task is not None:
        spec, _ = registry.resolve(recipe.model.name)
        task = resolve_task(recipe.task, spec.domain, str)
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
    """Mean and standard deviation over the seeds of each setting, in the order of the ranking.

    Args:
        rows: of a sweep.
        keys: swept.

    Returns:
        Nothing unless seeds are swept, and of settings with fewer than two finished runs.
    """
    if SEED not in keys:
        return []
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["val"] is not None:
            setting = ", ".join(f"{key}={row[key]}" for key in keys if key != SEED) or "all"
            groups.setdefault(setting, []).append(row)
    found = []
    for setting, same in groups.items():
        if len(same) < 2:
            continue
        entry: dict[str, Any] = {"setting": setting, "seeds": len(same)}
        for part in ("val", "test"):
            values = [float(row[part]) for row in same if row[part] is not None]
            if len(values) == len(same):
                entry[f"{part}_mean"] = statistics.mean(values)
                entry[f"{part}_std"] = statistics.stdev(values)
        found.append(entry)
    return found


def _on_seeds(summary: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """What the seeds say about how much a difference means."""
    if SEED not in keys:
        return (
            "one seed for each setting: how much of a difference is chance is not known; add "
            f"{SEED}=0,1,2 to the sweep"
        )
    listed = "; ".join(
        f"{row['setting']}: {row['val_mean']:.4g} ± {row['val_std']:.2g}"
        + (f" (test {row['test_mean']:.4g} ± {row['test_std']:.2g})" if "test_mean" in row else "")
        for row in summary
    )
    return f"mean ± standard deviation over seeds: {listed or 'not enough runs yet'}"
