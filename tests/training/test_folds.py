"""Runs over divisions of the data: which division each fold is, and what is reported of them."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import yaml
from task_runs import THIRDS, quiet, sections, write

from zoo.errors import RecipeError
from zoo.training import recipe as recipes
from zoo.training.folds import FOLD, fold_changes
from zoo.training.sweep import sweep

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = {"max_epochs": 2, "batch_size": 16}


def changes(fold: int, splits: dict[str, Any] | None, source: str = "data.npz") -> Any:
    values = sections(data={"source": source, "splits": splits})
    return fold_changes(recipes.resolve(values, where="test"), fold)["data.splits"]


def test_what_a_fold_is() -> None:
    assert changes(3, None) == {"kind": "index", "fold": 3}
    assert changes(3, {"kind": "index", "file": "a.npz"})["fold"] == 3
    assert changes(1, {"kind": "kfold", "folds": 5, "seed": 7}) == {
        "kind": "kfold",
        "folds": 5,
        "seed": 7,
        "fold": 1,
    }
    held = changes(2, {"kind": "leave_out", "key": "session", "value": "b"})
    assert held == {"kind": "leave_out", "key": "session", "fold": 2}
    assert changes(2, {**THIRDS, "seed": 10}) == {**THIRDS, "seed": 12}
    assert changes(1, None, "eeg-like")["kind"] == "leave_out"  # what its description says


def test_divisions_that_there_are_not() -> None:
    with pytest.raises(RecipeError, match="into 5 folds; there is no fold 5"):
        changes(5, {"kind": "kfold", "folds": 5})
    with pytest.raises(RecipeError, match="of kind 'time' divide the data in one way only"):
        changes(1, {"kind": "time", "fractions": {"train": 0.5, "val": 0.5}})


def test_published_folds_are_run_and_summarised(tmp_path: Path) -> None:
    tiny_data.graph(tmp_path / "graph.npz", divided=False)
    with np.load(tmp_path / "graph.npz") as old:
        nodes = len(old["y"])
        part = (np.arange(nodes)[:, None] + np.arange(3)) % 5  # three folds, one in a column
        masks = {"train_mask": part < 3, "val_mask": part == 3, "test_mask": part == 4}
        np.savez(tmp_path / "graph.npz", **{**old, **masks})
    recipe = write(
        tmp_path,
        model={"name": "tinygraph", "config": {"out_channels": 3}},
        data={"source": "graph.npz"},
        task={"kind": "classification", "level": "node", "metrics": ["accuracy"]},
        trainer={"max_epochs": 3},
    )
    out = tmp_path / "out"
    report = sweep(recipe, {FOLD: [0, 1, 2]}, output=out, progress=quiet)
    (row,) = report.summary
    stored = [json.loads((out / f"fold={k}" / "report.json").read_text()) for k in range(3)]
    tests = [found["metrics"]["test"]["accuracy"] for found in stored]
    assert row["test_mean"] == pytest.approx(statistics.mean(tests))
    assert row["test_std"] == pytest.approx(statistics.stdev(tests))
    assert (row["runs"], row["folds"]) == (3, 3)
    assert "over folds: all: " in report.note
    # each run was divided by its own fold
    digests = {found["data"]["split_sha256"] for found in stored}
    assert len(digests) == 3
    used = yaml.safe_load((out / "fold=2" / "recipe.yaml").read_text())["data"]["splits"]
    assert used == {"kind": "index", "fold": 2}
    again = sweep(recipe, {FOLD: [0, 1, 2]}, output=out, resume=True, progress=quiet)
    assert again.summary == report.summary


def test_settings_are_ranked_over_seeds_and_folds(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    recipe = write(
        tmp_path,
        model={"name": "tinyvector", "config": {"out_channels": 3}},
        data={"source": "data.npz", "splits": {"kind": "kfold", "folds": 3, "stratify": "y"}},
        task={"kind": "classification", "metrics": ["accuracy"]},
        trainer=SHORT,
    )
    grid = {"optimizer.lr": [0.03, 1e-9], FOLD: [0, 2], "trainer.seed": [5]}
    report = sweep(recipe, grid, output=tmp_path / "out", progress=quiet)
    assert [row["setting"] for row in report.summary][0] == "optimizer.lr=0.03"
    assert all((row["runs"], row["seeds"], row["folds"]) == (2, 1, 2) for row in report.summary)
    assert "over seeds and folds" in report.note
    assert (tmp_path / "out" / "lr=0.03,fold=2,seed=5" / "manifest.yaml").is_file()


def test_a_fold_is_a_number(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    recipe = write(tmp_path)
    for fold in (-1, "a", True):
        with pytest.raises(RecipeError, match="folds are counted from 0"):
            sweep(recipe, {FOLD: [fold]}, output=tmp_path / "out", progress=quiet)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli.main import run

    tiny_data.vectors(tmp_path / "data.npz")
    recipe = write(
        tmp_path,
        model={"name": "tinyvector", "config": {"out_channels": 3}},
        trainer=SHORT,
    )
    assert run(["train", str(recipe), "--folds", "2", "-o", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "data.splits.fold" in text and "mean ± standard deviation over folds: all: " in text
    seeds = [
        yaml.safe_load((tmp_path / "out" / f"fold={k}" / "recipe.yaml").read_text())["data"]
        for k in (0, 1)
    ]
    assert [data["splits"]["seed"] for data in seeds] == [0, 1]  # other random divisions
