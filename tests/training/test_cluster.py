"""Runs whose processes SLURM or torchrun starts: tasks as srun would start them, on one machine."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cluster_jobs
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from safetensors.torch import load_file

import zoo
from zoo import share
from zoo.errors import OutputError, RecipeError
from zoo.training import _loading, cluster, prepare
from zoo.training.recipe import Recipe, load

SCRIPT = str(Path(cluster_jobs.__file__).resolve())
VARIABLES = ("SLURM_", "TORCHELASTIC_", "MASTER_", "WORLD_", "LOCAL_", "NODE_RANK", "RANK")


def slurm(task: int, nodes: int, **more: object) -> dict[str, str]:
    """What srun tells one of two tasks."""
    alone = nodes == 2
    found = {
        "SLURM_JOB_ID": 4242,
        "SLURM_JOB_NAME": "zoo-train",
        "SLURM_STEP_ID": 0,
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS": 2,
        "SLURM_NTASKS_PER_NODE": 2 // nodes,
        "SLURM_PROCID": task,
        "SLURM_NODEID": task if alone else 0,
        "SLURM_LOCALID": 0 if alone else task,
        "SLURM_NODELIST": "node[1-2]" if alone else "node1",
    }
    return {name: str(value) for name, value in (found | more).items()}


def start(folder: Path, nodes: int, *jobs: str) -> list[subprocess.Popen[str]]:
    """Two tasks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(VARIABLES)}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    found = []
    for task in (0, 1):
        with (folder / f"printed.{task}").open("a") as printed:
            process = subprocess.Popen(
                [sys.executable, SCRIPT, str(folder), *jobs],
                cwd=folder,
                env=kept | slurm(task, nodes, **address),
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
            )
        found.append(process)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two nodes with a task each have left behind, one node with two, and one process."""
    place = tmp_path_factory.mktemp("cluster")
    first = start(place, 2, "whole", "stopped", "killed")
    second: Sequence[subprocess.Popen[str]] = ()
    try:
        assert cluster_jobs.train(place / "one") == 0
        _, errors = first[1].communicate(timeout=600)
        assert first[1].returncode == -signal.SIGKILL, errors[-3000:]
        first[0].kill()  # as srun does if told to, in case it still waits for the other
        first[0].communicate()
        second = start(place, 1, "resumed")
        for process in second:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in (*first, *second):
            process.kill()
    return place


def about(run: Path) -> dict[str, Any]:
    report = json.loads((run / "report.json").read_text())
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in report["history"]]
    return {"history": rows, **{name: report[name] for name in ("metrics", "steps", "best_step")}}


def codes(folder: Path, job: str) -> list[list[int]]:
    """Exit codes of both tasks."""
    return [json.loads((folder / f"{job}.{task}.json").read_text()) for task in (0, 1)]


def same(first: Path, second: Path) -> bool:
    """Weights and report, bit for bit."""
    a, b = (load_file(run / "model.safetensors") for run in (first, second))
    return all(torch.equal(a[key], b[key]) for key in a) and about(first) == about(second)


@pytest.mark.slow
def test_two_nodes_train_what_one_process_does(folder: Path) -> None:
    assert codes(folder, "whole") == [[0, 1, 1]] * 2
    one, two = (load_file(folder / run / "model.safetensors") for run in ("one", "whole"))
    for key, value in one.items():
        assert torch.allclose(two[key], value, rtol=0.0, atol=1e-10), key
    first, second = (about(folder / run) for run in ("one", "whole"))
    assert first["steps"] == second["steps"] == 12
    assert first["best_step"] == second["best_step"]
    for a, b in zip(first["history"], second["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-7)
    for part, errors in first["metrics"].items():
        assert second["metrics"][part] == pytest.approx(errors, rel=1e-7)


@pytest.mark.slow
def test_one_task_writes_and_prints(folder: Path) -> None:
    """One folder, whole, with nothing half written; nothing beside it."""
    names = [
        {p.relative_to(folder / run).as_posix() for p in (folder / run).rglob("*")}
        for run in ("one", "whole")
    ]
    assert names[0] == names[1]
    model = zoo.load(folder / "whole", check=True)  # the golden outputs
    assert model.architecture == "tensornet"
    printed = [(folder / f"printed.{task}").read_text() for task in (0, 1)]
    assert "forces_mae" in printed[0] and "wrote" in printed[0]
    assert printed[1] == ""
    assert not list(folder.glob("*.ckpt")) and not (folder / "unequal" / "state").exists()


@pytest.mark.slow
def test_runs_that_are_stopped_and_killed_go_on(folder: Path) -> None:
    """A signal to any task stops all after the same step. After two nodes with one task each the
    run ends on one node with two, and is what it would have been, bit for bit."""
    assert codes(folder, "stopped") == [[130, 130]] * 2
    assert codes(folder, "resumed") == [[0]] * 2
    assert not (folder / "killed.1.json").exists()
    assert same(folder / "parts", folder / "whole")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No scheduler's variables."""
    for name in os.environ:
        if name.startswith(VARIABLES):
            monkeypatch.delenv(name)
    return monkeypatch


