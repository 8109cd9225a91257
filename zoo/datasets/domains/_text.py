"""Reading text strictly: numbers as people write them, and errors that name the line."""

import re
from pathlib import Path

import numpy as np

from zoo.errors import DataError

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|inf|nan)\Z",
    re.IGNORECASE,
)
SHOWN = 40


def read_text(path: Path) -> str:
    """A file as text.

    Raises:
        DataError: if it can't be read, or isn't UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); convert it") from error
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes; it is no text, or it is damaged")
    return text


def lines_of(text: str) -> list[str]:
    """Lines, whatever system ended them; not split at other characters, unlike `splitlines`."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def is_whole(word: str) -> bool:
    """Whether a word is a whole number of at most 18 digits."""
    return _WHOLE.match(word) is not None


def is_number(word: str) -> bool:
    """Whether a word is a number; nan and inf are, 1_000 and 0x10 are not."""
    return _NUMBER.match(word) is not None


def whole(word: str, where: str) -> int:
    """A whole number.

    Raises:
        DataError: for anything else.
    """
    if not is_whole(word):
        raise DataError(f"{where}: {word[:SHOWN]!r} is no whole number")
    return int(word)


def numbers(words: list[str], where: str) -> list[float]:
    """Numbers.

    Raises:
        DataError: naming the first word that is none.
    """
    for word in words:
        if not is_number(word):
            raise DataError(f"{where}: {word[:SHOWN]!r} is no number")
    return [float(word) for word in words]


def matrix(rows: list[list[str]], places: list[int], path: Path) -> np.ndarray:
    """Rows of numbers (rows, columns) in float64.

    Args:
        rows: words.
        places: line of each row.
        path: for messages.

    Raises:
        DataError: for rows of unequal length, or words that are no numbers.
    """
    width = len(rows[0]) if rows else 0
    result = np.empty((len(rows), width))
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        if len(row) != width:
            raise DataError(
                f"{path}, line {place} has {len(row)} numbers, the first row has {width}; all rows "
                "must have as many"
            )
        result[index] = numbers(row, f"{path}, line {place}")
    return result
