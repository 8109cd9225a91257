"""Runs outside atoms that are stopped: what goes on is what would have been, bit for bit."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_data
import torch
from task_runs import quiet, write
from tiny_models import TinyGraph, TinyMatrix, TinyVector

import zoo
from zoo.errors import Interrupted
from zoo.training import saving

pytestmark = pytest.mark.usefixtures("undrawn")

EDGES = {"kind": "edges", "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}, "seed": 0}
TRAINER = {"max_epochs": 6, "batch_size": 10, "early_stopping": {"patience": 5}}

CASES: dict[str, tuple[type, Callable[[Path], Path], int, dict[str, Any]]] = {
    "dropout, average, plateau": (
        TinyVector,
        tiny_data.vectors,
        9,
        {
            "model": {"name": "tinyvector", "config": {"extra": "dropout"}},
            "ema": {"decay": 0.9},
            "schedule": {"kind": "plateau", "patience": 1},
        },
    ),
    "momentum, milestones, running statistics, workers": (
        TinyVector,
        tiny_data.vectors,
        8,
        {
            "model": {"name": "tinyvector", "config": {"extra": "norm"}},
            "optimizer": {"name": "sgd", "lr": 0.1, "nesterov": True},
            "schedule": {"kind": "milestones", "milestones": [0.4, 0.7], "factor": 0.1},
            "trainer": {**TRAINER, "num_workers": 1},
        },
    ),
    "points of a manifold": (
        TinyVector,
        tiny_data.vectors,
        10,
        {
            "model": {"name": "tinyvector", "config": {"sphere": True, "extra": "dropout"}},
            "optimizer": {"name": "riemannian_sgd", "lr": 0.05, "weight_decay": 0.1},
            "ema": {"decay": 0.8},
        },
    ),
    "non-edges": (
        TinyGraph,
        tiny_data.graph,
        4,
        {
            "model": {"name": "tinygraph", "config": {"level": "pair"}},
            "data": {"source": "data.npz", "splits": EDGES},
            "task": {"kind": "link_prediction", "negatives": 2},
            "optimizer": {"name": "riemannian_adam", "lr": 0.02},
            "trainer": {**TRAINER, "val_every": 2},
        },
    ),
    "adaptation, double precision": (
        TinyMatrix,
        tiny_data.matrices,
        7,
        {
            "model": {"name": "tinymatrix"},
            "task": {"kind": "classification", "domain": "session", "adapt": True},
            "trainer": {**TRAINER, "precision": "64-true"},
        },
    ),
}


def timeless(report: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in report.history]


@pytest.mark.parametrize("case", CASES)
def test_interrupted_and_resumed_equals_uninterrupted(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, make, after, sections = CASES[case]
    make(tmp_path / "data.npz")
    recipe = write(tmp_path, **{"trainer": TRAINER, **sections})
    whole = zoo.train(recipe, output=tmp_path / "whole", progress=quiet)
    assert whole.details["steps"] > after
    calls, forward = 0, kind.forward  # type: ignore[attr-defined]

    def interrupt(self: Any, batch: Any) -> Any:
        nonlocal calls
        calls += self.training
        if calls == after and self.training:
            signal.raise_signal(signal.SIGINT)
        return forward(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "forward", interrupt)
        with pytest.raises(Interrupted, match=f"interrupted after {after} steps"):
            zoo.train(recipe, output=tmp_path / "parts", progress=quiet)
    state = tmp_path / "parts" / "state"
    torch.load(state / saving.LAST, weights_only=True)
    (state / saving.BEST).write_bytes(b"what a kill has undone")
    resumed = zoo.train(recipe, output=tmp_path / "parts", resume=True, progress=quiet)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert timeless(resumed) == timeless(whole)
    assert resumed.metrics == whole.metrics
    again = zoo.load(tmp_path / "parts", check=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_points_stay_on_their_manifold(tmp_path: Path) -> None:
    """Under both optimisers, averaged, and undecayed."""
    tiny_data.vectors(tmp_path / "data.npz")
    for optimizer in ("riemannian_adam", "riemannian_sgd"):
        recipe = write(
            tmp_path,
            model={"name": "tinyvector", "config": {"sphere": True}},
            optimizer={"name": optimizer, "lr": 0.05, "weight_decay": 0.5},
            ema={"decay": 0.5},
            trainer={"max_epochs": 10, "batch_size": 10},
        )
        report = zoo.train(recipe, output=tmp_path / optimizer, progress=quiet)
        moved = report.model.pole.detach()
        assert torch.allclose(moved.norm(dim=-1), torch.ones(2), atol=1e-6)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            start = zoo.create("tinyvector", sphere=True).pole.detach()
        assert (moved - start).norm() > 1e-2
