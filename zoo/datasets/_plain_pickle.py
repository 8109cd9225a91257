"""Pickles of plain data, read without running anything that they name.

A pickle is a program, and may name any function of Python. The pickles that data sets are published
as name a handful: numbers, text, lists, dicts, NumPy's arrays, SciPy's sparse matrices. Those are
made here; any other name is refused before it is looked up, so that no file needs trust.
"""

import io
import math
import pickle
import re
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.errors import DataError, UnsafeFileError

_LARGEST = 1 << 28  # entries of a sparse matrix that is made dense
_COMPRESSED = ("csr_matrix", "csr_array", "csc_matrix", "csc_array")
_PARTS = ("data", "indices", "indptr", "_shape")
_PLAIN = re.compile(r"[biufc][0-9]{1,2}|[SU][0-9]{1,9}|O[48]?")
_NDARRAY = object()  # stands for the class of arrays, which no pickle gets hold of


class Sparse:
    """The parts of a sparse matrix of SciPy, by rows or by columns, before they are checked."""

    rows = True
    _shape: tuple[int, int]
    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray

    def __setstate__(self, state: Any) -> None:  # as it stands here, no pickle changes the class
        vars(self).update({name: state[name] for name in _PARTS if name in state})

    def toarray(self) -> np.ndarray:
        """The dense matrix.

        Raises:
            DataError: if the parts don't fit each other.
        """
        parts = [getattr(self, name, None) for name in ("data", "indices", "indptr")]
        shape: Any = getattr(self, "_shape", None)
        fits = isinstance(shape, tuple) and len(shape) == 2 and all(n >= 0 for n in shape)
        if not fits or any(not isinstance(p, np.ndarray) or p.ndim != 1 for p in parts):
            raise DataError("a sparse matrix lacks parts; the file is damaged")
        data, indices, indptr = (np.asarray(part) for part in parts)
        outer, inner = shape if self.rows else shape[::-1]
        steps = np.diff(indptr)
        whole = (
            indices.dtype.kind in "iu" and indptr.dtype.kind in "iu" and outer * inner <= _LARGEST
        )
        ends = whole and len(indptr) == outer + 1 and (steps >= 0).all()
        if not ends or indptr[0] != 0 or indptr[-1] != len(indices) or len(data) != len(indices):
            raise DataError(f"the parts of a sparse matrix don't fit its shape {shape}")
        if len(indices) and not 0 <= indices.min() <= indices.max() < inner:
            raise DataError(f"a sparse matrix has entries outside its shape {shape}")
        dense = np.zeros((outer, inner), dtype=data.dtype)
        np.add.at(dense, (np.repeat(np.arange(outer), steps), indices), data)
        return dense if self.rows else dense.T


class _ByColumns(Sparse):
    rows = False


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    """What `copyreg` makes of an object of Python 2, for sparse matrices only."""
    if not (isinstance(kind, type) and issubclass(kind, Sparse)) or base is not object:
        raise UnsafeFileError(f"it makes an object of {kind!r}, which is no plain data")
    return kind()


class _Kind:
    """What an array is made of: numbers, text or objects, never a struct.

    NumPy takes the state of a `dtype` as it comes. One that says of an object that it is a number
    would turn bytes of the file into addresses, so no pickle sets the state of a real one.
    """

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not _PLAIN.fullmatch(code):
            raise UnsafeFileError(f"it has an array of {str(code)[:40]!r}, not of numbers or text")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _, order, *struct = state[:5]
        if struct != [None, None, None] or order not in ("<", ">", "|", "="):
            raise UnsafeFileError("it has an array of structs, not of numbers or text")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array whose state is compared with what is there before NumPy takes it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, held = state
        if not isinstance(kind, _Kind) or not isinstance(shape, tuple) or min((0, *shape)) < 0:
            raise DataError(f"an array has the shape {shape}; the file is damaged")
        data = held.encode("latin1") if isinstance(held, str) else held
        objects = kind.dtype.hasobject
        size = math.prod(shape) * (1 if objects else kind.dtype.itemsize)
        if not isinstance(data, list if objects else bytes) or len(data) != size:
            raise DataError(f"an array of shape {shape} has other numbers; the file is damaged")
        whole: Any = (1, shape, kind.dtype, bool(by_columns), data)
        super().__setstate__(whole)


