"""Two processes learn and measure what one does, in every kind of task."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import task_jobs
import torch
from safetensors.torch import load_file

SCRIPT = str(Path(task_jobs.__file__).resolve())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and what two have left behind."""
    place = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = []
    for world in (1, 2):
        task_jobs.prepare(place, world)
    for rank in (0, 1):
        more = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": rank}
        more |= {"OMP_NUM_THREADS": torch.get_num_threads()}
        both.append(
            subprocess.Popen(
                [sys.executable, SCRIPT, str(place)],
                env=os.environ | {name: str(value) for name, value in more.items()},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        for name in task_jobs.JOBS:
            task_jobs.run(place, name, 1)
        for process in both:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in both:
            process.kill()
    return place


def about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", task_jobs.JOBS)
def test_two_processes_learn_what_one_does(folder: Path, name: str) -> None:
    one, two = folder / f"{name}-1", folder / f"{name}-2"
    weights = [load_file(place / "out" / "model.safetensors") for place in (one, two)]
    for key, value in weights[0].items():
        assert torch.allclose(weights[1][key], value, rtol=0.0, atol=1e-9), key
    first, second = about(one), about(two)
    assert first["steps"] == second["steps"] >= 3
    for a, b in zip(first["history"], second["history"], strict=True):
        measured = {k: v for k, v in a.items() if k != "seconds"}
        assert measured == pytest.approx({k: b[k] for k in measured}, rel=1e-6)
    assert set(first["metrics"]) == {"val", "test"}
    for split, values in first["metrics"].items():
        assert values == pytest.approx(second["metrics"][split], rel=1e-6)
