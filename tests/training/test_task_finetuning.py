"""Fine-tuning outside atoms: foreign files, other classes, what is frozen, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import torch
from task_runs import quiet, run

import zoo
from zoo.errors import CapabilityError, ConfigError, DataError, UnsupportedInputError

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a batch norm, trained on three classes."""
    folder = tmp_path_factory.mktemp("parent")
    tiny_data.vectors(folder / "data.npz")
    run(folder, model={"name": "tinyvector", "config": {"extra": "norm"}})
    return folder / "out"


def tune(parent: Path, data: Path, **options: Any) -> Any:
    return zoo.finetune(parent, data, output=data.parent / "tuned", progress=quiet, **options)


def test_a_foreign_file_with_other_classes_gets_a_head(parent: Path, tmp_path: Path) -> None:
    data = tiny_data.words(tmp_path / "trees.npz")
    report = tune(parent, data, keys={"x": "vecs", "y": "species"}, epochs=20, lr=0.02)
    before, after = (report.metrics[n]["accuracy"] for n in ("zero_shot", "fine_tuned"))
    assert after > max(before, 0.8)
    assert report.details["head"] == "new, 4 outputs"
    assert report.details["old_task"] == "not measured: the head is new"
    assert report.details["before_after"][0]["new_after"] == after
    model = zoo.load(tmp_path / "tuned", check=True)
    assert model.classes == ("ash", "elm", "fir", "oak")
    assert model.manifest.derived_from.name == "tinyvector-s.mine.r1"
    assert model.manifest.name == "tinyvector-s.trees.r1"
    assert json.loads((tmp_path / "tuned" / "report.json").read_text())["metrics"]


def test_known_classes_keep_their_head_in_any_order(tmp_path: Path) -> None:
    """Names decide which class is which, not their order in the file."""
    tiny_data.words(tmp_path / "data.npz")
    sections = {
        "model": {"name": "tinyvector", "config": {"out_channels": 4}},
        "data": {
            "source": "data.npz",
            "keys": {"x": "vecs", "y": "species"},
            "splits": {"kind": "random", "fractions": {"train": 0.8, "val": 0.2}, "seed": 0},
        },
    }
    whole = run(tmp_path, **sections)
    assert whole.metrics["val"]["accuracy"] > 0.9
    with np.load(tmp_path / "data.npz") as old:
        keep = np.isin(old["species"], ["elm", "oak"])
        np.savez(tmp_path / "two.npz", vecs=old["vecs"][keep], species=old["species"][keep])
    keys = {"x": "vecs", "y": "species"}
    report = tune(tmp_path / "out", tmp_path / "two.npz", keys=keys, epochs=1, lr=1e-9)
    assert report.details["head"] == "kept"
    assert report.metrics["zero_shot"]["accuracy"] > 0.9
    assert report.model.classes == ("ash", "elm", "fir", "oak")
    data = zoo.datasets.open(tmp_path / "two.npz", keys=keys)
    assert zoo.training.assess_samples(report.model, data).metrics["accuracy"] > 0.9
    with pytest.raises(DataError, match="the class 'a', which the model was not trained on"):
        tiny_data.matrices(tmp_path / "m.npz")
        named = {"y": np.array(["a", "b"] * 4), "x": np.zeros((8, 4))}
        np.savez(tmp_path / "m.npz", **named)
        zoo.training.assess_samples(report.model, zoo.datasets.open(tmp_path / "m.npz"))


@pytest.mark.parametrize(
    ("method", "moved"),
    [
        ("head", {"head"}),
        ("freeze:1", {"middle", "head"}),
        ("freeze:first.*,head.bias", {"middle", "head"}),
        ("full", {"first", "middle", "head"}),
    ],
)
def test_what_is_frozen_does_not_move(
    parent: Path, tmp_path: Path, method: str, moved: set[str]
) -> None:
    """Running statistics included."""
    data = tiny_data.vectors(tmp_path / "mine.npz", seed=3)
    report = tune(parent, data, method=method, epochs=2)
    old = zoo.load(parent).state_dict()
    changed = {k for k, v in report.model.state_dict().items() if not torch.equal(v, old[k])}
    assert {name.partition(".")[0] for name in changed} == moved
    assert ("head.bias" in changed) == ("head.bias" not in method)
    assert all(p.requires_grad for p in report.model.parameters())


