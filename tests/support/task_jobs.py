"""Tasks outside atoms that one process or several run alike; as a script, one of two processes.

`python task_jobs.py FOLDER` runs every job there, as the process that
`LOCAL_RANK` says; each job leaves `FOLDER/<job>/` with the files of `zoo.train`.
"""

import sys
from pathlib import Path
from typing import Any

import tiny_data
from task_runs import quiet, write
from undrawn import undrawn

import zoo

EDGES = {"kind": "edges", "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}, "seed": 0}
#: 36 training and 12 validation samples, in batches of which one process has no share of the last
JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "classes": (
        tiny_data.vectors,
        {"task": {"kind": "classification", "metrics": ["auroc", "f1"]}},
    ),
    "numbers": (
        tiny_data.graphs,
        {
            "model": {"name": "tinygraph", "config": {"level": "graph"}},
            "task": {"kind": "regression", "level": "graph", "loss": {"kind": "huber"}},
        },
    ),
    "tokens": (
        tiny_data.tokens,
        {"model": {"name": "tinytokens"}, "task": {"kind": "language_model"}},
    ),
    "links": (
        tiny_data.graph,
        {
            "model": {"name": "tinygraph", "config": {"level": "pair"}},
            "data": {"source": "data.npz", "splits": EDGES},
            "task": {"kind": "link_prediction"},
        },
    ),
}


def prepare(folder: Path, world: int) -> None:
    """The data of every job."""
    for name, (make, _) in JOBS.items():
        place = folder / f"{name}-{world}"
        place.mkdir()
        make(place / "data.npz")


def run(folder: Path, name: str, world: int) -> None:
    """One job."""
    _, sections = JOBS[name]
    place = folder / f"{name}-{world}"
    several = {"devices": world, "strategy": "ddp"} if world > 1 else {}
    trainer = {
        "max_epochs": 3,
        "batch_size": 5,
        "eval_batch_size": 1 if name == "links" else 5,
        "precision": "64-true",
        "accelerator": "cpu",
        "clip": 0.5,
        **several,
    }
    recipe = write(place, **{**sections, "trainer": trainer})  # the same in every process
    with undrawn():
        zoo.train(recipe, output=place / "out", progress=quiet, overwrite=True)


if __name__ == "__main__":
    for job in JOBS:
        run(Path(sys.argv[1]), job, 2)
