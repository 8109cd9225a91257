"""Link prediction: dividing the edges of one graph, with pairs that are no edges beside them.

`splits={"kind": "edges", "fractions": {"train": 0.85, "val": 0.05, "test": 0.1}, "seed": 0}`
divides the pairs of connected nodes, each in one split whatever its directions; `{"kind": "edges"}`
alone takes the division of the file (`edge_split`, a word for each edge), as knowledge graphs have.
In every split, `edge_index` holds the edges to train on (messages go along no others),
`edge_label_index` (2, m) the split's pairs and `edge_label` (m,) 1 for an edge and 0 for none;
`negatives` says how many pairs without an edge there are for each edge, 1 unless said, and 0 where
edges have types (`edge_type`, then also `edge_label_type`) unless said; the pairs without an edge
then take the types of the split's edges in turn.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zoo.datasets._split_tools import cut, fractions_of, generator_of
from zoo.datasets.domains._store import Field, Store
from zoo.errors import ConfigError, DataError, nearest

KIND = "edges"
OWN = "edge_split"  # a field: the number of the split of each edge, in the order of NAMES
NAMES = ("train", "val", "test")
_SETTINGS = ("kind", "fractions", "seed", "negatives")


def divide(store: Store, spec: Mapping[str, Any], source: str) -> dict[str, Store]:
    """The graph of each split.

    Args:
        store: one graph.
        spec: see above.
        source: the file, for messages.

    Returns:
        Stores by split.

    Raises:
        ConfigError: for an ill-formed `spec`.
        DataError: for anything but one graph, a split without edges, or a graph with too few
            unconnected pairs.
    """
    for name in spec:
        if name not in _SETTINGS:
            raise ConfigError(
                f"splits of kind 'edges' take no {name!r}: {nearest(name, _SETTINGS)}"
            )
    edges = store.fields.get("edge_index")
    if edges is None or store.size != 1:
        raise DataError(
            f"{source} has {store.size} samples; splits of kind 'edges' divide the edges of one "
            "graph"
        )
    types = store.fields.get("edge_type")
    negatives = spec.get("negatives", 0 if types is not None else 1)
    if not isinstance(negatives, int) or isinstance(negatives, bool) or negatives < 0:
        raise ConfigError(f"splits.negatives is a whole number from 0 on, not {negatives!r}")
    pairs, owner = _pairs(edges.values) if types is None else (edges.values, None)
    parts = _parts(store, dict(spec), len(pairs), owner, source)
    if "train" not in parts:
        raise ConfigError("splits of kind 'edges' need a split 'train', whose edges are kept")
    for name, part in parts.items():
        if not len(part):
            raise DataError(f"the split {name!r} would have none of the {len(pairs)} edges")
    kept = np.isin(np.arange(len(pairs)) if owner is None else owner, parts["train"])
    count = len(store.fields["x"].values)
    wrong = _unconnected(
        pairs, count, negatives * sum(map(len, parts.values())), generator_of(dict(spec)), source
    )
    made, start = {}, 0
    for name, part in parts.items():
        end = start + negatives * len(part)
        made[name] = _labelled(store, kept, pairs[part], wrong[start:end], part, types)
        start = end
    return made


def digest(parts: Mapping[str, Store]) -> str:
    """SHA-256 of the pairs of each split."""
    result = hashlib.sha256()
    for name in sorted(parts):
        pairs = parts[name].fields["edge_label_index"].values
        result.update(f"{name} {len(pairs)}\n".encode() + pairs.astype("<i8").tobytes())
    return result.hexdigest()


def _pairs(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected pairs, the smaller number first, each once; and the pair of each edge."""
    ordered = np.sort(edges, axis=1)
    pairs, owner = np.unique(ordered, axis=0, return_inverse=True)
    return pairs, owner.reshape(-1)


def _parts(
    store: Store, spec: dict[str, Any], count: int, owner: np.ndarray | None, source: str
) -> dict[str, np.ndarray]:
    """Numbers of the pairs in each split."""
    if "fractions" in spec:
        order = generator_of(spec).permutation(count)
        return {n: np.sort(p) for n, p in cut(order, fractions_of(spec)).items()}
    own = store.fields.get(OWN)
    if own is None:
        raise ConfigError(
            f"{source} has no edge_split of its own; give fractions, such as "
            '{"train": 0.85, "val": 0.05, "test": 0.1}'
        )
    of_pair = own.values
    if owner is not None:
        of_pair = np.zeros(count, dtype=own.values.dtype)
        of_pair[owner] = own.values
        if (of_pair[owner] != own.values).any():
            raise DataError(f"{source}: edge_split puts the two directions of an edge into two")
    return {NAMES[k]: np.flatnonzero(of_pair == k) for k in np.unique(of_pair)}


def _unconnected(
    pairs: np.ndarray, count: int, wanted: int, rng: np.random.Generator, source: str
) -> np.ndarray:
    """Different pairs of different nodes without an edge (wanted, 2), at random."""
    taken = {(int(a), int(b)) for a, b in pairs} | {(int(b), int(a)) for a, b in pairs}
    free = count * (count - 1) // 2 - sum(a < b for a, b in taken)
    if wanted > free // 2:
        raise DataError(
            f"{source} has {free} pairs of nodes without an edge, too few to draw {wanted} of "
            "them; take fewer negatives"
        )
    found: list[tuple[int, int]] = []
    while len(found) < wanted:
        for a, b in np.sort(rng.integers(0, count, size=(wanted, 2)), axis=1).tolist():
            if a != b and (a, b) not in taken and len(found) < wanted:
                taken.add((a, b))
                found.append((a, b))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _labelled(
    store: Store,
    kept: np.ndarray,
    right: np.ndarray,
    wrong: np.ndarray,
    part: np.ndarray,
    types: Field | None,
) -> Store:
    """The graph with its training edges, and the pairs of one split."""
    fields = {name: entry for name, entry in store.fields.items() if name != OWN}
    size = np.array([int(kept.sum())])
    for name in ("edge_index", "edge_attr", "edge_type"):
        if name in fields:
            fields[name] = Field(fields[name].values[kept], size, fields[name].name)
    asked = np.array([len(right) + len(wrong)])
    marks = np.repeat([1, 0], [len(right), len(wrong)])
    fields["edge_label_index"] = Field(np.concatenate([right, wrong]), asked, "edge_label_index")
    fields["edge_label"] = Field(marks, asked, "edge_label")
    if types is not None:
        kinds = types.values[part]
        kinds = np.concatenate([kinds, np.resize(kinds, len(wrong))])
        fields["edge_label_type"] = Field(kinds, asked, "edge_label_type")
    return replace(store, fields=fields, labels=store.labels | {"edge_label"})
