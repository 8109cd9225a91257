"""The verbs for many structures: what they write and say."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write

from zoo import hub
from zoo.cli import _common

Result = tuple[int, str, str]


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    path = tmp_path / "some.extxyz"
    write(path, [molecule("H2O"), molecule("NH3")])
    return path


def test_relax(cli: Callable[..., Result], weights: Path, structures: Path, tmp_path: Path) -> None:
    out = tmp_path / "relaxed.extxyz"
    words = ["relax", weights, structures, "-o", out, "--steps", 2, "--fmax", 1e-6]
    code, said, warned = cli(*words)
    assert code == _common.OK
    assert "1 steps, 1 refused" in said
    assert "structure 1 refused" in warned and "N (seen 0 times)" in warned
    frames = read(out, ":")
    assert [f.info["relax_status"] for f in frames] == ["steps", "refused"]
    assert not out.with_name("relaxed.extxyz.parts").exists()
    code, said, _ = cli(*words, "--method", "newton")
    assert code == _common.FAILED
    code, said, _ = cli(*words, "--json")
    assert json.loads(said)["counts"] == {"converged": 0, "steps": 1, "failed": 0, "refused": 1}
    assert cli("relax", weights, structures, "-o", "out.txt")[0] == _common.USAGE


def test_md(cli: Callable[..., Result], weights: Path, structures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["md", weights, structures, "-o", out, "--steps", 4, "--every", 2, "--save", 2]
    code, said, _ = cli(*words, "--ensemble", "bussi")
    assert code == _common.OK
    assert "temperature (K)" in said and "refused" in said
    assert len(read(out / "structure-000000.extxyz", ":")) == 3
    code, _, warned = cli(*words)
    assert code == _common.FAILED
    assert "another model" in warned


def test_a_run_that_takes_no_structure_fails(
    cli: Callable[..., Result], weights: Path, tmp_path: Path
) -> None:
    source = tmp_path / "ammonia.extxyz"
    write(source, molecule("NH3"))
    for verb, out in (("relax", "r.extxyz"), ("md", "run"), ("screen", "found")):
        code, _, warned = cli(verb, weights, source, "-o", tmp_path / out)
        assert code == _common.FAILED, verb
        assert "refused" in warned, verb


def test_screening_refuses_what_is_not_finite(
    cli: Callable[..., Result], weights: Path, tmp_path: Path
) -> None:
    good, bad, flat = molecule("H2O"), molecule("H2O"), molecule("H2O")
    bad.positions[1, 0] = np.nan
    flat.set_cell([[9, 0, 0], [0, 9, 0], [9, 9, 0]])
    flat.pbc = True
    write(tmp_path / "some.extxyz", [good, bad, flat])
    out = tmp_path / "found"
    code, _, warned = cli("screen", weights, tmp_path / "some.extxyz", "-o", out)
    assert code == _common.OK, warned
    refused = json.loads((out / "refused.json").read_text())
    assert set(refused) == {"1", "2"}
    assert "structure 1, atom 1: the position is not finite" in refused["1"]
    assert "lattice vectors" in refused["2"]


def test_screening_without_ray_writes_nothing(
    cli: Callable[..., Result],
    weights: Path,
    structures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, warned = cli("screen", weights, structures, "-o", tmp_path / "found", "--ray")
    assert code == _common.FAILED
    assert "geometric-zoo[ray]" in warned
    assert not (tmp_path / "found").exists()


def test_export_needs_its_ending(cli: Callable[..., Result], weights: Path) -> None:
    assert cli("export", weights, "-o", "model.bin")[0] == _common.USAGE


def test_export_compares_on_the_golden_inputs(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = {}

    def export(model: object, path: Path, **options: Any) -> dict[str, float]:
        seen.update(options)
        return {"difference": 0.0}

    monkeypatch.setattr("zoo.apps.scale.export.export", export)
    code, _, said = cli("export", "tensornet-s.gfn2-md10.r1", "-o", tmp_path / "model.pt2")
    assert code == _common.OK, said
    path = hub.find("tensornet-s.gfn2-md10.r1")
    tensors = hub.golden_tensors(hub.read_manifest(path), path.parent)
    stored = hub.golden_structures(tensors)
    assert len(stored) > 1
    assert [len(s) for s in seen["structures"]] == [len(s) for s in stored]
