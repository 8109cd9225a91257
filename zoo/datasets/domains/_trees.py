"""Graphs of hyperbolic papers as they are published: HGCN's folders, WordNet's closure, triples.

HGCN (Chami et al., 2019): `<name>.edges.csv` (two names a line, no header), `<name>.feats.npz` (a
SciPy sparse matrix) and `<name>.labels.npy`. Nodes are numbered as they first appear among the
edges, edges go both ways. `disease_nc` brings the authors' division with their seed 1234. Their
`airport.p` is a pickled graph of networkx, read by `zoo.datasets.domains._pickles`.

WordNet (Nickel and Kiela, 2017): pairs of a word and one above it, as `noun_closure.tsv` (no
header) or a .csv with the columns id1, id2, weight. Edges go from the first to the second.

Knowledge graphs (WN18RR, FB15k-237): `train.txt`, `valid.txt`, `test.txt` with head, relation and
tail in words, or with a line that counts and then the numbers of head, tail and relation; or
OpenKE's `train2id.txt`, ..., with `entity2id.txt` and `relation2id.txt`. Divided into splits by
`splits={"kind": "edges"}` (`zoo.datasets.domains._links`).

Nodes without features have `x` (n, 0); their names are the column `name` of the rows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zoo.datasets._archive import read_npz
from zoo.datasets.domains._arrays import read_npy
from zoo.datasets.domains._csv import Table
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import SHOWN, lines_of, read_text, whole
from zoo.datasets.domains.graph import undirected
from zoo.errors import DataError

_EDGES, _FEATURES, _LABELS = ".edges.csv", ".feats.npz", ".labels.npy"
_PARTS = ("train", "valid", "test")
_LARGEST = 1 << 28  # entries of a matrix of features
# (validation, test) shares of the smaller class, and the seed, of HGCN's node classification
_AUTHORS = {"disease_nc": (0.10, 0.60, 1234)}


def hgcn_name(path: Path) -> str | None:
    """The name of HGCN's set in a folder, or None."""
    names = sorted(file.name[: -len(_EDGES)] for file in path.glob(f"*{_EDGES}"))
    return names[0] if len(names) == 1 and (path / f"{names[0]}{_FEATURES}").is_file() else None


def is_hgcn(path: Path) -> bool:
    """Whether a folder has the layout of HGCN's disease sets."""
    return hgcn_name(path) is not None


def read_hgcn(path: Path, keys: Keys | None) -> Raw:
    """Reads a folder of HGCN.

    Raises:
        DataError: for a missing or damaged file, or files that don't fit each other.
    """
    name = hgcn_name(path)
    if name is None:
        raise DataError(f"{path} has no pair of <name>{_EDGES} and <name>{_FEATURES}")
    edges = path / f"{name}{_EDGES}"
    pairs, names = _numbered(_rows(edges, ",", (2,)), edges)
    x = sparse_matrix(path / f"{name}{_FEATURES}")
    if len(x) != len(names):
        raise DataError(f"{path}: {len(x)} rows of features, but the edges name {len(names)} nodes")
    arrays = {"x": x, "edge_index": undirected(pairs).T, "name": np.array(names)}
    labels = path / f"{name}{_LABELS}"
    if labels.is_file():
        arrays["y"] = _class_numbers(read_npy(labels), labels, len(names))
        arrays |= _division(name, arrays["y"])
    return Raw(path, arrays, "hgcn")


def _division(name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The authors' split: the same number of both classes to validate and to test on."""
    if name not in _AUTHORS or not np.isin(labels, (0, 1)).all():
        return {}
    val, test, seed = _AUTHORS[name]
    draw = np.random.RandomState(seed)  # the generator they use; its stream is fixed
    classes = [np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)]
    for members in classes:
        draw.shuffle(members)
    smaller = min(map(len, classes))
    first, second = round(val * smaller), round(val * smaller) + round(test * smaller)
    cuts = [np.split(members, [first, second]) for members in classes]
    names = ("val_idx", "test_idx", "train_idx")
    return {n: np.sort(np.concatenate(part)) for n, part in zip(names, zip(*cuts, strict=True),
                                                              strict=True)}  # fmt: skip


def _class_numbers(array: np.ndarray, path: Path, count: int) -> np.ndarray:
    """Labels as whole numbers; the published ones are floats."""
    if array.shape != (count,):
        raise DataError(f"{path} has shape {array.shape}, expected ({count},), one for each node")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (np.abs(array) < 2**31).all()):
            raise DataError(f"{path} holds labels that are NaN or huge")
        if (array == np.rint(array)).all():
            return array.astype(np.int64)
    return array


