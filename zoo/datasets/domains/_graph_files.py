"""Graphs as text: a folder or a pair of tables, and the layout of the WebKB sets.

Tables: `edges.csv` with the columns `source` and `target` (others are features of the edges), and
`nodes.csv` (or `features.csv`) with a row per node: `id` where edges name nodes by something other
than their row, counted from 0; the label in `y`, `label`, `target` or `class`; `split`; features.
Edges are taken as they are listed, from source to target. Without a table of nodes, which
keys={"nodes": None} says, and which a table with the columns id1 and id2 (the closure of WordNet)
doesn't need, the words in the edges are the nodes, and they have no features.

WebKB (Geom-GCN): `out1_node_feature_label.txt` (number, features with commas, label),
`out1_graph_edges.txt` (pairs), and the ten published splits `<name>_split_0.6_0.2_<fold>.npz` in
the folder or below it. Edges stay directed; those that are there twice count once.
keys={"undirected": "true"} gives every edge both directions and takes self-loops away,
keys={"normalise": "true"} divides the features of a node by their sum. In the folder of the Actor
set (`film`) the features are numbers of ones, not zeros and ones.
"""

import re
from pathlib import Path

import numpy as np

from zoo.datasets._archive import read_npz
from zoo.datasets.domains import _trees
from zoo.datasets.domains._csv import Table, read_table
from zoo.datasets.domains._raw import LABEL_ALIASES, Keys, Raw
from zoo.datasets.domains._text import lines_of, read_text, whole
from zoo.datasets.domains.graph import undirected
from zoo.errors import DataError

SOURCES = ("source", "src", "from", "id1")
TARGETS = ("target", "dst", "to", "id2")
_NODES = ("nodes.csv", "features.csv")
_CLOSURE = ("id1", "id2")  # columns of the closure of WordNet
_CONSUMED = frozenset(("edges", "nodes", "source", "target", "id", "y", "split"))
_WEBKB_KEYS = ("undirected", "normalise")
_WEBKB_NODES, _WEBKB_EDGES = "out1_node_feature_label.txt", "out1_graph_edges.txt"
_FOLD = re.compile(r"(?P<name>.+)_split_0\.6_0\.2_(?P<fold>[0-9]{1,3})\.npz\Z")
_BITS = re.compile(r"[01](?:,[01])*\Z")
_MASKS = ("train_mask", "val_mask", "test_mask")


def is_edge_table(names: list[str]) -> bool:
    """Whether the columns of a table name the two ends of edges."""
    low = [name.lower() for name in names]
    return any(n in low for n in SOURCES) and any(n in low for n in TARGETS)


def read_tables(path: Path, keys: Keys | None) -> Raw:
    """Reads a graph from two tables.

    Args:
        path: the folder, or the table of edges.
        keys: may name the tables ("edges", "nodes") and the columns "source", "target", "id", "y",
            "split".

    Raises:
        DataError: for a missing table or column, or an edge of an unknown node.
    """
    settings = dict(keys or {})
    folder = path if path.is_dir() else path.parent
    first = folder / (settings.get("edges") or "edges.csv") if path.is_dir() else path
    bare = settings.get("nodes", "") is None
    if not bare and first.is_file() and not any((folder / n).is_file() for n in _NODES):
        bare = "nodes" not in settings and {*_CLOSURE} <= {*read_table(first).columns}
    if bare:
        return _closure(path, first, settings)
    names = [settings["nodes"]] if settings.get("nodes") else list(_NODES)
    second = next((folder / n for n in names if n and (folder / n).is_file()), None)
    if second is None or not first.is_file():
        raise DataError(
            f"{path}: a graph needs a table of edges (edges.csv) and one of nodes "
            f"({' or '.join(map(str, names))}) in one folder; name them with "
            'keys={"edges": "...", "nodes": "..."}'
        )
    nodes = read_table(second)
    number, arrays, metadata = _nodes(nodes, settings)
    edges = read_table(first)
    ends = [_end(edges, settings, w, a) for w, a in (("source", SOURCES), ("target", TARGETS))]
    pairs = []
    for name in ends:
        rows = []
        for word, line in zip(edges.columns[name], edges.lines, strict=True):
            if word not in number:
                raise DataError(
                    f"{first}, line {line}, column {name!r}: {second.name} has no node "
                    f"{word[:40]!r}"
                )
            rows.append(number[word])
        pairs.append(rows)
    arrays["edge_index"] = np.array(pairs, dtype=np.int64)
    attributes, features = edges.features(set(ends))
    if features:
        arrays["edge_attr"] = attributes
        metadata["edge_features"] = features
    return Raw(path, arrays, "csv", metadata=metadata, consumed=_CONSUMED)