def _reals(kind: Any) -> np.dtype:
    if not isinstance(kind, _Kind) or kind.dtype.hasobject:
        raise UnsafeFileError("it has numbers that are objects")
    return kind.dtype


_BUILTINS = {
    name: kind
    for name, kind in (
        ("list", list), ("dict", dict), ("set", set), ("frozenset", frozenset), ("tuple", tuple),
        ("int", int), ("float", float), ("complex", complex), ("bool", bool), ("object", object),
        ("bytes", bytes), ("bytearray", bytearray),
    )
}  # fmt: skip


class _Reader(pickle.Unpickler):
    """Finds the few names that plain data need, in the modules of all versions.

    What it gives out are methods, whose attributes can't be set, or classes that stay as they are.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The thing that a pickle names.

        Raises:
            UnsafeFileError: for anything but plain data.
        """
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return _BUILTINS[name]
        if module == "collections" and name in ("defaultdict", "OrderedDict"):
            return defaultdict if name == "defaultdict" else OrderedDict
        if module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return _reconstructed
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _NDARRAY if name == "ndarray" else self._kind
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            makers = {"_reconstruct": self._array, "scalar": self._number}
            if name in makers:
                return makers[name]
        if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
            return self._from_buffer
        if module.split(".")[:2] == ["scipy", "sparse"] and name in _COMPRESSED:
            return Sparse if name.startswith("csr") else _ByColumns
        if (module, name) == ("_codecs", "encode"):  # bytes of Python 3 in an old protocol
            return _latin
        raise UnsafeFileError(
            f"it names {module}.{name}, which is more than plain data need; such a pickle can run "
            "any code, so it isn't read"
        )

    def _kind(self, code: Any, *_: Any) -> _Kind:
        return _Kind(code)

    def _array(self, kind: Any, *_: Any) -> np.ndarray:
        """An empty array, whose state comes next."""
        if kind is not _NDARRAY:
            raise UnsafeFileError(f"it makes an array of {kind!r}, which is no plain data")
        return _Array(0, np.int8)

    def _number(self, kind: Any, data: Any) -> Any:
        data = data.encode("latin1") if isinstance(data, str) else data
        return np.frombuffer(data, _reals(kind), count=1)[0]

    def _from_buffer(self, data: Any, kind: Any, shape: Any, order: Any, *axes: Any) -> np.ndarray:
        """An array of numbers as the newest pickles hold it."""
        if axes and axes[0] is not None:
            raise DataError("an array with its axes in another order; save it anew")
        return np.frombuffer(data, dtype=_reals(kind)).reshape(shape, order=order)

    def persistent_load(self, pid: Any) -> Any:
        """Refuses references to what lies outside the file."""
        raise UnsafeFileError("it refers to data outside itself")


def _latin(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise UnsafeFileError(f"it holds bytes in {encoding!r}")
    return text.encode("latin1")


def read_plain(path: Path) -> Any:
    """What a pickle of plain data holds; text of Python 2 is read as latin-1.

    Raises:
        UnsafeFileError: if the pickle names anything but plain data.
        DataError: if it is damaged.
    """
    try:
        with path.open("rb") as stream:
            return _load(stream, str(path))
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def load_plain(data: bytes, where: str) -> Any:
    """What the bytes of a pickle hold; errors as those of `read_plain`.

    Args:
        data: the pickle.
        where: it comes from, for messages.
    """
    return _load(io.BytesIO(data), where)


def _load(stream: BinaryIO, where: str) -> Any:
    try:
        return _Reader(stream, encoding="latin1").load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{where}: {error}") from error
    except OSError:
        raise
    except MemoryError as error:  # a length that was changed
        raise DataError(f"{where} asks for more memory than there is; it is damaged") from error
    except Exception as error:  # a damaged program fails in any way
        raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error
