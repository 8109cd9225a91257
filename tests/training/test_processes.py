"""Two processes train what one does, resume what they began, and shard what they hold."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_jobs
from ase import Atoms
from ase.io import write
from safetensors.torch import load_file

from zoo.errors import RecipeError
from zoo.training import saving
from zoo.training.fit import fit

SCRIPT = str(Path(training_jobs.__file__).resolve())


def start(*words: object, **environment: object) -> subprocess.Popen[str]:
    threads = {"OMP_NUM_THREADS": torch.get_num_threads()}
    variables = {name: str(value) for name, value in (threads | environment).items()}
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, words)],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def folders(mixed: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process and what two have left behind."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for folder in (one, two):
        write(folder / "frames.extxyz", mixed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [start(two, LOCAL_RANK=rank, **place) for rank in (0, 1)]
    try:
        for job in training_jobs.ALIKE.values():
            job(one, 1)
        whole = training_jobs.recipe(precision="32-true")
        training_jobs.run(one, "sharded", training_jobs.fresh(), whole)
        for process in both:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in both:
            process.kill()
    return one, two


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def about(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", training_jobs.ALIKE)
def test_two_processes_train_what_one_does(folders: tuple[Path, Path], name: str) -> None:
    one, two = (state(folder, name) for folder in folders)
    for key, value in one.items():
        assert torch.allclose(two[key], value, rtol=0.0, atol=1e-10), key
    first, second = (about(folder, name) for folder in folders)
    assert first["steps"] == second["steps"] >= 20
    for a, b in zip(first["history"], second["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-7)
    assert set(first["first_step"]) == ({"energy", "other"} if name == "heads" else set())
    for head, values in first["first_step"].items():
        assert second["first_step"][head] == pytest.approx(values, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noisy", "fsdp"])
def test_two_processes_resume_bit_for_bit(folders: tuple[Path, Path], name: str) -> None:
    """Each process has random numbers of its own, and takes them up where they were."""
    folder = folders[1]
    whole, resumed = state(folder, name), state(folder, f"{name}_resumed")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert about(folder, name) == about(folder, f"{name}_resumed")


@pytest.mark.slow
def test_a_sharded_model_learns_what_a_whole_one_does(folders: tuple[Path, Path]) -> None:
    """Second derivatives (forces), clipping, decay by shape, average and best weights."""
    one, two = (state(folder, "sharded") for folder in folders)
    start = training_jobs.fresh().state_dict()
    for key, value in one.items():
        moved = (value - start[key]).abs().max()
        assert (two[key] - value).abs().max() <= 1e-3 * moved + 1e-6, key
    a, b = (about(folder, "sharded")["history"] for folder in folders)
    assert a[-1]["val_loss"] == pytest.approx(b[-1]["val_loss"], rel=1e-4)
    last = folders[1] / "sharded" / saving.LAST
    saved = torch.load(last, weights_only=True)["state_dict"]
    assert {key.removeprefix("model."): t.shape for key, t in saved.items() if "model" in key} == {
        key: value.shape for key, value in one.items()
    }


def test_what_cannot_be_sharded_is_refused(tmp_path: Path, dataset: Any) -> None:
    chosen = training_jobs.recipe(strategy="fsdp")
    with pytest.raises(RecipeError, match="32-true"):
        fit(training_jobs.fresh(), chosen, dataset, dataset, tmp_path)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    mixed: list[Atoms], tmp_path: Path
) -> None:
    """Killed inside an epoch, with balanced batches that a worker prepares."""
    write(tmp_path / "frames.extxyz", mixed)
    process = start(tmp_path, "killed")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors[-3000:]
    left = torch.load(tmp_path / "killed" / saving.LAST, weights_only=True)
    assert left["global_step"] == 8
    resumed = training_jobs.killed(tmp_path, resume=True)
    expected = training_jobs.killed(tmp_path, name="whole")
    assert resumed.steps == expected.steps > 9
    assert about(tmp_path, "killed") == about(tmp_path, "whole")
    first, second = state(tmp_path, "killed"), state(tmp_path, "whole")
    assert all(torch.equal(first[key], second[key]) for key in first)