def _closure(path: Path, file: Path, settings: dict[str, str | None]) -> Raw:
    """Edges alone: their ends are the names of nodes without features."""
    if not file.is_file():
        raise DataError(f"there is no table of edges {file}")
    edges = read_table(file)
    ends = [_end(edges, settings, w, a) for w, a in (("source", SOURCES), ("target", TARGETS))]
    arrays = _trees.closure_of(edges, ends)
    attributes, features = edges.features(set(ends))
    metadata = {}
    if features:
        arrays["edge_attr"] = attributes
        metadata["edge_features"] = features
    return Raw(path, arrays, "csv", metadata=metadata, consumed=_CONSUMED)


def _end(edges: Table, keys: dict[str, str | None], wanted: str, usual: tuple[str, ...]) -> str:
    name = edges.find(wanted, keys, usual)
    if name is None:
        raise DataError(
            f"{edges.path} has no column {wanted!r}; it has {', '.join(edges.columns)}; name it "
            f'with keys={{"{wanted}": "..."}}'
        )
    return name


def _nodes(
    table: Table, keys: dict[str, str | None]
) -> tuple[dict[str, int], dict[str, np.ndarray], dict[str, object]]:
    name = table.find("id", keys, ("node", "node_id"))
    names = [str(k) for k in range(len(table))] if name is None else table.columns[name]
    number = {word: k for k, word in enumerate(names)}
    if len(number) != len(names):
        twice = next(word for k, word in enumerate(names) if number[word] != k)
        raise DataError(f"{table.path}: the node {twice!r} is there twice; leave one out")
    label = table.find("y", keys, LABEL_ALIASES[1:])
    if label is None and "y" not in keys and "y" in table.columns:
        label = "y"
    split = table.find("split", keys, ())
    taken = {n for n in (name, label, split) if n is not None}
    if "y" in keys and label is None:
        taken |= {n for n in table.columns if n.lower() in LABEL_ALIASES}
    values, features = table.features(taken)
    if not features:
        raise DataError(
            f"{table.path} has no columns of features beside {', '.join(sorted(taken))}"
        )
    arrays = {"x": values}
    arrays |= {ours: table.values(n) for ours, n in (("y", label), ("split", split)) if n}
    return number, arrays, {"features": features}


def is_webkb(path: Path) -> bool:
    """Whether a folder has the layout of the WebKB sets."""
    return (path / _WEBKB_NODES).is_file() or (path / _WEBKB_EDGES).is_file()


