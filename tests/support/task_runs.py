"""Small recipes of tasks outside atoms, written and run."""

from pathlib import Path
from typing import Any

import tiny_models  # noqa: F401  # registers them
import yaml

import zoo

THIRDS = {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0}


def quiet(line: str) -> None:
    """Takes progress lines."""


def sections(**changed: Any) -> dict[str, Any]:
    """A whole recipe; what is given replaces sections."""
    return {
        "recipe": 1,
        "name": f"{changed.get('model', {}).get('name', 'tinyvector')}-s.mine.r1",
        "model": {"name": "tinyvector"},
        "data": {"source": "data.npz", "splits": THIRDS},
        "task": {"kind": "classification"},
        "optimizer": {"lr": 0.03},
        "schedule": {"kind": "constant"},
        "ema": None,
        "trainer": {"max_epochs": 20, "batch_size": 16},
        **changed,
    }


def write(folder: Path, **changed: Any) -> Path:
    """A recipe file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(sections(**changed), sort_keys=False))
    return path


def run(folder: Path, *, out: str = "out", **changed: Any) -> Any:
    """Trains from such a file."""
    return zoo.train(write(folder, **changed), output=folder / out, progress=quiet)
