"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, over arrays at once.

A CRC is linear over GF(2): the bytes are cut into equally long lanes, whose CRCs are computed side
by side, and joined by the matrix that feeds a lane's length of zero bytes.
"""

import functools

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8
Words = npt.NDArray[np.uint32]


@functools.cache
def _table() -> tuple[int, ...]:
    """What one byte does to the register."""
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


def crc32c(data: bytes) -> int:
    """The checksum of some bytes."""
    table = np.array(_table(), dtype=np.uint32)
    lanes = max(int(len(data) ** 0.5) // 2, 1)
    length = len(data) // lanes
    body = np.frombuffer(data, dtype=np.uint8, count=lanes * length).reshape(lanes, length)
    state = np.zeros(lanes, dtype=np.uint32)
    for column in np.ascontiguousarray(body.T):
        state = table[(state ^ column) & 0xFF] ^ (state >> np.uint32(8))
    advance = _zeros(table, length)
    register = 0xFFFFFFFF
    for lane in state.tolist():
        register = _apply(advance, register) ^ lane
    for byte in data[lanes * length :]:
        register = _table()[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register ^ 0xFFFFFFFF


def _zeros(table: Words, length: int) -> list[int]:
    """What `length` zero bytes make of each bit of the register."""
    state = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
    for _ in range(length):
        state = table[state & 0xFF] ^ (state >> np.uint32(8))
    return [int(value) for value in state]


def _apply(columns: list[int], register: int) -> int:
    found = 0
    for bit, column in enumerate(columns):
        if register >> bit & 1:
            found ^= column
    return found


def masked(crc: int) -> int:
    """A checksum as it is stored: rotated, plus a constant, so that it is no CRC of itself."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
