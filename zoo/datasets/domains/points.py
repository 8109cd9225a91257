"""Domain `points`: clouds of points.

A sample is a PyG `Data` with `pos` (n, 3), features `x` (n, f) where there are any, `face` (3, f)
for the triangles of a mesh (faces with more corners become fans of triangles), and the label `y`:
one per sample, or one per point. From text formats, features are the columns after the positions,
listed in `metadata["features"]`.
"""

import numpy as np
from torch_geometric.data import Data

from zoo.datasets.domains._cells import check_sizes
from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._raw import Chooser, Keys, Raw, shape_error
from zoo.datasets.domains._rows import joined, layout, row_labels
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

POSITIONS = ("points", "positions", "coords", "xyz")
FEATURES = ("features", "normals")
_MOVING = ("vel", "velocity", "velocities", "v")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Clouds of points.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, ("pos", "x", "face", "face_sizes", "face_counts"))
    pos, where = chooser.needed("pos", POSITIONS), chooser.where("pos", POSITIONS)
    form = layout(chooser, pos, where, "point")
    if pos.shape[-1] != 3:
        raise shape_error(where, pos.shape, "3 coordinates per point")
    fields = {"pos": form.rows(pos, where, 1)}
    features = chooser.floats("x", FEATURES)
    if features is not None:
        fields["x"] = form.rows(features, chooser.where("x", FEATURES), 1)
    face = _faces(chooser, fields["pos"])
    if face is not None:
        fields["face"] = face
    label, classes = row_labels(chooser, form)
    return joined(chooser, form.size, fields, label, classes, rows="pos")


def _faces(chooser: Chooser, pos: Field) -> Field | None:
    """Triangles (f, 3) by their corners, from (3, f) or from lists of corners."""
    corners = chooser.whole("face", ("faces",))
    sizes = chooser.whole("face_sizes")
    counts = chooser.whole("face_counts")
    if corners is None:
        return None
    where = chooser.where("face", ("faces",))
    size = 0 if pos.counts is None else len(pos.counts)
    if sizes is None:
        if corners.ndim != 2 or corners.shape[1] != 3 or size != 1:
            raise shape_error(where, corners.shape, "(faces, 3) corners of one sample's triangles")
        sizes = np.full(len(corners), 3)
    check_sizes(corners, sizes, where)
    triangles = fans(corners.ravel(), sizes)
    if counts is None:
        if size != 1:
            raise chooser.lacks("face_counts")
        per_sample = np.array([len(triangles)])
    else:
        if counts.shape != (size,) or (counts < 0).any() or sum(counts.tolist()) != len(sizes):
            raise DataError(f"{where}: face_counts must list the faces of each of {size} samples")
        owner = np.repeat(np.arange(size), counts)
        per_sample = np.bincount(owner, weights=sizes - 2, minlength=size).astype(np.int64)
    return Field(triangles, per_sample, where)


def fans(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Triangles (t, 3) of polygons: the first corner with each pair of the others."""
    starts = np.cumsum(sizes) - sizes
    inside = sizes - 2
    first = np.repeat(starts, inside)
    steps = np.arange(inside.sum()) - np.repeat(np.cumsum(inside) - inside, inside)
    places = np.stack([first, first + steps + 1, first + steps + 2], axis=1)
    return np.asarray(corners[places])


def examine(store: Store, indices: np.ndarray, source: str) -> None:
    """Refuses triangles whose corners aren't there."""
    face, pos = store.fields.get("face"), store.fields["pos"]
    if face is None or face.counts is None or pos.counts is None:
        return
    limit = np.repeat(pos.counts, face.counts)[:, None]
    bad = ((face.values < 0) | (face.values >= limit)).any(axis=1)
    if bad.any():
        sample, row = face.owner(int(bad.argmax()))
        raise DataError(
            f"{face.name}: a face of sample {sample} has the corners "
            f"{face.values[bad.argmax()].tolist()}, but there are {pos.counts[sample]} points, "
            "counted from 0"
        )


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Positions in space, without velocities, elements or edges."""
    others = (*_MOVING, "z", "Z", "numbers", "atomic_numbers", "nuclear_charges", "edge_index")
    name = next((n for n in ("pos", *POSITIONS) if n in arrays), None)
    if name is None or has(arrays, *others, "edges", "cells", "boundary_1"):
        return False
    return arrays[name].ndim in (2, 3) and arrays[name].shape[-1] == 3 and not has(arrays, "faces")


POINTS = Domain(
    name="points",
    build=build,
    matches=matches,
    sign="positions (pos, points, xyz) with 3 coordinates",
    container=Data,
    examine=examine,
)
