"""Runs that are stopped, killed, made longer: what goes on is what would have been."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import run

from zoo.datasets import AtomsDataset
from zoo.errors import Interrupted
from zoo.training import saving
from zoo.training.fit import FitResult
from zoo.training.recipe import Recipe

Maker = Callable[..., Any]


def shaken(model: Any) -> Any:
    """Training inputs get random displacements."""

    def shake(module: Any, inputs: Any) -> None:
        if module.training:
            inputs[0].pos = inputs[0].pos + 1e-3 * torch.randn_like(inputs[0].pos)

    model.register_forward_pre_hook(shake)
    return model


def timeless(result: FitResult) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]


@pytest.mark.parametrize(
    ("after", "trainer"),
    [
        (4, {}),  # inside an epoch
        (6, {}),  # at the end of one
        (7, {"batch_by": "atoms", "batch_size": 20, "val_every": 2}),
        (3, {"batch_by": "edges", "batch_size": 80, "num_workers": 1}),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny: Maker,
    recipe: Maker,
    dataset: AtomsDataset,
    tmp_path: Path,
    after: int,
    trainer: dict[str, Any],
) -> None:
    """Sampler, workers, average, plateau, early stopping, best score and random numbers."""
    whole, parts = shaken(tiny()), shaken(tiny())
    base = {"max_epochs": 4, "batch_size": 4, "precision": "64-true"}
    stopping = {"early_stopping": {"patience": 3}}
    schedule = {"kind": "plateau", "patience": 1}
    chosen = recipe(trainer=base | stopping | trainer, schedule=schedule)
    expected = run(whole, chosen, dataset, tmp_path / "whole")
    calls = 0

    def interrupt(module: Any, inputs: Any, output: Any) -> None:
        nonlocal calls
        calls += module.training
        if calls == after and module.training:
            signal.raise_signal(signal.SIGINT)

    parts.register_forward_hook(interrupt)
    with pytest.raises(Interrupted, match=f"interrupted after {after} steps") as caught:
        run(parts, chosen, dataset, tmp_path / "parts")
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (tmp_path / "parts" / saving.LAST).is_file()
    # what a kill has undone must not come back
    (tmp_path / "parts" / saving.BEST).write_bytes(b"weights of a later step")
    fresh = shaken(tiny())
    result = run(fresh, chosen, dataset, tmp_path / "parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    assert timeless(result) == timeless(expected)
    assert (result.steps, result.best_step) == (expected.steps, expected.best_step)


@pytest.mark.parametrize("val_every", [1, 2])
def test_twice_as_long_equals_once_and_again(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path, val_every: int
) -> None:
    def chosen(epochs: int) -> Recipe:
        trainer = {"max_epochs": epochs, "batch_size": 4, "val_every": val_every}
        return recipe(schedule={"kind": "constant", "warmup_steps": 2}, trainer=trainer)

    expected = run(shaken(tiny()), chosen(6), dataset, tmp_path / "whole")
    run(shaken(tiny()), chosen(3), dataset, tmp_path / "parts")
    result = run(shaken(tiny()), chosen(6), dataset, tmp_path / "parts", resume=True)
    first, second = (
        torch.load(tmp_path / name / saving.LAST, weights_only=True) for name in ("whole", "parts")
    )
    for a, b in (
        (first["zoo_ema"]["average"], second["zoo_ema"]["average"]),
        (first["state_dict"], second["state_dict"]),
    ):
        names = [name for name in a if not name.startswith("train_loss")]
        assert all(torch.equal(a[name], b[name]) for name in names)
    rows = timeless(result)
    if val_every == 2:  # the first part was also validated where it ended, inside an epoch
        assert [row["epoch"] for row in rows] == [2, 3, 4, 6]
        rows = [rows[0], *rows[2:]]
    assert [row["val_loss"] for row in rows] == [row["val_loss"] for row in expected.history]


def test_the_state_holds_plain_data_only(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    run(tiny(), recipe(), dataset, tmp_path)
    state = torch.load(tmp_path / saving.LAST, weights_only=True)
    assert {"zoo_ema", "zoo_plateau", "optimizer_states"} <= set(state)


def test_a_kill_while_saving_leaves_the_previous_state(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    run(tiny(), recipe(), dataset, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def die(*args: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Interrupted):
            run(tiny(), recipe(trainer={"max_epochs": 2}), dataset, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    longer = recipe(trainer={"max_epochs": 5, "batch_size": 4})
    resumed = run(tiny(), longer, dataset, tmp_path, resume=True)
    assert resumed.epochs == 5 and len(resumed.history) == 5


@pytest.mark.parametrize("limit", [None, "00:00:01"])
def test_resuming_what_is_finished_changes_nothing(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path, limit: str | None
) -> None:
    epochs = 2 if limit is None else 100_000
    chosen = recipe(trainer={"max_epochs": epochs, "max_time": limit, "val_every": epochs})
    first, second = tiny(), tiny()
    expected = run(first, chosen, dataset, tmp_path)
    again = run(second, chosen, dataset, tmp_path, resume=True)
    assert again.steps == expected.steps and again.history == expected.history
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_what_the_state_leaves_out_does_not_change_the_result(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    """Workers and memory change how fast batches come, not which."""
    weights = []
    for name, extra in (("none", {}), ("some", {"num_workers": 2}), ("little", {"cache_mb": 0})):
        model = shaken(tiny())
        trainer = {"max_epochs": 2, "batch_size": 4} | extra
        run(model, recipe(trainer=trainer), dataset, tmp_path / name)
        weights.append(model.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)
