"""Graphs in pickles: PyG's `.pt`, dicts of arrays and networkx, read only when trusted; Planetoid.

Reading a pickle runs whatever code its author put in. Those of Planetoid hold plain data and are
read without running anything (`zoo.datasets._plain_pickle`).

Planetoid: `ind.<name>.{x, tx, allx, y, ty, ally, graph}` and `ind.<name>.test.index` in a folder;
the public split is made as its authors made it: the rows of `x` to train on, the next 500 to
validate, the numbers in `test.index` to test. Edges become undirected, each once.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.datasets._pickled import _fields, pyg_samples
from zoo.datasets._plain_pickle import read_plain
from zoo.datasets._unpickle import unpickle
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import lines_of, read_text, whole
from zoo.datasets.domains.graph import undirected
from zoo.errors import DataError, UnsafeFileError

SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".p")
_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph")
_VALIDATION = 500
_AIRPORT_FEATURES = 5
_AIRPORT = (1.0, 8.0 / 7.0, 9.0 / 7.0)  # limits of the classes of HGCN's airports


def refuse(path: Path, what: str) -> UnsafeFileError:
    """The error for a pickle that isn't trusted."""
    return UnsafeFileError(
        f"{path} is {what}, a pickle, which can run any code when read, so it isn't opened; if you "
        "trust whoever made it, open it with trust_pickle=True"
    )


def read_pickle(path: Path, keys: Keys | None) -> Raw:
    """A pickled dict of arrays, or samples of PyG.

    Raises:
        DataError: if it holds something else.
    """
    if path.suffix.lower() in (".pt", ".pth"):
        return from_samples(path, pyg_samples(path))
    held = unpickled(path)
    if hasattr(held, "nodes") and hasattr(held, "edges"):
        return airport_labels(_networkx(path, held), keys)
    if isinstance(held, dict):
        arrays = {str(name): array for name, value in held.items() if _is(array := _array(value))}
        if arrays:
            return Raw(path, arrays, "pickle")
    return from_samples(path, held if isinstance(held, list) else [held])


def _networkx(path: Path, graph: Any) -> Raw:
    """A graph of networkx whose nodes have features under "feat", such as HGCN's `airport.p`.

    As HGCN reads that file, its fifth feature is the label, in four classes by the limits 1, 8/7
    and 9/7; keys={"y": None} leaves all features features, as its link prediction does.
    """
    try:
        number = {node: k for k, node in enumerate(graph.nodes())}
        rows = [np.asarray(graph.nodes[node]["feat"], dtype=np.float64) for node in number]
        features = np.stack(rows)
        pairs = [(number[a], number[b]) for a, b in graph.edges()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f'{path} holds a graph whose nodes don\'t all have "feat", numbers of one length: '
            f"{type(error).__name__}: {error}"
        ) from error
    if features.ndim != 2 or not pairs:
        raise DataError(f"{path} holds a graph without edges or without features")
    edges = np.array(pairs, dtype=np.int64)
    arrays = {"x": features, "edge_index": undirected(edges).T}
    return Raw(path, arrays, "networkx", metadata={"nodes": len(number)})


def airport_labels(raw: Raw, keys: Keys | None) -> Raw:
    """Takes the label of HGCN's airports out of their features, unless `keys` says otherwise."""
    if raw.kind != "networkx" or raw.arrays["x"].shape[1] != _AIRPORT_FEATURES:
        return raw
    if dict(keys or {"y": ""}).get("y", "") is None:
        return raw
    x = raw.arrays["x"]
    classes = np.digitize(x[:, -1], _AIRPORT)
    arrays = raw.arrays | {"x": x[:, :-1], "y": classes - classes.min()}
    return Raw(raw.path, arrays, raw.kind, metadata=raw.metadata)


