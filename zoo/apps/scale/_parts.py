"""What is finished of a long run, kept in files that a kill leaves whole.

Each file holds some of the structures with their numbers and appears complete or not at all. A run
is known by a digest of its model, structures and options: files of another run are refused.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from zoo._files import write_atomic
from zoo.errors import ConfigError, DataError
from zoo.models._atomistic import AtomisticModel

_PLACE = "part_place"


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
    """Finished structures in a folder.

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

    def read(self) -> dict[int, Atoms]:
        """What is finished, by number.

        Raises:
            DataError: for a damaged file.
        """
        found: dict[int, Atoms] = {}
        for path in sorted(self._folder.glob("part-*.extxyz")):
            try:
                frames = read(path, index=":", format="extxyz")
                places = [int(frame.info.pop(_PLACE)) for frame in frames]
            except Exception as problem:  # ASE's reader raises whatever its parser meets
                raise DataError(
                    f"{path} is damaged ({problem}); delete it, and its structures run again"
                ) from problem
            found |= dict(zip(places, frames, strict=True))
        return found

    def write(self, finished: Mapping[int, Atoms]) -> None:
        """Adds a file of finished structures."""
        frames = []
        for place, atoms in finished.items():
            frame = atoms.copy()
            frame.calc = atoms.calc
            frame.info[_PLACE] = place
            frames.append(frame)
        # places are in one file only, so the smallest of them names it for good
        path = self._folder / f"part-{min(finished):09d}.extxyz"
        write_atomic(path, extxyz(frames))


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
