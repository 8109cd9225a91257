"""Reading LMDB files without the library: every length is checked, and nothing is mapped.

The library trusts the file it maps: a damaged one ends the process, its pages count as memory of
the process, and no file can be open twice in one process. Data sets are only read, in one known
layout (LMDB 0.9, data version 1, 64 bits, one unnamed database), which is small:

    page   number u8, pad u2, flags u2, lower u2, upper u2 (in an overflow page: pages u4), then
           one u2 per node, its place in the page
    meta   in pages 0 and 1: magic u4, version u4, address u8, map size u8, two databases (the
           free list and ours), last page u8, transaction u8; the later transaction is valid
    database  page size u4, flags u2, depth u2, three page counts u8, entries u8, root page u8
    node   size low u2, high u2, flags u2, key size u2, key, value; in a branch the first three are
           the page below; a large value is the u8 number of its first overflow page
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from zoo.datasets._handle import Handle
from zoo.errors import DataError

HEADER = struct.Struct("<QHHHH")
_META = struct.Struct("<IIQQ")
_DATABASE = struct.Struct("<IHHQQQQQ")
_END = struct.Struct("<QQ")
_NODE = struct.Struct("<HHHH")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04
_BIG, _SUBDATABASE, _DUPLICATES = 0x01, 0x02, 0x04
_NO_ROOT = 2**64 - 1
MAX_DEPTH = 32

Item = tuple[bytes, int, int]  # key, place of the value in the file, its bytes


def is_lmdb(path: Path) -> bool:
    """Whether a file starts as LMDB files do."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEADER.size + 4)
    except OSError:
        return False
    return len(head) == HEADER.size + 4 and struct.unpack("<I", head[-4:])[0] == _MAGIC


class Pages:
    """The entries of an LMDB file.

    Args:
        path: the file (`subdir=False` in the library's words).

    Raises:
        DataError: if it is damaged or of another layout.
    """

    def __init__(self, path: Path) -> None:
        self.file = Handle(path)
        first = self._meta(0, None)
        size = first[0]
        metas = [first] + ([m] if (m := self._second(size)) is not None else [])
        self._size, self._depth, self._entries, self._root, _ = max(metas, key=lambda m: m[-1])

    def __len__(self) -> int:
        return self._entries

    def items(self) -> Iterator[Item]:
        """Every key with the place of its value, in the order of the keys.

        Raises:
            DataError: if the file is damaged.
        """
        if self._root == _NO_ROOT:
            return
        found = 0
        self._visits = 0
        for item in self._walk(self._root, self._depth):
            found += 1
            if found > self._entries:
                break
            yield item
        if found != self._entries:
            raise self._damaged(f"it announces {self._entries} entries and has others")

    def _walk(self, number: int, depth: int) -> Iterator[Item]:
        self._visits += 1
        if self._visits * self._size > self.file.size:  # a page below itself
            raise self._damaged("its pages form no tree")
        offset = number * self._size
        page = self.file.read(offset, self._size)
        _, _, flags, lower, _ = HEADER.unpack_from(page)
        kind = flags & (_BRANCH | _LEAF)
        if kind != (_LEAF if depth == 1 else _BRANCH) or not HEADER.size < lower <= self._size:
            raise self._damaged(f"page {number} is of the wrong kind")
        count = (lower - HEADER.size) // 2
        for place in struct.unpack_from(f"<{count}H", page, HEADER.size):
            if place + _NODE.size > self._size:
                raise self._damaged(f"page {number} points beyond its end")
            low, high, flags, key_size = _NODE.unpack_from(page, place)
            if kind == _BRANCH:
                yield from self._walk(low | high << 16 | flags << 32, depth - 1)
                continue
            start = place + _NODE.size
            size, at = low | high << 16, start + key_size
            if flags & (_SUBDATABASE | _DUPLICATES):
                raise self._damaged("it holds several databases, which no data set of ours does")
            if at + (8 if flags & _BIG else size) > self._size:
                raise self._damaged(f"a value of page {number} points beyond its end")
            key = page[start:at]
            if flags & _BIG:
                yield key, self._overflow(struct.unpack_from("<Q", page, at)[0], size), size
            else:
                yield key, offset + at, size

    def _overflow(self, number: int, size: int) -> int:
        offset = number * self._size
        _, _, flags, low, high = HEADER.unpack(self.file.read(offset, HEADER.size))
        if not flags & _OVERFLOW or HEADER.size + size > (low | high << 16) * self._size:
            raise self._damaged(f"page {number} does not hold the value it should")
        if offset + HEADER.size + size > self.file.size:
            raise self._damaged(f"the value in page {number} is cut off")
        return offset + HEADER.size

    def _second(self, size: int) -> tuple[int, int, int, int, int] | None:
        """The other meta page; a writer that was stopped may have left it unfinished."""
        try:
            return self._meta(size, size)
        except DataError:
            return None

    def _meta(self, offset: int, page_size: int | None) -> tuple[int, int, int, int, int]:
        """Page size, depth, entries, root and transaction of one meta page."""
        raw = self.file.read(offset, HEADER.size + _META.size + 2 * _DATABASE.size + _END.size)
        magic, version, _, _ = _META.unpack_from(raw, HEADER.size)
        if magic != _MAGIC or version != _VERSION:
            raise self._damaged("it doesn't start as LMDB files of 64-bit machines do")
        place = HEADER.size + _META.size
        size = _DATABASE.unpack_from(raw, place)[0]
        _, flags, depth, _, _, _, entries, root = _DATABASE.unpack_from(raw, place + _DATABASE.size)
        transaction = _END.unpack_from(raw, place + 2 * _DATABASE.size)[1]
        # 256 to 65536, a power of two
        if not 256 <= size <= 65536 or size & (size - 1) or page_size not in (None, size):
            raise self._damaged(f"its pages can't have {size} bytes")
        empty = root == _NO_ROOT
        if flags & 0x7F or depth > MAX_DEPTH or empty != (entries == 0) or empty != (depth == 0):
            raise self._damaged("its database is of a kind that no data set of ours is")
        return size, depth, entries, root, transaction

    def _damaged(self, why: str) -> DataError:
        return DataError(f"{self.file.path} can't be read as LMDB: {why}; restore the file")
