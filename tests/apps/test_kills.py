"""SIGKILL in the middle of relaxations and screenings: nothing is lost, nothing is done twice."""

import subprocess
import sys
from pathlib import Path

import killed
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read, write

import zoo
from zoo.apps.scale import _parts, _shards
from zoo.apps.scale._pool import Evaluator
from zoo.apps.scale.relax import Relaxed

pytestmark = pytest.mark.slow  # a process of its own has to import torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every job has been killed once, in a process of its own."""
    folder = tmp_path_factory.mktemp("killed")
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).eval()
    water = molecule("H2O")
    zoo.save(model, folder / "model", name="tensornet-t.test.r1", golden_inputs=[water])
    frames = [molecule(("H2O", "CH4", "CH3OH", "NH3", "C2H2")[k % 5]) for k in range(14)]
    for k, frame in enumerate(frames):
        frame.rattle(0.1, seed=k)
    # one that is done at once: the others don't stand at the same step any more
    frames[7].set_constraint(FixAtoms(range(len(frames[7]))))
    write(folder / "frames.extxyz", frames)
    words = [sys.executable, "-P", killed.__file__, str(folder), str(torch.get_num_threads())]
    run = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert run.stdout.split() == [word for name in killed.JOBS for word in (name, "9")], run.stderr
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Relaxed]:
    return killed.relaxed(folder, "whole")


def _bits(results: list[Relaxed]) -> list[bytes]:
    arrays = _parts.npz
    return [
        arrays({"pos": r.atoms.positions, "steps": np.array(r.steps), "fmax": np.array(r.fmax)})
        + arrays({k: np.asarray(v) for k, v in r.atoms.calc.results.items()})
        for r in results
    ]


@pytest.mark.parametrize(
    ("name", "parts"), [("relax-state", 1), ("relax-part", 1), ("relax-end", -1)]
)
def test_relaxation(
    folder: Path,
    whole: list[Relaxed],
    name: str,
    parts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last bit what it is without a kill, though float32 and batches of many."""
    out = folder / name / "out.extxyz"
    stored = out.with_name("out.extxyz.parts")
    assert not out.exists()
    before = {path.name: path.read_bytes() for path in stored.glob("part-*.npz")}
    assert len(before) == parts or (parts < 0 and len(before) > 3)
    entered: list[int] = []
    check, evaluate, calls = Evaluator.check, Evaluator.__call__, []
    monkeypatch.setattr(Evaluator, "check", lambda s, f, p: [entered.extend(p), check(s, f, p)][1])
    monkeypatch.setattr(
        Evaluator, "__call__", lambda s, pool: [calls.append(len(pool)), evaluate(s, pool)][1]
    )
    with monkeypatch.context() as kept:
        kept.setattr(killed.relax.shutil, "rmtree", lambda _: None)
        results = killed.relaxed(folder, name)
    assert _bits(results) == _bits(whole)
    assert out.read_text() == (folder / "whole" / "out.extxyz").read_text()
    after = {path.name: path.read_bytes() for path in stored.glob("part-*.npz")}
    assert before.items() <= after.items()
    places = [p for path in stored.glob("part-*") for p in np.load(path)["place"].tolist()]
    assert sorted(places) == list(range(14))
    state = len(entered) + sum(len(np.load(stored / part)["place"]) for part in before)
    assert state < 14 or parts < 0  # some went on from where they were
    assert (not calls and not entered) == (parts < 0)


@pytest.mark.parametrize(("name", "shards"), [("screen-shard", 2), ("screen-end", 4)])
def test_screening(folder: Path, name: str, shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.screened(folder, f"{name}-whole")
    made = folder / name / "shards"
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("shard-*.npz")}
    assert len(before) == shards
    assert not (folder / name / "summary.json").exists()
    again: list[range] = []
    results = _shards.Worker.results
    monkeypatch.setattr(
        _shards.Worker, "results", lambda self, p: [again.append(p), results(self, p)][1]
    )
    killed.screened(folder, name)
    assert len(again) == 4 - shards
    after = {path.name: path.stat().st_mtime_ns for path in made.glob("shard-*.npz")}
    assert before.items() <= after.items() and len(after) == 4
    one, other = (np.load(folder / n / "results.npz") for n in (name, f"{name}-whole"))
    for key in other.files:
        np.testing.assert_array_equal(one[key], other[key])
    texts = [(folder / n / "kept.extxyz").read_text() for n in (name, f"{name}-whole")]
    assert texts[0] == texts[1]
    assert len(read(folder / name / "kept.extxyz", ":")) == 3
