"""Meshes and clouds of points in OFF and OBJ.

OFF: the header may stand on one line with the numbers of vertices and faces ("OFF490 518 0", as
some files of ModelNet40 have it); COFF and NOFF have colours or normals after each vertex. Colours
of faces are read over. OBJ: `v`, `f`, `l`; texture, normals, groups and materials are read over;
every other keyword is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import SHOWN, lines_of, matrix, read_text, whole
from zoo.errors import DataError

_HEADER = re.compile(r"\s*(COFF|NOFF|OFF)(?![A-Za-z])")
_FURTHER = {"OFF": (3,), "NOFF": (6,), "COFF": (6, 7)}
_PASSED = frozenset(("vn", "vt", "vp", "g", "o", "s", "usemtl", "mtllib", "p"))


@dataclass
class Mesh:
    """Vertices and polygons.

    Attributes:
        vertices: (n, 3).
        corners: vertices of all polygons, one after another.
        sizes: corners of each polygon (f,).
        edges: edges of their own (e, 2).
        features: further numbers of each vertex (n, k).
        names: of the features.
    """

    vertices: np.ndarray
    corners: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    features: np.ndarray | None = None
    names: list[str] = field(default_factory=list)
    labels: np.ndarray | None = None

    def raw(self, path: Path, kind: str) -> Raw:
        """Its arrays.

        Raises:
            DataError: for a mesh without vertices, or corners that aren't there.
        """
        count = len(self.vertices)
        if not count:
            raise DataError(f"{path} has no vertices")
        corners = np.array(self.corners, dtype=np.int64)
        pairs = np.array(self.edges, dtype=np.int64).reshape(-1, 2)
        for name, array in (("face", corners), ("edge", pairs.ravel())):
            bad = array[(array < 0) | (array >= count)]
            if bad.size:
                raise DataError(
                    f"{path}: a {name} names vertex {bad[0]}, but there are {count}, counted from 0"
                )
        arrays = {"pos": self.vertices}
        if self.sizes:
            arrays |= {"faces": corners, "face_sizes": np.array(self.sizes, dtype=np.int64)}
        if len(pairs):
            arrays["edges"] = pairs
        if self.features is not None and self.features.shape[1]:
            arrays["x"] = self.features
        if self.labels is not None:
            arrays["y"] = self.labels
        return Raw(path, arrays, kind, metadata={"features": self.names} if self.names else {})


def read_off(path: Path, keys: Keys | None) -> Raw:
    """Reads an OFF file.

    Raises:
        DataError: naming the line that is wrong.
    """
    text = read_text(path)
    header = _HEADER.match(text)
    if header is None:
        raise DataError(f"{path} does not begin with OFF, NOFF or COFF; it is no such file")
    kind = header.group(1)
    # the header's own line is kept, so that lines count from 1
    text = text[: header.start(1)] + text[header.end(1) :]
    rows = [
        (place, words)
        for place, line in enumerate(lines_of(text), start=1)
        if (words := line.split("#", 1)[0].split())
    ]
    if not rows:
        raise DataError(f"{path} ends after its header")
    place, sizes = rows.pop(0)
    if len(sizes) not in (2, 3):
        raise DataError(f"{path}, line {place} must give the numbers of vertices, faces and edges")
    declared = [whole(word, f"{path}, line {place}") for word in sizes]
    vertices, faces = declared[:2]
    if min(declared) < 0 or vertices + faces != len(rows):
        raise DataError(
            f"{path} says it has {vertices} vertices and {faces} faces, but {len(rows)} lines "
            "follow; it is damaged or cut short"
        )
    values = matrix([r for _, r in rows[:vertices]], [p for p, _ in rows[:vertices]], path)
    if vertices and values.shape[1] not in _FURTHER[kind]:
        raise DataError(
            f"{path}, line {rows[0][0]}: a vertex of an {kind} file has "
            f"{' or '.join(map(str, _FURTHER[kind]))} numbers, not {values.shape[1]}"
        )
    mesh = Mesh(values[:, :3])
    if kind != "OFF":
        mesh.features = values[:, 3:]
        letters = "rgba" if kind == "COFF" else ("nx", "ny", "nz")
        mesh.names = list(letters[: values.shape[1] - 3])
    for place, words in rows[vertices:]:
        _face(mesh, path, place, words)
    return mesh.raw(path, "off")


def _face(mesh: Mesh, path: Path, place: int, words: list[str]) -> None:
    where = f"{path}, line {place}"
    count = whole(words[0], where)
    colours = len(words) - 1 - count
    if count < 2 or colours < 0 or colours > 4:
        raise DataError(
            f"{where} is no face: it says {count} corners and has {len(words) - 1} words"
        )
    corners = [whole(word, where) for word in words[1 : count + 1]]
    if count == 2:
        mesh.edges.append((corners[0], corners[1]))
        return
    mesh.corners += corners
    mesh.sizes.append(count)


def read_obj(path: Path, keys: Keys | None) -> Raw:
    """Reads an OBJ file.

    Raises:
        DataError: naming the line that is wrong.
    """
    points: list[list[str]] = []
    places: list[int] = []
    mesh = Mesh(np.zeros((0, 3)))
    passed: set[str] = set()
    for place, words in _statements(path):
        where = f"{path}, line {place}"
        if words[0] == "v":
            if len(words) not in (4, 5, 7):
                raise DataError(
                    f"{where}: a vertex has 3 numbers, 4 with a weight, 6 with a colour"
                )
            points.append(words[1:])
            places.append(place)
        elif words[0] in ("f", "l"):
            _cell(mesh, words, len(points), where)
        elif words[0] in _PASSED:
            passed.add(words[0])
        else:
            raise DataError(f"{where}: {words[0][:SHOWN]!r} is no keyword that is read (v, f, l)")
    values = matrix(points, places, path)
    mesh.vertices = values[:, :3] if points else mesh.vertices
    if points and values.shape[1] == 6:
        mesh.features, mesh.names = values[:, 3:], ["r", "g", "b"]
    elif points and values.shape[1] == 4 and not (values[:, 3] == 1).all():
        raise DataError(f"{path} has vertices with weights other than 1, which aren't read")
    raw = mesh.raw(path, "obj")
    if passed:
        raw.metadata["ignored_keywords"] = sorted(passed)
    return raw


def _statements(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines with their numbers; a backslash at the end of a line continues it."""
    pending = ""
    for place, line in enumerate(lines_of(read_text(path)), start=1):
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        words = (pending + line).split("#", 1)[0].split()
        pending = ""
        if words:
            yield place, words
    if pending:
        raise DataError(f"{path} ends within a line that is continued by a backslash")


