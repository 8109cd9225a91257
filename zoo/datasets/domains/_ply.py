"""PLY, as text or in binary: vertices with any numbers, faces as lists, edges.

Vertex properties other than x, y, z become features, `label` (or what `keys` says) the label.
Properties of faces and edges beyond their corners, and elements of other names, are read over and
listed in the metadata.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.datasets.domains._meshes import Mesh
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._text import SHOWN, is_number, is_whole
from zoo.errors import DataError, nearest

_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_HEADER_LIMIT = 1 << 20
_CORNERS = ("vertex_indices", "vertex_index")
_LABELS = ("label", "labels", "class")


@dataclass
class _Property:
    name: str
    dtype: str
    count: str | None = None  # type of a list's length


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, list[np.ndarray]] = field(default_factory=dict)


def read_ply(path: Path, keys: Keys | None) -> Raw:
    """Reads a PLY file.

    Raises:
        DataError: for a damaged header, or data that doesn't fit it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    order, elements, start = _header(path, data)
    if order:
        _binary(path, data, start, order, elements)
    else:
        _ascii(path, data[start:], elements)
    return _mesh(path, elements, dict(keys or {}))


def _header(path: Path, data: bytes) -> tuple[str, list[_Element], int]:
    end = data.find(b"end_header", 0, _HEADER_LIMIT)
    newline = data.find(b"\n", end)
    if not data.startswith((b"ply\n", b"ply\r\n")) or end < 0 or newline < 0:
        raise DataError(f"{path} has no header from 'ply' to 'end_header'; it is no PLY file")
    try:
        lines = data[:end].decode("ascii").split("\n")[1:]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: its header is not ASCII text") from error
    order: str | None = None
    elements: list[_Element] = []
    for place, line in enumerate(lines, start=2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        where = f"{path}, line {place}"
        if words[0] == "format" and len(words) == 3 and words[1] in _ORDERS and order is None:
            order = _ORDERS[words[1]]
        elif (
            words[0] == "element" and len(words) == 3 and words[2].isdigit() and is_whole(words[2])
        ):
            if any(element.name == words[1] for element in elements):
                raise DataError(f"{where}: the element {words[1]!r} is there twice")
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and elements:
            elements[-1].properties.append(_property(elements[-1], words, where))
        else:
            raise DataError(f"{where}: {line.strip()[:SHOWN]!r} is no line of a PLY header")
    if order is None:
        raise DataError(f"{path}: its header does not say its format")
    return order, elements, newline + 1


def _property(element: _Element, words: list[str], where: str) -> _Property:
    types = words[2:4] if words[1:2] == ["list"] else words[1:2]
    if len(words) != (5 if len(types) == 2 else 3) or any(t not in _TYPES for t in types):
        raise DataError(
            f"{where}: {' '.join(words)[:SHOWN]!r} is no property; types are {', '.join(_TYPES)}"
        )
    if any(known.name == words[-1] for known in element.properties):
        raise DataError(f"{where}: the property {words[-1]!r} is there twice")
    if len(types) == 2:
        if _TYPES[types[0]].startswith("f"):
            raise DataError(f"{where}: the length of a list can't have the type {types[0]}")
        return _Property(words[-1], _TYPES[types[1]], _TYPES[types[0]])
    return _Property(words[-1], _TYPES[types[0]])


def _binary(path: Path, data: bytes, start: int, order: str, elements: list[_Element]) -> None:
    place = start
    for element in elements:
        if not any(p.count for p in element.properties):
            dtype = np.dtype([(p.name, order + p.dtype) for p in element.properties])
            size = dtype.itemsize * element.count
            _left(path, data, place, size, element)
            if dtype.itemsize:
                table = np.frombuffer(data, dtype, element.count, place)
                element.columns = {p.name: table[p.name] for p in element.properties}
            place += size
        else:
            # every row takes a byte or more for each property
            _left(path, data, place, element.count * len(element.properties), element)
            place = _binary_rows(path, data, place, order, element)
    if place != len(data):
        raise DataError(f"{path} has {len(data) - place} bytes more than its header says")


def _binary_rows(path: Path, data: bytes, place: int, order: str, element: _Element) -> int:
    values: dict[str, list[np.ndarray]] = {p.name: [] for p in element.properties}
    types = [
        (p.name, np.dtype(order + p.dtype), np.dtype(order + p.count) if p.count else None)
        for p in element.properties
    ]
    for _ in range(element.count):
        for name, dtype, count_type in types:
            count = 1
            if count_type is not None:
                _left(path, data, place, count_type.itemsize, element)
                count = int(np.frombuffer(data, count_type, 1, place)[0])
                place += count_type.itemsize
                if count < 0:
                    raise DataError(f"{path}: a list of the element {element.name!r} has {count}")
            _left(path, data, place, count * dtype.itemsize, element)
            values[name].append(np.frombuffer(data, dtype, count, place))
            place += count * dtype.itemsize
    _store(element, values)
    return place


def _left(path: Path, data: bytes, place: int, size: int, element: _Element) -> None:
    if place + size > len(data):
        raise DataError(
            f"{path} ends within the element {element.name!r}: its header says {element.count} of "
            "them; it is damaged or cut short"
        )


def _store(element: _Element, values: dict[str, list[np.ndarray]]) -> None:
    for entry in element.properties:
        if entry.count:
            element.lists[entry.name] = values[entry.name]
        else:
            empty = np.zeros(0, entry.dtype)
            rows = values[entry.name]
            element.columns[entry.name] = np.concatenate(rows) if rows else empty


def _ascii(path: Path, data: bytes, elements: list[_Element]) -> None:
    try:
        lines = [line.split() for line in data.decode("ascii").split("\n")]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} says it is text, but isn't ASCII") from error
    rows = [words for words in lines if words]
    declared = sum(element.count for element in elements)
    if declared != len(rows):
        raise DataError(
            f"{path} has {len(rows)} lines after its header, which says {declared}; it is damaged "
            "or cut short"
        )
    place = 0
    for element in elements:
        values: dict[str, list[np.ndarray]] = {p.name: [] for p in element.properties}
        for index in range(element.count):
            _ascii_row(f"{path}: {element.name} {index}", rows[place], element, values)
            place += 1
        _store(element, values)


