"""Rows of published tables: which runs they take, what is kept, and what is said of the result."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
from task_runs import quiet, write

import zoo
from zoo.apps import _reproduce_card, _reproduce_rows
from zoo.apps import reproduce as reproducing
from zoo.apps._reproduce_rows import find_rows, plan_runs
from zoo.errors import (
    ConfigError,
    Interrupted,
    OutputError,
    RecipeError,
    UnknownNameError,
)

pytestmark = pytest.mark.usefixtures("undrawn")

PAPER = {"paper": "Some, One", "table": "Table 1"}
ROWS: list[dict[str, Any]] = [
    {
        "row": "mine.a",
        **PAPER,
        "metric": "mse",
        "published": {"mean": 1e6, "std": 1.0, "trials": 5},
        "seeds": 2,
        "changes": {"trainer": {"max_epochs": 2}},
    },
    {
        "row": "mine.scaled",
        "metric": "mse",
        "scale": "target_variance",
        "statistic": "median",
        "limit": 1e-9,
        "note": "ten times as long",
        "seeds": 2,
        "changes": {"trainer.max_epochs": 2},
    },
    {
        "row": "mine.better",
        "metric": "rmse",
        "against": {"row": "mine.slow", "margin": 0.0},
        "seeds": 1,
        "tier": "short",
        "changes": {"trainer.max_steps": 20},
    },
    {
        "row": "mine.slow",
        "metric": "rmse",
        "limit": 1e9,
        "seeds": 1,
        "tier": "short",
        "changes": {"optimizer.lr": 1e-12, "trainer.max_steps": 2},
    },
    {
        "row": "mine.folds",
        "metric": "mae",
        "limit": 1e9,
        "folds": 2,
        "changes": {
            "data": {"splits": {"kind": "kfold", "folds": 3}},
            "trainer": {"max_epochs": 1},
        },
    },
]
TIERS = {"smoke": {"trainer": {"max_epochs": 1}}, "short": {"trainer": {"max_epochs": 1}}}


def recipe(folder: Path, rows: list[dict[str, Any]] = ROWS, **sections: Any) -> Path:
    tiny_data.vectors(folder / "data.npz")
    with np.load(folder / "data.npz") as old:
        np.savez(folder / "data.npz", x=old["x"], y=old["value"])
    task = {"kind": "regression", "normalise": {"targets": "standard"}}
    model = {"name": "tinyvector", "config": {"output": "prediction", "out_channels": 1}}
    return write(
        folder, **{"model": model, "task": task, "tiers": TIERS, "reproduce": rows, **sections}
    )


def run(folder: Path, row: str, **options: Any) -> reproducing.Reproduction:
    path = folder / "recipe.yaml"
    return reproducing.reproduce(row, output=folder / "out", recipe=path, progress=quiet, **options)


def test_a_row_is_run_compared_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(tmp_path)
    found = zoo.reproduce("mine.a", output=tmp_path / "out", recipe=path, progress=quiet)
    assert found.verdict.result == "PASS" and found.passed and found.verdict.better
    stored = json.loads((tmp_path / "out" / "mine.a.full.json").read_text())
    assert stored == json.loads(json.dumps(found.to_dict()))
    reports = [json.loads((Path(r["folder"]) / "report.json").read_text()) for r in stored["runs"]]
    values = [report["metrics"]["test"]["mse"] for report in reports]
    assert [r["value"] for r in stored["runs"]] == values
    assert stored["value"] == pytest.approx(statistics.mean(values))
    assert stored["std"] == pytest.approx(statistics.stdev(values))
    assert [r["seed"] for r in stored["runs"]] == [0, 1] and stored["n"] == 2
    assert stored["data"]["sha256"] == reports[0]["data"]["sha256"]
    assert stored["recipe_sha256"] == reports[0]["recipe_sha256"]
    assert {"geometric-zoo", "torch"} <= set(stored["machine"]["versions"])
    assert stored["seconds"] > 0 and stored["spec"]["published"]["mean"] == 1e6
    assert {round(report["epochs"]) for report in reports} == {2}
    # nothing that is finished is run again; a further seed is
    ran: list[Path] = []
    train = reproducing.train

    def noting(*words: Any, **options: Any) -> Any:
        ran.append(options["output"])
        return train(*words, **options)

    monkeypatch.setattr(reproducing, "train", noting)
    assert run(tmp_path, "mine.a").to_dict() == found.to_dict()
    assert ran == []
    # a row with the same runs, and another statistic of them
    scaled = run(tmp_path, "mine.scaled")
    assert ran == []
    test = zoo.datasets.open(tmp_path / "data.npz", splits=reports_splits(path)).split("test")
    variance = float(np.var(test.label("y").astype(np.float64)))
    assert scaled.value == pytest.approx(statistics.median(v / variance for v in values))
    assert scaled.verdict.result == "GAP" and not scaled.passed
    assert "worse by" in scaled.says() and "median" in scaled.ours()
    assert len(run(tmp_path, "mine.a", seeds=3).runs) == 3 and len(ran) == 1


def reports_splits(path: Path) -> Any:
    from zoo.training import recipe as recipes

    return recipes.load(path).data.splits


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe(tmp_path)
    train, resumed = reproducing.train, []

    def stopping(*words: Any, **options: Any) -> Any:
        resumed.append(options["resume"])
        if len(resumed) == 2:
            raise Interrupted("stopped")
        return train(*words, **options)

    monkeypatch.setattr(reproducing, "train", stopping)
    with pytest.raises(Interrupted):
        run(tmp_path, "mine.a")
    assert not (tmp_path / "out" / "mine.a.full.json").exists()
    assert run(tmp_path, "mine.a").count == 2
    assert resumed == [True] * 3  # the first seed was not run again


def test_another_tier_never_reads_as_the_row(tmp_path: Path) -> None:
    recipe(tmp_path)
    for row, tier in (("mine.a", "smoke"), ("mine.scaled", "smoke")):
        found = run(tmp_path, row, tier=tier, seeds=1)
        assert not found.is_the_row and not found.passed
        assert "PASS" not in found.says() and "GAP" not in found.says()
        assert "smoke run, not the row's (full)" in found.says()
        assert (tmp_path / "out" / f"{row}.smoke.json").is_file()
        with pytest.raises(ConfigError, match="is not that of the row"):
            run(tmp_path, row, tier=tier, card=True)


def test_a_row_against_another(tmp_path: Path) -> None:
    recipe(tmp_path)
    found = run(tmp_path, "mine.better")
    assert found.tier == "short" and found.is_the_row
    assert found.against is not None and found.against.row.name == "mine.slow"
    assert found.verdict.reference == found.against.value
    assert found.verdict.result == "PASS" and "better by" in found.says()
    assert json.loads(found.path.read_text())["against"]["row"] == "mine.slow"
    third = {"row": "mine.third", "metric": "rmse", "seeds": 1, "tier": "short"}
    third |= {
        "against": {"row": "mine.better", "margin": -1e9},
        "changes": {"trainer.max_steps": 2},
    }
    recipe(tmp_path, [third, *ROWS])  # held against a row that is itself held against one
    chained = run(tmp_path, "mine.third")
    assert chained.passed and chained.against is not None
    assert chained.against.value == found.value


def test_a_row_over_folds(tmp_path: Path) -> None:
    recipe(tmp_path)
    found = run(tmp_path, "mine.folds")
    assert [entry["fold"] for entry in found.runs] == [0, 1]
    assert len({entry["data"]["split_sha256"] for entry in found.runs}) == 2
    assert "seed" not in found.runs[0]


def test_runs_that_diverge_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe(tmp_path)
    train = reproducing.train

    def failing(*words: Any, **options: Any) -> Any:
        if options["overrides"]["trainer.seed"] == 0 or always:
            raise RecipeError("training diverged: really\nand more")
        return train(*words, **options)

    monkeypatch.setattr(reproducing, "train", failing)
    always = False
    found = run(tmp_path, "mine.a")
    assert found.runs[0]["failed"] == "training diverged: really"
    assert found.count == 1 and not found.passed
    assert found.verdict.result == "FAILED" and found.value is not None
    words = "FAILED: 1 of 2 runs failed (training diverged: really); without them better by"
    assert found.says().startswith(words)
    always = True
    (tmp_path / "out" / "mine.a.full.json").unlink()
    nothing = run(tmp_path, "mine.a", overwrite=True)
    assert nothing.verdict.result == "FAILED" and nothing.value is None
    assert nothing.says() == (
        "FAILED: no run was finished; 2 of 2 runs failed (training diverged: really)"
    )
    with pytest.raises(RecipeError, match="no run of mine.slow was finished"):
        run(tmp_path, "mine.better")


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_number_that_is_none_never_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statistic: str
) -> None:
    """Also where it sorts into the middle, or is measured once and never written down."""
    recipe(tmp_path, [{**ROWS[0], "seeds": 3, "statistic": statistic}])
    train = reproducing.train

    def odd(*words: Any, **options: Any) -> Any:
        report = train(*words, **options)
        if options["overrides"]["trainer.seed"] == 2:
            report.metrics["test"]["mse"] = float("nan")
            report.save()
        return report

    monkeypatch.setattr(reproducing, "train", odd)
    for found in (run(tmp_path, "mine.a"), run(tmp_path, "mine.a")):  # the second from the files
        assert found.count == 2 and found.verdict.result == "FAILED" and not found.passed
        assert found.runs[2]["failed"] == "mse of the test split is not finite"
        assert "NaN" not in found.path.read_text()


def test_a_row_fails_with_the_one_that_it_is_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, better = {**ROWS[3], "seeds": 2}, ROWS[2]
    recipe(tmp_path, [better, slow])
    train = reproducing.train

    def failing(*words: Any, **options: Any) -> Any:
        if options["overrides"]["trainer.seed"] == 1:
            raise RecipeError("training diverged: really")
        return train(*words, **options)

    monkeypatch.setattr(reproducing, "train", failing)
    found = run(tmp_path, "mine.better")
    assert found.count == 1 and not found.passed
    assert "1 of 2 runs of mine.slow failed (training diverged" in found.says()


def test_other_data_make_other_runs(tmp_path: Path) -> None:
    recipe(tmp_path)
    first = run(tmp_path, "mine.a", seeds=1)
    assert plan_runs(first.row, "full", 1)[0].folder == Path(first.runs[0]["folder"]).name
    with np.load(tmp_path / "data.npz") as old:
        np.savez(tmp_path / "data.npz", x=old["x"], y=old["y"] + 3.0 * old["x"][:, :1])
    other = run(tmp_path, "mine.a", seeds=1)
    assert other.runs[0]["folder"] != first.runs[0]["folder"] and other.value != first.value
    (tmp_path / "data.npz").unlink()
    gone = run(tmp_path, "mine.a", seeds=1)
    assert gone.verdict.result == "FAILED" and "there is no file" in gone.says()


@pytest.mark.parametrize(
    ("changed", "sections", "match"),
    [
        ({"metric": "accuracy"}, {}, "asks for 'accuracy', which the task regression does not"),
        ({"against": {"row": "mine.x"}, "limit": None}, {}, "held against it in turn"),
        ({"against": {"row": "mine.nothing"}, "limit": None}, {}, "called 'mine.nothing'"),
        (
            {"against": {"row": "mine.slow"}, "limit": None},
            {},
            "mine.x has metric: mae, but is held against mine.slow, which has metric: rmse",
        ),
        ({}, {"data": {"source": "data.npz", "settings": {"train": 9}}}, "is a file; leave"),
        ({}, {"tiers": {}}, "no tier 'short', neither"),
        ({}, {"trainer": {"devices": 2}}, "several processes per run"),
    ],
)
def test_what_is_refused_before_anything_runs(
    tmp_path: Path, changed: dict[str, Any], sections: dict[str, Any], match: str
) -> None:
    row = {"row": "mine.x", "metric": "mae", "limit": 1.0, "tier": "short"} | changed
    row = {key: value for key, value in row.items() if value is not None}
    recipe(tmp_path, [row, *ROWS[2:4]], **sections)
    with pytest.raises((RecipeError, UnknownNameError), match=match):
        run(tmp_path, "mine.x")
    assert not (tmp_path / "out" / "runs").exists()


def test_scaling_needs_targets(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    row = {"row": "mine.x", "metric": "accuracy", "limit": 1.0, "scale": "target_variance"}
    write(tmp_path, reproduce=[row])
    with pytest.raises(RecipeError, match="the task is classification"):
        run(tmp_path, "mine.x")


def test_a_row_may_draw_its_data_anew(tmp_path: Path) -> None:
    row = {"row": "mine.x", "metric": "mae", "limit": 1.0, "redraw": True, "seeds": 2}
    path = recipe(tmp_path, [row], data={"source": "o5-hulls", "settings": {"train": 9}})
    runs = plan_runs(find_rows(path)["mine.x"], "full", None)
    assert [run.recipe.data.settings for run in runs] == [{"train": 9, "seed": k} for k in (0, 1)]
    assert [run.recipe.trainer.seed for run in runs] == [0, 1]


def test_the_domain_is_that_of_the_model_as_configured() -> None:
    row = find_rows()["o5-regression.300.cgenn"]
    (plan,) = plan_runs(row, "smoke", 1)
    assert _reproduce_rows.domain_of(plan.recipe) == "sequence"
    variance = reproducing._variance(row, plan)
    settings = "&".join(f"{k}={v}" for k, v in plan.recipe.data.settings.items())
    test = zoo.datasets.open(f"o5-regression?{settings}").split("test")
    assert variance == pytest.approx(test.label("y").astype(float).var())


def test_rows_are_found_by_name(tmp_path: Path) -> None:
    rows = find_rows(recipe(tmp_path))
    assert list(rows) == [entry["row"] for entry in ROWS]
    with pytest.raises(UnknownNameError, match="did you mean 'mine.folds'"):
        run(tmp_path, "mine.fold")
    with pytest.raises(ConfigError, match="no tier 'ful'"):
        run(tmp_path, "mine.a", tier="ful")


def test_a_name_belongs_to_one_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        recipe(tmp_path / name)
    monkeypatch.setattr(_reproduce_rows.share, "folder", lambda kind: tmp_path)
    with pytest.raises(RecipeError, match=r"the row 'mine.a' is in .*one.*too; rename it"):
        find_rows()


def test_the_card_has_one_line_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(tmp_path)
    found, scaled = run(tmp_path, "mine.a"), run(tmp_path, "mine.scaled")
    text = _reproduce_card.updated("# Tiny\n\nA model.\n", scaled)
    text = _reproduce_card.updated(text, found)
    assert _reproduce_card.updated(text, found) == text
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["mine.a", "mine.scaled"]
    assert "1e+06 ± 1 (n=5); Table 1" in lines[0] and "PASS: better by" in lines[0]
    assert f"tier full, version {zoo.__version__}, data " in lines[0]
    assert "test mse / variance" in lines[1] and "GAP: worse by" in lines[1]
    assert "goal 1e-09; ten times as long" in lines[1]
    assert text.startswith("# Tiny\n\nA model.\n\n## Reproduced\n\n<!-- reproduced -->\n")
    after = _reproduce_card.updated(f"{text}\n## Limits\n", found)
    assert after.endswith("<!-- /reproduced -->\n\n## Limits\n")
    with pytest.raises(OutputError, match="tinyvector has no card"):
        run(tmp_path, "mine.a", card=True)


def test_runs_are_as_long_as_their_notes_say() -> None:
    for name, epochs in (("nbody.cgenn-goal", 330), ("nbody.egnn", 300)):
        (plan,) = plan_runs(find_rows()[name], "full", 1)
        assert plan.recipe.trainer.max_epochs == epochs


def test_every_shipped_row_can_be_run() -> None:
    rows = find_rows()
    for row in rows.values():
        (plan,) = plan_runs(row, row.spec.tier, 1)
        assert row.spec.metric, plan
        asked = [row]
        while (against := asked[-1].spec.against) is not None:
            asked.append(rows[against.row])
            assert len(asked) < 5, [row.name for row in asked]
