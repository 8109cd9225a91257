"""Long dynamics that record samples, show progress and survive a kill."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoo._files import write_atomic
from zoo.apps.physics.dynamics import Array, Integrator, State
from zoo.errors import DataError

#: steps between saves of the state
SAVE_EVERY = 1000
Progress = Callable[[int, int], None]


@dataclass
class Record:
    """Samples of dynamics of g molecules with n atoms in all.

    `steps` (s,), `potential` and `kinetic` (s, g) eV; where frames are kept, `positions` (s, n, 3)
    Å and `forces` (s, n, 3) eV/Å.
    """

    steps: npt.NDArray[np.int64]
    potential: Array
    kinetic: Array
    positions: Array
    forces: Array

    @staticmethod
    def empty(molecules: int, atoms: int) -> "Record":
        """Without samples."""
        frames = np.zeros((0, atoms, 3))
        levels = np.zeros((0, molecules))
        return Record(np.zeros(0, dtype=np.int64), levels, levels, frames, frames)


def simulate(
    start: Callable[[State | None], Integrator],
    steps: int,
    *,
    every: int,
    frames: bool,
    save: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Integrator, Record]:
    """Runs dynamics to an end, going on where a killed run left off.

    Args:
        start: makes the integrator, at a saved state or (None) at the beginning, which counts as
            step 0.
        steps: in all.
        every: steps between samples.
        frames: whether positions and forces are kept too.
        save: the file that holds the state meanwhile; without it a kill loses everything.
        progress: called with (steps done, steps in all).

    Returns:
        The integrator at the end, and the samples.
    """
    state, kept = (None, None) if save is None or not save.is_file() else _read(save)
    run = start(state)
    record = kept or Record.empty(len(run.potential), len(run.positions))
    samples: dict[str, list[np.ndarray]] = {name: [] for name in vars(record)}
    while run.step_count < steps:
        run.step()
        if run.step_count % every == 0:
            _sample(samples, run, frames)
        if run.step_count % SAVE_EVERY == 0:
            record = _extended(record, samples)
            if save is not None:
                _write(save, run.state, record)
        if progress is not None and run.step_count % 10 == 0:
            progress(run.step_count, steps)
    return run, _extended(record, samples)


def _sample(samples: dict[str, list[np.ndarray]], run: Integrator, frames: bool) -> None:
    samples["steps"].append(np.array(run.step_count))
    samples["potential"].append(run.potential.copy())
    samples["kinetic"].append(run.kinetic)
    if frames:
        samples["positions"].append(run.positions.copy())
        samples["forces"].append(run.current.copy())


def _extended(record: Record, samples: dict[str, list[np.ndarray]]) -> Record:
    """The record with the samples taken since, which are handed over."""
    values = {}
    for name, old in vars(record).items():
        values[name] = np.concatenate([old, np.stack(samples[name])]) if samples[name] else old
        samples[name].clear()
    return Record(**values)


def _write(path: Path, state: State, record: Record) -> None:
    buffer = io.BytesIO()
    text = np.array(json.dumps({"step": state.step, "random": state.random}))
    np.savez(
        buffer,
        text=text,
        at=state.positions,
        velocities=state.velocities,
        lost=state.lost,
        **vars(record),
    )
    write_atomic(path, buffer.getvalue())


def _read(path: Path) -> tuple[State, Record]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            text = json.loads(str(arrays["text"]))
            at, velocities, lost = (arrays[name] for name in ("at", "velocities", "lost"))
            state = State(text["step"], at, velocities, text["random"], lost)
            record = Record(**{name: arrays[name] for name in Record.__dataclass_fields__})
    except (OSError, ValueError, KeyError) as problem:
        raise DataError(
            f"{path} holds no state of dynamics ({problem}); delete it to start over"
        ) from problem
    return state, record
