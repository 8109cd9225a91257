"""Dynamics of many structures: against closed forms, seeds, kills and explosions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read
from ase.md.verlet import VelocityVerlet

from zoo.apps.scale import _pool
from zoo.apps.scale._thermostats import Noise, scaling
from zoo.apps.scale.md import md
from zoo.errors import ConfigError
from zoo.models.tensornet import TensorNet


class _Pairs(TensorNet):
    """Springs between all pairs of neighbours."""

    def _energies(self, x: object, graph: Any, head: object, index: object) -> torch.Tensor:
        smooth = (1 - (graph.distances / self.cutoff) ** 2).clamp(min=0) ** 3
        energy = 4.0 * (graph.distances - 1.2) ** 2 * smooth
        zeros = energy.new_zeros(graph.num_graphs)
        return zeros.index_add(0, graph.batch[graph.pairs[1]], energy).double()


@pytest.fixture(scope="module")
def model() -> TensorNet:
    sizes = {"hidden_channels": 2, "num_layers": 0, "num_rbf": 2}
    return _Pairs(**sizes, cutoff=4.0).double().eval()


def _triangle() -> Atoms:
    """Three atoms at rest in their minimum."""
    height = 0.6 * 3**0.5
    return Atoms("N3", positions=[[0, 0, 0], [1.2, 0, 0], [0.6, height, 0]])


def _frames(folder: Path, place: int) -> list[Atoms]:
    frames: list[Atoms] = read(folder / f"structure-{place:06d}.extxyz", ":")
    return frames


def test_energy_is_conserved_as_ase_does(model: TensorNet, tmp_path: Path) -> None:
    start = _triangle()
    (report,) = md(model, [start], tmp_path, steps=20, every=5, save=10, temperature=200)
    frames = _frames(tmp_path, 0)
    assert [frame.info["time"] for frame in frames] == [0.0, 2.5, 5.0, 7.5, 10.0]
    alone = frames[0].copy()
    alone.calc = model.calculator()
    VelocityVerlet(alone, 0.5 * units.fs).run(20)
    np.testing.assert_allclose(frames[-1].positions, alone.positions, atol=1e-6)
    assert report["status"] == "done"
    assert abs(report["drift"]) < 1e-3
    total = alone.get_potential_energy() + alone.get_kinetic_energy()
    assert frames[-1].get_potential_energy() + frames[-1].get_kinetic_energy() == pytest.approx(
        total, abs=1e-5
    )


@pytest.mark.parametrize("ensemble", ["langevin", "bussi"])
def test_others_do_not_matter_and_the_centre_stays(
    model: TensorNet, tmp_path: Path, ensemble: str
) -> None:
    frames = [molecule("H2O"), Atoms("H"), molecule("CH4")]
    options: dict[str, Any] = {"steps": 12, "every": 4, "save": 4, "ensemble": ensemble}
    md(model, frames, tmp_path / "joined", **options)
    md(model, frames, tmp_path / "single", batch_atoms=1, **options)
    md(model, frames, tmp_path / "other", seed=1, **options)
    for k in range(3):
        one = _frames(tmp_path / "joined", k)[-1]
        np.testing.assert_allclose(
            one.positions, _frames(tmp_path / "single", k)[-1].positions, atol=1e-7
        )
        moved = one.positions - _frames(tmp_path / "other", k)[-1].positions
        assert np.abs(moved).max() > 1e-4
        if len(one) > 1:
            shift = one.get_center_of_mass() - frames[k].get_center_of_mass()
            np.testing.assert_allclose(shift, 0.0, atol=1e-7)


def test_bussi_gives_the_canonical_kinetic_energy() -> None:
    """Mean f kT / 2 and variance f (kT)² / 2, from the scaling alone."""
    structures, freedom, temperature = 2000, 9, 300.0
    noise = Noise(range(structures))
    kinetic = torch.full((structures,), 0.01, dtype=torch.float64)
    f = torch.full((structures,), float(freedom), dtype=torch.float64)
    for _ in range(40):
        draws = noise.bussi([freedom] * structures)
        kinetic *= scaling(draws, kinetic, f, temperature=temperature, keep=0.8) ** 2
    kt = units.kB * temperature
    assert float(kinetic.mean()) == pytest.approx(freedom * kt / 2, rel=0.04)
    assert float(kinetic.var()) == pytest.approx(freedom * kt**2 / 2, rel=0.12)


def test_langevin_reaches_its_temperature(model: TensorNet, tmp_path: Path) -> None:
    frames = [_triangle() for _ in range(40)]
    reports = md(
        model,
        frames,
        tmp_path,
        steps=60,
        every=2,
        save=60,
        ensemble="langevin",
        friction=0.2,
        temperature=300,
    )
    # they start in the minimum, so the thermostat has to bring half of the energy
    assert np.mean([r["temperature"] for r in reports]) == pytest.approx(300, rel=0.15)


def test_it_goes_on_after_a_kill(
    model: TensorNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [molecule("H2O"), molecule("CH4")]
    options: dict[str, Any] = {"steps": 12, "every": 2, "save": 4, "ensemble": "langevin"}
    md(model, frames, tmp_path / "whole", **options)
    call, calls = _pool.Evaluator.__call__, 0

    def killed(self: _pool.Evaluator, pool: _pool.Pool) -> _pool.Values:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise KeyboardInterrupt
        return call(self, pool)

    monkeypatch.setattr(_pool.Evaluator, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        md(model, frames, tmp_path / "some", **options)
    assert not list((tmp_path / "some").glob("structure-*"))
    with pytest.raises(ConfigError, match="another model"):
        md(model, frames, tmp_path / "some", **options | {"seed": 3})
    steps: list[int] = []
    md(model, frames, tmp_path / "some", progress=lambda a, b: steps.append(a), **options)
    assert steps[0] == 5
    for k in range(2):
        one, other = _frames(tmp_path / "whole", k), _frames(tmp_path / "some", k)
        assert len(one) == len(other) == 7
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.positions, b.positions, atol=2e-8)


def test_what_explodes_is_stopped_and_the_others_go_on(model: TensorNet, tmp_path: Path) -> None:
    fast, held = molecule("H2O"), molecule("H2O")
    fast.set_velocities(20.0 * np.eye(3))
    held.set_constraint(FixAtoms([0]))
    frames = [fast, molecule("CH4"), held]
    reports = md(model, frames, tmp_path, steps=4, every=1, save=2, form="traj")
    assert [r["status"] for r in reports] == ["exploded", "done", "refused"]
    assert reports[0]["steps"] == 1
    assert "farther" in reports[0]["reason"]
    assert "constraints" in reports[2]["reason"]
    assert json.loads((tmp_path / "report.json").read_text()) == reports
    assert len(read(tmp_path / "structure-000001.traj", ":")) == 5


@pytest.mark.parametrize(
    "wrong", [{"ensemble": "npt"}, {"steps": 0}, {"timestep": -1.0}, {"save": 7}, {"stpes": 3}]
)
def test_options_are_checked(model: TensorNet, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        md(model, [molecule("H2O")], tmp_path, **{"steps": 2} | wrong)
