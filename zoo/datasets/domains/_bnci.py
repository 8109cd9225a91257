"""Motor imagery of BNCI Horizon 2020: the files A01T.mat, A01E.mat, ... of its set 001-2014.

`data` is a cell of runs, structs with `X` (times, channels) in microvolts, `trial` (the time where
each trial begins, counted from 1), `y` (classes from 1 on), `fs` (Hz) and `classes`. Runs without
trials, which record eyes and rest, are passed over. The first 22 channels are EEG, the other three
EOG and left out. A trial's cue comes two seconds after its beginning.

A sample is the EEG (22, times) from `tmin` to `tmax` seconds after the cue, filtered from `fmin` to
`fmax` Hz (0.5, 3.496, 4 and 36 unless keys say otherwise, as TSMNet's authors take them) by a
Butterworth filter of fourth order in both directions over the whole run; MOABB filters with MNE's
FIR filter, so numbers differ slightly from `moabb:BNCI2014_001`. Columns are subject, session (T,
E) and run; `domain` counts pairs of subject and session. keys={"subjects": "1,2"} reads some
subjects.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.domains._matlab_values import read_values
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import is_number
from zoo.errors import DataError

_FILE = re.compile(r"A(?P<subject>[0-9]{2})(?P<session>[TE])\.mat\Z")
_EEG = 22
_CUE = 2.0  # seconds from the beginning of a trial
_USUAL = {"tmin": 0.5, "tmax": 3.496, "fmin": 4.0, "fmax": 36.0}
CONSUMED = frozenset(("subjects", *_USUAL))


def recordings(path: Path) -> list[tuple[int, str, Path]]:
    """Subject, session and file of each recording."""
    found = [(m, file) for file in path.glob("*.mat") if (m := _FILE.match(file.name))]
    return sorted(((int(m["subject"]), m["session"], file) for m, file in found), reverse=False)


def read_bnci(path: Path, keys: Keys | None) -> Raw:
    """Reads the recordings in a folder.

    Raises:
        DataError: for damaged files, runs that lack something, or subjects that aren't there.
    """
    settings = {name: _setting(keys, name, path) for name in _USUAL}
    chosen = _subjects(keys, path)
    signals, labels, about = [], [], []
    classes: tuple[str, ...] | None = None
    for subject, session, file in recordings(path):
        if chosen is not None and subject not in chosen:
            continue
        for number, run in enumerate(_runs(file)):
            names = _classes(run, file)
            if classes is not None and names != classes:
                raise DataError(f"{file} has the classes {names}, other files {classes}")
            classes = names
            for signal, label in _trials(run, settings, file):
                signals.append(signal)
                labels.append(label - 1)
                about.append((str(subject), session, str(number)))
    if not signals:
        raise DataError(f"{path} has no trials of the subjects asked for")
    if len({signal.shape for signal in signals}) > 1:
        raise DataError(f"{path}: trials differ in length; tmax is beyond the end of a run")
    columns = [np.array(column) for column in zip(*about, strict=True)]
    pairs = np.array([f"{s}/{t}" for s, t, _ in about])
    arrays: dict[str, np.ndarray] = {
        "X": np.stack(signals).astype(np.float32),
        "y": np.array(labels, dtype=np.int64),
        "subject": columns[0],
        "session": columns[1],
        "run": columns[2],
        "domain": np.unique(pairs, return_inverse=True)[1].reshape(-1),
    }
    return Raw(path, arrays, "bnci", classes=classes, consumed=CONSUMED, metadata=dict(settings))


def _setting(keys: Keys | None, name: str, path: Path) -> float:
    word = dict(keys or {}).get(name)
    if word in (None, ""):
        return _USUAL[name]
    if not is_number(str(word)) or not 0 <= float(str(word)) < 1e4:
        raise DataError(f"{path}: {name} is {word!r}; give seconds or Hz from 0 on")
    return float(str(word))


def _subjects(keys: Keys | None, path: Path) -> set[int] | None:
    word = dict(keys or {}).get("subjects")
    if word in (None, "", "all"):
        return None
    parts = [part.strip() for part in str(word).split(",")]
    known = {subject for subject, _, _ in recordings(path)}
    if not all(part.isdigit() and int(part) in known for part in parts):
        raise DataError(f"{path}: subjects is {word!r}; there are {sorted(known)}")
    return {int(part) for part in parts}


def _runs(file: Path) -> list[dict[str, Any]]:
    """Runs with trials."""
    data = read_values(file).get("data")
    runs = data if isinstance(data, list) else [data]
    found = []
    for run in runs:
        if not isinstance(run, dict) or not {"X", "trial", "y", "fs"} <= set(run):
            raise DataError(f"{file}: data must be runs with X, trial, y and fs")
        if all(isinstance(run[n], np.ndarray) for n in ("X", "trial", "y", "fs")):
            if run["trial"].size:
                found.append(run)
        else:
            raise DataError(f"{file}: X, trial, y and fs must be numbers")
    return found


def _classes(run: dict[str, Any], file: Path) -> tuple[str, ...]:
    names = run.get("classes")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise DataError(f"{file}: a run has no names of its classes")
    return tuple(name.replace(" ", "_") for name in names)


def _trials(
    run: dict[str, Any], settings: dict[str, float], file: Path
) -> Iterator[tuple[np.ndarray, int]]:
    """Filtered signals (channels, times) and class numbers from 1 on."""
    from scipy.signal import butter, sosfiltfilt  # which takes a second to import

    x, rate = run["X"].astype(np.float64), float(run["fs"].reshape(-1)[0])
    starts, labels = (run[name].reshape(-1).astype(np.int64) for name in ("trial", "y"))
    if x.ndim != 2 or x.shape[1] < _EEG or len(starts) != len(labels) or not rate > 0:
        raise DataError(
            f"{file}: a run has X of shape {x.shape}, {len(starts)} trials and {len(labels)} "
            f"labels; expected at least {_EEG} channels, and a label for each trial"
        )
    low, high = settings["fmin"], settings["fmax"]
    if not 0 < low < high < rate / 2:
        raise DataError(f"{file}: no filter passes {low} to {high} Hz at {rate} Hz")
    if not np.isfinite(x[:, :_EEG]).all():
        raise DataError(f"{file}: a run has gaps (NaN)")
    filtered = sosfiltfilt(butter(4, (low, high), "bandpass", fs=rate, output="sos"), x[:, :_EEG].T)
    first = round((_CUE + settings["tmin"]) * rate)
    times = round((settings["tmax"] - settings["tmin"]) * rate) + 1
    for start, label in zip(starts.tolist(), labels.tolist(), strict=True):
        begin = start - 1 + first
        if not 0 <= begin <= begin + times <= filtered.shape[1] or label < 1:
            raise DataError(
                f"{file}: a trial from time {start} on, of class {label}, doesn't fit a run of "
                f"{filtered.shape[1]} times; lower tmax"
            )
        yield filtered[:, begin : begin + times], label
