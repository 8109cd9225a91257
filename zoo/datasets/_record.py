"""One structure as bytes: the records of our LMDB shards.

A record is `atoms` u4, the CRC-32 of the rest u4, then little-endian arrays without gaps:
`positions` <f8 (atoms, 3), the labels in the order of the folder's `meta.json` <f8, `cell` <f8
(3, 3), `charge` <f8, `spin` <f8, `pbc` |u1 (3,), `numbers` |u1 (atoms,). Everything in eV and Å.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from zoo.datasets._frames import Frames
from zoo.datasets._labels import SHAPES, per_atom
from zoo.errors import DataError

HEAD = struct.Struct("<II")


def layout(labels: Sequence[str]) -> list[list[object]]:
    """Name, type and shape of every array of a record, for `meta.json`."""
    shapes: list[tuple[str, str, tuple[int, ...]]] = [("positions", "<f8", (-1, 3))]
    shapes += [(label, "<f8", SHAPES[label]) for label in labels]
    shapes += [("cell", "<f8", (3, 3)), ("charge", "<f8", ()), ("spin", "<f8", ())]
    shapes += [("pbc", "|u1", (3,)), ("numbers", "|u1", (-1,))]
    return [[n, t, ["atoms" if size < 0 else size for size in shape]] for n, t, shape in shapes]


def size(atoms: int, labels: Sequence[str]) -> int:
    """Bytes of the record of a structure."""
    floats = 3 * atoms + 9 + 2 + sum(_entries(label, atoms) for label in labels)
    return HEAD.size + 8 * floats + 3 + atoms


def _entries(label: str, atoms: int) -> int:
    return math.prod(atoms if n < 0 else n for n in SHAPES[label])


def encode(frames: Frames, labels: Sequence[str]) -> Iterator[bytes]:
    """The records of all structures.

    Raises:
        DataError: for an atomic number that isn't between 0 and 255.
    """
    if frames.numbers.size and not 0 <= frames.numbers.min() <= frames.numbers.max() < 256:
        raise DataError(f"{frames.numbers.max()} is no atomic number; remove dummy atoms")
    numbers = frames.numbers.astype("|u1")
    floats = {name: frames.labels[name].astype("<f8") for name in labels}
    floats = {"positions": frames.positions.astype("<f8"), **floats}
    floats |= {"cell": frames.cell.astype("<f8"), "charge": frames.charge.astype("<f8")}
    floats |= {"spin": frames.spin.astype("<f8")}
    pbc = frames.pbc.astype("|u1")
    atomic = {name: name == "positions" or per_atom(name) for name in floats}
    for index, (start, count) in enumerate(zip(frames.starts, frames.counts, strict=True)):
        rows = slice(int(start), int(start + count))
        body = b"".join(
            [array[rows if atomic[name] else index].tobytes() for name, array in floats.items()]
            + [pbc[index].tobytes(), numbers[rows].tobytes()]
        )
        yield HEAD.pack(int(count), zlib.crc32(body)) + body


def decode(raw: bytes, labels: Sequence[str], where: str) -> dict[str, np.ndarray]:
    """A record's arrays under the names of a batch's fields, the caller's own.

    Raises:
        DataError: for a damaged record.
    """
    atoms, checksum = HEAD.unpack_from(raw) if len(raw) >= HEAD.size else (0, 0)
    if len(raw) != size(atoms, labels) or zlib.crc32(memoryview(raw)[HEAD.size :]) != checksum:
        raise DataError(f"{where} is damaged (its checksum differs); restore the file")
    buffer = bytearray(raw)  # one copy, which the arrays share
    count = (len(raw) - HEAD.size - 3 - atoms) // 8
    values = np.frombuffer(buffer, "<f8", count, HEAD.size)
    place = 3 * atoms
    fields: dict[str, np.ndarray] = {"pos": values[:place].reshape(atoms, 3)}
    for label in labels:
        rows = (atoms,) if per_atom(label) else (1,)
        shape = (*rows, *SHAPES[label][1 if per_atom(label) else 0 :])
        first, place = place, place + math.prod(shape)
        fields[label] = values[first:place].reshape(shape)
    fields["cell"] = values[place : place + 9].reshape(1, 3, 3)
    fields["charge"], fields["spin"] = values[-2:-1], values[-1:]
    small = np.frombuffer(buffer, "|u1", 3 + atoms, len(raw) - 3 - atoms)
    fields["pbc"] = small[:3].astype(bool).reshape(1, 3)
    fields["atomic_numbers"] = small[3:].astype(np.int64)
    return fields