def sized(devices: int = 1, num_nodes: int = 1) -> Recipe:
    changes = {"trainer.devices": devices, "trainer.num_nodes": num_nodes}
    return load("gfn2-md10/tensornet", tier="smoke", overrides=changes)


def test_processes_that_are_not_the_recipes_are_refused(plain: pytest.MonkeyPatch) -> None:
    cluster.check(sized(2))  # started here
    with pytest.raises(RecipeError, match="nothing has started this process as one of several"):
        cluster.check(sized(1, 2))
    for name, value in slurm(1, 2).items():
        plain.setenv(name, value)
    cluster.check(sized(1, 2))
    for devices, nodes in ((1, 1), (2, 1), (2, 2)):
        with pytest.raises(RecipeError, match=r"srun started 2, 1 on each node; make them equal"):
            cluster.check(sized(devices, nodes))
    plain.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(RecipeError, match="--ntasks-per-node instead of --ntasks"):
        cluster.check(sized(1, 2))


def test_torchrun_counts_too(plain: pytest.MonkeyPatch) -> None:
    """Also inside an allocation of SLURM's, where it decides."""
    started = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    for name, value in (slurm(0, 2) | started).items():
        plain.setenv(name, value)
    cluster.check(sized(2, 2))
    assert cluster.environment() is None
    with pytest.raises(RecipeError, match="torchrun started 4, 2 on each node"):
        cluster.check(sized(1, 4))


def test_an_allocation_is_not_a_step(plain: pytest.MonkeyPatch) -> None:
    """One process in a batch script or an interactive shell of an allocation of many tasks."""
    assert cluster.environment() is None
    for name, value in slurm(0, 2).items():
        plain.setenv(name, value)
    found = cluster.environment()
    assert isinstance(found, SLURMEnvironment) and not found.auto_requeue
    plain.setenv("SLURM_JOB_NAME", "bash")
    cluster.check(sized(1))
    plain.setenv("SLURM_JOB_NAME", "zoo-train")
    plain.delenv("SLURM_STEP_ID")
    cluster.check(sized(1))
    assert isinstance(cluster.environment(), LightningEnvironment)
    with pytest.raises(RecipeError, match="start it with srun"):
        cluster.check(sized(1, 2))


def test_every_task_refuses_a_used_folder(plain: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the first one alone did, the others would wait for it."""
    (tmp_path / "manifest.yaml").touch()
    plain.setattr(prepare, "is_first_process", lambda: False)
    with pytest.raises(OutputError, match="holds a run already"):
        prepare.open_run(tmp_path, prepare.RECIPE, {}, resume=False, overwrite=False)
    prepare.open_run(tmp_path, prepare.RECIPE, {}, resume=False, overwrite=True)
    assert not (tmp_path / prepare.RECIPE).exists()


def test_workers_outlive_a_request_to_end(plain: pytest.MonkeyPatch) -> None:
    """A scheduler asks every process of a job; the trainer needs its workers to stop in order."""
    asked: list[int] = []
    plain.setattr(signal, "alarm", asked.append)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        _loading._leave_signals(0)
        for number in before:
            signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert asked == [_loading.GRACE]


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (130, True), (138, True)])
def test_the_script_puts_only_stopped_runs_back(tmp_path: Path, code: int, requeued: bool) -> None:
    """With commands of SLURM's names that write down what they were asked."""
    commands = {"srun": f'echo srun "$@" >> asked; exit {code}', "scontrol": "echo $@ >> asked"}
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = share.folder("recipes") / "slurm.sh"
    done = subprocess.run(
        ["bash", script, "my recipe.yaml", "out", "--set", "trainer.seed=1"],
        cwd=tmp_path,
        env=os.environ | slurm(0, 2) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, "")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == (
        "srun --kill-on-bad-exit=1 zoo train my recipe.yaml -o out --resume "
        "--set trainer.num_nodes=2 --set trainer.devices=1 --set trainer.seed=1"
    )
    assert asked[1:] == (["requeue 4242"] if requeued else [])
