"""Top tagging (Kasieczka and others, 2019): `train.h5`, `val.h5`, `test.h5` in one folder.

As published: a table of pandas called `table`, in blocks of columns: E_0, PX_0, PY_0, PZ_0, E_1,
..., 200 constituents of a jet in GeV, the hardest first, padded with zeros; `is_signal_new` is 1
for tops. The names of the columns are stored as a pickle; they are looked for in its bytes, and the
pickle is not read. As LorentzNet's authors (and CGENN's) take them: `Pmu` (jets, n, 4), `Nobj`
and `is_signal` in each file.

A sample is a sequence of four-momenta (n, 4), energy first, without the padding;
keys={"jets": "1000"} takes the first so many jets of each file.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.domains._hdf5 import entry, number, opened
from zoo.datasets.domains._raw import Keys, Raw
from zoo.errors import DataError

_FILES = {"train": ("train.h5",), "val": ("val.h5", "valid.h5"), "test": ("test.h5",)}
_NAME = re.compile(rb"(?:E|PX|PY|PZ)_[0-9]+|truth(?:E|PX|PY|PZ)|ttv|is_signal_new")
_BLOCK = 8192  # jets that are read together
_CLASSES = ("qcd", "top")
CONSUMED = frozenset(("jets",))


def is_jets(path: Path) -> bool:
    """Whether a folder has the layout of the top tagging data."""
    return _found(path, "train") is not None and _found(path, "test") is not None


def _found(path: Path, part: str) -> Path | None:
    return next((path / name for name in _FILES[part] if (path / name).is_file()), None)


def read_jets(path: Path, keys: Keys | None) -> Raw:
    """Reads a folder of top tagging.

    Raises:
        DataError: for missing or damaged files, or columns in another order.
        MissingExtraError: without h5py.
    """
    most = number(keys, "jets", 1 << 62, path)
    parts = {part: file for part in _FILES if (file := _found(path, part)) is not None}
    if set(parts) != set(_FILES):
        raise DataError(f"{path} lacks {', '.join(set(_FILES) - set(parts))}.h5")
    momenta, counts, labels, split = [], [], [], []
    for part, file in parts.items():
        with opened(file) as held:
            read = _lorentz if "Pmu" in held else _pandas
            for rows, signal in read(held, file, most):
                there = rows[:, :, 0] != 0
                momenta.append(rows[there])
                counts.append(there.sum(axis=1))
                labels.append(signal)
                split += [part] * len(rows)
    arrays = {
        "sequences": np.concatenate(momenta).astype(np.float32),
        "counts": np.concatenate(counts),
        "y": np.concatenate(labels).astype(np.int64),
        "split": np.array(split),
    }
    if not arrays["counts"].size or arrays["counts"].min() < 1:
        raise DataError(f"{path} holds a jet without constituents; it is damaged")
    return Raw(path, arrays, "top tagging", classes=_CLASSES, consumed=CONSUMED)


def _pandas(held: Any, file: Path, most: int) -> Any:
    """Blocks of momenta (jets, n, 4) and labels of a table that pandas wrote."""
    group = held.get("table")
    table: Any = group.get("table") if hasattr(group, "get") else None
    names = getattr(getattr(table, "dtype", None), "names", None) or ()
    blocks = {}
    for name in names:
        told = table.attrs.get(f"{name}_kind", b"")
        columns = [c.decode() for c in _NAME.findall(bytes(told))] if name != "index" else []
        if columns and (len(columns),) == table.dtype[name].shape:
            blocks[name] = columns
    place = {column: (n, k) for n, columns in blocks.items() for k, column in enumerate(columns)}
    count = sum(column.startswith("E_") for column in place)
    wanted = [f"{axis}_{k}" for k in range(count) for axis in ("E", "PX", "PY", "PZ")]
    if not count or any(c not in place for c in wanted) or "is_signal_new" not in place:
        raise DataError(
            f"{file} has no table of pandas with the columns E_0, PX_0, PY_0, PZ_0, ..., "
            "is_signal_new"
        )
    of = {place[column][0] for column in wanted}
    if len(of) != 1:
        raise DataError(f"{file} keeps its momenta in several blocks; expected one")
    order = [place[column][1] for column in wanted]
    mark, column = place["is_signal_new"]
    block = of.pop()
    for start in range(0, min(len(table), most), _BLOCK):
        rows = table[start : min(start + _BLOCK, most)]
        yield rows[block][:, order].reshape(len(rows), count, 4), rows[mark][:, column]


def _lorentz(held: Any, file: Path, most: int) -> Any:
    """The same of the files that LorentzNet's authors converted."""
    momenta = entry(held, "Pmu", 3, str(file))
    labels = entry(held, "is_signal", 1, str(file))
    if momenta.shape[2] != 4 or len(labels) != len(momenta):
        raise DataError(f"{file}: Pmu has shape {momenta.shape}, expected ({len(labels)}, n, 4)")
    for start in range(0, min(len(momenta), most), _BLOCK):
        stop = min(start + _BLOCK, most)
        yield np.asarray(momenta[start:stop]), np.asarray(labels[start:stop])
