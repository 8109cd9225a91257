"""Data sets of every domain but atoms as archives of plain arrays."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._open import open as open_dataset
from zoo.datasets.domains._plain import SOURCES
from zoo.datasets.domains._store import Field, Store
from zoo.datasets.domains.sequence import PAIRS
from zoo.errors import DataError, ZooError

ROWS = {"graph": "x", "points": "pos", "particles": "pos", "sequence": "x"}


def write(dataset: Any, indices: np.ndarray, path: Path) -> None:
    """Writes samples as `zoo.datasets.open` reads them back.

    Args:
        dataset: a `DomainDataset`.
        indices: which of its samples.
        path: a new .npz file.

    Raises:
        DataError: for names that stand for two things.
        OSError: if it can't be written.
    """
    store: Store = dataset._store
    which = dataset._indices[indices]
    arrays: dict[str, np.ndarray] = {}
    for name, value in _fields(dataset.domain, store, which):
        _put(arrays, name, value)
    lead = ROWS.get(dataset.domain)
    if lead is not None:
        counts = store.fields[lead].take(which).counts
        if counts is not None:
            _put(arrays, "counts", counts)
    for name, column in store.columns.items():
        if name != SOURCES or name not in arrays:  # one array is both the column and the field
            _put(arrays, name, column[which])
    for name, column in store.row_columns.items():
        _put(arrays, name, column)
    if store.classes is not None:
        _put(arrays, "class_names", np.array(store.classes))
    for name, mask in masks(dataset, indices).items():
        _put(arrays, name, mask)
    # not numpy.savez, which takes no array that is called "file"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())


def reason(dataset: Any, index: int) -> str:
    """Why one sample is refused; empty if it isn't."""
    try:
        dataset.take([index]).check()
    except ZooError as error:
        return str(error)
    return ""


def verified(path: Path, dataset: Any, part: Any) -> Iterator[str]:
    """Opens the output and compares it with what was to be written.

    Yields:
        What is not kept.

    Raises:
        DataError: if samples come back otherwise.
    """
    again = open_dataset(path, domain=dataset.domain)
    if again.hash != part.hash or again.labels != part.labels:
        raise DataError(
            f".npz can't hold this data set of the domain {dataset.domain!r}: it is read back "
            "otherwise"
        )
    stored = again.columns
    for name, column in part.columns.items():
        if name not in stored or stored[name].tolist() != column.tolist():
            yield f"the column {name!r} is not read back"
    told = sorted(k for k, v in dataset.metadata.items() if v and k not in ("format", "kind"))
    if told:
        yield f"archives of this domain hold no metadata; not kept: {', '.join(told)}"
    if dataset.domain == "graph" and dataset.edge_splits:
        yield "the division of the edges is not kept; give splits= again when you open it"
    yield f"open it with domain={dataset.domain!r} where its arrays fit several"


def masks(dataset: Any, indices: np.ndarray) -> Mapping[str, np.ndarray]:
    """The splits as arrays that are read back: of rows, or of the samples chosen."""
    if dataset._masks:
        return {n: m.T if m.ndim == 2 else m for n, m in dataset._masks.items()}
    found = {}
    for name, numbers in dataset.splits.items():
        mask = np.zeros(len(dataset), dtype=bool)
        mask[numbers] = True
        found[f"{name}_mask"] = mask[indices]
    return found


def _fields(domain: str, store: Store, which: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The fields of some samples under the names of an archive."""
    for name, entry in store.fields.items():
        if name == "lengths":  # told by the padding of pairs
            continue
        told = _telling(domain, store) if name == "x" else name
        for key, value in _arrays(told, entry.take(which)).items():
            # functions of one channel stand without an axis for it
            single = domain == "field" and name != "grid" and value.shape[1:2] == (1,)
            yield key, value[:, 0] if single and value.ndim > 2 else value


def _telling(domain: str, store: Store) -> str:
    """A name of `x` by which its domain is known again."""
    x = store.fields["x"].values
    if domain == "sequence":
        if "lengths" in store.fields:
            return PAIRS
        return "tokens" if x.ndim == 1 and x.dtype.kind == "i" else "sequences"
    if domain == "matrix":
        return "bases" if store.metadata.get("kind") == "bases" else "matrices"
    return {"image": "images", "signal": "X"}.get(domain, "x")


def _arrays(name: str, entry: Field) -> dict[str, np.ndarray]:
    """A field under the names of an archive."""
    values, counts = entry.values, entry.counts
    if name == "edge_index" and counts is not None:
        return {"edge_index": values.T, "edge_counts": counts}
    if name == "edge_label_index":
        return {name: values.T}
    if name == "face" and counts is not None:
        sizes = np.full(len(values), 3)
        return {"faces": values.reshape(-1), "face_sizes": sizes, "face_counts": counts}
    if name == "num_cells":
        return {f"cells_{rank}": values[:, rank] for rank in range(values.shape[1])}
    if name.startswith("boundary_") and counts is not None:
        rank = name.split("_")[1]
        if name.endswith("_sign"):
            return {f"sign_{rank}": values}
        return {f"boundary_{rank}": values.T, f"boundary_{rank}_counts": counts}
    return {name: values}


def _put(arrays: dict[str, np.ndarray], name: str, value: np.ndarray) -> None:
    if name in arrays:
        raise DataError(f"two arrays of the data set would be called {name!r}; rename the column")
    arrays[name] = value
