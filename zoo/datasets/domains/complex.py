"""Domain `complex`: simplicial and cell complexes.

A sample is a `ComplexData` (a PyG `Data`): `num_cells` (1, ranks + 1); for each rank k from 1
`boundary_<k>_index` (2, i), row 0 a cell of rank k-1 in the boundary of the cell of rank k in row
1, and `boundary_<k>_sign` (i,), their orientation; features `x_<k>` (cells of rank k, f); `pos`
(vertices, 3) for meshes; and the label `y`, one per sample or per vertex, or `y_<k>` per cell.

Files: meshes (off, obj, ply), whose polygons become cells of rank 2; archives with, for each rank,
`boundary_<k>` (2, i) and `sign_<k>` (i,), or a dense matrix `incidence_<k>` (also `B<k>`) of
-1, 0 and 1; or with `edges` (e, 2) and `faces` (f, corners) by their vertices. One archive may hold
several complexes: `cells_<k>` (samples,) for each rank and `boundary_<k>_counts` (samples,).
"""

from typing import Any

import numpy as np
from torch_geometric.data import Data

from zoo.datasets.domains import _cells
from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._raw import LABEL_ALIASES, Chooser, Keys, Raw, as_labels, shape_error
from zoo.datasets.domains._rows import Layout, joined, sample_field
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

MAX_RANK = 3
_RANKS = range(1, MAX_RANK + 1)


class ComplexData(Data):  # type: ignore[misc]
    """One complex, or several joined by PyG's `Batch`."""

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """What the entries of a field grow by when complexes are joined."""
        if key.startswith("boundary_") and key.endswith("_index"):
            rank = int(key.split("_")[1])
            return self.num_cells[0, rank - 1 : rank + 1].reshape(2, 1)
        if key == "num_cells":
            return 0
        return super().__inc__(key, value, *args, **kwargs)

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Along which axis a field is joined."""
        if key.startswith("boundary_") and key.endswith("_index"):
            return 1
        if key == "num_cells":
            return 0
        return super().__cat_dim__(key, value, *args, **kwargs)

    @property
    def num_nodes(self) -> int | None:
        """Vertices."""
        return int(self.num_cells[:, 0].sum()) if "num_cells" in self else None


def build(raw: Raw, keys: Keys | None) -> Store:
    """Complexes.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, _known())
    fields: dict[str, Field] = {}
    pos = chooser.floats("pos", ("points", "positions", "coords", "vertices"))
    if pos is not None and pos.ndim != 2:
        raise shape_error(chooser.where("pos"), pos.shape, "(vertices, d)")
    incidence = _listed(chooser) or _from_cells(chooser)
    if not incidence:
        raise chooser.lacks("boundary_1", ("incidence_1", "B1", "edges", "faces"))
    cells = _cell_counts(chooser, incidence, pos)
    size = len(cells)
    for rank, (rows, signs, counts) in incidence.items():
        where = f"{raw.path}: boundary_{rank}"
        fields[f"boundary_{rank}_index"] = Field(rows, counts, where)
        fields[f"boundary_{rank}_sign"] = Field(signs, counts, where)
    fields["num_cells"] = Field(cells, name=f"{raw.path}: cells")
    if pos is not None:
        fields["pos"] = _rank(cells, 0).rows(pos, chooser.where("pos"), 1)
    for rank in range(cells.shape[1]):
        features = chooser.floats(f"x_{rank}", ("x", "features") if rank == 0 else ())
        if features is not None:
            where = chooser.where(f"x_{rank}", ("x", "features"))
            fields[f"x_{rank}"] = _rank(cells, rank).rows(features, where, 1)
    label, classes, per_rank = _labels(chooser, cells)
    store = joined(chooser, size, fields | per_rank, label, classes, rows=None)
    labels = store.labels | frozenset(per_rank)
    return Store(**{**store.__dict__, "labels": labels})


