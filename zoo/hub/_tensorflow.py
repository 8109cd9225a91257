"""TensorFlow's checkpoints ("tensor bundles"), read without TensorFlow and without executing them.

`PREFIX.index` is a sorted table of LevelDB's layout: blocks of prefix-compressed keys, a block that
lists them, and a footer of 48 bytes. The empty key holds a `BundleHeaderProto`; every other one a
`BundleEntryProto` with type, shape, shard, offset, size and checksum. The numbers stand in
`PREFIX.data-00000-of-00002` and so on, row by row, little-endian. Blocks may be packed with snappy,
which TensorFlow's writer of checkpoints doesn't use; such files are refused.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoo.errors import CapabilityError, DataError, UnsafeFileError
from zoo.hub._crc32c import crc32c, masked

#: bytes of an index and of a name, numbers of a shape, entries: no checkpoint comes near
MAX_INDEX, MAX_NAME, MAX_DIMS, MAX_ENTRIES = 64_000_000, 4096, 16, 100_000
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_NONE, _SNAPPY = 0, 1
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
#: TensorFlow's numbers of types; others, such as strings, are no tensors here
_DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, and what it is."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


def read_bundle(path: Path) -> dict[str, Tensor]:
    """The tensors of a TensorFlow checkpoint.

    Args:
        path: its prefix (`.../ckpt`), its index (`.../ckpt.index`), or a folder with one of them.

    Returns:
        Tensors by name, without the ending that TensorFlow 2 gives to variables; entries that are
        no numbers (the graph of objects) are left out.

    Raises:
        DataError: for a file that is missing, cut short or damaged; names it.
        UnsafeFileError: for an index that is none, or with impossible numbers.
        CapabilityError: for big-endian files, packed blocks, or tensors in slices.
    """
    prefix = _prefix(path)
    index = prefix.with_name(prefix.name + ".index")
    if index.stat().st_size > MAX_INDEX:
        raise UnsafeFileError(
            f"{index} has {index.stat().st_size} bytes; the index of a checkpoint has at most "
            f"{MAX_INDEX}"
        )
    shards, entries = parse_index(index.read_bytes(), where=str(index))
    files = [prefix.with_name(f"{prefix.name}.data-{k:05d}-of-{shards:05d}") for k in range(shards)]
    wanted = {name: e for name, e in entries.items() if e.dtype in _DTYPES}
    missing = sorted({e.shard for e in wanted.values() if not files[e.shard].is_file()})
    if missing:
        raise DataError(
            f"{prefix}: {', '.join(files[k].name for k in missing)} is missing, of the {shards} "
            "files of numbers that belong to the index; put it beside the others"
        )
    for number in {e.shard for e in wanted.values()}:
        _check_sizes(files[number], {n: e for n, e in wanted.items() if e.shard == number})
    return {name.removesuffix(SUFFIX): _load(files[e.shard], name, e) for name, e in wanted.items()}


def _prefix(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            raise DataError(
                f"{path} holds {len(found)} files *.index; expected one TensorFlow checkpoint, or "
                "give its prefix"
            )
        path = found[0]
    prefix = path.with_name(path.name.removesuffix(".index"))
    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file():
        raise DataError(
            f"{index} is missing; a TensorFlow checkpoint {prefix.name} is {index.name} and "
            f"{prefix.name}.data-00000-of-0000N"
        )
    return prefix


def parse_index(data: bytes, *, where: str) -> tuple[int, dict[str, Entry]]:
    """The number of shards and the entries of an index.

    Args:
        data: its bytes.
        where: its name, for messages.

    Raises:
        UnsafeFileError: for another format, a wrong checksum or impossible numbers.
        CapabilityError: for big-endian files or packed blocks.
    """
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise UnsafeFileError(f"{where} is no index of a TensorFlow checkpoint (its end is wrong)")
    try:
        return _entries(data, where)
    except (IndexError, struct.error, UnicodeDecodeError) as problem:
        raise UnsafeFileError(f"{where}: damaged index ({problem})") from problem


def _entries(data: bytes, where: str) -> tuple[int, dict[str, Entry]]:
    footer, at = data[-_FOOTER:], 0
    handle = []
    for _ in range(4):  # of the block of metadata, which is empty, and of that of blocks
        number, at = _varint(footer, at)
        handle.append(number)
    shards: int | None = None
    entries: dict[str, Entry] = {}
    for _, place in _pairs(_block(data, handle[2], handle[3], where)):
        offset, end = _varint(place, 0)
        size, _ = _varint(place, end)
        for key, value in _pairs(_block(data, offset, size, where)):
            if not key:
                shards = _header(value, where)
            elif len(entries) >= MAX_ENTRIES:
                raise UnsafeFileError(f"{where} has more than {MAX_ENTRIES} entries")
            else:
                entries[key.decode()] = _entry(value)
    if shards is None:
        raise UnsafeFileError(f"{where} has no header; it is no index of a TensorFlow checkpoint")
    wrong = next((n for n, e in entries.items() if not 0 <= e.shard < shards), None)
    if wrong is not None:
        raise UnsafeFileError(f"{where}: {wrong} lies in shard {entries[wrong].shard} of {shards}")
    return shards, entries


def _block(data: bytes, offset: int, size: int, where: str) -> bytes:
    """One block, its checksum compared."""
    if offset + size + 5 > len(data) - _FOOTER:
        raise UnsafeFileError(f"{where}: a block lies beyond the end of the file")
    body, kind = data[offset : offset + size], data[offset + size]
    (crc,) = struct.unpack_from("<I", data, offset + size + 1)
    if masked(crc32c(data[offset : offset + size + 1])) != crc:
        raise UnsafeFileError(f"{where}: the block at byte {offset} is damaged (its checksum)")
    if kind != _NONE:
        words = "snappy" if kind == _SNAPPY else f"kind {kind}"
        raise CapabilityError(
            f"{where}: a block is compressed ({words}), which isn't read here; save the checkpoint "
            "again with tf.train.Checkpoint, which writes plain blocks"
        )
    return body


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; each key continues a part of the one before it."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise IndexError("an entry is longer than its block")
        if shared + rest > MAX_NAME:
            raise IndexError(f"a name has more than {MAX_NAME} bytes")
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + size]
        at += rest + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in groups of 7 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("a number has more than ten bytes")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol buffer's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FOUR, _EIGHT):
            size = 4 if kind == _FOUR else 8
        else:
            raise IndexError(f"a field has the unknown kind {kind}")
        if at + size > len(message):
            raise IndexError("a field is longer than its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _header(message: bytes, where: str) -> int:
    """BundleHeaderProto: 1 num_shards, 2 endianness."""
    fields = dict(_fields(message))
    if fields.get(2, 0) != 0:
        raise CapabilityError(f"{where}: the numbers are big-endian, which isn't read here")
    shards = fields.get(1, 0)
    if not isinstance(shards, int) or not 0 < shards < 100_000:
        raise UnsafeFileError(f"{where} names {shards!r} shards")
    return shards


def _entry(message: bytes) -> Entry:
    """BundleEntryProto: 1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 6 crc32c, 7 slices."""
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    crc, sliced = 0, False
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif field == 6 and isinstance(value, bytes):
            (crc,) = struct.unpack("<I", value)
        elif field == 7:
            sliced = True
        elif isinstance(value, int):
            numbers[field] = value
    dtype, shard, offset, size = (numbers.get(k, 0) for k in (1, 3, 4, 5))
    return Entry(dtype, shape, shard, offset, size, crc, sliced)


def _shape(message: bytes) -> tuple[int, ...]:
    """TensorShapeProto: 2 dim, of which 1 is the size."""
    sizes = []
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            size = dict(_fields(value)).get(1, 0)
            sizes.append(size if isinstance(size, int) else 0)
    if len(sizes) > MAX_DIMS:
        raise IndexError(f"a tensor has {len(sizes)} axes")
    return tuple(sizes)


def _check_sizes(path: Path, entries: Mapping[str, Entry]) -> None:
    """What an index claims of a file, held against the file before memory is taken for it."""
    there = path.stat().st_size
    for name, entry in entries.items():
        dtype = _DTYPES[entry.dtype]
        if entry.sliced:
            raise CapabilityError(f"{path}: {name} is stored in slices, which aren't joined here")
        if entry.size != math.prod(entry.shape) * dtype.itemsize:
            raise UnsafeFileError(
                f"{path}: {name} has shape {entry.shape} of {dtype} but {entry.size} bytes"
            )
        if entry.offset + entry.size > there:
            raise DataError(
                f"{path} ends before {name} (bytes {entry.offset} to {entry.offset + entry.size}); "
                "it was cut short, copy it again"
            )
    claimed = sum(entry.size for entry in entries.values())
    if claimed > there:
        raise UnsafeFileError(
            f"{path} has {there} bytes, but the index puts tensors of {claimed} bytes into it; "
            "they overlap"
        )


def _load(path: Path, name: str, entry: Entry) -> Tensor:
    """One tensor, its checksum compared."""
    dtype = _DTYPES[entry.dtype]
    with path.open("rb") as stream:
        stream.seek(entry.offset)
        data = stream.read(entry.size)
    if masked(crc32c(data)) != entry.crc:
        raise DataError(f"{path}: {name} is damaged (its checksum); copy the file again")
    if not data:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(entry.shape)
