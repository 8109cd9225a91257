"""Where losses and errors go besides the report."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import run

from zoo.datasets import AtomsDataset
from zoo.errors import MissingExtraError

Maker = Callable[..., Any]


def test_tensorboard_has_what_the_history_has(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chosen = recipe(log=["csv", "tensorboard"])
    result = run(tiny(), chosen, dataset, tmp_path, logs=tmp_path / "logs")
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard"))
    events.Reload()
    for name in ("val_loss", "val_forces_mae", "train_loss", "lr"):
        found = [event.value for event in events.Scalars(name)]
        expected = [row[name] for row in result.history]
        assert found == pytest.approx(expected, rel=1e-6), name
    assert (tmp_path / "logs" / "version_0" / "metrics.csv").is_file()


def test_wandb_writes_files_while_offline(
    tiny: Maker,
    recipe: Maker,
    dataset: AtomsDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    seen: list[dict[str, Any]] = []

    class Run:
        """Takes what W&B would."""

        def __init__(self, **options: Any) -> None:
            seen.append(options)

        def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
            seen.append(metrics)

        def define_metric(self, *names: Any, **options: Any) -> None:
            """Axes."""

        def finish(self) -> None:
            seen.append({"finished": True})

    wandb = importlib.import_module("wandb")
    monkeypatch.setattr(wandb, "init", lambda **options: Run(**options))
    monkeypatch.setattr(wandb, "run", None)
    result = run(tiny(), recipe(log=["wandb"]), dataset, tmp_path, logs=tmp_path / "logs")
    assert seen[0]["mode"] == "offline"
    assert Path(seen[0]["dir"]) == tmp_path / "logs"
    losses = [entry["val_loss"] for entry in seen if "val_loss" in entry]
    assert losses == pytest.approx([row["val_loss"] for row in result.history], rel=1e-6)
    assert seen[-1] == {"finished": True}


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_before_training(
    tiny: Maker,
    recipe: Maker,
    dataset: AtomsDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
) -> None:
    whole = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return whole(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=rf"{package}.*geometric-zoo\[logs\]"):
        run(tiny(), recipe(log=[package]), dataset, tmp_path / "state")
    assert not (tmp_path / "state").exists()
