"""From polygons and simplices to incidence: which cell of rank k-1 bounds which cell of rank k.

Edges run from their lower to their higher corner; an edge counts +1 in a polygon that runs along
it and -1 in one that runs against it, so that the boundary of a boundary is zero.
"""

import numpy as np
from scipy.sparse import csr_array

from zoo.errors import DataError

Incidence = tuple[np.ndarray, np.ndarray]


def polygons(
    corners: np.ndarray, sizes: np.ndarray, edges: np.ndarray, where: str
) -> tuple[np.ndarray, Incidence, Incidence]:
    """Edges and incidences of polygons, and of further edges.

    Args:
        corners: of all polygons, one after another.
        sizes: corners of each polygon (f,), 3 or more.
        edges: further edges (e, 2), for wires without faces.
        where: for messages.

    Returns:
        Edges (e, 2), ascending; (rows, signs) of vertices in edges, rows (2 e, 2); and of edges in
        polygons.

    Raises:
        DataError: for a polygon that runs along one edge twice, or an edge from a vertex to itself.
    """
    starts = np.cumsum(sizes) - sizes
    face = np.repeat(np.arange(len(sizes)), sizes)
    following = np.arange(1, len(corners) + 1)
    following[starts + sizes - 1] = starts
    sides = np.stack([corners, corners[following]], axis=1) if len(corners) else np.zeros((0, 2))
    sides = sides.astype(np.int64)
    every = np.concatenate([sides, edges.astype(np.int64).reshape(-1, 2)])
    loops = every[:, 0] == every[:, 1]
    if loops.any():
        raise DataError(
            f"{where} names vertex {every[loops.argmax(), 0]} twice in a row, which makes no edge; "
            "remove the repeated corner"
        )
    low = np.sort(every, axis=1)
    unique, number = np.unique(low, axis=0, return_inverse=True)
    number = number.reshape(-1)[: len(sides)]
    pairs = np.stack([number, face], axis=1)
    if len(np.unique(pairs, axis=0)) != len(pairs):
        order = np.lexsort((number, face))
        twice = (np.diff(pairs[order], axis=0) == 0).all(axis=1)
        raise DataError(
            f"{where}: face {pairs[order][int(twice.argmax()), 1]} runs along one edge twice; "
            "split it into simple polygons"
        )
    signs = np.where(sides[:, 0] < sides[:, 1], 1.0, -1.0)
    return unique.reshape(-1, 2), ends(unique.reshape(-1, 2)), (pairs, signs)


def ends(edges: np.ndarray) -> Incidence:
    """Vertices in edges: -1 where an edge starts and +1 where it ends."""
    count = len(edges)
    rows = np.stack([edges.ravel(), np.repeat(np.arange(count), 2)], axis=1)
    return rows, np.tile([-1.0, 1.0], count)


def dense(matrix: np.ndarray, where: str) -> Incidence:
    """An incidence matrix (cells of rank k-1, cells of rank k) of -1, 0 and 1 as a list.

    Raises:
        DataError: for other entries.
    """
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf" or not np.isin(matrix, (-1, 0, 1)).all():
        raise DataError(f"{where} must be a matrix of -1, 0 and 1, one column for each cell")
    rows = np.argwhere(matrix != 0)
    return rows, matrix[tuple(rows.T)].astype(np.float64)


def boundary_is_closed(lower: Incidence, upper: Incidence) -> bool:
    """Whether the boundary of a boundary is zero: lower @ upper = 0 for signed incidences."""
    # numbers of cells are renumbered, so that memory goes with the entries and not with the largest
    middle = np.concatenate([lower[0][:, 1], upper[0][:, 0]])
    shared, number = np.unique(middle, return_inverse=True)
    inner, outer = number[: len(lower[0])], number[len(lower[0]) :]
    _, below = np.unique(lower[0][:, 0], return_inverse=True)
    _, above = np.unique(upper[0][:, 1], return_inverse=True)
    count = len(shared)
    first = csr_array((lower[1], (below, inner)), shape=(below.max(initial=0) + 1, count))
    second = csr_array((upper[1], (outer, above)), shape=(count, above.max(initial=0) + 1))
    product = first @ second
    return bool(product.nnz == 0 or np.abs(product.data).max() < 1e-9)


def check_sizes(corners: np.ndarray, sizes: np.ndarray, where: str) -> None:
    """Refuses numbers of corners that are below 3, or don't add up.

    Raises:
        DataError: for such numbers.
    """
    if sizes.ndim != 1 or (sizes < 3).any() or sum(sizes.tolist()) != corners.size:
        raise DataError(f"{where}: face_sizes must list the corners of each face, 3 or more")