def _known() -> list[str]:
    names = ["pos", "edges", "faces", "face_sizes", *(f"x_{k}" for k in range(MAX_RANK + 1))]
    for rank in _RANKS:
        names += [f"boundary_{rank}", f"sign_{rank}", f"incidence_{rank}", f"y_{rank}"]
    return names


def _rank(cells: np.ndarray, rank: int) -> Layout:
    return Layout(cells[:, rank], False, f"cell of rank {rank}")


Parts = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _listed(chooser: Chooser) -> Parts:
    """Incidences given as lists or as matrices, by rank: (rows (i, 2), signs, counts)."""
    found: Parts = {}
    for rank in _RANKS:
        name, matrix_name = f"boundary_{rank}", f"incidence_{rank}"
        pairs = chooser.whole(name)
        matrix = chooser.find(matrix_name, (f"B{rank}",))
        if pairs is None and matrix is None:
            continue
        where = chooser.where(name if pairs is not None else matrix_name, (f"B{rank}",))
        if pairs is None or matrix is not None:
            if pairs is not None or matrix is None:
                raise DataError(f"{where}: give {name} or {matrix_name}, not both")
            rows, signs = _cells.dense(matrix, where)
        else:
            if pairs.ndim != 2 or pairs.shape[0] != 2:
                raise shape_error(where, pairs.shape, "(2, incidences)")
            rows = pairs.T
            given = chooser.floats(f"sign_{rank}", (f"boundary_{rank}_sign",))
            signs = np.ones(len(rows)) if given is None else given
            if signs.shape != (len(rows),):
                raise shape_error(chooser.where(f"sign_{rank}"), signs.shape, f"({len(rows)},)")
        counts = chooser.whole(f"boundary_{rank}_counts")
        if counts is None:
            counts = np.array([len(rows)])
        elif counts.ndim != 1 or (counts < 0).any() or sum(counts.tolist()) != len(rows):
            raise DataError(f"{where} has {len(rows)} entries; its counts don't add up to that")
        if rank > 1 and rank - 1 not in found:
            raise DataError(f"{where}: there is no boundary_{rank - 1}; give every rank from 1 on")
        found[rank] = (rows, signs, counts)
    return found


def _from_cells(chooser: Chooser) -> Parts:
    """Incidences of edges and polygons that are given by their vertices."""
    edges = chooser.whole("edges")
    faces = chooser.whole("faces", ("face", "triangles"))
    sizes = chooser.whole("face_sizes")
    if edges is None and faces is None:
        return {}
    where = chooser.where("faces" if faces is not None else "edges", ("face", "triangles"))
    if edges is not None and (edges.ndim != 2 or edges.shape[1] != 2):
        raise shape_error(chooser.where("edges"), edges.shape, "(edges, 2)")
    if faces is not None and sizes is None:
        if faces.ndim != 2 or faces.shape[1] < 3:
            raise shape_error(where, faces.shape, "(faces, corners), 3 corners or more")
        sizes = np.full(len(faces), faces.shape[1])
    corners = np.zeros(0, np.int64) if faces is None else faces.ravel()
    sizes = np.zeros(0, np.int64) if sizes is None else sizes
    _cells.check_sizes(corners, sizes, where)
    further = np.zeros((0, 2), np.int64) if edges is None else edges
    _, lower, upper = _cells.polygons(corners, sizes, further, where)
    parts = {1: (*lower, np.array([len(lower[0])]))}
    if faces is not None:
        parts[2] = (*upper, np.array([len(upper[0])]))
    return parts


