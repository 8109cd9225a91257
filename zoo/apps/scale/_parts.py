"""What is finished of a long run, kept in files that a kill leaves whole.

Each file holds some of the structures with their numbers and appears complete or not at all. A run
is known by a digest of its model, structures and options: files of another run are refused.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from zoo._files import write_atomic
from zoo.errors import ConfigError, DataError
from zoo.models._atomistic import AtomisticModel


def model_digest(model: Any) -> str:
    """A digest of a model's architecture, configuration and weights."""
    digest = hashlib.sha256(repr((model.architecture, sorted(model.hparams.items()))).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().double().numpy()).tobytes())
    return digest.hexdigest()


def fingerprint(
    model: AtomisticModel, structures: Sequence[Atoms], options: Mapping[str, Any]
) -> str:
    """A digest of all that decides a run's results."""
    digest = hashlib.sha256(model_digest(model).encode())
    digest.update(json.dumps(dict(options), sort_keys=True, default=str).encode())
    for frame in structures:
        digest.update(np.ascontiguousarray(frame.numbers).tobytes())
        digest.update(np.ascontiguousarray(frame.positions).tobytes())
        digest.update(np.ascontiguousarray(frame.cell.array).tobytes())
        digest.update(frame.pbc.tobytes())
        digest.update(repr([c.todict() for c in frame.constraints]).encode())
        digest.update(repr([frame.info.get(k) for k in ("charge", "spin")]).encode())
    return digest.hexdigest()


class Parts:
    """What is finished of a run, in files, and where the rest of it stood after the last of them.

    Args:
        folder: made if it is missing.
        run: the digest of the run.

    Raises:
        ConfigError: if the folder belongs to another run.
        OutputError: if it can't be written.
    """

    def __init__(self, folder: str | Path, run: str) -> None:
        self._folder = Path(folder)
        mark = self._folder / "run.json"
        if mark.is_file():
            claim(mark, run)
        else:
            write_atomic(mark, json.dumps({"run": run}))
        numbers = [int(path.stem.removeprefix("part-")) for path in self._paths()]
        self._next = max(numbers, default=-1) + 1

    def read(self) -> list[dict[str, np.ndarray]]:
        """What is finished, file by file.

        Raises:
            DataError: for a damaged file.
        """
        return [load(path, "delete it, and its structures run again") for path in self._paths()]

    def state(self) -> dict[str, np.ndarray] | None:
        """Where the run stood when the last part was written; None at the beginning.

        Raises:
            DataError: for a damaged file.
        """
        path = self._state(self._next - 1)
        mend = "delete it, and its structures start anew"
        return load(path, mend) if path.is_file() else None

    def write(self, part: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        """Adds what was finished since, and where the rest stands.

        The state comes first and its forerunner goes last: whenever the process is killed, the
        state that belongs to the last part is there.
        """
        number, self._next = self._next, self._next + 1
        write_atomic(self._state(number), npz(state))
        write_atomic(self._folder / f"part-{number:09d}.npz", npz(part))
        self._state(number - 1).unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.npz"))

    def _state(self, number: int) -> Path:
        return self._folder / f"state-{number:09d}.npz"


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a NumPy archive."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def load(path: Path, mend: str) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Raises:
        DataError: names the file and says how to mend it, if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as problem:
        raise DataError(f"{path} is damaged ({problem}); {mend}") from problem


def claim(mark: Path, run: str) -> None:
    """Refuses a folder of another run.

    Raises:
        ConfigError: names the folder.
    """
    try:
        known = json.loads(mark.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ConfigError(f"{mark} says no run ({problem}); delete {mark.parent}") from problem
    if known != run:
        raise ConfigError(
            f"{mark.parent} holds a run of another model, other structures or options; repeat "
            "that command to finish it, delete the folder, or choose another output"
        )


def extxyz(frames: Sequence[Atoms]) -> str:
    """Structures as extended XYZ; the format keeps eight decimals of positions and forces."""
    stream = io.StringIO()
    write(stream, list(frames), format="extxyz")
    return stream.getvalue()
