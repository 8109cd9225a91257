"""Screening on Ray itself, its driver and a worker killed: equal to one process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write

import zoo
from zoo.apps.scale.screen import screen

SCRIPT = Path(__file__).parents[1] / "support" / "on_ray.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


def _run(victim: str, folder: Path) -> subprocess.CompletedProcess[str]:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    quiet["RAY_worker_niceness"] = "0"  # as the drivers
    return subprocess.run(
        [sys.executable, "-P", str(SCRIPT), victim],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_killed_drivers_and_workers_cost_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).eval()
    water = molecule("H2O")
    zoo.save(model, tmp_path / "model", name="tensornet-t.test.r1", golden_inputs=[water])
    frames = [molecule(("H2O", "CH4", "CH3OH")[k % 3]) for k in range(18)]
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
    write(tmp_path / "frames.extxyz", frames)

    died = _run("driver", tmp_path)
    assert died.returncode == -9, died.stderr
    assert not (tmp_path / "out" / "results.npz").exists()
    shards = tmp_path / "out" / "shards"
    before = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.npz")}
    assert 2 <= len(before) < 6

    again = _run("worker", tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "worker-died").exists()
    after = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.npz")}
    assert before.items() <= after.items() and len(after) == 6
    screen(str(tmp_path / "model"), tmp_path / "frames.extxyz", tmp_path / "one", shards=6)
    one, other = (np.load(tmp_path / name / "results.npz") for name in ("one", "out"))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
