"""Dynamics of several molecules at once: against ASE, closed forms, and after a kill."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

import zoo
from zoo.apps.physics import Integrator, calculator_forces, drift, model_forces, watch
from zoo.apps.physics._simulate import Record, simulate
from zoo.apps.physics.dynamics import Forces, Joined, State, thermal
from zoo.apps.physics.stability import agreement
from zoo.errors import DataError

STRUCTURES = [molecule("H2O"), molecule("CH4"), molecule("N2")]


def _emt(atoms: Atoms) -> EMT:
    return EMT()


def _oscillators(stiffness: float = 30.0) -> Forces:
    """Every atom on a spring of its own to the origin; one atom per molecule."""

    def forces(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * stiffness * np.square(positions).sum(axis=1), -stiffness * positions

    return forces


def test_without_friction_it_is_velocity_verlet() -> None:
    joined = Joined.of(STRUCTURES)
    state = thermal(joined, temperature=300.0, seed=1)
    run = Integrator(calculator_forces(STRUCTURES, _emt), joined, state, timestep=0.5)
    for _ in range(40):
        run.step()
    bounds = np.cumsum(joined.counts)[:-1]
    parts = zip(STRUCTURES, np.split(state.velocities, bounds), strict=True)
    expected = []
    for g, (atoms, velocities) in enumerate(parts):
        own = atoms.copy()
        own.calc = EMT()
        own.set_velocities(velocities)
        VelocityVerlet(own, 0.5 * units.fs).run(40)
        expected.append(own.positions)
        assert run.potential[g] == pytest.approx(own.get_potential_energy(), abs=1e-10)
        assert run.kinetic[g] == pytest.approx(own.get_kinetic_energy(), abs=1e-10)
    np.testing.assert_allclose(run.positions, np.concatenate(expected), atol=1e-11)


def test_a_model_in_one_call_is_the_model_in_many() -> None:
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).double().eval()
    joined = Joined.of(STRUCTURES)
    rng = np.random.default_rng(0)
    positions = joined.positions + 0.05 * rng.standard_normal(joined.positions.shape) + 40.0
    together = model_forces(model, STRUCTURES)(positions)
    apart = calculator_forces(STRUCTURES, lambda atoms: model.calculator())(positions)
    np.testing.assert_allclose(together[0], apart[0], atol=1e-10)
    np.testing.assert_allclose(together[1], apart[1], atol=1e-10)


def test_the_thermostat_reaches_its_temperature() -> None:
    joined = Joined.of([Atoms("C")] * 300)
    state = thermal(joined, temperature=100.0, seed=0)
    forces = _oscillators()
    run = Integrator(forces, joined, state, timestep=1.0, temperature=400.0, friction=0.05)
    kinetic, potential = [], []
    for k in range(600):
        run.step()
        if k >= 100:
            kinetic.append(run.kinetic.mean())
            potential.append(run.potential.mean())
    # a harmonic oscillator holds as much in the spring as in its motion
    expected = 1.5 * units.kB * 400.0
    assert np.mean(kinetic) == pytest.approx(expected, rel=0.05)
    assert np.mean(potential) == pytest.approx(expected, rel=0.05)


def test_starting_velocities_have_the_temperature() -> None:
    joined = Joined.of([Atoms("OH")] * 2000)
    velocities = thermal(joined, temperature=500.0, seed=3).velocities
    for number in (1, 8):
        chosen = joined.numbers == number
        energy = 0.5 * joined.masses[chosen] * np.square(velocities[chosen]).sum(axis=1)
        assert energy.mean() == pytest.approx(1.5 * units.kB * 500.0, rel=0.05)


def test_drift_of_a_line() -> None:
    times = np.linspace(0.0, 10.0, 501)
    wave = np.sin(2 * np.pi * 5 * times)
    found = drift(times, 7.0 + 0.02 * times + 0.1 * wave, 10)
    assert found.slope == pytest.approx(0.002, rel=0.1)
    assert found.fluctuation == pytest.approx(0.01 / 2**0.5, rel=0.02)


def test_an_oscillator_conserves_its_energy() -> None:
    joined = Joined.of([Atoms("C")] * 5)
    state = thermal(joined, temperature=500.0, seed=0)
    _, record = simulate(
        lambda saved: Integrator(_oscillators(), joined, saved or state, timestep=0.5),
        4000,
        every=10,
        frames=False,
    )
    total = record.potential + record.kinetic
    slopes = [drift(record.steps * 5e-4, total[:, g], 1).slope for g in range(5)]
    assert max(map(abs, slopes)) < 1e-6
    # a force that points elsewhere by 1 % feeds it
    assert record.positions.shape == (0, 5, 3)


class Killed(Exception):
    pass


def _resumable(save: Path | None, stop: int | None = None) -> Record:
    joined = Joined.of(STRUCTURES)
    forces = calculator_forces(STRUCTURES, _emt)

    def start(saved: State | None) -> Integrator:
        state = saved or thermal(joined, temperature=300.0, seed=1)
        return Integrator(forces, joined, state, temperature=300.0, friction=0.02)

    def progress(done: int, total: int) -> None:
        if stop is not None and done >= stop:
            raise Killed

    return simulate(start, 60, every=7, frames=True, save=save, progress=progress)[1]


def test_resumed_dynamics_are_the_uninterrupted_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.apps.physics._simulate.SAVE_EVERY", 20)
    whole = _resumable(None)
    save = tmp_path / "state.npz"
    with pytest.raises(Killed):
        _resumable(save, stop=50)
    resumed = _resumable(save)
    assert whole.steps.tolist() == [7, 14, 21, 28, 35, 42, 49, 56]
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(resumed, name), value)


def test_a_state_of_something_else(tmp_path: Path) -> None:
    save = tmp_path / "state.npz"
    save.write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no state of dynamics"):
        _resumable(save)


@pytest.fixture
def broken() -> Callable[[np.ndarray], list[bool]]:
    """Tells of ethanol and hydrogen peroxide, from moved positions."""
    structures = [molecule("CH3CH2OH"), molecule("H2O2")]
    told = watch(structures)
    return lambda shift: told(Joined.of(structures).positions + shift).tolist()


def _shift(atom: int, by: tuple[float, float, float]) -> np.ndarray:
    shift = np.zeros((13, 3))
    shift[atom] = by
    return shift


def test_what_counts_as_broken(broken: Callable[[np.ndarray], list[bool]]) -> None:
    assert broken(np.zeros((13, 3))) == [False, False]
    assert broken(np.full((13, 3), 50.0)) == [False, False]
    rng = np.random.default_rng(0)
    assert broken(0.08 * rng.standard_normal((13, 3))) == [False, False]
    ethanol = molecule("CH3CH2OH")
    bond = ethanol.positions[1] - ethanol.positions[0]
    assert ethanol.numbers[:2].tolist() == [6, 6]
    assert broken(_shift(0, tuple(-0.7 * bond))) == [True, False]  # carbon leaves carbon
    assert broken(_shift(12, (5.0, 0.0, 0.0))) == [False, True]  # a hydrogen is lost
    assert broken(_shift(0, tuple(0.7 * bond))) == [True, False]  # atoms collapse
    assert broken(_shift(10, (np.nan, 0.0, 0.0))) == [False, True]


def test_a_proton_may_move_to_another_atom() -> None:
    peroxide = molecule("H2O2")
    told = watch([peroxide])
    positions = peroxide.positions.copy()
    first, second = positions[0], positions[1]
    # the hydrogen of the first oxygen, now beyond the second
    positions[2] = second + 0.97 * (second - first) / np.linalg.norm(second - first)
    hydrogens = np.linalg.norm(peroxide.positions[2:] - first, axis=1)
    assert hydrogens.min() < 1.1
    assert told(positions).tolist() == [False]


def test_what_broke_is_held_while_the_others_move() -> None:
    joined = Joined.of(
        [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])]
    )
    state = thermal(joined, temperature=10.0, seed=0)
    state.velocities[1] += 2.0

    def forces(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(2), np.zeros_like(positions)

    structures = [Atoms("H2", joined.positions[:2]), Atoms("N2", joined.positions[2:])]
    run = Integrator(forces, joined, state, watch=watch(structures))
    for _ in range(30):
        run.step()
    assert 0 < run.lost[0] < 30
    assert run.lost[1] == -1
    np.testing.assert_array_equal(run.positions[:2], joined.positions[:2])
    assert run.kinetic[0] == 0.0
    assert run.kinetic[1] > 0.0


def test_agreement_of_forces() -> None:
    reference = np.ones((4, 3, 3))
    found = reference + np.array([0.0, 0.1, 0.2, 0.3])[:, None, None]
    result = agreement(found, reference)
    assert result.mae == pytest.approx(0.15)
    assert result.mean == pytest.approx(1.0)
    np.testing.assert_allclose(result.along, [0.0, 0.1, 0.2, 0.3])