def from_samples(path: Path, samples: list[Any]) -> Raw:
    """Arrays of PyG's samples, joined.

    Raises:
        DataError: for samples with different fields.
    """
    every = []
    for sample in samples:
        fields = {name: _array(value) for name, value in _fields(sample).items()}
        every.append({name: array for name, array in fields.items() if _is(array)})
    if not every or not every[0] or any(set(fields) != set(every[0]) for fields in every):
        raise DataError(f"{path} holds no samples of PyG that all have the same fields")
    first = every[0]
    dropped = sorted({name for sample in samples for name in _fields(sample)} - set(first))
    metadata = {"ignored_fields": dropped} if dropped else {}
    if len(every) == 1:
        return Raw(path, dict(first), "pt", metadata=metadata)
    lead = next((name for name in ("x", "pos") if name in first and first[name].ndim == 2), None)
    if lead is None:
        raise DataError(
            f"{path}: its samples have no x or pos (rows, d); it has {', '.join(first)}"
        )
    arrays: dict[str, np.ndarray] = {}
    for name in first:
        parts = [np.atleast_1d(fields[name]) for fields in every]
        axis = -1 if "index" in name or name == "face" else 0  # as PyG joins them
        try:
            arrays[name] = np.concatenate(parts, axis=axis)
        except ValueError as error:
            raise DataError(f"{path}: {name} differs in shape between samples: {error}") from error
    arrays["counts"] = np.array([len(fields[lead]) for fields in every])
    if "edge_index" in first:
        sizes = [fields["edge_index"].shape[-1:] for fields in every]
        arrays["edge_counts"] = np.array([size[0] if size else 0 for size in sizes])
    return Raw(path, arrays, "pt", metadata=metadata)


def _is(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "biufUS"


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            return None
        whole_or_double = value.dtype != torch.bfloat16  # which NumPy has not
        return (value if whole_or_double else value.float()).detach().cpu().numpy()
    if hasattr(value, "toarray"):  # a sparse matrix
        return np.asarray(value.toarray())
    return np.asarray(value) if isinstance(value, (np.ndarray, int, float)) else None


def unpickled(path: Path) -> Any:
    """What a trusted pickle holds.

    Raises:
        DataError: if it can't be read.
    """
    try:
        with path.open("rb") as stream:
            return unpickle(stream, path)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def planetoid_names(path: Path) -> list[str]:
    """Names of the Planetoid sets in a folder."""
    return sorted(f.name[4 : -len(".graph")] for f in path.glob("ind.*.graph"))


def read_planetoid(path: Path, keys: Keys | None) -> Raw:
    """Reads the files of Planetoid.

    Raises:
        UnsafeFileError: for a pickle of more than plain data.
        DataError: for a missing or damaged file.
    """
    names = planetoid_names(path)
    if len(names) != 1:
        raise DataError(
            f"{path} holds {len(names)} Planetoid sets ({', '.join(names)}), expected one"
        )
    stem = path / f"ind.{names[0]}"
    parts = {}
    for part in _PARTS:
        file = Path(f"{stem}.{part}")
        if not file.is_file():
            raise DataError(f"{path} has no {file.name}")
        parts[part] = read_plain(file)
    index = Path(f"{stem}.test.index")
    words = [w for line in lines_of(read_text(index)) for w in line.split()]
    test = np.array([whole(word, str(index)) for word in words], dtype=np.int64)
    return _planetoid(path, parts, test)


def _planetoid(path: Path, parts: dict[str, Any], test: np.ndarray) -> Raw:
    arrays = {name: _array(parts[name]) for name in _PARTS if name != "graph"}
    if any(a is None or a.ndim != 2 or not _is(a) for a in arrays.values()) or not test.size:
        raise DataError(f"{path}: its x, tx, allx, y, ty, ally must be matrices; it is damaged")
    known, graph = len(arrays["allx"]), parts["graph"]
    last = int(test.max()) + 1
    fits = len(arrays["ally"]) == known and len(arrays["tx"]) == len(arrays["ty"]) == len(test)
    if not fits or not isinstance(graph, dict) or test.min() < known or len(set(test)) < len(test):
        raise DataError(f"{path}: its matrices, its graph and test.index don't fit each other")
    if last > known + 100 * (len(test) + 1):
        raise DataError(f"{path}: test.index names {last - 1}, far beyond its {known} other nodes")
    # some test nodes of CiteSeer have no features and no label: zeros, as its authors left them
    x = np.zeros((last, arrays["allx"].shape[1]))
    y = np.zeros((last, arrays["ally"].shape[1]))
    try:
        x[:known], y[:known] = arrays["allx"], arrays["ally"]
        x[test], y[test] = arrays["tx"], arrays["ty"]
        pairs = [(int(a), int(b)) for a, others in graph.items() for b in others]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: its matrices or its graph are damaged: {error}") from error
    train = np.arange(len(arrays["x"]))
    result = {
        "x": x,
        "y": y.argmax(axis=1),
        "edge_index": undirected(np.array(pairs, dtype=np.int64).reshape(-1, 2)).T,
        "train_idx": train,
        "val_idx": np.arange(len(train), min(len(train) + _VALIDATION, known)),
        "test_idx": np.sort(test),
    }
    return Raw(path, result, "planetoid")
