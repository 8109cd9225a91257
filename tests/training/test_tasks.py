"""Recipes of every domain but atoms: from a file to a folder that `zoo.load` takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from task_runs import THIRDS, run

import zoo


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
        {"model": {"name": "tinymatrix"}},
        "balanced_accuracy",
        0.8,
    ),
    "signals through a front end": (
        tiny_data.signals,
        {
            "model": {"name": "tinymatrix", "config": {"front_end": True}},
            "task": {"kind": "classification", "normalise": {"inputs": "standard"}},
        },
        "balanced_accuracy",
        0.6,
    ),
    "images": (
        tiny_data.images,
        {"model": {"name": "tinyimage"}},
        "accuracy",
        0.9,
    ),
    "nodes of one graph": (
        tiny_data.graph,
        {
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
            "model": {"name": "tinygraph", "config": {"level": "graph"}},
            "task": {"kind": "regression", "level": "graph"},
        },
        "mae",
        -0.3,
    ),
    "links": (
        tiny_data.graph,
        {
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
            "model": {"name": "tinytokens"},
            "task": {"kind": "language_model"},
        },
        "perplexity",
        -1.5,
    ),
    "classes of sequences": (
        tiny_data.tokens,
        {
            "model": {"name": "tinytokens", "config": {"out_channels": 2, "per_step": False}},
        },
        "accuracy",
        0.7,
    ),
    "an objective of the model's": (
        lambda path: tiny_data.graph(path, depth=3, divided=False),
        {
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
