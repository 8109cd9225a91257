"""PDEArena's flows in the plane (Gupta and Brandstetter, 2022): a folder of HDF5 files.

Files whose names hold `train`, `valid` or `test` have a group of that name with `u` (runs, times,
x, y), a scalar, and `vx` and `vy`, a velocity. A sample is a field of (u, vx, vy): `history` times
after one another to the next, from every place of a run where they fit, as PDEArena's
configuration trains (four times; it draws the places). keys={"history": "4", "runs": "256"} set
how many times, and how many runs of each part are taken.
"""

from pathlib import Path

import numpy as np

from zoo.datasets.domains._hdf5 import entry, number, opened
from zoo.datasets.domains._raw import Keys, Raw
from zoo.errors import DataError

_PARTS = {"train": "train", "valid": "val", "test": "test"}
_FIELDS = ("u", "vx", "vy")
CONSUMED = frozenset(("history", "runs"))


def parts_of(path: Path) -> dict[str, list[Path]]:
    """Files of each part, by their names."""
    return {part: sorted(path.glob(f"*{part}*.h5")) for part in _PARTS}


def is_pdearena(path: Path) -> bool:
    """Whether a folder has the layout of PDEArena."""
    files = parts_of(path)
    return bool(files["train"]) and bool(files["valid"]) and not (path / "train.h5").is_file()


def read_pdearena(path: Path, keys: Keys | None) -> Raw:
    """Reads a folder of PDEArena.

    Raises:
        DataError: for missing or damaged files, or runs that are too short.
        MissingExtraError: without h5py.
    """
    history = number(keys, "history", 4, path)
    inputs: list[np.ndarray] = []
    outputs: list[np.ndarray] = []
    split: list[str] = []
    run: list[int] = []
    for part, files in parts_of(path).items():
        left, seen = number(keys, "runs", 1 << 62, path), 0
        for file in files:
            if left < 1:
                break
            flow = _runs(file, part, left)
            left -= len(flow)
            starts = range(flow.shape[1] - history)
            if not len(starts):
                raise DataError(
                    f"{file} has runs of {flow.shape[1]} times, too few for {history} and the next"
                )
            grid = flow.shape[3:]
            for start in starts:
                inputs.append(flow[:, start : start + history].reshape(len(flow), -1, *grid))
                outputs.append(flow[:, start + history])
                split += [_PARTS[part]] * len(flow)
                run += range(seen, seen + len(flow))
            seen += len(flow)
    if not inputs:
        raise DataError(f"{path} has no files called *train*.h5, *valid*.h5 or *test*.h5")
    if len({array.shape[2:] for array in inputs}) > 1:
        raise DataError(f"{path}: its files have different grids")
    arrays = {
        "a": np.concatenate(inputs),
        "u": np.concatenate(outputs),
        "split": np.array(split),
        "run": np.array(run),
    }
    return Raw(path, arrays, "pdearena", consumed=CONSUMED)


def _runs(file: Path, part: str, most: int) -> np.ndarray:
    """(runs, times, 3, x, y) in single precision."""
    with opened(file) as held:
        group = held.get(part)
        if not hasattr(group, "get"):
            raise DataError(f"{file} has no group {part!r}, which its name promises")
        found = [entry(group, name, 4, f"{file}: {part}") for name in _FIELDS]
        if len({item.shape for item in found}) > 1 or 0 in found[0].shape:
            raise DataError(f"{file}: {', '.join(_FIELDS)} differ in shape")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            return np.stack([np.asarray(item[:most], dtype=np.float32) for item in found], axis=2)
