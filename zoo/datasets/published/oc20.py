"""OC20, structures to energies and forces (S2EF), as its authors ship it: extended XYZ and text.

L. Chanussot et al., Open Catalyst 2020 (OC20) dataset and community challenges, ACS Catalysis 11,
6059 (2021).

A part of the set is a folder of pairs: `0.extxyz`, with total energies and forces in eV and Å, and
`0.txt`, whose lines name the system, the frame and the reference energy: `random12,frame3,-115.2`.
The adsorption energy that models learn is the total energy less the reference; it is subtracted in
double precision. Forces are those of all atoms: ASE would set the ones on held atoms to zero.

(The relaxed energies, IS2RE, come as pickles in LMDB, see `oc20-is2re`.)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets import _extxyz
from zoo.datasets._lazy import Store
from zoo.datasets._units import Units
from zoo.datasets.published._common import Found, Keys, Reader, text_lines
from zoo.datasets.published._joined import Joined
from zoo.errors import DataError

_NONE = "none"


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens one part, or one to train on and one to validate on.

    Args:
        place: the set's folder with `s2ef_train_200K/...`, or a folder of pairs of files.
        settings: `part` and `val`; `energy`: adsorption or total.
        keys: label -> name in the files.

    Raises:
        DataError: for missing or damaged files, and lines that don't fit the frames.
    """
    names = [str(settings[key]) for key in ("part", "val") if settings.get(key, _NONE) != _NONE]
    folders = [_folder(place, name) for name in names] or [place]
    parts: list[Store] = []
    lines: list[tuple[int, int, float, str]] = []
    for name, folder in zip(names or [place.name], folders, strict=True):
        for path in _pairs(folder):
            frames = _extxyz.read(path, keys, Units())
            parts.append(frames)
            lines += [(*line, name) for line in _log(path.with_suffix(".txt"), len(frames))]
    columns = {
        "sid": np.array([line[0] for line in lines]),
        "fid": np.array([line[1] for line in lines]),
        "part": np.array([line[3] for line in lines]),
    }
    adsorption = settings.get("energy", "adsorption") == "adsorption"
    less = np.array([line[2] for line in lines]) if adsorption else None
    frames = Joined(parts, columns, less=less, where=str(place))
    return Found(frames, {"energy": "adsorption" if adsorption else "total"}, _splits(names))


def _splits(names: list[str]) -> dict[str, Any]:
    """The authors' parts; a single one is divided by system, so that no relaxation is cut."""
    if len(names) == 2:
        values = {"train": [names[0]], "val": [names[1]]}
        return {"kind": "assigned", "key": "part", "values": values}
    shares = {"train": 0.9, "val": 0.05, "test": 0.05}
    return {"kind": "group", "key": "sid", "fractions": shares, "seed": 0}


def _folder(place: Path, part: str) -> Path:
    """Where the files of a part are: the archives hold their name once or twice."""
    name = f"s2ef_{part}" if part.startswith("val") else f"s2ef_train_{part}"
    for folder in (place / name / name, place / name):
        if any(folder.glob("*.txt")) or any(folder.glob("*.xz")):
            return folder
    raise DataError(f"{place} has no {name}; zoo data get oc20 part={part} brings it")


def _pairs(folder: Path) -> list[Path]:
    packed = next(folder.glob("*.extxyz.xz"), None)
    if packed is not None:
        raise DataError(f"{packed} is still packed; run: unxz {folder}/*.xz")
    found = sorted(folder.glob("*.extxyz"), key=lambda path: (len(path.stem), path.stem))
    if not found:
        raise DataError(f"{folder} holds no .extxyz files")
    return found


def _log(path: Path, count: int) -> list[tuple[int, int, float]]:
    """System, frame and reference energy (eV) of every frame of a file."""
    found = []
    for number, line in enumerate(text_lines(path), start=1):
        words = line.strip().split(",")
        if words == [""]:
            continue
        try:
            sid, fid = words[0].removeprefix("random"), words[1].removeprefix("frame")
            found.append((int(sid), int(fid), float(words[2])))
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: {line[:60]!r} is not system,frame,reference"
            ) from error
    if len(found) != count:
        raise DataError(f"{path} has {len(found)} lines for {count} frames; one is incomplete")
    return found


def _sign(path: Path) -> bool:
    if not path.is_dir() or not (path / "0.extxyz").is_file() or not (path / "0.txt").is_file():
        return False
    with (path / "0.txt").open("rb") as stream:
        return stream.read(6) == b"random"


READER = Reader(read, _sign)
