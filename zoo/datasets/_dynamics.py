"""Langevin dynamics in chunks, so that a long trajectory survives a kill.

ASE's Langevin integrator without the centre-of-mass constraint (with it, it does not sample the
canonical ensemble), velocities from a Maxwell-Boltzmann distribution. A trajectory is cut into
chunks of a fixed number of frames. Each chunk starts from saved positions, momenta and the state of
the random numbers, with a calculator that remembers nothing, whether or not the run was interrupted
there: a resumed trajectory is the uninterrupted one, bit for bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from zoo.errors import ConfigError

CHUNK = 250  # frames
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Settings of a thermostat.

    Steps of `timestep` (fs), a target `temperature` (K), `equilibration` steps before the first
    frame, and Langevin's `friction` (1/fs).
    """

    timestep: float = 0.5
    temperature: float = 500.0
    equilibration: int = 1000
    friction: float = 0.02

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name in ("equilibration", "seed") else 1e-12
            if not value >= least:
                raise ConfigError(f"{name} of a trajectory must be above zero, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Trajectory(Dynamics):
    """One trajectory: `frames`, saved every `stride` steps, with random numbers of `seed`."""

    frames: int
    stride: int = 20
    seed: int = 0


class Engine(Protocol):
    """A method that labels structures: `zoo.datasets.gfn2` and `zoo.datasets.emt` are two."""

    def calculator(self, atoms: Atoms) -> Calculator:
        """A new calculator for this structure, with no memory of another."""

    def snapshot(self, atoms: Atoms) -> Atoms:
        """A detached copy with the calculator's results."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a trajectory stands: `frames` are done; the rest decides all that follows."""

    frames: int
    positions: np.ndarray
    momenta: np.ndarray
    random: dict[str, Any]


def chunks(
    engine: Engine,
    start: Atoms,
    settings: Trajectory,
    *,
    state: State | None = None,
    size: int = CHUNK,
) -> Iterator[tuple[list[Atoms], State]]:
    """Runs a trajectory chunk by chunk.

    Args:
        engine: labels the frames.
        start: starting structure (Å).
        settings: length, temperature, seed.
        state: where to go on; None for the beginning.
        size: frames of a chunk; part of what decides the trajectory.

    Yields:
        The chunk's frames, each with `info["temperature"]` (K, of its momenta), and the state
        after it.
    """
    if state is None:
        state = _equilibrated(engine, start, settings)
    while state.frames < settings.frames:
        count = min(size, settings.frames - state.frames)
        atoms, dynamics, rng = _prepared(engine, start, settings, state)
        frames = []
        for _ in range(count):
            dynamics.run(settings.stride)
            frame = engine.snapshot(atoms)
            frame.info["temperature"] = float(atoms.get_temperature())
            frames.append(frame)
        state = _state(atoms, rng, state.frames + count)
        yield frames, state


def _equilibrated(engine: Engine, start: Atoms, settings: Trajectory) -> State:
    rng = np.random.default_rng(settings.seed)
    atoms = start.copy()
    MaxwellBoltzmannDistribution(atoms, temperature_K=settings.temperature, rng=rng)
    Stationary(atoms)
    first = _state(atoms, rng, 0)
    if not settings.equilibration:
        return first
    atoms, dynamics, rng = _prepared(engine, start, settings, first)
    dynamics.run(settings.equilibration)
    return _state(atoms, rng, 0)


def _prepared(
    engine: Engine, start: Atoms, settings: Trajectory, state: State
) -> tuple[Atoms, Langevin, np.random.Generator]:
    """Structure, integrator and random numbers at `state`."""
    rng = np.random.default_rng()
    rng.bit_generator.state = state.random
    atoms = start.copy()
    atoms.positions = state.positions
    atoms.set_momenta(state.momenta, apply_constraint=False)
    atoms.calc = engine.calculator(atoms)
    dynamics = Langevin(
        atoms,
        settings.timestep * units.fs,
        temperature_K=settings.temperature,
        friction=settings.friction / units.fs,
        fixcm=False,
        rng=rng,
    )
    return atoms, dynamics, rng


def _state(atoms: Atoms, rng: np.random.Generator, frames: int) -> State:
    return State(
        frames=frames,
        positions=atoms.positions.copy(),
        momenta=atoms.get_momenta(),
        random=dict(rng.bit_generator.state),
    )
