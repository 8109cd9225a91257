"""The trainer: what it learns, keeps, survives and leaves as it was."""

import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import quiet, run

from zoo.datasets import AtomsDataset
from zoo.errors import DataError, OutputError, RecipeError
from zoo.training import prepare, saving
from zoo.training.fit import fit
from zoo.training.metrics import assess

Maker = Callable[..., Any]


def test_errors_fall_and_the_best_weights_are_kept(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    model = tiny()
    chosen = recipe(trainer={"max_epochs": 12, "batch_size": 4})
    prepare.set_scales(model, chosen, dataset.split("train"))
    before = assess(model, dataset.split("val")).metrics
    result = run(model, chosen, dataset, tmp_path / "run", logs=tmp_path / "logs")
    after = assess(model, dataset.split("val")).metrics
    assert after["forces_mae"] < 0.8 * before["forces_mae"]
    assert not model.training
    best = min(result.history, key=lambda row: row["val_loss"])
    assert result.best_score == best["val_loss"]
    assert result.best_step == best["step"]
    # what is in the model is what was validated: the averaged weights of that step
    assert after["forces_mae"] == pytest.approx(best["val_forces_mae"], rel=1e-5)
    assert result.steps == 12 * 6 and result.epochs == 12
    assert [row["epoch"] for row in result.history] == list(range(1, 13))
    header = (tmp_path / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"train_loss", "val_loss", "val_forces_mae", "lr"} <= set(header.split(","))
    state = load_file(tmp_path / "run" / saving.BEST)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_the_average_is_what_counts(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    """With an average that never moves, the untrained model is validated and kept."""
    model, untouched = tiny(), tiny()
    chosen = recipe(ema={"decay": 1.0 - 1e-9})
    seen: list[torch.Tensor] = []
    step = saving.Interrupts.on_train_batch_end

    def spy(self: Any, trainer: Any, task: Any, *rest: Any) -> None:
        seen.append(next(task.model.parameters()).detach().clone())
        step(self, trainer, task, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving.Interrupts, "on_train_batch_end", spy)
        run(model, chosen, dataset, tmp_path)
    start = next(untouched.parameters())
    moved = (seen[-1] - start).abs().max()
    kept = (next(model.parameters()) - start).abs().max()
    assert kept < 0.9 * moved
    without = tiny()
    run(without, recipe(ema=None), dataset, tmp_path / "none")
    assert not torch.equal(next(without.parameters()), next(model.parameters()))


def test_the_clock_stops_a_run_and_it_is_validated(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    chosen = recipe(
        trainer={
            "max_epochs": 100_000,
            "max_time": "00:00:03",
            "batch_size": 4,
            "val_every": 50_000,
        }
    )
    result = run(tiny(), chosen, dataset, tmp_path)
    assert 3.0 <= result.seconds < 6.0
    assert result.best_step == result.steps > 0
    assert result.history[-1]["lr"] < 0.05 * chosen.optimizer.lr  # the schedule ended with the time


def test_early_stopping_and_passes_between_validations(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    trainer = {"max_epochs": 5, "batch_size": 4, "val_every": 2}
    result = run(tiny(), recipe(trainer=trainer), dataset, tmp_path / "a")
    assert [row["epoch"] for row in result.history] == [2, 4, 5]
    still = recipe(
        optimizer={"lr": 1e-30},
        trainer={"max_epochs": 50, "batch_size": 4, "early_stopping": {"patience": 2}},
        ema=None,
    )
    assert len(run(tiny(), still, dataset, tmp_path / "b").history) == 3


def test_nothing_global_changes(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    def state() -> list[Any]:
        return [
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            str(np.random.get_state()),
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            logging.getLogger("lightning.pytorch").level,
            os.getcwd(),
        ]

    before = state()
    trainer = {"max_epochs": 1, "batch_size": 4, "deterministic": True}
    run(tiny(), recipe(trainer=trainer), dataset, tmp_path)
    assert state() == before


def test_energies_alone_and_forces_alone(
    tiny: Maker, recipe: Maker, mixed: Any, dataset: AtomsDataset, tmp_path: Path
) -> None:
    run(tiny(), recipe(loss={"energy": {"kind": "huber"}}), dataset, tmp_path / "a")
    splits = {"kind": "random", "fractions": {"train": 0.8, "val": 0.2}}
    only = AtomsDataset.from_atoms(mixed, keys={"energy": None}, splits=splits)
    result = run(tiny(), recipe(loss={"forces": {"kind": "mae"}}), only, tmp_path / "b")
    assert "val_energy_mae" not in result.history[-1]
    with pytest.raises(DataError, match="the loss needs energy"):
        run(tiny(), recipe(), only, tmp_path / "c")


def test_stress_is_trained_on_crystals(tiny: Maker, recipe: Maker, tmp_path: Path) -> None:
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(0)
    frames = []
    for _ in range(10):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.calc = EMT()
        results = {
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    splits = {"kind": "random", "fractions": {"train": 0.6, "val": 0.4}}
    data = AtomsDataset.from_atoms(frames, splits=splits)
    chosen = recipe(
        loss={"energy": {}, "forces": {}, "stress": {"weight": 1e4}},
        normalise={"scale": "none"},
        optimizer={"lr": 2e-2},
        ema=None,
        trainer={"max_epochs": 40, "batch_size": 3, "val_every": 5},
    )
    result = run(tiny(), chosen, data, tmp_path)
    first, last = result.history[0], result.history[-1]
    assert last["val_stress_mae"] < 0.8 * first["val_stress_mae"]


def test_what_cannot_be_trained_is_refused(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        run(tiny(), recipe(), dataset, tmp_path / "file" / "run")
    with pytest.raises(RecipeError, match="no term"):
        run(tiny(), recipe(loss={}), dataset, tmp_path)
    with pytest.raises(RecipeError, match="frozen"):
        run(tiny().requires_grad_(False), recipe(), dataset, tmp_path)
    empty = dataset.take([])
    with pytest.raises(DataError, match="val split has no frames"):
        fit(tiny(), recipe(), dataset.split("train"), empty, tmp_path, progress=quiet)


def test_divergence_is_said(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    wild = recipe(optimizer={"lr": 1e30}, trainer={"max_epochs": 2, "clip": None}, ema=None)
    with pytest.raises(RecipeError, match="diverged"):
        run(tiny(), wild, dataset, tmp_path)


def test_a_penalty_is_added_to_each_step(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    def size(model: Any) -> torch.Tensor:
        return torch.stack([p.square().sum() for p in model.parameters()]).sum()

    start, free, held = tiny(), tiny(), tiny()
    run(free, recipe(), dataset, tmp_path / "free")
    run(held, recipe(), dataset, tmp_path / "held", penalty=lambda model: 1e3 * size(model))
    assert size(held) < size(free) and size(held) < size(start)


def test_layers_learn_at_their_own_rates(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    model, start = tiny(), tiny()
    chosen = recipe(
        optimizer={"lr": 1e-3, "layer_decay": 1e-6},
        schedule={"kind": "constant"},
        ema=None,
        trainer={"max_epochs": 1, "batch_size": 4},
    )
    run(model, chosen, dataset, tmp_path)
    moved = {
        name: float((value - start.get_parameter(name)).detach().abs().max())
        for name, value in model.named_parameters()
    }
    blocks = model.blocks()
    first = {id(p) for p in blocks[0].parameters()}
    slow = [moved[name] for name, p in model.named_parameters() if id(p) in first]
    last = {id(p) for p in blocks[-1].parameters()}
    fast = [moved[name] for name, p in model.named_parameters() if id(p) in last]
    assert len(blocks) > 1 and max(slow) < 1e-6 < 1e-4 < max(fast)


def test_batches_have_a_limit_that_no_frame_may_exceed(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    trainer = {"max_epochs": 2, "batch_by": "atoms", "batch_size": 20}
    sizes: list[int] = []
    model = tiny()
    model.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0].pos)) if module.training else None
    )
    result = run(model, recipe(trainer=trainer), dataset, tmp_path / "a")
    assert len(sizes) == result.steps and max(sizes) <= 20
    assert sum(sizes) == 2 * dataset.split("train").counts.sum()
    assert result.epochs == 2
    small = recipe(trainer=trainer | {"batch_size": 5})
    with pytest.raises(DataError, match=r"training frame \d+ alone has 6 atoms.*batch_size: 5"):
        run(tiny(), small, dataset, tmp_path / "b")


def test_progress_says_how_long_it_takes(
    tiny: Maker, recipe: Maker, dataset: AtomsDataset, tmp_path: Path
) -> None:
    lines: list[str] = []
    run(tiny(), recipe(), dataset, tmp_path, progress=lines.append)
    assert "left" in lines[0]
    assert "val forces" in lines[-1] and "0:00:00 left" in lines[-1]
