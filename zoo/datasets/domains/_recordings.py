"""Recordings of other packages: epochs of MNE (.fif) and, by name, data sets of MOABB.

Both packages are the extra `signals`. A `.fif` gives the trials in volts, the names of its events
as classes, and what its metadata says of each trial as columns.

`zoo.datasets.open("moabb:BNCI2014_001?paradigm=MotorImagery&subjects=1,2&fmin=8&fmax=32")` asks
MOABB for the trials of its data set; `paradigm` (LeftRightImagery unless said) and whatever else
stands after the question mark are MOABB's class and its settings, but `subjects`, and
`dataset.<name>`, a setting of the data set's class (values are read as YAML). Columns are
subject, session and run; `domain` counts the pairs of subject and session. MOABB downloads what it
hasn't, so with ZOO_OFFLINE=1 only its `FakeDataset` is read.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo import _extras
from zoo._environment import offline
from zoo.datasets._query import settings_of
from zoo.datasets.domains._raw import Keys, Raw
from zoo.errors import ConfigError, DataError, ZooError, nearest

MOABB = "moabb:"
_EXTRA = "signals"
_FAKE = "FakeDataset"
_OWN = "dataset."  # what the settings of a data set's class begin with


def read_fif(path: Path, keys: Keys | None) -> Raw:
    """Reads epochs that MNE wrote.

    Raises:
        DataError: if there are none, or the file is damaged.
        MissingExtraError: without MNE.
    """
    mne = _extras.require("mne", extra=_EXTRA, package="mne")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of files, projections: nothing that matters
            epochs = mne.read_epochs(path, proj=False, preload=True, verbose="ERROR")
            series = np.asarray(epochs.get_data(copy=True))
        names = {number: str(name) for name, number in epochs.event_id.items()}
        events = [names[number] for number in epochs.events[:, 2].tolist()]
        columns = _columns(epochs.metadata, len(events))
        metadata = {"channels": list(epochs.ch_names), "rate": float(epochs.info["sfreq"])}
    except (MemoryError, ZooError):
        raise
    except Exception as error:  # MNE fails in many ways on damaged files
        raise DataError(
            f"{path} holds no epochs that MNE can read: {type(error).__name__}: {error}"
        ) from error
    arrays = {"X": series, "y": np.array(events), **columns}
    return Raw(path, arrays, "fif", metadata=metadata)


def read_moabb(text: str) -> Raw:
    """Asks MOABB for the trials of a data set.

    Args:
        text: "moabb:NAME" or "moabb:NAME?setting=value&...".

    Raises:
        ConfigError: for a name or a setting that MOABB doesn't know.
        DataError: if MOABB fails, or would have to download with ZOO_OFFLINE=1.
        MissingExtraError: without MOABB.
    """
    name, _, query = text.removeprefix(MOABB).partition("?")
    settings = settings_of(query, "paradigm=MotorImagery&subjects=1,2")
    if offline() and name != _FAKE:
        raise DataError(
            f"{text} would ask MOABB, which downloads what it hasn't, and ZOO_OFFLINE is set; save "
            "the trials as an .npz with X, y, subject and session, and open that"
        )
    sets = _extras.require("moabb.datasets", extra=_EXTRA, package="moabb")
    paradigms = _extras.require("moabb.paradigms", extra=_EXTRA, package="moabb")
    dataset = _class(sets, name, "data set")
    paradigm = _class(paradigms, str(settings.pop("paradigm", "LeftRightImagery")), "paradigm")
    own = {k: settings.pop(k) for k in list(settings) if k.startswith(_OWN)}
    subjects = settings.pop("subjects", None)
    if subjects is not None:
        subjects = [int(s) for s in str(subjects).split(",") if s.strip().isdigit()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = dataset(**{name.removeprefix(_OWN): value for name, value in own.items()})
            trials = paradigm(**settings).get_data(dataset=source, subjects=subjects)
        series, labels, about = trials
    except TypeError as error:
        raise ConfigError(f"{text}: MOABB refuses these settings: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # a package that downloads and parses files of many makers
        raise DataError(f"{text}: MOABB failed: {type(error).__name__}: {error}") from error
    arrays = {"X": np.asarray(series), "y": np.asarray(labels).astype(str)}
    arrays |= _columns(about, len(arrays["y"]))
    if {"subject", "session"} <= set(arrays):
        pairs = zip(arrays["subject"].astype(str), arrays["session"].astype(str), strict=True)
        words = np.array(["/".join(pair) for pair in pairs])
        arrays["domain"] = np.unique(words, return_inverse=True)[1].reshape(-1)
    return Raw(Path(text), arrays, "moabb", metadata={"moabb": name})


def _class(module: Any, name: str, what: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, type):
        known = [k for k, v in vars(module).items() if isinstance(v, type)]
        raise ConfigError(f"MOABB has no {what} {name!r}: {nearest(name, known)}")
    return found


def _columns(table: Any, count: int) -> dict[str, np.ndarray]:
    """The columns of a table of pandas, as numbers or words."""
    if table is None:
        return {}
    found = {}
    entries: Mapping[str, Any] = {str(name): table[name] for name in table.columns}
    for name, values in entries.items():
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            array = np.array([str(value) for value in array.tolist()])
        if array.shape == (count,) and name not in ("X", "y"):
            found[name] = array
    return found
