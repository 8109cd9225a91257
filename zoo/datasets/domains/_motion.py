"""Walking people of CMU's motion capture, as GMN's authors publish them (subject 35).

`motion.pkl` holds the bones (pairs of joints) and, for each recording, positions (frames, 31, 3);
`split.pkl` the first frames of the samples, three dicts (train, validation, test) from the number
of a recording to frames. Both are pickles, of plain data only, and are read without running what
they name (`zoo.datasets._plain_pickle`).

A sample has the joints' positions `pos`, their velocities `vel` (the difference to the next frame)
and as `y` their positions `frames` later (30 unless keys={"frames": "30"} says otherwise).
keys={"train": "200"} takes so many samples to train on as the authors do: as many of each
recording, rounded down (198 of 200 in eleven recordings). The published division keeps recordings
apart.
"""

from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._plain_pickle import read_plain
from zoo.datasets.domains._hdf5 import number
from zoo.datasets.domains._raw import Keys, Raw
from zoo.errors import DataError

_PARTS = ("train", "val", "test")
CONSUMED = frozenset(("frames", "train"))


def is_motion(path: Path) -> bool:
    """Whether a folder has the two files."""
    return (path / "motion.pkl").is_file() and (path / "split.pkl").is_file()


def read_motion(path: Path, keys: Keys | None) -> Raw:
    """Reads the two files.

    Raises:
        UnsafeFileError: if they hold more than plain data.
        DataError: for damaged files, or frames that aren't there.
    """
    frames = number(keys, "frames", 30, path)
    runs = _recordings(path / "motion.pkl")
    parts = _parts(path / "split.pkl")
    most = number(keys, "train", 1 << 62, path)
    columns: dict[str, list[Any]] = {"pos": [], "vel": [], "y": [], "split": [], "recording": []}
    for part, mapping in zip(_PARTS, parts, strict=True):
        each = most // len(mapping) if part == "train" else 1 << 62
        if not each:
            raise DataError(f"{path}: train is {most}, less than one of each recording")
        for recording, starts in mapping.items():
            if not 0 <= recording < len(runs):
                raise DataError(f"{path}: there is no recording {recording}")
            run, chosen = runs[recording], starts[:each]
            # the authors' arrays lack the last frame, which has no velocity
            if chosen.size and not 0 <= chosen.min() <= chosen.max() + frames < len(run) - 1:
                raise DataError(
                    f"{path}: recording {recording} has {len(run)} frames, too few for "
                    f"{chosen.max()} and {frames} more"
                )
            columns["pos"].append(run[chosen])
            columns["vel"].append(run[chosen + 1] - run[chosen])
            columns["y"].append(run[chosen + frames])
            columns["split"] += [part] * len(chosen)
            columns["recording"] += [recording] * len(chosen)
    arrays = {n: np.concatenate(columns[n]).astype(np.float32) for n in ("pos", "vel", "y")}
    arrays |= {n: np.array(columns[n]) for n in ("split", "recording")}
    return Raw(path, arrays, "cmu motion", consumed=CONSUMED)


def _recordings(file: Path) -> list[np.ndarray]:
    held = read_plain(file)
    pair = held if isinstance(held, (tuple, list)) and len(held) == 2 else (None, None)
    runs = list(pair[1]) if isinstance(pair[1], (list, tuple, np.ndarray)) else []
    good = [isinstance(r, np.ndarray) and r.ndim == 3 and r.dtype.kind == "f" for r in runs]
    if not runs or not all(good) or len({run.shape[1:] for run in runs}) > 1:
        raise DataError(f"{file} holds no bones and recordings (frames, joints, 3) of one shape")
    return [np.asarray(run) for run in runs]


def _parts(file: Path) -> list[dict[int, np.ndarray]]:
    held = read_plain(file)
    if not isinstance(held, (tuple, list)) or len(held) != len(_PARTS):
        raise DataError(f"{file} holds no three divisions")
    parts = []
    for mapping in held:
        fits = isinstance(mapping, dict) and mapping
        starts = {k: np.asarray(v) for k, v in mapping.items()} if fits else {}
        good = all(isinstance(k, int) and v.ndim == 1 and v.dtype.kind in "iu"
                   for k, v in starts.items())  # fmt: skip
        if not starts or not good:
            raise DataError(f"{file} holds no frames by the numbers of recordings")
        parts.append({k: v.astype(np.int64) for k, v in starts.items()})
    return parts
