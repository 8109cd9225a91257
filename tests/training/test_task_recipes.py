"""Recipes outside atoms: what is refused, and where the error says it stands."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
from task_runs import quiet, sections, write

import zoo
from zoo.errors import CapabilityError, DataError, RecipeError, ZooError
from zoo.training import recipe as recipes
from zoo.training.sweep import sweep

pytestmark = pytest.mark.usefixtures("undrawn")

GOOD = """\
recipe: 1
name: tinyvector-s.mine.r1
model: {name: tinyvector, config: {out_channels: 3}}
data:
  source: data.npz
  splits: {kind: random, fractions: {train: 0.6, val: 0.4}, seed: 0}
task:
  kind: classification
  loss: {kind: cross_entropy}
  metrics: [accuracy]
ema: null
trainer: {max_epochs: 1}
"""


def refusal(folder: Path, old: str, new: str, kind: type[ZooError] = RecipeError) -> str:
    assert old in GOOD
    tiny_data.vectors(folder / "data.npz")
    (folder / "r.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(kind) as caught:
        zoo.train(folder / "r.yaml", output=folder / "out", progress=quiet)
    assert not (folder / "out" / "manifest.yaml").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: classification", "kind: clasification", 8, ["task.kind", "'classification'"]),
        ("kind: classification", "kind: language_model", 8, ["task.kind", "'vector' has no"]),
        ("kind: classification", "kind: own", 9, ["the kind 'own' has no 'cross_entropy'"]),
        ("kind: classification", "kind: regression", 9, ["task.loss.kind", "'regression'"]),
        ("{kind: cross_entropy}", "{kind: mse}", 9, ["'classification' has no 'mse'"]),
        ("{kind: cross_entropy}", "{knd: margin}", 9, ["task.loss.knd", "task.loss.kind"]),
        ("[accuracy]", "[acuracy]", 10, ["task.metrics", "did you mean 'accuracy'"]),
        ("[accuracy]", "[accuracy]\n  score: auroc", 11, ["task.score", "accuracy, loss"]),
        ("[accuracy]", "[accuracy]\n  level: node", 11, ["task.level", "sample"]),
        ("[accuracy]", "[accuracy]\n  domain: day", 11, ["task.domain", "no column 'day'"]),
        ("out_channels: 3", "out_channels: 5", 3, ["out_channels", "5 outputs", "3 classes"]),
        ("ema: null", "loss: {energy: {}}", None, ["loss is for atoms"]),
        ("ema: null", "normalise: {scale: none}", None, ["normalise is for atoms"]),
        ("task:", "taks:", 7, ["taks", "'task'"]),
        ("{max_epochs: 1}", "{max_epochs: 1, batch_by: atoms}", None, ["batches count samples"]),
    ],
)
def test_errors_name_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int | None, words: list[str]
) -> None:
    message = refusal(tmp_path, old, new)
    if line is not None:
        assert f"r.yaml:{line}: " in message, message
    for word in words:
        assert word in message, message


def test_a_task_is_needed_outside_atoms_and_only_there(tmp_path: Path) -> None:
    body = GOOD[GOOD.index("task:") : GOOD.index("ema:")]
    message = refusal(tmp_path, body, "")
    assert "loss: missing" in message and "task" in message
    message = refusal(tmp_path, body, "loss: {forces: {}}\n")
    assert "task: missing" in message and "say task: {kind: ...}" in message
    message = refusal(tmp_path, body, "task: {kind: own}\nloss: {}\n")
    assert "r.yaml:7: task.kind" in message and "no objective of its own" in message
    renamed = GOOD.replace("tinyvector-s", "tensornet-s").replace(
        "{name: tinyvector, config: {out_channels: 3}}", "{name: tensornet}"
    )
    (tmp_path / "r.yaml").write_text(renamed)
    with pytest.raises(RecipeError, match=r"r\.yaml:7: task: tensornet is a model on atoms"):
        zoo.train(tmp_path / "r.yaml", output=tmp_path / "out", progress=quiet)


def test_data_that_do_not_fit_are_refused_before_training(tmp_path: Path) -> None:
    assert "no split 'val'" in refusal(tmp_path, "train: 0.6, val: 0.4", "train: 1.0", DataError)
    message = refusal(tmp_path, "  splits:", "  keys: {y: value}\n  splits:", DataError)
    assert "classes are whole numbers" in message and "kind: regression" in message
    message = refusal(tmp_path, "  splits:", "  keys: {y: null}\n  splits:", DataError)
    assert "no label 'y'" in message and "task.target" in message
    tiny_data.matrices(tmp_path / "m.npz")
    message = refusal(tmp_path, "source: data.npz", "source: m.npz", ZooError)
    assert "m.npz" in message
    np.savez(tmp_path / "gap.npz", x=np.zeros((12, 4)), y=np.arange(12) % 2 - 1)
    message = refusal(tmp_path, "source: data.npz", "source: gap.npz", ZooError)
    assert "counted from 0" in message or "gap.npz" in message


def test_only_what_can_adapt_is_asked_to(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    recipe = write(tmp_path, task={"kind": "classification", "adapt": True})
    with pytest.raises(CapabilityError, match="has no statistics of domains"):
        zoo.train(recipe, output=tmp_path / "out", progress=quiet)


def test_adaptation_takes_a_shift_back(tmp_path: Path) -> None:
    """Session c is shifted; the weights that are kept have not seen it."""
    tiny_data.matrices(tmp_path / "data.npz")
    values = {"train": ["a"], "val": ["b"], "test": ["c"]}
    recipe = write(
        tmp_path,
        model={"name": "tinymatrix"},
        data={
            "source": "data.npz",
            "splits": {"kind": "assigned", "key": "session", "values": values},
        },
        task={"kind": "classification", "domain": "session", "adapt": True},
        trainer={"max_epochs": 40, "batch_size": 8},
    )
    report = zoo.train(recipe, output=tmp_path / "out", progress=quiet)
    scores = {name: part["balanced_accuracy"] for name, part in report.metrics.items()}
    assert scores["test"] >= 0.9 > scores["test_unadapted"]
    centre = zoo.load(tmp_path / "out").centre
    assert (centre[2:] == 0).all()
    splits = {(m.split, m.name) for m in zoo.load(tmp_path / "out").manifest.metrics}
    assert ("test_unadapted", "accuracy") in splits


def test_the_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    task = {"kind": "classification", "loss": {"kind": "margin", "class_weights": [1.0, 2.0, 1.0]}}
    path = write(tmp_path, task=task)
    first = recipes.load(path)
    text = first.to_yaml()
    assert "references" not in text and "\nloss:" not in text and "\nnormalise:" not in text
    path.write_text(text)
    again = recipes.load(path)
    assert again == first and again.sha256() == first.sha256()


def test_seeds_give_mean_and_deviation(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    recipe = write(tmp_path, trainer={"max_epochs": 2, "batch_size": 16})
    grid: dict[str, list[Any]] = {"trainer.seed": [0, 1, 2], "optimizer.lr": [1e-3, 1e-1]}
    report = sweep(recipe, grid, output=tmp_path / "out", progress=quiet)
    assert report.by == "accuracy" and len(report.summary) == 2
    tests = [row["test"] for row in report.rows if row["optimizer.lr"] == 1e-1]
    (fast,) = (row for row in report.summary if row["setting"] == "optimizer.lr=0.1")
    assert fast["seeds"] == 3
    assert fast["test_mean"] == pytest.approx(np.mean(tests))
    assert fast["test_std"] == pytest.approx(np.std(tests, ddof=1))
    assert report.rows[0]["val"] >= report.rows[-1]["val"]  # a higher accuracy ranks first
    assert "(test " in report.note


def test_weights_of_samples_count(tmp_path: Path) -> None:
    """A class whose samples weigh nothing is not learnt."""
    tiny_data.vectors(tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as held:
        arrays = dict(held)
    np.savez(tmp_path / "data.npz", **arrays, weight=(arrays["y"] != 1).astype(float))
    (tmp_path / "r.yaml").write_text(recipes.resolve(sections(), where="test").to_yaml())
    report = zoo.train(tmp_path / "r.yaml", output=tmp_path / "out", progress=quiet)
    x = {"x": arrays["x"]}
    guesses = report.model(x)["logits"].argmax(-1).numpy()
    assert (guesses == 1).mean() < 0.1 < (guesses == 0).mean()
