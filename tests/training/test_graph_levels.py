"""Networks on graphs learn from labels of nodes, of edges, of graphs, and from links."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_runs import run

import zoo
from zoo.apps.predict import predict, read, write

pytestmark = pytest.mark.usefixtures("undrawn")
THIRDS = {"kind": "random", "fractions": {"train": 0.5, "val": 0.25, "test": 0.25}, "seed": 0}


def graphs(folder: Path, count: int = 12, nodes: int = 6) -> None:
    """Rings with a label of every edge and one of every graph."""
    rng = np.random.default_rng(0)
    steps = np.arange(nodes)
    pairs = np.stack([steps, (steps + 1) % nodes])
    edges = np.concatenate([pairs, pairs[::-1]], axis=1)
    x = rng.normal(size=(count, nodes, 3)).astype(np.float32)
    np.savez(
        folder / "data.npz",
        x=x.reshape(-1, 3),
        counts=np.full(count, nodes),
        edge_index=np.tile(edges, count),
        edge_counts=np.full(count, edges.shape[1]),
        edge_label=(x[:, edges[0], 0] * x[:, edges[1], 0] > 0).astype(np.int64).reshape(-1),
        y=(x[..., 0].mean(axis=1) > 0).astype(np.int64),
    )


def one_graph(folder: Path) -> None:
    made = zoo.datasets.make("csbm", nodes=60, classes=2, features=3, degree=4.0, homophily=0.8)[0]
    names = ("x", "edge_index", "y")
    np.savez(folder / "data.npz", **{name: made[name].numpy() for name in names})


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "edge": (graphs, {}, THIRDS, {"kind": "classification", "level": "edge",
                                  "target": "edge_label", "metrics": ["accuracy"]}),
    "graph": (graphs, {}, THIRDS, {"kind": "classification", "level": "graph",
                                   "metrics": ["accuracy"]}),
    "numbers": (graphs, {"task": "graph", "regression": True, "out_channels": 1}, THIRDS,
                {"kind": "regression", "level": "graph", "metrics": ["mae"]}),
    "node": (one_graph, {}, THIRDS, {"kind": "classification", "metrics": ["accuracy"]}),
    "link": (one_graph, {}, {**THIRDS, "kind": "edges"}, {"kind": "link_prediction",
                                                          "metrics": ["auroc"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_sheaf_network_learns_from(name: str, tmp_path: Path) -> None:
    build, config, splits, task = CASES[name]
    build(tmp_path)
    settings = {"in_channels": 3, "hidden_channels": 4, "stalk_dim": 2, "task": name} | config
    report = run(
        tmp_path,
        name="nsd-s.mine.r1",
        model={"name": "nsd", "config": settings},
        data={"source": "data.npz", "splits": splits},
        task=task,
        trainer={"max_epochs": 3, "batch_size": 4},
    )
    assert np.isfinite(report.metrics["test"][task["metrics"][0]])
    model = zoo.load(report.path, check=True)
    keys = {"y": None} if name == "numbers" else None
    samples = read(model, tmp_path / "data.npz", keys=keys)
    results = predict(model, samples)
    main = model.outputs[0]
    rows = {"edge": 12, "graph": None, "numbers": None, "node": 60, "link": 240}[name]
    for sample, result in zip(samples, results, strict=True):
        shape = result[main].shape
        assert shape[0] == (sample.edge_index.shape[1] if name in ("edge", "link") else rows) \
            or rows is None  # fmt: skip
    write(tmp_path / "out.csv", samples, results, model=model)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 1 + (12 if rows is None else rows * len(samples))
