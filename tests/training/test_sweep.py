"""Grids of runs: checked first, resumable, ranked."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.errors import ConfigError, Interrupted, OutputError, RecipeError
from zoo.training import sweep as sweeps
from zoo.training.sweep import read_grid, sweep

pytestmark = pytest.mark.usefixtures("undrawn")


def quiet(line: str) -> None:
    """Takes progress lines."""


@pytest.fixture
def recipe(pretrained: Path, tmp_path: Path) -> Path:
    for name in ("emt.extxyz", "recipe.yaml"):
        shutil.copy(pretrained.parent / name, tmp_path / name)
    return tmp_path / "recipe.yaml"


def test_grids_are_read_from_words_and_files(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("optimizer.lr: [1e-3, 3e-3]\nema: [null, {decay: 0.9}]\n")
    grid = read_grid(str(file), "trainer.seed=0,1")
    expected: dict[str, Any] = {
        "optimizer.lr": [0.001, 0.003],
        "ema": [None, {"decay": 0.9}],
        "trainer.seed": [0, 1],
    }
    assert grid == expected
    for spec, match in [
        ("nothing", "neither a file"),
        ("a=", "needs a list"),
        ("a=1,1", "repeats"),
        ("a=[", "not valid YAML"),
        ("a=" + ",".join(map(str, range(300))), "300 runs"),
    ]:
        with pytest.raises(ConfigError, match=match):
            read_grid(spec)
    with pytest.raises(ConfigError, match="given twice"):
        read_grid("a=1", "a=2")


def test_a_bad_combination_is_refused_before_the_first_run(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for grid, match in [
        ({"optimizer.lr": [1e-3, -1.0]}, r"optimizer.lr=-1.0.*greater than 0"),
        ({"optimizer.lrr": [1e-3]}, "did you mean 'optimizer.lr'"),
        ({"model.config.hidden_channels": [8, "many"]}, "hidden_channels"),
        ({"trainer.strategy": ["auto", "fsdp"], "trainer.precision": ["64-true"]}, "32-true"),
        ({"trainer.devices": [1, 2]}, "one by one"),
    ]:
        with pytest.raises(RecipeError, match=f"(?s){match}"):
            sweep(recipe, grid, output=out, progress=quiet)
    with pytest.raises(ConfigError, match="both swept and set"):
        sweep(recipe, {"ema": [None]}, output=out, overrides={"ema": None}, progress=quiet)
    with pytest.raises(ConfigError, match="can't rank by 'force_mae'; did you mean 'forces_mae'"):
        sweep(recipe, {"ema": [None]}, output=out, by="force_mae", progress=quiet)
    assert not out.exists()


def test_a_stopped_sweep_goes_on_and_ranks(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"optimizer.lr": [1e-2, 1e-30, 1e25], "trainer.seed": [0, 1]}
    changes = {"trainer.max_epochs": 2, "trainer.clip": None, "ema": None}
    options: dict[str, Any] = {"output": tmp_path / "out", "progress": quiet, "overrides": changes}
    ran: list[str] = []
    train = sweeps.train

    def stop_at_third(*words: Any, **given: Any) -> Any:
        ran.append(Path(given["output"]).name)
        if len(ran) == 3:
            raise Interrupted("stopped")
        return train(*words, **given)

    monkeypatch.setattr(sweeps, "train", stop_at_third)
    with pytest.raises(Interrupted):
        sweep(recipe, grid, **options)
    assert ran == ["lr=0.01,seed=0", "lr=0.01,seed=1", "lr=1e-30,seed=0"]
    partial = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())
    assert sorted(r["status"] for r in partial["runs"]) == ["done"] * 2 + ["not run"] * 4
    with pytest.raises(OutputError, match="holds a run already"):
        sweep(recipe, grid, **options)
    report = sweep(recipe, grid, resume=True, **options)
    assert ran[3:] == ["lr=1e-30,seed=0", "lr=1e-30,seed=1", "lr=1e+25,seed=0", "lr=1e+25,seed=1"]
    assert [row["rank"] for row in report.rows] == [1, 2, 3, 4, None, None]
    values = [row["val"] for row in report.rows[:4]]
    assert values == sorted(values)
    assert report.winner is not None and report.winner["optimizer.lr"] == 1e-2
    assert all(row["status"].startswith("failed: training diverged") for row in report.rows[4:])
    assert "optimizer.lr=0.01: " in report.note and "±" in report.note
    table = list(csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines()))
    assert [row["run"] for row in table] == [row["run"] for row in report.rows]
    stored = yaml.safe_load((tmp_path / "out" / "sweep.yaml").read_text())
    assert stored["winner"] == report.winner["run"]
    best = json.loads((tmp_path / "out" / stored["winner"] / "report.json").read_text())
    assert best["metrics"]["val"]["forces_mae"] == report.winner["val"]


def test_the_command_shows_the_ranking(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.cli.main import run

    words = ["train", str(recipe), "-o", str(tmp_path / "out"), "--set", "trainer.max_epochs=1"]
    assert run([*words, "--sweep", "optimizer.lr=1e-2,1e-30", "--rank-by", "energy_mae"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["rank", "optimizer.lr", "val"]
    assert "ranked by energy_mae (meV) on the validation frames; the winner is lr=" in lines[3]
    assert lines[4].startswith("one seed for each setting")
    assert run([*words, "--rank-by", "energy_mae"]) == 2
    assert "nothing to rank" in capsys.readouterr().err