def test_replay_remembers(parent: Path, tmp_path: Path) -> None:
    """New labels for half of the space; what is not replayed is forgotten."""
    old = parent.parent / "data.npz"
    data = tmp_path / "mine.npz"
    with np.load(old) as held:
        keep = held["y"] != 2
        swapped = np.where(held["y"] == 0, 2, held["y"])[keep]
        np.savez(data, x=held["x"][keep] + 3.0, y=swapped)
    options = {"epochs": 30, "lr": 0.05, "old_data": old}
    plain = tune(parent, data, **options)
    kept = tune(parent, data, method="replay:frac=0.5,frames=30", overwrite=True, **options)
    before = plain.metrics["old_before"]["accuracy"]
    lost = [before - r.metrics["old_after"]["accuracy"] for r in (plain, kept)]
    assert before > 0.9 and lost[1] < 0.5 * lost[0], (plain.metrics, kept.metrics)
    assert "12 samples" in kept.details["old_task"]


def test_what_means_nothing_here_is_refused(parent: Path, tmp_path: Path) -> None:
    data = tiny_data.vectors(tmp_path / "mine.npz")
    words = {"keys": {"x": "vecs", "y": "species"}}
    other = tiny_data.words(tmp_path / "words.npz")
    for error, match, file, options in (
        (ConfigError, "'ewc' is for models on atoms", data, {"method": "ewc"}),
        (ConfigError, "forces_weight is for models on atoms", data, {"forces_weight": 2.0}),
        (ConfigError, "new_elements and references are for", data, {"references": "keep"}),
        (ConfigError, "say 'new' for a fresh one", data, {"heads": "new:mine"}),
        (ConfigError, "has nothing to replay", data, {"heads": "new", "method": "replay"}),
        (ConfigError, "blocks, so N must be", data, {"method": "freeze:3"}),
        (DataError, "mine do not|data, and data does not ship", data, {"method": "replay"}),
        (DataError, "other classes than", other, {"method": "replay", **words}),
        (ConfigError, "no option 'epoch'", data, {"epoch": 3}),
    ):
        with pytest.raises(error, match=match):
            tune(parent, file, **options)
    np.savez(tmp_path / "wide.npz", x=np.zeros((20, 7)), y=np.arange(20) % 3)
    with pytest.raises(UnsupportedInputError, match="shape \\(4\\), not \\(7,?\\)"):
        tune(parent, tmp_path / "wide.npz", epochs=1)
    tiny_data.matrices(tmp_path / "m.npz")
    with pytest.raises(DataError):
        tune(parent, tmp_path / "m.npz")


def test_places_of_one_graph_are_not_fine_tuned(tmp_path: Path) -> None:
    tiny_data.graph(tmp_path / "data.npz", depth=3, divided=False)
    run(
        tmp_path,
        model={"name": "tinyplaces"},
        data={"source": "data.npz"},
        task={"kind": "own"},
    )
    with pytest.raises(CapabilityError, match="train it from its recipe"):
        tune(tmp_path / "out", tmp_path / "data.npz")


def test_numbers_of_another_scale_get_a_head_of_theirs(tmp_path: Path) -> None:
    """Two targets instead of one: their constants are taken from the new data."""
    tiny_data.vectors(tmp_path / "data.npz")
    config = {"out_channels": 1, "output": "prediction"}
    run(
        tmp_path,
        model={"name": "tinyvector", "config": config},
        data={
            "source": "data.npz",
            "keys": {"y": "value"},
            "splits": {"kind": "random", "fractions": {"train": 0.8, "val": 0.2}, "seed": 0},
        },
        task={"kind": "regression", "normalise": {"targets": "standard"}},
    )
    with np.load(tmp_path / "data.npz") as held:
        two = 1e4 * np.stack([held["value"], 3.0 * held["x"][:, 2]], axis=1)
        np.savez(tmp_path / "two.npz", x=held["x"], y=two)
    report = tune(tmp_path / "out", tmp_path / "two.npz", epochs=60, lr=0.03)
    assert report.details["head"] == "new, 2 outputs"
    assert report.metrics["fine_tuned"]["rmse"] < 0.3 * two.std()
    loaded = zoo.load(tmp_path / "tuned", check=True)
    assert loaded.normalisation["prediction"]["mean"][0] > 1e5


def test_training_samples_are_held_out_where_a_file_has_none(parent: Path, tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "mine.npz")
    splits = {"kind": "time", "fractions": {"train": 0.5, "test": 0.5}}
    report = tune(parent, tmp_path / "mine.npz", splits=splits, epochs=1)
    assert report.details["samples"] == {"train": 27, "val": 3, "test": 30}