def _cell(mesh: Mesh, words: list[str], count: int, where: str) -> None:
    """A face or a line; corners count from 1, or backwards from the last vertex."""
    corners = []
    for word in words[1:]:
        number = whole(word.split("/", 1)[0], where)
        corner = number - 1 if number > 0 else count + number
        if number == 0 or not 0 <= corner < count:
            raise DataError(f"{where} names vertex {number}, but {count} stand above it")
        corners.append(corner)
    if words[0] == "f":
        if len(corners) < 3:
            raise DataError(f"{where}: a face has 3 corners or more, not {len(corners)}")
        mesh.corners += corners
        mesh.sizes.append(len(corners))
        return
    if len(corners) < 2:
        raise DataError(f"{where}: a line has 2 corners or more, not {len(corners)}")
    mesh.edges += list(zip(corners, corners[1:], strict=False))


def read_xyz_text(path: Path, keys: Keys | None) -> Raw:
    """Points as lines of numbers: x y z, then features; spaces or commas between.

    Seven numbers are read as positions, normals and a whole number, the label (ShapeNet's parts).

    Raises:
        DataError: naming the line that is wrong.
    """
    rows, places = [], []
    for place, line in enumerate(lines_of(read_text(path)), start=1):
        words = [word.strip() for word in line.split(",")] if "," in line else line.split()
        if words and not words[0].startswith("#"):
            rows.append(words)
            places.append(place)
    values = matrix(rows, places, path)
    if not rows or values.shape[1] < 3:
        raise DataError(f"{path} must hold lines of 3 numbers or more, x y z and features")
    mesh = Mesh(values[:, :3])
    rest = values[:, 3:]
    with np.errstate(invalid="ignore"):
        labelled = values.shape[1] == 7 and bool((rest[:, 3] == np.round(rest[:, 3])).all())
    if labelled and np.abs(rest[:, 3]).max() < 2**53:
        mesh.labels = rest[:, 3].astype(np.int64)
        rest = rest[:, :3]
    if rest.shape[1]:
        mesh.features = rest
        mesh.names = ["nx", "ny", "nz"] if labelled else [str(k + 3) for k in range(rest.shape[1])]
    return mesh.raw(path, "txt")
