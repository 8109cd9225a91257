"""Recipes of every domain but atoms: from a file to a folder that `zoo.load` takes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import tiny_models  # noqa: F401  # registers them
import torch
import yaml

import zoo
from zoo.errors import CapabilityError, DataError, RecipeError
from zoo.training import recipe as recipes

THIRDS = {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0}


def quiet(line: str) -> None:
    """Takes progress lines."""


def write(folder: Path, **sections: Any) -> Path:
    """A recipe file; sections replace those of a small one."""
    values: dict[str, Any] = {
        "recipe": 1,
        "name": "tinyvector-s.mine.r1",
        "model": {"name": "tinyvector"},
        "data": {"source": "data.npz", "splits": THIRDS},
        "task": {"kind": "classification"},
        "optimizer": {"lr": 0.03},
        "schedule": {"kind": "constant"},
        "ema": None,
        "trainer": {"max_epochs": 20, "batch_size": 16},
        **sections,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def run(folder: Path, *, out: str = "out", **sections: Any) -> Any:
    return zoo.train(write(folder, **sections), output=folder / out, progress=quiet)


def link_splits() -> dict[str, Any]:
    return {"kind": "edges", "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}, "seed": 0}


CASES: dict[str, tuple[Any, dict[str, Any], str, float]] = {
    "classes of vectors": (tiny_data.vectors, {}, "accuracy", 0.9),
    "margins": (
        tiny_data.vectors,
        {"task": {"kind": "classification", "loss": {"kind": "margin", "margin": 2.0}}},
        "accuracy",
        0.9,
    ),
    "numbers": (
        tiny_data.vectors,
        {
            "model": {"name": "tinyvector", "config": {"out_channels": 1, "output": "prediction"}},
            "data": {"source": "data.npz", "splits": THIRDS, "keys": {"y": "value"}},
            "task": {
                "kind": "regression",
                "normalise": {"inputs": "standard", "targets": "standard"},
            },
        },
        "mae",
        -5.0,
    ),
    "matrices": (
        tiny_data.matrices,
        {"name": "tinymatrix-s.mine.r1", "model": {"name": "tinymatrix"}},
        "balanced_accuracy",
        0.8,
    ),
    "signals through a front end": (
        tiny_data.signals,
        {
            "name": "tinymatrix-s.mine.r1",
            "model": {"name": "tinymatrix", "config": {"front_end": True}},
            "task": {"kind": "classification", "normalise": {"inputs": "standard"}},
        },
        "balanced_accuracy",
        0.6,
    ),
    "images": (
        tiny_data.images,
        {"name": "tinyimage-s.mine.r1", "model": {"name": "tinyimage"}},
        "accuracy",
        0.9,
    ),
    "nodes of one graph": (
        tiny_data.graph,
        {
            "name": "tinygraph-s.mine.r1",
            "model": {"name": "tinygraph"},
            "data": {"source": "data.npz"},
            "task": {"kind": "classification", "level": "node"},
            "trainer": {"max_epochs": 60},
        },
        "accuracy",
        0.8,
    ),
    "numbers of graphs": (
        tiny_data.graphs,
        {
            "name": "tinygraph-s.mine.r1",
            "model": {"name": "tinygraph", "config": {"level": "graph"}},
            "task": {"kind": "regression", "level": "graph"},
        },
        "mae",
        -0.3,
    ),
    "links": (
        tiny_data.graph,
        {
            "name": "tinygraph-s.mine.r1",
            "model": {"name": "tinygraph", "config": {"level": "pair"}},
            "data": {"source": "data.npz", "splits": link_splits()},
            "task": {"kind": "link_prediction", "negatives": 2},
        },
        "auroc",
        0.3,
    ),
    "next tokens": (
        tiny_data.tokens,
        {
            "name": "tinytokens-s.mine.r1",
            "model": {"name": "tinytokens"},
            "task": {"kind": "language_model"},
        },
        "perplexity",
        -1.5,
    ),
    "classes of sequences": (
        tiny_data.tokens,
        {
            "name": "tinytokens-s.mine.r1",
            "model": {"name": "tinytokens", "config": {"out_channels": 2, "per_step": False}},
        },
        "accuracy",
        0.7,
    ),
    "an objective of the model's": (
        lambda path: tiny_data.graph(path, depth=3, divided=False),
        {
            "name": "tinyplaces-s.mine.r1",
            "model": {"name": "tinyplaces"},
            "data": {"source": "data.npz"},
            "task": {"kind": "own", "metrics": ["distortion"], "score": "distortion"},
            "trainer": {"max_epochs": 100},
        },
        "distortion",
        -0.1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_task_learns_and_loads(case: str, tmp_path: Path) -> None:
    make, sections, metric, least = CASES[case]
    make(tmp_path / "data.npz")
    report = run(tmp_path, **sections)
    shown = "test" if "test" in report.metrics else "val"
    value = report.metrics[shown][metric]
    assert (-value if least < 0 else value) >= least, report.metrics
    model = zoo.load(tmp_path / "out", check=True)
    manifest = model.manifest
    assert manifest.task["kind"] == sections.get("task", {"kind": "classification"})["kind"]
    stored = {(m.split, m.name): m.value for m in manifest.metrics}
    assert stored[shown, metric] == value
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["data"]["sha256"] and written["machine"]["hardware"]
    assert (tmp_path / "out" / "learning_curve.png").is_file()
