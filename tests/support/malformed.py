"""Damaging files: bits, bytes, lines, words, numbers, and what packed files hold inside.

An operation is four numbers, so that the same numbers always do the same damage and hypothesis can
make them smaller.
"""

import contextlib
import io
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = (
    b"nan", b"-1", b"inf", b"1e999", b"9" * 25, b"0", b"4294967296", b"1e-400", b"-0", b"2.5",
    b"\xff\xfe", b"\xe9", b"\x00", b"\n", b"\r", b"\t", b" ", b'"', b"'", b"{", b"]", b"=", b":",
    b",", b"\\", b"#", b"Xx", b"H", b"True", b"999999999", b"!!python/object", b"\x80\x05",
    b"\xc2\x85",
)  # fmt: skip
NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Damage:
    """One thing done to a file.

    Attributes:
        kind: a name in `KINDS`, taken modulo their number.
        place: where, taken modulo what there is.
        other: a second place, a length, or what is put there.
        deep: whether packed files are unpacked first.
    """

    kind: int
    place: int
    other: int
    deep: bool


def apply(data: bytes, damage: Damage) -> bytes:
    """The bytes after the damage."""
    return KINDS[damage.kind % len(KINDS)](data, damage.place, damage.other)


def _flip(data: bytes, place: int, other: int) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << (other % 8)
    return bytes(changed)


def _flip_head(data: bytes, place: int, other: int) -> bytes:
    return _flip(data[:128], place, other) + data[128:]


def _cut(data: bytes, place: int, other: int) -> bytes:
    return data[: place % (len(data) + 1)]


def _drop(data: bytes, place: int, other: int) -> bytes:
    first = place % (len(data) + 1)
    return data[:first] + data[first + 1 + other % 40 :]


def _insert(data: bytes, place: int, other: int) -> bytes:
    first = place % (len(data) + 1)
    return data[:first] + WORDS[other % len(WORDS)] + data[first:]


def _zeros(data: bytes, place: int, other: int) -> bytes:
    first, size = place % (len(data) + 1), min(1 + other % 64, len(data))
    return (data[:first] + bytes(size) + data[first + size :])[: len(data)]


def _repeat(data: bytes, place: int, other: int) -> bytes:
    first = place % (len(data) + 1)
    return data[:first] + data[first : first + 1 + other % 200] + data[first:]


def _number(data: bytes, place: int, other: int) -> bytes:
    found = list(NUMBER.finditer(data[:100_000]))
    if not found:
        return _insert(data, place, other)
    match = found[place % len(found)]
    return data[: match.start()] + WORDS[other % 11] + data[match.end() :]


def _drop_line(data: bytes, place: int, other: int) -> bytes:
    lines = data.split(b"\n")
    del lines[place % len(lines)]
    return b"\n".join(lines)


def _swap_lines(data: bytes, place: int, other: int) -> bytes:
    lines = data.split(b"\n")
    a, b = place % len(lines), other % len(lines)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _insert_line(data: bytes, place: int, other: int) -> bytes:
    lines = data.split(b"\n")
    extra = [b"", b"   ", b"3", b"# nothing", b"1 2 3", b"x,y,z", lines[other % len(lines)]]
    lines.insert(place % (len(lines) + 1), extra[other % len(extra)])
    return b"\n".join(lines)


