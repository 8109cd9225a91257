"""The verbs on models outside atoms."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_data
import tiny_models as tiny
import torch

import zoo

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tiny.TinyMatrix().eval()
    model.set_classes(["rest", "move"])
    folder = tmp_path_factory.mktemp("w") / "matrix"
    samples = [{"x": np.eye(3)}, {"x": 2 * np.eye(3)}]
    return zoo.save(model, folder, name="tinymatrix-s.made.r1", golden_inputs=samples)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tiny_data.matrices(tmp_path / "m.npz")
    with np.load(path) as old:
        words = np.array(["rest", "move"])[old["y"]]
        np.savez(path, matrices=old["matrices"], y=words)
    return path


def test_predict_writes_and_shows(cli: Cli, saved: Path, data: Path, tmp_path: Path) -> None:
    code, out, _ = cli("predict", saved, data, "--index", "0:3", "--check")
    assert code == 0 and "class" in out and ("rest" in out or "move" in out)
    assert len(out.strip().splitlines()) == 4
    for ending in ("npz", "csv", "json"):
        code, _, said = cli("predict", saved, data, "-o", tmp_path / f"out.{ending}")
        assert code == 0 and "48 samples" in said
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["probabilities"].shape == (48, 2)
    shown = json.loads(cli("predict", saved, data, "--json")[1])
    assert shown == json.loads((tmp_path / "out.json").read_text())


def test_predict_refuses_in_words(cli: Cli, saved: Path, data: Path, tmp_path: Path) -> None:
    code, _, said = cli("predict", saved, data, "-o", tmp_path / "out.extxyz")
    assert code == 2 and ".npz" in said
    code, _, said = cli("predict", saved, tmp_path / "none.npz", "-o", tmp_path / "out.npz")
    assert code == 1 and "none.npz" in said
    code, _, said = cli("predict", saved, data, "--key", "xx=matrices")
    assert code == 1 and "xx" in said
    code, _, said = cli("predict", saved, data, "--head", "energy")
    assert code == 1 and "'matrix'" in said
    assert not list(tmp_path.glob("out*"))
    bad = np.tile(np.eye(3), (4, 1, 1))
    bad[2, 0, 0] = -1.0
    np.savez(tmp_path / "bad.npz", matrices=bad)
    code, _, said = cli("predict", saved, tmp_path / "bad.npz", "-o", tmp_path / "out.npz")
    assert code == 1 and "matrix 2 is not positive definite" in said
    assert not list(tmp_path.glob("out*"))


def test_structures_need_no_keys(cli: Cli, weights: Path, frames: Path) -> None:
    code, _, said = cli("predict", weights, frames, "--key", "energy=E")
    assert code == 1 and "leave out keys" in said


def test_eval_measures_the_task(cli: Cli, saved: Path, data: Path, tmp_path: Path) -> None:
    code, out, _ = cli("eval", saved, data, "-o", tmp_path / "metrics.json")
    assert code == 0 and "accuracy" in out
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored["metrics"] == zoo.evaluate(saved, data)
    code, _, said = cli("eval", saved, data, "--unit", "energy=eV")
    assert code == 1 and "no units" in said
    code, _, said = cli("eval", saved, "--physics", "molecules")
    assert code == 1 and "domain 'matrix'" in said


def test_verify_list_and_info(cli: Cli, saved: Path) -> None:
    code, out, _ = cli("verify", saved, "--check", "odd_inputs", "--check", "golden")
    assert code == 0 and "odd_inputs" in out and "golden" in out
    code, _, said = cli("verify", "tinymatrix", "--domain", "signal")
    assert code == 2 and "--module only" in said
    code, out, _ = cli("info", saved)
    assert code == 0 and "shape: 3, 3" in out and "classes: rest, move" in out
    rows = json.loads(cli("list", "--domain", "signal", "--json")[1])
    assert {"name": "tinymatrix", "domain": "matrix, signal"}.items() <= next(
        row for row in rows if row["name"] == "tinymatrix"
    ).items()
    assert cli("list", "tiny*", "--domain", "matrix")[1].count("tiny") == 1
