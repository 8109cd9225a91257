"""Structs, cells and text in MATLAB files of level 5, beside matrices (`_matlab`).

A struct is a dict, or a list of dicts where it is an array of them; a cell is a list; text is str.
Objects, functions and sparse matrices are refused. Every length is compared with the bytes that are
there.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._archive import inflated
from zoo.datasets.domains._matlab import (
    _CLASSES,
    _COMPLEX,
    _COMPRESSED,
    _HEADER,
    _MATRIX,
    _elements,
    _matrix,
    _numbers,
    order_of,
)
from zoo.errors import DataError

_CELL, _STRUCT, _CHAR = 1, 2, 4
_TEXT = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_DEEP = 8


def read_values(path: Path) -> dict[str, Any]:
    """All variables of a MATLAB file, by name.

    Raises:
        DataError: for a damaged file, one of version 7.3, or values that are no data.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    order = order_of(data, path)
    found: dict[str, Any] = {}
    for kind, body in _elements(data[_HEADER:], order, path, padded=False):
        inner = [(kind, body)]
        if kind == _COMPRESSED:
            inner = list(_elements(inflated(body, path), order, path))
        for inner_kind, content in inner:
            if inner_kind == _MATRIX:
                name, value = _value(content, order, path, 0)
                found[name] = value
    return found


def _value(body: bytes, order: str, path: Path, depth: int) -> tuple[str, Any]:
    """The name and the value of one variable."""
    if not body:  # MATLAB writes an empty matrix so
        return "", np.zeros((0, 0))
    parts = list(_elements(body, order, path))
    if len(parts) < 3 or len(parts[0][1]) != 8 or depth > _DEEP:
        raise DataError(f"{path} is damaged: a variable lacks its header, or is nested too deeply")
    flags = int(np.frombuffer(parts[0][1], f"{order}u4", 1)[0])
    kind = flags & 0xFF
    shape = tuple(int(n) for n in _numbers(*parts[1], order, path))
    name = parts[2][1].decode("latin1")
    if min(shape, default=-1) < 0:
        raise DataError(f"{path} is damaged: {name!r} has the shape {shape}")
    if kind == _CELL:
        return name, _cell(parts[3:], math.prod(shape), order, path, depth)
    if kind == _STRUCT:
        return name, _struct(parts[3:], math.prod(shape), order, path, depth)
    if kind == _CHAR:
        return name, _text(parts[3:], order, path)
    if kind in _CLASSES and (flags & _COMPLEX == 0 or len(parts) == 5):
        return next(iter(_matrix(body, order, path)))
    raise DataError(f"{path}: {name!r} is of MATLAB's class {kind}, which is no plain data")


def _cell(
    parts: list[tuple[int, bytes]], count: int, order: str, path: Path, depth: int
) -> list[Any]:
    if len(parts) != count or any(kind != _MATRIX for kind, _ in parts):
        raise DataError(f"{path} is damaged: a cell of {count} entries has {len(parts)}")
    return [_value(body, order, path, depth + 1)[1] for _, body in parts]


def _struct(parts: list[tuple[int, bytes]], count: int, order: str, path: Path, depth: int) -> Any:
    if len(parts) < 2:
        raise DataError(f"{path} is damaged: a struct lacks the names of its fields")
    size = _numbers(*parts[0], order, path)
    width = int(size[0]) if len(size) == 1 else 0
    names = parts[1][1]
    if width < 1 or len(names) % width:
        raise DataError(f"{path} is damaged: the names of a struct's fields don't fit")
    fields = [
        names[k : k + width].split(b"\0")[0].decode("latin1") for k in range(0, len(names), width)
    ]
    if len(parts) - 2 != count * len(fields):
        raise DataError(f"{path} is damaged: a struct of {count} has {len(parts) - 2} values")
    values = _cell(parts[2:], count * len(fields), order, path, depth)
    rows = [
        dict(zip(fields, values[k : k + len(fields)], strict=True))
        for k in range(0, len(values), max(len(fields), 1))
    ]
    return rows[0] if count == 1 and rows else rows


def _text(parts: list[tuple[int, bytes]], order: str, path: Path) -> str:
    if not parts:
        return ""
    kind, body = parts[0]
    coding = _TEXT.get(kind)
    if coding is None:
        raise DataError(f"{path} is damaged: text of type {kind}")
    ending = {"<": "-le", ">": "-be"}[order] if coding in ("utf-16", "utf-32") else ""
    try:
        return body.decode(coding + ending)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from error
