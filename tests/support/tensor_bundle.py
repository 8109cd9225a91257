"""A writer of TensorFlow's checkpoints, from the description of their format."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
DTYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


def crc(data: bytes) -> int:
    """CRC-32C bit by bit, masked."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs: list[tuple[bytes, bytes]], kind: int = 0, interval: int = 16) -> bytes:
    """Prefix-compressed entries, restart points, kind and checksum."""
    body, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % interval == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value))
        body += key[shared:] + value
        before = key
    body += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    body += bytes([kind])
    return body + struct.pack("<I", crc(body))


def write(
    prefix: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    kind: int = 0,
    per_block: int = 5,
    endianness: int = 0,
    change: Mapping[str, bytes] | None = None,
) -> None:
    """Writes `prefix.index` and two shards: the graph of objects, a string, and the numbers.

    Args:
        prefix: of the files.
        tensors: by name.
        kind: of compression that blocks claim.
        per_block: entries of a block.
        endianness: that the header claims.
        change: fields appended to the entry of a tensor, which win over the right ones.
    """
    graph, data = b"\x03abc" + b"\0" * 4, b""
    header = field(1, 2) + (field(2, endianness) if endianness else b"") + field(3, field(1, 1))
    entries = {b"": header}
    start = field(1, 7) + field(2, b"") + field(5, len(graph))
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = start + b"\x35" + struct.pack("<I", crc(graph))
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        raw = array.tobytes()
        shape = b"".join(field(2, field(1, size) if size else b"") for size in array.shape)
        value = field(1, DTYPES[array.dtype.name]) + field(2, shape) + field(3, 1)
        value += (field(4, len(data)) if data else b"") + field(5, len(raw))
        value += b"\x35" + struct.pack("<I", crc(raw)) + (change or {}).get(name, b"")
        entries[name.encode() + SUFFIX.encode()] = value
        data += raw
    for number, raw in enumerate((graph, data)):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-00002").write_bytes(raw)
    pairs, out, handles = sorted(entries.items()), b"", []
    for first in range(0, len(pairs), per_block):
        part = pairs[first : first + per_block]
        packed = block(part, kind)
        handles.append((part[-1][0], varint(len(out)) + varint(len(packed) - 5)))
        out += packed
    places = b""
    for packed in (block([]), block(handles)):
        places += varint(len(out)) + varint(len(packed) - 5)
        out += packed
    footer = places.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.with_name(prefix.name + ".index").write_bytes(out + footer)