def _cell_counts(chooser: Chooser, parts: Parts, pos: np.ndarray | None) -> np.ndarray:
    """How many cells of each rank each sample has (samples, ranks + 1)."""
    size = len(parts[1][2])
    columns = []
    for rank in range(len(parts) + 1):
        given = chooser.whole(f"cells_{rank}")
        if given is None:
            if size != 1:
                raise chooser.lacks(f"cells_{rank}")
            given = np.array([_count(chooser, parts, rank, pos)])
        given = given[None] if given.ndim == 0 else given
        if given.shape != (size,) or (given < 0).any():
            raise shape_error(chooser.where(f"cells_{rank}"), given.shape, f"({size},)")
        columns.append(given)
        if rank and len(parts[rank][2]) != size:
            raise DataError(f"{chooser.raw.path}: boundary_{rank}_counts has not {size} entries")
    cells = np.stack(columns, axis=1)
    if not cells[:, 0].all():
        raise DataError(f"{chooser.raw.path} has a complex without vertices; leave it out")
    return cells


def _count(chooser: Chooser, parts: Parts, rank: int, pos: np.ndarray | None) -> int:
    if rank == 0 and pos is not None:
        return len(pos)
    names = (f"incidence_{rank}", f"B{rank}"), (f"incidence_{rank + 1}", f"B{rank + 1}")
    for axis, pair in ((1, names[0]), (0, names[1])):
        array = next((chooser.raw.arrays[n] for n in pair if n in chooser.raw.arrays), None)
        if array is not None:
            return int(array.shape[axis])
    features = chooser.raw.arrays.get(f"x_{rank}")
    if features is not None and features.ndim:
        return len(features)
    below = parts[rank][0][:, 1] if rank in parts else np.zeros(0, np.int64)
    above = parts[rank + 1][0][:, 0] if rank + 1 in parts else np.zeros(0, np.int64)
    return int(max(below.max(initial=-1), above.max(initial=-1))) + 1


def _labels(
    chooser: Chooser, cells: np.ndarray
) -> tuple[Field | None, tuple[str, ...] | None, dict[str, Field]]:
    per_rank: dict[str, Field] = {}
    for rank in range(1, cells.shape[1]):
        array = chooser.find(f"y_{rank}")
        if array is not None:
            where = chooser.where(f"y_{rank}")
            per_rank[f"y_{rank}"] = _rank(cells, rank).rows(as_labels(array, None, where)[0], where)
    array, classes = chooser.labels()
    if array is None:
        return None, None, per_rank
    where, form = chooser.where("y", LABEL_ALIASES), _rank(cells, 0)
    if form.has_rows(array):
        return form.rows(array, where), classes, per_rank
    return sample_field(array, len(cells), where, form), classes, per_rank


def examine(store: Store, indices: np.ndarray, source: str) -> None:
    """Refuses cells that aren't there, and boundaries that have a boundary."""
    cells = store.fields["num_cells"].values
    for index in indices.tolist():
        before: _cells.Incidence | None = None
        for rank in range(1, cells.shape[1]):
            entry = store.fields[f"boundary_{rank}_index"]
            rows, sizes = entry.of(index), cells[index]
            signs = store.fields[f"boundary_{rank}_sign"].of(index)
            bad = ((rows < 0) | (rows >= sizes[rank - 1 : rank + 1])).any(axis=1)
            if bad.any():
                raise DataError(
                    f"{entry.name} of sample {index} has the pair {rows[bad.argmax()].tolist()}, "
                    f"but there are {sizes[rank - 1]} cells of rank {rank - 1} and {sizes[rank]} "
                    f"of rank {rank}, counted from 0"
                )
            if before is not None and ((signs < 0).any() or (before[1] < 0).any()):
                if not _cells.boundary_is_closed(before, (rows, signs)):
                    raise DataError(
                        f"{entry.name} of sample {index}: the boundary of a cell's boundary is not "
                        "zero; correct the signs, or leave all signs out"
                    )
            before = (rows, signs)


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Incidences, or faces."""
    names = [f"{stem}{rank}" for rank in _RANKS for stem in ("boundary_", "incidence_", "B")]
    return has(arrays, *names, "faces", "triangles") and not has(arrays, "edge_index")


COMPLEX = Domain(
    name="complex",
    build=build,
    matches=matches,
    sign="incidences (boundary_1, incidence_1, B1) or faces",
    container=ComplexData,
    examine=examine,
)
