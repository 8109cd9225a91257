"""The files of dynamics: frames in chunks, and where they stand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from zoo._files import write_atomic
from zoo.apps.scale._parts import load, npz

#: arrays of a chunk: per structure and time the first three, per atom the others
FRAME = ("place", "time", "energy", "pos", "velocities", "forces")
_MEND = "delete the folder and repeat"


class Store:
    """The files of a group: frames in chunks, and where it stands."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._state = folder / f"group-{number:06d}.npz"

    def save(self, frames: dict[str, np.ndarray], chunk: int, state: dict[str, np.ndarray]) -> None:
        """Frames first: a kill between the two repeats the chunk, and writes the same again."""
        write_atomic(self._chunk(chunk), npz(frames))
        write_atomic(self._state, npz(state))

    def state(self) -> dict[str, np.ndarray] | None:
        """Where the group stood last; None at the beginning."""
        return load(self._state, _MEND) if self._state.is_file() else None

    def frames(self, structures: Sequence[Atoms], save: int) -> dict[int, list[Atoms]]:
        """The trajectory of each structure."""
        found: dict[int, list[Atoms]] = {}
        state = load(self._state, _MEND)
        for chunk in range(-(-int(state["step"]) // save) + 1):
            path = self._chunk(chunk)
            if not path.is_file():
                continue
            arrays = load(path, _MEND)
            start = 0
            for place, time, energy in zip(
                arrays["place"], arrays["time"], arrays["energy"], strict=True
            ):
                frame = structures[place].copy()
                rows = slice(start, start + len(frame))
                start += len(frame)
                frame.positions = arrays["pos"][rows]
                frame.set_velocities(arrays["velocities"][rows])
                frame.info["time"] = float(time)
                frame.calc = SinglePointCalculator(
                    frame, energy=float(energy), forces=arrays["forces"][rows]
                )
                found.setdefault(int(place), []).append(frame)
        return found

    def _chunk(self, chunk: int) -> Path:
        return self._folder / f"group-{self._number:06d}-{chunk:06d}.npz"
