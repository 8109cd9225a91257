"""Reading what was packed and may be damaged or hostile: plain arrays, bytes, or a refusal.

Every size that a file declares is compared with what it holds before memory is asked for.
"""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from zoo.errors import DataError, UnsafeFileError

# a member that unpacks to more than this, and to more than so many times its size, is a bomb
BOMB_BYTES = 256 << 20
BOMB_RATIO = 200
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def inflated(
    data: bytes | memoryview,
    where: object,
    limit: int = BOMB_BYTES,
    *,
    header: int = zlib.MAX_WBITS,
) -> bytes:
    """What zlib packed.

    Args:
        data: packed bytes.
        where: what an error calls them.
        limit: bytes that they may unpack to.
        header: zlib's number for what they begin with.

    Raises:
        DataError: if they are damaged or cut off, or unpack to more.
    """
    unpacking = zlib.decompressobj(header)
    try:
        found = unpacking.decompress(data, limit)
    except zlib.error as error:
        raise DataError(f"{where} can't be unpacked ({error}); the file is damaged") from error
    if not unpacking.eof:
        raise DataError(f"{where} is cut off, or unpacks to more than {limit} bytes")
    return found


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name.

    Raises:
        UnsafeFileError: for anything pickled, or a decompression bomb.
        DataError: if it isn't a complete archive of plain arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            return {m.filename[: -len(".npy")]: _member(path, archive, m) for m in members}
    except (DataError, UnsafeFileError, MemoryError):
        raise
    except Exception as error:  # zipfile fails in many ways on damaged directories and streams
        raise DataError(f"{path} is not a complete .npz archive: {error}") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    for member in members:
        if not member.filename.endswith(".npy"):
            raise UnsafeFileError(
                f"{path} is no plain NumPy archive: it holds {member.filename!r}, which could run "
                "code when read; save plain arrays with numpy.savez"
            )
        if names.count(member.filename) > 1:
            raise DataError(f"{path} holds two arrays called {member.filename!r}; write it again")
        large = member.file_size > BOMB_BYTES
        if large and member.file_size > BOMB_RATIO * max(member.compress_size, 1):
            raise UnsafeFileError(
                f"{path}: {member.filename!r} would unpack from {member.compress_size} to "
                f"{member.file_size} bytes, which looks like a decompression bomb; save it with "
                "numpy.savez (uncompressed) if it is real"
            )


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename[: -len(".npy")]
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(path, name, stream)
        if dtype.hasobject:
            raise UnsafeFileError(
                f"{path}: the array {name!r} holds Python objects (a pickle), which could run code "
                "when read; save it as an array of numbers or words"
            )
        if dtype.names is not None:
            raise DataError(f"{path}: the array {name!r} has named fields; save each by itself")
        if dtype.kind not in "iufcbUSmM" or not dtype.itemsize:
            raise DataError(f"{path}: the array {name!r} holds {dtype}, no numbers or words")
        declared = math.prod(shape) * dtype.itemsize
        held = member.file_size - stream.tell()
        if declared != held:
            raise DataError(
                f"{path}: the array {name!r} should have {declared} bytes (shape {shape}) but has "
                f"{held}; the file is damaged"
            )
        raw = stream.read()
    if len(raw) != declared:
        raise DataError(f"{path}: the array {name!r} ends early; the file is damaged")
    if not declared:
        return np.zeros(shape, dtype)
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
    return array.copy()


def _header(path: Path, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"its version {version} is not read")
        shape, fortran, dtype = _HEADERS[version](stream)
    except MemoryError:
        raise
    except Exception as error:  # the header is parsed as Python text, which fails in many ways
        raise DataError(f"{path}: the array {name!r} has a damaged header: {error}") from error
    if any(not isinstance(n, int) or n < 0 for n in shape):
        raise DataError(f"{path}: the array {name!r} has a damaged header: shape {shape}")
    return shape, fortran, dtype