def read_webkb(path: Path, keys: Keys | None) -> Raw:
    """Reads a folder of Geom-GCN.

    Raises:
        DataError: for a missing file, ragged rows, or numbers that aren't there.
    """
    for name in (_WEBKB_NODES, _WEBKB_EDGES):
        if not (path / name).is_file():
            raise DataError(f"{path} has no {name}, which belongs to this layout")
    folds = _folds(path)
    rows: dict[int, np.ndarray] = {}
    labels: dict[int, int] = {}
    actor = "film" in (path.name, *(name for name, _ in folds))
    for where, words in _rows(path / _WEBKB_NODES, 3):
        node = whole(words[0], where)
        if node in rows:
            raise DataError(f"{where}: the node {node} is there twice")
        rows[node] = _features(words[1], where)
        labels[node] = whole(words[2], where)
    if sorted(rows) != list(range(len(rows))) or not rows:
        raise DataError(f"{path / _WEBKB_NODES}: its {len(rows)} nodes are not numbered from 0 on")
    ordered = [rows[node] for node in range(len(rows))]
    features = _ones(path, ordered) if actor else _stacked(path, ordered)
    edges = []
    for where, words in _rows(path / _WEBKB_EDGES, 2):
        pair = [whole(word, where) for word in words]
        if not all(0 <= node < len(rows) for node in pair):
            raise DataError(f"{where}: the edge {pair} names a node that isn't there")
        edges.append(pair)
    pairs = np.unique(np.array(edges, dtype=np.int64).reshape(-1, 2), axis=0)
    both, divided = (_told(path, keys, name) for name in _WEBKB_KEYS)
    if both:
        pairs = undirected(pairs[pairs[:, 0] != pairs[:, 1]])
    if divided:
        sums = features.sum(axis=1, keepdims=True, dtype=np.int64)
        features = (features / np.maximum(sums, 1)).astype(np.float32)
    arrays = {
        "x": features,
        "edge_index": pairs.T,
        "y": np.array([labels[node] for node in range(len(rows))], dtype=np.int64),
    } | _masks(path, [file for _, file in folds], len(rows))
    told = {"edges_listed": len(edges)}
    return Raw(path, arrays, "webkb", metadata=told, consumed=frozenset(_WEBKB_KEYS))


def _told(path: Path, keys: Keys | None, name: str) -> bool:
    """A setting that is true or false."""
    word = dict(keys or {}).get(name) or "false"
    if word.lower() not in ("true", "false"):
        raise DataError(f"{path}: {name} is {word!r}; expected true or false")
    return word.lower() == "true"


def _features(text: str, where: str) -> np.ndarray:
    if _BITS.match(text):  # thousands of zeros and ones
        return (np.frombuffer(text.encode(), np.uint8)[::2] - ord("0")).astype(np.int64)
    return np.array([whole(word, where) for word in text.split(",")], dtype=np.int64)


def _rows(path: Path, width: int) -> list[tuple[str, list[str]]]:
    """Lines after the line of names, apart at tabs."""
    lines = lines_of(read_text(path))
    found = []
    for place, line in enumerate(lines[1:], start=2):
        if not line.strip() and place == len(lines):
            continue
        words = line.split("\t")
        if len(words) != width:
            raise DataError(f"{path}, line {place} has {len(words)} parts, expected {width}")
        found.append((f"{path}, line {place}", [word.strip() for word in words]))
    return found


def _stacked(path: Path, rows: list[np.ndarray]) -> np.ndarray:
    for node, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path / _WEBKB_NODES}: node {node} has {len(row)} features, node 0 has "
                f"{len(rows[0])}"
            )
    return np.stack(rows)


def _ones(path: Path, rows: list[np.ndarray]) -> np.ndarray:
    """Numbers of ones to zeros and ones; as many columns as the largest number needs."""
    width = max(int(row.max()) for row in rows) + 1
    if min(int(row.min()) for row in rows) < 0 or width > 100_000:
        raise DataError(f"{path / _WEBKB_NODES}: features are numbers from 0 to 99999 here")
    features = np.zeros((len(rows), width), dtype=np.uint8)
    for node, row in enumerate(rows):
        features[node, row] = 1
    return features


def _folds(path: Path) -> list[tuple[str, Path]]:
    """The files of published splits, by fold."""
    found = [(m, file) for file in path.rglob("*.npz") if (m := _FOLD.match(file.name))]
    found.sort(key=lambda pair: int(pair[0]["fold"]))
    numbers = [int(match["fold"]) for match, _ in found]
    if numbers != list(range(len(found))):
        raise DataError(f"{path} has splits with the folds {numbers}, expected 0, 1, 2, ...")
    return [(match["name"], file) for match, file in found]


def _masks(path: Path, files: list[Path], count: int) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _MASKS}
    for file in files:
        arrays = read_npz(file)
        for name in _MASKS:
            mask = arrays.get(name)
            if mask is None or mask.shape != (count,) or mask.dtype.kind not in "biu":
                raise DataError(f"{file} has no {name} of {count} zeros and ones")
            parts[name].append(mask)
    return {name: np.stack(masks) for name, masks in parts.items() if masks}