def _ascii_row(
    where: str, words: list[str], element: _Element, values: dict[str, list[np.ndarray]]
) -> None:
    left = list(words)
    for entry in element.properties:
        count = 1
        if entry.count:
            if not left or not is_whole(left[0]) or int(left[0]) < 0:
                raise DataError(f"{where} lacks the length of its list {entry.name!r}")
            count = int(left.pop(0))
        if len(left) < count:
            raise DataError(f"{where} has too few numbers for its property {entry.name!r}")
        taken, left = left[:count], left[count:]
        values[entry.name].append(_parsed(taken, entry, where))
    if left:
        raise DataError(f"{where} has {len(left)} words more than its properties")


def _parsed(words: list[str], entry: _Property, where: str) -> np.ndarray:
    integers = not entry.dtype.startswith("f")
    for word in words:
        if not (is_whole(word) if integers else is_number(word)):
            raise DataError(f"{where}: {word[:SHOWN]!r} is no value of its property {entry.name!r}")
    if not integers:
        return np.array([float(word) for word in words])  # text may say more than its type holds
    limits = np.iinfo(entry.dtype)
    found = [int(word) for word in words]
    for number in found:
        if not limits.min <= number <= limits.max:
            raise DataError(f"{where}: {number} does not fit the type of {entry.name!r}")
    return np.array(found, dtype=np.int64)


def _mesh(path: Path, elements: list[_Element], keys: dict[str, str | None]) -> Raw:
    named = {element.name: element for element in elements}
    vertex = named.pop("vertex", None)
    if vertex is None or not {"x", "y", "z"} <= set(vertex.columns):
        raise DataError(f"{path} has no element 'vertex' with the properties x, y and z")
    columns = dict(vertex.columns)
    mesh = Mesh(np.stack([_native(columns.pop(axis)) for axis in "xyz"], axis=1))
    passed = [f"vertex.{name}" for name in vertex.lists]
    label = keys.get("y") if "y" in keys else next((n for n in _LABELS if n in columns), None)
    if label is not None:
        if label not in columns:
            raise DataError(f"{path} has no vertex property {label!r}: {nearest(label, columns)}")
        mesh.labels = columns.pop(label)
    if columns:
        mesh.features = np.stack([_native(column) for column in columns.values()], axis=1)
        mesh.names = list(columns)
    passed += _faces(path, mesh, named.pop("face", None))
    passed += _edges(mesh, named.pop("edge", None))
    raw = mesh.raw(path, "ply")
    raw.consumed = frozenset(("y",))
    passed += list(named)
    if passed:
        raw.metadata["ignored_properties"] = sorted(passed)
    return raw


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if array.dtype.str[1:] == "f4" else np.float64)


def _faces(path: Path, mesh: Mesh, face: _Element | None) -> list[str]:
    if face is None:
        return []
    name = next((n for n in _CORNERS if n in face.lists), None)
    if name is None:
        if face.count:
            raise DataError(f"{path}: its faces have no list {' or '.join(_CORNERS)}")
        return []
    for index, corners in enumerate(face.lists[name]):
        if len(corners) < 3 or corners.dtype.kind == "f":
            raise DataError(f"{path}: face {index} has not 3 corners or more, as whole numbers")
        mesh.corners += [int(corner) for corner in corners]
        mesh.sizes.append(len(corners))
    others = [n for n in (*face.lists, *face.columns) if n != name]
    return [f"face.{other}" for other in others]


def _edges(mesh: Mesh, edge: _Element | None) -> list[str]:
    if edge is None:
        return []
    ends = ("vertex1", "vertex2")
    whole = all(n in edge.columns and edge.columns[n].dtype.kind in "iu" for n in ends)
    if not whole:
        return ["edge"]
    mesh.edges = [(int(a), int(b)) for a, b in zip(*(edge.columns[n] for n in ends), strict=True)]
    return [f"edge.{n}" for n in (*edge.columns, *edge.lists) if n not in ends]
