"""The suite `molecules`: minima, frequencies, energy conservation and stability of dynamics."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from zoo.apps.physics._result import Failure, Measured, MeasurementError, Row
from zoo.apps.physics._simulate import Progress, Record, simulate
from zoo.apps.physics._suite import MODEL, REFERENCE, STATIC, Pair, Unit, shortened
from zoo.apps.physics.conservation import drift
from zoo.apps.physics.dynamics import (
    Forces,
    Integrator,
    Joined,
    State,
    Watch,
    model_forces,
    thermal,
)
from zoo.apps.physics.relaxation import rmsd
from zoo.apps.physics.stability import agreement, watch
from zoo.apps.physics.vibrations import minimum
from zoo.errors import UnsupportedInputError

GROUPS = ("frequencies", "nve", "stability")
#: steps between samples of the total energy
EVERY = 10


@dataclass(frozen=True, kw_only=True)
class MoleculeSettings:
    """How molecules are measured.

    `delta` (Å) displaces atoms for the Hessian, `fmax` (eV/Å) ends relaxations. Dynamics take
    steps of `timestep` (fs) for `length` (ps): with a thermostat of `friction` (1/fs) at
    `temperature` (K) for the stability, with `frames` given to the reference; at constant energy,
    after `equilibration` (ps) with the thermostat, for the drift.
    """

    delta: float = 0.005
    fmax: float = 1e-4
    temperature: float = 500.0
    timestep: float = 0.5
    length: float = 10.0
    equilibration: float = 1.0
    friction: float = 0.02
    frames: int = 100
    seed: int = 0

    @property
    def steps(self) -> int:
        """Of each dynamics."""
        return round(1000 * self.length / self.timestep)

    @staticmethod
    def short() -> "MoleculeSettings":
        """A first look."""
        return MoleculeSettings(length=0.1, equilibration=0.05, frames=10)


class Molecules:
    """The pieces of work of the suite.

    Args:
        pair: model and reference.
        structures: starting structures by name.
        settings: how to measure.
        folder: where unfinished dynamics are kept, if anywhere.
        tag: tells runs apart that must not go on with each other's dynamics.
    """

    def __init__(
        self,
        pair: Pair,
        structures: Mapping[str, Atoms],
        settings: MoleculeSettings,
        folder: Path | None,
        tag: str = "",
    ) -> None:
        self._pair, self._structures = pair, structures
        self._settings, self._folder, self._tag = settings, folder, tag
        self._minima: dict[tuple[str, str], tuple[Atoms, np.ndarray]] = {}

    def units(self, groups: Sequence[str]) -> list[Unit]:
        """The work, in order."""
        found = []
        if "frequencies" in groups:
            for name, atoms in self._structures.items():
                work = self._frequencies(name)
                found.append(Unit("frequencies", name, _digest([atoms]), STATIC, work))
        everything = _digest(list(self._structures.values()))
        s = self._settings
        weight = STATIC + s.steps // EVERY
        if "nve" in groups:
            scratch = self._scratch("nve")
            found.append(Unit("nve", "all", everything, weight, self._nve, scratch))
        if "stability" in groups:
            scratch = self._scratch("stability")
            found.append(Unit("stability", "all", everything, weight, self._stability, scratch))
        return found

    @property
    def conditions(self) -> dict[str, str]:
        """Property -> under which conditions."""
        s = self._settings
        length = f"{s.length:g} ps of {s.timestep:g} fs"
        nve = f"{length} after {s.equilibration:g} ps at {s.temperature:g} K"
        nvt = f"{length} at {s.temperature:g} K"
        return {
            "nve_drift": nve,
            "nve_fluctuation": nve,
            "stable_time": nvt,
            "own_frames_forces_mae": f"{s.frames} frames of {nvt}",
            "own_frames_mean_force": f"{s.frames} frames of {nvt}",
        }

    def _minimum(self, which: str, name: str) -> tuple[Atoms, np.ndarray]:
        """Minimum and frequencies; the model's search starts at the reference's minimum."""
        s = self._settings
        if (which, name) not in self._minima:
            at = self._structures[name]
            if which == MODEL:
                at, _ = self._minimum(REFERENCE, name)
            start = Atoms(numbers=at.numbers, positions=at.positions, info=dict(at.info))
            calculator = self._pair.calculator(which, start)
            self._minima[which, name] = minimum(start, calculator, fmax=s.fmax, delta=s.delta)
        return self._minima[which, name]

    def _frequencies(self, name: str) -> Callable[[Progress], Measured]:
        def measure(progress: Progress) -> Measured:
            theirs, expected = self._minimum(REFERENCE, name)
            own, found = self._minimum(MODEL, name)
            rows = [
                Row(
                    quantity="frequency",
                    system=name,
                    item=str(index),
                    model=float(pair[0]),
                    reference=float(pair[1]),
                )
                for index, pair in enumerate(zip(found, expected, strict=True))
            ]
            imaginary = float((found < 0).sum())
            rows.append(Row(quantity="imaginary_modes", system=name, model=imaginary))
            rows.append(Row(quantity="geometry_rmsd", system=name, model=rmsd(own, theirs)))
            failures = []
            if (expected < 0).any():
                reason = f"the reference stays at a saddle point ({expected[0]:.1f} cm^-1)"
                failures.append(Failure(group="frequencies", system=name, reason=reason))
            return Measured(rows, failures=failures)

        return measure

    def _nve(self, progress: Progress) -> Measured:
        s = self._settings
        structures, failures = self._starts("nve")
        if not structures:
            return Measured(failures=failures)
        record, lost = self._dynamics("nve", structures, 0.0, EVERY, progress)
        times = record.steps * s.timestep / 1000
        total = record.potential + record.kinetic
        rows, series = [], {}
        for g, (name, atoms) in enumerate(structures.items()):
            if lost[g] >= 0:
                when = f"broke after {lost[g] * s.timestep / 1000:g} ps at constant energy"
                failures.append(Failure(group="nve", system=name, reason=when))
                continue
            slope, rest = drift(times, total[:, g], len(atoms))
            rows.append(Row(quantity="nve_drift", system=name, model=1e3 * slope, reference=0.0))
            rows.append(Row(quantity="nve_fluctuation", system=name, model=1e3 * rest))
            series[name] = shortened(1e3 * (total[:, g] - total[0, g]) / len(atoms))
        return Measured(rows, {"times": shortened(times), "energies": series}, failures)

    def _stability(self, progress: Progress) -> Measured:
        s = self._settings
        structures, failures = self._starts("stability")
        if not structures:
            return Measured(failures=failures)
        every = max(1, s.steps // s.frames)
        record, lost = self._dynamics("stability", structures, s.friction, every, progress)
        times = record.steps * s.timestep / 1000
        bounds = np.cumsum([len(atoms) for atoms in structures.values()])[:-1]
        parts = zip(
            np.split(record.positions, bounds, axis=1),
            np.split(record.forces, bounds, axis=1),
            strict=True,
        )
        rows, series = [], {}
        for g, ((name, atoms), (at, forces)) in enumerate(
            zip(structures.items(), parts, strict=True)
        ):
            whole = record.steps < lost[g] if lost[g] >= 0 else np.full(len(times), True)
            survived = lost[g] * s.timestep / 1000 if lost[g] >= 0 else s.length
            rows.append(Row(quantity="stable_time", system=name, model=float(survived)))
            found, along = self._agreement(name, atoms, at[whole], forces[whole], failures)
            rows += found
            series[name] = along
        return Measured(rows, {"times": times.tolist(), "errors": series}, failures)

    def _agreement(
        self,
        name: str,
        atoms: Atoms,
        at: np.ndarray,
        forces: np.ndarray,
        failures: list[Failure],
    ) -> tuple[list[Row], list[float]]:
        """The model's forces on its own frames against the reference's."""
        calculator = self._pair.calculator(REFERENCE, atoms)
        frame = atoms.copy()
        frame.calc = calculator
        theirs = []
        for positions in at:
            frame.positions = positions
            try:
                theirs.append(frame.get_forces())
            except CalculationFailed as problem:
                reason = f"the reference failed on frame {len(theirs)}: {problem}"
                failures.append(Failure(group="stability", system=name, reason=reason))
                break
        if not theirs:
            return [], []
        result = agreement(forces[: len(theirs)], np.stack(theirs))
        rows = [
            Row(quantity="own_frames_forces_mae", system=name, model=1e3 * result.mae),
            Row(quantity="own_frames_mean_force", system=name, model=1e3 * result.mean),
        ]
        return rows, [1e3 * float(error) for error in result.along]

    def _starts(self, group: str) -> tuple[dict[str, Atoms], list[Failure]]:
        """The model's minima, and which molecules have none."""
        found, failures = {}, []
        for name in self._structures:
            try:
                found[name], _ = self._minimum(MODEL, name)
            except (MeasurementError, UnsupportedInputError) as problem:
                failures.append(Failure(group=group, system=name, reason=str(problem)))
        return found, failures

    def _dynamics(
        self,
        group: str,
        structures: Mapping[str, Atoms],
        friction: float,
        every: int,
        progress: Progress,
    ) -> tuple[Record, np.ndarray]:
        """Samples of all molecules at once, and the step at which each broke (or -1)."""
        s = self._settings
        frames = list(structures.values())
        joined, broken = Joined.of(frames), watch(frames)
        forces = model_forces(self._pair.model, frames)

        def start(state: State | None) -> Integrator:
            if state is None:
                state = thermal(joined, temperature=s.temperature, seed=s.seed)
                state = state if friction else self._equilibrated(forces, joined, state, broken)
            return self._integrator(forces, joined, state, friction, broken)

        save, keep = self._scratch(group), group == "stability"
        run, record = simulate(
            start, s.steps, every=every, frames=keep, save=save, progress=progress
        )
        return record, run.lost

    def _scratch(self, group: str) -> Path | None:
        """Where unfinished dynamics of these very molecules are kept."""
        key = _digest(list(self._structures.values()))
        return self._folder and self._folder / f"{group}-{key}-{self._tag}.state.npz"

    def _integrator(
        self, forces: Forces, joined: Joined, state: State, friction: float, broken: Watch
    ) -> Integrator:
        s = self._settings
        return Integrator(
            forces,
            joined,
            state,
            timestep=s.timestep,
            temperature=s.temperature,
            friction=friction,
            watch=broken,
        )

    def _equilibrated(self, forces: Forces, joined: Joined, state: State, broken: Watch) -> State:
        """After some time with the thermostat, at rest as a whole."""
        s = self._settings
        run = self._integrator(forces, joined, state, s.friction, broken)
        for _ in range(round(1000 * s.equilibration / s.timestep)):
            run.step()
        end = run.state
        velocities = joined.centred(end.velocities, joined.masses)
        lost = np.where(end.lost >= 0, 0, -1)
        return State(0, end.positions, velocities, end.random, lost)


def _digest(structures: Sequence[Atoms]) -> str:
    """Tells structures apart."""
    state = hashlib.sha256()
    for atoms in structures:
        state.update(atoms.numbers.astype(np.int64).tobytes())
        state.update(np.round(atoms.positions, 6).tobytes())
    return state.hexdigest()[:12]
