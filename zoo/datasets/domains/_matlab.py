"""Matrices of numbers in MATLAB files of level 5 (versions 5 to 7.2), read strictly.

SciPy's reader crashes the interpreter on some damaged files, so this one reads what data sets of
matrices need and nothing else: real and complex full arrays of numbers. Other variables (text,
structs, cells, sparse matrices) are passed over. Level 5 is a header of 128 bytes and elements: a
type, a number of bytes, the bytes, padded to eight; an element of type 15 is a compressed one.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._archive import BOMB_BYTES, inflated
from zoo.errors import DataError

_HEADER = 128
_HEAD = 512  # bytes of a variable that tell its name
_MATRIX, _COMPRESSED = 14, 15
# how the numbers of an element are stored, and what class of array they are of
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
           13: "u8"}  # fmt: skip
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
_COMPLEX = 0x0800


def read_mat(path: Path, name: str | None = None) -> np.ndarray:
    """The array of a MATLAB file.

    Args:
        path: the file.
        name: of the variable; not needed where one variable alone is a matrix of numbers.

    Raises:
        DataError: for a damaged file, one of version 7.3 (HDF5), or one without that variable.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    order = order_of(data, path)
    found: dict[str, np.ndarray] = {}
    for variable, array in _variables(data[_HEADER:], order, path):
        if variable in found:
            raise DataError(f"{path} holds {variable!r} twice; it is damaged")
        if array.size > 1:
            found[variable] = array
    chosen = found if name is None else {k: v for k, v in found.items() if k == name}
    if len(chosen) != 1:
        have = ", ".join(sorted(found)) or "none"
        raise DataError(
            f"{path} should hold one matrix of numbers{f' called {name!r}' if name else ''}; it "
            f'has {have}; name it with keys={{"x": "..."}}'
        )
    return next(iter(chosen.values()))


def order_of(data: bytes, path: Path) -> str:
    """The order of the bytes in a file, "<" or ">", by its header.

    Raises:
        DataError: for anything but level 5.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) < _HEADER or data[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise DataError(f"{path} is no MATLAB file of the versions 5 to 7.2; save it with -v7")
    return order


def _variables(
    data: bytes | memoryview,
    order: str,
    path: Path,
    limit: int = BOMB_BYTES,
    wanted: frozenset[str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and numbers of the matrices; `wanted` names those that are unpacked, if not all."""
    for kind, body in _elements(data, order, path, padded=False):
        inner = [(kind, body)]
        if kind == _COMPRESSED:
            if wanted is not None and _first_name(body, order, path) not in wanted:
                continue
            inner = list(_elements(inflated(body, path, limit), order, path))
        for inner_kind, content in inner:
            if inner_kind == _MATRIX:
                yield from _matrix(content, order, path)


def _first_name(body: bytes | memoryview, order: str, path: Path) -> str:
    """The name of a compressed variable, by its first bytes; empty where they don't tell."""
    try:
        head = zlib.decompressobj().decompress(body, _HEAD)
    except zlib.error as error:
        raise DataError(f"{path} is damaged: {error}") from error
    parts: list[bytes] = []
    place = 8  # the tag of the variable itself
    while place + 8 <= len(head) and len(parts) < 3:
        first, size = (int(n) for n in np.frombuffer(head, f"{order}u4", 2, place))
        small = first >> 16
        start, size = (place + 4, small) if small else (place + 8, size)
        parts.append(head[start : start + size])
        place = place + 8 if small else start + size + (-size % 8)
    return parts[2].decode("latin1") if len(parts) == 3 else ""


def _elements(
    data: bytes | memoryview, order: str, path: Path, padded: bool = True
) -> Iterator[tuple[int, Any]]:
    """Types and bytes of the elements, one after another."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise DataError(f"{path} is damaged: it ends within an element")
        first, size = (int(n) for n in np.frombuffer(data, f"{order}u4", 2, place))
        small = first >> 16  # up to four bytes stand in the tag itself
        start, kind = place + 8, first
        if small:
            size, kind, start = small, first & 0xFFFF, place + 4
        end = start + size
        if end > len(data) or (small and size > 4):
            raise DataError(f"{path} is damaged: an element of {size} bytes doesn't fit")
        yield kind, data[start:end]
        # compressed elements aren't padded
        wide = padded or kind != _COMPRESSED
        place = place + 8 if small else end + (-size % 8 if wide else 0)


def _matrix(body: bytes | memoryview, order: str, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the numbers of a variable; nothing for other classes."""
    parts = list(_elements(body, order, path))
    if len(parts) < 3 or len(parts[0][1]) != 8:
        raise DataError(f"{path} is damaged: a variable lacks its header")
    flags = int(np.frombuffer(parts[0][1], f"{order}u4", 1)[0])
    dtype = _CLASSES.get(flags & 0xFF)
    if dtype is None:
        return
    shape = tuple(int(n) for n in _numbers(*parts[1], order, path))
    name = bytes(parts[2][1]).decode("latin1")
    halves = [_numbers(*part, order, path) for part in parts[3:]]
    wanted = 2 if flags & _COMPLEX else 1
    fits = len(shape) >= 2 and min(shape) >= 0 and len(halves) == wanted
    if not fits or any(half.size != math.prod(shape) for half in halves):
        raise DataError(f"{path} is damaged: {name!r} of shape {shape} has other numbers")
    with np.errstate(all="ignore"):
        real = [half.astype(f"={dtype}").reshape(shape, order="F") for half in halves]
    yield name, real[0] if wanted == 1 else real[0] + 1j * real[1]


def _numbers(kind: int, body: bytes | memoryview, order: str, path: Path) -> np.ndarray:
    dtype = _STORED.get(kind)
    if dtype is None or len(body) % int(dtype[1]):
        raise DataError(f"{path} is damaged: an element of type {kind} holds no numbers")
    return np.frombuffer(body, f"{order}{dtype}")