def sparse_matrix(path: Path) -> np.ndarray:
    """A matrix that SciPy saved sparse (csr, csc or coo), dense.

    Raises:
        DataError: for another content, numbers out of range, or one too large to be dense.
    """
    arrays = read_npz(path)
    kind = str(arrays["format"].item()) if arrays.get("format", np.zeros(2)).size == 1 else ""
    kind = kind.removeprefix("b'").removesuffix("'")
    known = {"csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "coo": ("row", "col")}
    names = known.get(kind)
    if names is None or not {*names, "data", "shape"} <= set(arrays):
        raise DataError(f"{path} is no sparse matrix of SciPy (csr, csc or coo)")
    shape, data = arrays["shape"], arrays["data"]
    fits = shape.shape == (2,) and shape.dtype.kind in "iu" and data.ndim == 1
    if not fits or not all(arrays[n].ndim == 1 and arrays[n].dtype.kind in "iu" for n in names):
        raise DataError(f"{path} is a sparse matrix with ill-shaped parts; it is damaged")
    size = [int(n) for n in shape]
    if min(size) < 1 or size[0] * size[1] > _LARGEST or data.dtype.kind not in "biuf":
        raise DataError(f"{path} says shape {size}; expected numbers, at most {_LARGEST} of them")
    row, column = _coordinates(arrays, kind, size, path)
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    if len(row) != len(data) or len(column) != len(data) or not inside.all():
        raise DataError(f"{path}: its numbers of rows and columns don't fit its shape {size}")
    dense = np.zeros(size)
    np.add.at(dense, (row, column), data.astype(np.float64))
    return dense


def _coordinates(
    arrays: dict[str, np.ndarray], kind: str, size: list[int], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each entry."""
    if kind == "coo":
        return arrays["row"].astype(np.int64), arrays["col"].astype(np.int64)
    starts, inner = arrays["indptr"].astype(np.int64), arrays["indices"].astype(np.int64)
    steps = np.diff(starts)
    lines = size[0] if kind == "csr" else size[1]
    if len(starts) != lines + 1 or starts[0] != 0 or (steps < 0).any() or starts[-1] != len(inner):
        raise DataError(f"{path}: its index pointer doesn't fit; the file is damaged")
    outer = np.repeat(np.arange(lines), steps)
    return (outer, inner) if kind == "csr" else (inner, outer)


def read_closure(path: Path, keys: Keys | None) -> Raw:
    """Reads pairs of words, one pair a line, with tabs between.

    Raises:
        DataError: for another number of words.
    """
    pairs, names = _numbered(_rows(path, "\t", (2,)), path)
    return Raw(path, _nameless(names) | {"edge_index": pairs.T}, "closure")


def closure_of(table: Table, ends: Sequence[str]) -> dict[str, np.ndarray]:
    """The same from a table with a line of names."""
    first, second = (table.columns[name] for name in ends)
    rows = [[a, b] for a, b in zip(first, second, strict=True)]
    pairs, names = _numbered(((f"{table.path}", row) for row in rows), table.path)
    return _nameless(names) | {"edge_index": pairs.T}


def is_triples(path: Path) -> bool:
    """Whether a folder holds the triples of a knowledge graph."""
    return any(_three(path, suffix) for suffix in ("2id", ""))


def _three(path: Path, suffix: str) -> bool:
    return all((path / f"{part}{suffix}.txt").is_file() for part in _PARTS)


def read_triples(path: Path, keys: Keys | None) -> Raw:
    """Reads a folder of triples in any of the three layouts.

    Raises:
        DataError: for a missing file, a line of another length, or a number that isn't there.
    """
    entities: list[str] | None = None
    relations: list[str] | None = None
    if _three(path, "2id"):
        entities = _listed(path / "entity2id.txt")
        relations = _listed(path / "relation2id.txt")
        files = [path / f"{part}2id.txt" for part in _PARTS]
        parts = [_counted(file) for file in files]
    elif not _three(path, ""):
        raise DataError(f"{path} has no {', '.join(f'{part}.txt' for part in _PARTS)}")
    else:
        files = [path / f"{part}.txt" for part in _PARTS]
        heads = [lines_of(read_text(file))[0].split() for file in files]
        if all(len(head) == 1 for head in heads):
            parts = [_counted(file) for file in files]
        else:
            parts, entities, relations = _worded(files)
    triples = np.concatenate(parts)
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    count = int(triples[:, :2].max()) + 1 if entities is None else len(entities)
    kinds = int(triples[:, 2].max()) + 1 if relations is None else len(relations)
    _check_triples(path, triples, count, kinds)
    arrays = {
        "x": np.zeros((count, 0), dtype=np.float32),
        "edge_index": triples[:, :2].T,
        "edge_type": triples[:, 2],
        "edge_split": owner,
    }
    if entities is not None:
        arrays["name"] = np.array(entities)
    metadata = {"relations": relations or [str(k) for k in range(kinds)], "entities": count}
    return Raw(path, arrays, "triples", metadata=metadata)


def _check_triples(path: Path, triples: np.ndarray, count: int, kinds: int) -> None:
    bad = (triples < 0).any(axis=1) | (triples[:, :2] >= count).any(axis=1)
    bad |= triples[:, 2] >= kinds
    if bad.any():
        raise DataError(
            f"{path}: the triple {triples[bad.argmax()].tolist()} (head, tail, relation) names "
            f"something that isn't there: {count} entities, {kinds} relations"
        )
    if count > 100 * (len(triples) + 1):
        raise DataError(f"{path} names the entity {count - 1}, but has {len(triples)} triples")


def _counted(path: Path) -> np.ndarray:
    """Triples of numbers (n, 3) after a line that counts them."""
    lines = _filled(path)
    if not lines:
        raise DataError(f"{path} is empty; its first line counts the triples")
    count = whole(lines[0].strip(), f"{path}, line 1")
    rows = [
        [whole(word, f"{path}, line {place}") for word in line.split()]
        for place, line in enumerate(lines[1:], start=2)
    ]
    if len(rows) != count or any(len(row) != 3 for row in rows):
        raise DataError(
            f"{path} says {count} triples and has {len(rows)} lines; each must hold the numbers of "
            "head, tail and relation"
        )
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _worded(files: list[Path]) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Triples in words: head, relation, tail; numbered in the order of their first use."""
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    parts = []
    for file in files:
        rows = [
            (
                entities.setdefault(head, len(entities)),
                entities.setdefault(tail, len(entities)),
                relations.setdefault(relation, len(relations)),
            )
            for _, (head, relation, tail) in _rows(file, "\t", (3,))
        ]
        parts.append(np.array(rows, dtype=np.int64).reshape(-1, 3))
    return parts, list(entities), list(relations)


def _listed(path: Path) -> list[str]:
    """Names by their number, of lines "name<tab>number" after a line that counts them."""
    if not path.is_file():
        raise DataError(f"there is no {path}, which belongs to this layout")
    lines = _filled(path)
    count = whole(lines[0].strip(), f"{path}, line 1") if lines else 0
    names: dict[int, str] = {}
    for place, line in enumerate(lines[1:], start=2):
        words = line.rsplit("\t", 1) if "\t" in line else line.rsplit(None, 1)
        if len(words) != 2:
            raise DataError(f"{path}, line {place} has no name and number: {line[:SHOWN]!r}")
        names[whole(words[1].strip(), f"{path}, line {place}")] = words[0].strip()
    if sorted(names) != list(range(count)) or not names or len(lines) != count + 1:
        raise DataError(f"{path} says {count} names, and doesn't number as many from 0 on")
    return [names[k] for k in range(count)]


def _filled(path: Path) -> list[str]:
    """Lines of a text, empty ones at its end left out."""
    lines = lines_of(read_text(path))
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _rows(path: Path, separator: str, widths: tuple[int, ...]) -> Iterator[tuple[str, list[str]]]:
    """Words of each line, with its place for messages."""
    lines = _filled(path)
    if not lines:
        raise DataError(f"{path} is empty")
    for place, line in enumerate(lines, start=1):
        words = [word.strip() for word in line.split(separator)]
        if len(words) not in widths or "" in words:
            raise DataError(
                f"{path}, line {place} should hold {widths[0]} words with {separator!r} between: "
                f"{line[:SHOWN]!r}"
            )
        yield f"{path}, line {place}", words


def _numbered(rows: Iterator[tuple[str, list[str]]], path: Path) -> tuple[np.ndarray, list[str]]:
    """Pairs of numbers (n, 2), and the names in the order of their first use."""
    number: dict[str, int] = {}
    pairs = [[number.setdefault(word, len(number)) for word in words] for _, words in rows]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), list(number)


def _nameless(names: list[str]) -> dict[str, np.ndarray]:
    """Nodes without features, with their names."""
    return {"x": np.zeros((len(names), 0), dtype=np.float32), "name": np.array(names)}