def _swap_words(data: bytes, place: int, other: int) -> bytes:
    words = re.split(rb"(\s+|,)", data)
    a, b = 2 * (place % ((len(words) + 1) // 2)), 2 * (other % ((len(words) + 1) // 2))
    words[a], words[b] = words[b], words[a]
    return b"".join(words)


def _word(data: bytes, place: int, other: int) -> bytes:
    words = re.split(rb"(\s+|,)", data)
    words[2 * (place % ((len(words) + 1) // 2))] = WORDS[other % len(WORDS)]
    return b"".join(words)


def _ends(data: bytes, place: int, other: int) -> bytes:
    return data.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"\x0b")[other % 4])


def _empty(data: bytes, place: int, other: int) -> bytes:
    return (b"", b"\n", b"\xef\xbb\xbf" + data, b"\x80\x04" + data, data + data)[other % 5]


KINDS: tuple[Callable[[bytes, int, int], bytes], ...] = (
    _flip, _flip_head, _cut, _drop, _insert, _zeros, _repeat, _number, _drop_line, _swap_lines,
    _insert_line, _swap_words, _word, _ends, _empty,
)  # fmt: skip


def damage_file(path: Path, damage: Damage) -> None:
    """Damages one file, inside if it is packed and the damage is deep."""
    inside = _INSIDE.get(path.suffix) if damage.deep else None
    if inside is None or not inside(path, damage):
        path.write_bytes(apply(path.read_bytes(), damage))


def damage_files(files: Sequence[Path], damages: Sequence[Damage]) -> None:
    """Damages the files of a data set; every damage hits one of them.

    What is deep comes first: the library that writes LMDB crashes on damaged files.
    """
    for damage in sorted(damages, key=lambda d: not d.deep):
        damage_file(files[damage.place % len(files)], damage)


def _npz(path: Path, damage: Damage) -> bool:
    """An array of an archive, its bytes or its values; the archive's checksums fit."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, KeyError):
        return False
    if not members:
        return False
    name = sorted(members)[damage.place % len(members)]
    if damage.other % 3 == 0:
        members[name] = apply(members[name], damage)
    else:
        _array(members, name, damage)
    with zipfile.ZipFile(path, "w") as archive:
        for member, raw in members.items():
            archive.writestr(member, raw)
    return True


def _array(members: dict[str, bytes], name: str, damage: Damage) -> None:
    """Another shape, type, name or value."""
    try:
        array = np.load(io.BytesIO(members[name]))
    except Exception:  # it was damaged before, and NumPy raises whatever it runs into
        return
    with np.errstate(all="ignore"):
        changed = _CHANGES[(damage.other // 3) % len(_CHANGES)](array, damage.place)
    del members[name]
    if changed is None:
        return
    if (damage.other // 100) % 6 == 0:
        name = ("extra.npy", "y.npy", "x.npy", "counts.npy", "train_mask.npy")[damage.place % 5]
    buffer = io.BytesIO()
    np.save(buffer, changed, allow_pickle=True)
    members[name] = buffer.getvalue()


def _value(array: np.ndarray, place: int) -> np.ndarray:
    if not array.size or array.dtype.kind not in "iuf":
        return array
    changed = array.copy()
    values = (-1, 0, 7, 2**31 - 1) if array.dtype.kind in "iu" else (np.nan, np.inf, -1e300, 0.0)
    changed.flat[place % changed.size] = np.array(values[place % 4]).astype(array.dtype)
    return changed


_CHANGES: tuple[Callable[[np.ndarray, int], np.ndarray | None], ...] = (
    lambda a, k: None,
    lambda a, k: a.T,
    lambda a, k: a[None],
    lambda a, k: a.reshape(-1),
    lambda a, k: a[:-1] if a.ndim else a,
    lambda a, k: a[..., :-1] if a.ndim else a,
    lambda a, k: a[:0] if a.ndim else a,
    lambda a, k: np.concatenate([a, a]) if a.ndim else a,
    lambda a, k: a.astype(object),
    lambda a, k: a.astype("U8"),
    lambda a, k: a.astype(np.complex128) if a.dtype.kind in "iufb" else a,
    lambda a, k: a.astype(np.int8) if a.dtype.kind in "iufb" else a,
    lambda a, k: a.astype(">f4") if a.dtype.kind in "iufb" else a,
    lambda a, k: a.astype(np.uint64) if a.dtype.kind in "iufb" else a,
    lambda a, k: a.astype(np.float16) if a.dtype.kind in "iufb" else a,
    lambda a, k: np.array(3),
    lambda a, k: np.array("text"),
    lambda a, k: np.zeros((2, 0, 3)),
    _value,
    _value,
    lambda a, k: -a if a.dtype.kind in "if" else a,
)


def _sqlite(path: Path, damage: Damage) -> bool:
    """A cell of a database."""
    columns = ("numbers", "positions", "cell", "pbc", "energy", "forces", "natoms", "data")
    columns += ("key_value_pairs", "id", "unique_id", "stress", "charge", "calculator")
    column = columns[damage.place % len(columns)]
    values: tuple[object, ...] = (
        None,
        b"",
        b"\x00" * 7,
        "text",
        -1,
        1e308,
        "{",
        "[1, 2",
        b"\xff" * 24,
    )
    try:
        with sqlite3.connect(path) as base:
            base.execute(
                f"update systems set {column} = ? where id = ?",
                (values[damage.other % len(values)], 1 + damage.place % 3),
            )
        base.close()
    except sqlite3.Error:
        return False
    return True


def _aselmdb(path: Path, damage: Damage) -> bool:
    """A row of an ASE-LMDB file."""
    import lmdb

    with contextlib.suppress(lmdb.Error):
        with (
            lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 22) as base,
            base.begin(write=True) as transaction,
        ):
            items = [(bytes(k), bytes(v)) for k, v in transaction.cursor()]
            key, value = items[damage.place % len(items)]
            with contextlib.suppress(zlib.error):  # damaged twice
                transaction.put(key, zlib.compress(apply(zlib.decompress(value), damage)))
    return True


_INSIDE: dict[str, Callable[[Path, Damage], bool]] = {
    ".npz": _npz,
    ".db": _sqlite,
    ".aselmdb": _aselmdb,
}
