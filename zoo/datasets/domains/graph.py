"""Domain `graph`: nodes with features, edges, and labels of nodes, edges or whole graphs.

A sample is a PyG `Data` with `x` (n, f), `edge_index` (2, e) (row 0 the source, row 1 the target),
`edge_attr` (e, f), `edge_type` (e,) and `edge_label` (e,) where they are given, `y` (one per node
or per graph), and where splits divide the nodes of the only graph `train_mask`, `val_mask`,
`test_mask` (n,), or (n, folds) while no fold is chosen. The only graph may have pairs of nodes to
be scored, `edge_label_index` (2, m); `edge_label` (m,) then belongs to them. For splits of edges
see `zoo.datasets.domains._links`.

Archives: `x`, `edge_index`, `y`, masks; several graphs with `counts` (nodes of each) and
`edge_counts`, edges numbered from 0 in each graph. In the layout of heterophilous-graphs
(`node_features`, `node_labels`, `edges` (e, 2), `train_masks` (folds, n)) every pair in `edges`
stands for both directions; pairs that are there twice count once.
"""

import numpy as np
from torch_geometric.data import Data

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._links import NAMES, OWN
from zoo.datasets.domains._raw import Chooser, Keys, Raw, as_labels, shape_error
from zoo.datasets.domains._rows import Layout, joined, layout, row_labels
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

FEATURES = ("node_features", "features", "node_feat")
LABELS = ("node_labels", "node_label")
PAIRS = "edge_label_index"


def build(raw: Raw, keys: Keys | None) -> Store:
    """Graphs.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    keys = dict(keys or {})
    if "y" not in keys and "y" not in raw.arrays:
        name = next((n for n in LABELS if n in raw.arrays), None)
        keys |= {"y": name} if name else {}
    names = ("x", "edge_index", "edges", "edge_attr", "edge_label", "edge_type", OWN, PAIRS)
    chooser = Chooser(raw, keys, names)
    features = chooser.needed("x", FEATURES)
    where = chooser.where("x", FEATURES)
    form = layout(chooser, features, where, "node")
    fields = {"x": form.rows(features, where, 1)}
    fields["edge_index"] = edges = _edges(chooser, form)
    attributes = chooser.floats("edge_attr", ("edge_features", "edge_weight"))
    if attributes is not None:
        place = chooser.where("edge_attr", ("edge_features", "edge_weight"))
        fields["edge_attr"] = _per_edge(attributes, edges, place)
    for name in ("edge_type", OWN):
        numbers = chooser.whole(name)
        if numbers is not None:
            fields[name] = _numbers(numbers, edges, chooser.where(name), name)
    if chooser.name(PAIRS) is not None:
        fields[PAIRS] = _pairs(chooser, form)
    marks = chooser.find("edge_label", ("edge_labels",))
    if marks is not None:
        place = chooser.where("edge_label", ("edge_labels",))
        labelled = fields.get(PAIRS, edges)
        fields["edge_label"] = _per_edge(as_labels(marks, None, place)[0], labelled, place)
    label, classes = row_labels(chooser, form)
    store = joined(chooser, form.size, fields, label, classes, rows="x")
    if marks is None:
        return store
    return Store(**{**store.__dict__, "labels": store.labels | {"edge_label"}})


def _edges(chooser: Chooser, form: Layout) -> Field:
    """Pairs (e, 2), graph after graph."""
    both = chooser.name("edge_index") is None and chooser.name("edges") is not None
    name = "edges" if both else "edge_index"
    array, where = chooser.whole(name), chooser.where(name)
    if array is None:
        raise chooser.lacks("edge_index", ("edges",))
    counts = chooser.whole("edge_counts")
    if both:
        if array.ndim != 2 or array.shape[1] != 2 or form.size != 1 or counts is not None:
            raise shape_error(where, array.shape, "(edges, 2), the pairs of one graph")
        pairs = undirected(array)
        return Field(pairs, np.array([len(pairs)]), where)
    if array.ndim == 3 and form.stacked and array.shape[:2] == (form.size, 2):
        per_graph = np.full(form.size, array.shape[2])
        return Field(array.transpose(0, 2, 1).reshape(-1, 2), per_graph, where)
    if array.ndim != 2 or array.shape[0] != 2:
        raise shape_error(where, array.shape, "(2, edges)")
    if counts is None:
        if form.size != 1:
            raise chooser.lacks("edge_counts")
        counts = np.array([array.shape[1]])
    fits = counts.shape == (form.size,) and (counts >= 0).all()
    if not fits or sum(counts.tolist()) != array.shape[1]:
        raise DataError(
            f"{chooser.where('edge_counts')} must say for each of {form.size} graphs how many of "
            f"the {array.shape[1]} edges it has"
        )
    return Field(array.T, counts, where)


def _pairs(chooser: Chooser, form: Layout) -> Field:
    """Pairs of nodes (m, 2) to be scored or labelled, of the only graph."""
    array, where = chooser.whole(PAIRS), chooser.where(PAIRS)
    if array is None or array.ndim != 2 or array.shape[0] != 2 or form.size != 1:
        found = () if array is None else array.shape
        raise shape_error(where, found, "(2, pairs) of one graph")
    return Field(array.T, np.array([array.shape[1]]), where)


def undirected(pairs: np.ndarray) -> np.ndarray:
    """Both directions of every pair, each once, in ascending order."""
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def _per_edge(array: np.ndarray, edges: Field, where: str) -> Field:
    total = len(edges.values)
    if array.ndim == 0 or len(array) != total:
        raise shape_error(where, array.shape, f"({total}, ...): one for each edge")
    return Field(array, edges.counts, where)


def _numbers(array: np.ndarray, edges: Field, where: str, name: str) -> Field:
    """Numbers of types, or of splits, of the edges."""
    entry = _per_edge(array, edges, where)
    most = len(NAMES) if name == OWN else np.inf
    if array.ndim != 1 or (array < 0).any() or (array >= most).any():
        words = f", 0 to {most - 1} for {', '.join(NAMES)}" if name == OWN else " from 0 on"
        raise DataError(f"{where} must hold one whole number for each edge{words}")
    return entry


def examine(store: Store, indices: np.ndarray, source: str) -> None:
    """Refuses edges of nodes that aren't there."""
    for name in ("edge_index", PAIRS):
        if name in store.fields:
            _in_range(store.fields[name], store.fields["x"])


def _in_range(edges: Field, nodes: Field) -> None:
    if edges.counts is None or nodes.counts is None:
        return
    limit = np.repeat(nodes.counts, edges.counts)[:, None]
    bad = ((edges.values < 0) | (edges.values >= limit)).any(axis=1)
    if bad.any():
        graph, row = edges.owner(int(bad.argmax()))
        raise DataError(
            f"{edges.name}: edge {row} of graph {graph} is {edges.values[bad.argmax()].tolist()}, "
            f"but there are {nodes.counts[graph]} nodes, counted from 0"
        )


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Node features and edges."""
    return has(arrays, "x", *FEATURES) and has(arrays, "edge_index", "edges")


GRAPH = Domain(
    name="graph",
    build=build,
    matches=matches,
    sign="node features (x, node_features) and edges (edge_index, edges)",
    container=Data,
    examine=examine,
)
