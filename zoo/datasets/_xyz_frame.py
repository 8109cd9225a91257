"""One frame of an extended XYZ file, read strictly.

The result is what ASE reads (tests hold the two together), but nothing is skipped: a line with too
few or too many values is refused where ASE drops what `Properties` doesn't name, and so are a key
written twice and text after a blank line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict

from zoo.datasets._labels import shortened
from zoo.errors import DataError

DEFAULT = "species:S:1:pos:R:3"
# names in the file -> ASE's names
_RENAMED = {"pos": "positions", "Z": "numbers", "species": "symbols", "charge": "charges"}
_WORD = r"[^\s=\\'\"{}\[\]]"
# key=value, key="a quoted value" or a bare key; anything else goes to ASE's parser
_PAIR = re.compile(rf"\s*({_WORD}+)(?:=(?:\"([^\"\\]*)\"|({_WORD}+)))?(?=\s|$)")
_TRUTH = {word: word[0] in "tT" for word in ("T", "F", "true", "false", "True", "False")}
_TRUTH |= {"TRUE": True, "FALSE": False}
_SQUARE = frozenset({"Lattice", "virial", "stress"})  # nine numbers, column after column
MAX_WHOLE = 2**63


@dataclass(slots=True)
class Raw:
    """A structure as a file states it: what `zoo.datasets._frames.gather` needs of `ase.Atoms`."""

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    calc: Any = None

    def __len__(self) -> int:
        return len(self.numbers)


def comment(line: str, where: str) -> dict[str, Any]:
    """The values of a comment line: text that `value` converts, or what ASE's parser made of it.

    Raises:
        DataError: for a line that can't be taken apart, or a key written twice.
    """
    found: dict[str, Any] = {}
    position, end = 0, len(line.rstrip())
    while position < end:
        match = _PAIR.match(line, position)
        if match is None:
            return _with_ase(line, where)
        key, quoted, plain = match.groups()
        if key in found:
            raise DataError(f"{where}: {key!r} appears twice; remove one")
        text = quoted if quoted is not None else plain if plain is not None else "T"
        found[key] = _Text(text)
        position = match.end()
    return found


class _Text(str):
    """A value of a comment line that is still to be converted."""

    __slots__ = ()


def _with_ase(line: str, where: str) -> dict[str, Any]:
    try:
        return dict(key_val_str_to_dict(line))
    except MemoryError:
        raise
    except Exception as error:  # quotes and JSON inside quotes fail in many ways
        raise DataError(f"{where}: {shortened(line)} can't be read: {error}") from error


def value(key: str, text: Any, where: str) -> Any:
    """A number, an array of numbers, True or False, a list of them, or text, as ASE decides.

    Raises:
        DataError: for nine numbers that aren't.
    """
    if not isinstance(text, _Text):
        return text
    if key.lower() == "uid":
        return str(text)
    words = text.replace(",", " ").split()
    numbers = _numbers(words)
    if key in _SQUARE:
        if not isinstance(numbers, np.ndarray) or numbers.shape != (9,):
            raise DataError(
                f"{where}: {key} must be nine numbers, not {shortened(str(text))}; six numbers of "
                f"a stress or virial are read under another name, such as REF_{key}"
            )
        return numbers.reshape(3, 3).T
    if numbers is not None:
        return numbers
    if all(word in _TRUTH for word in words):
        truths = [_TRUTH[word] for word in words]
        return truths[0] if len(truths) == 1 else truths
    if text.startswith("_JSON "):
        return _with_ase(f'{key}="{text}"', where).get(key)
    return str(text)


def _numbers(words: list[str]) -> Any:
    """Whole numbers if all of them are, else floats; None for anything else."""
    for kind in (int, float):
        try:
            found = [kind(word) for word in words]
        except ValueError:
            continue
        if kind is int and any(not -MAX_WHOLE <= n < MAX_WHOLE for n in found):
            continue
        if len(found) == 1:
            return found[0]
        return np.array(found, dtype=kind)
    return None


def properties(text: str, where: str) -> list[tuple[str, str, int]]:
    """(ASE's name, type, columns) of each property.

    Raises:
        DataError: for an ill-formed list.
    """
    fields = text.split(":")
    names, kinds, columns = fields[::3], fields[1::3], fields[2::3]
    names = [_RENAMED.get(name, name) for name in names]
    right = len(fields) % 3 == 0 and all(re.fullmatch("0*[1-9][0-9]{0,3}", c) for c in columns)
    if not right or not set(kinds) <= set("RISL") or len(set(names)) < len(names):
        raise DataError(
            f"{where}: Properties={shortened(text)} must list name:type:columns with the types "
            "R, I, S and L and each name once, such as species:S:1:pos:R:3:forces:R:3"
        )
    return [(n, k, int(c)) for n, k, c in zip(names, kinds, columns, strict=True)]


def parse(raw: bytes, line: int, where: str) -> Raw:
    """One frame.

    Args:
        raw: its bytes: count, comment, and one line per atom.
        line: number of its first line in the file.
        where: the file and the frame, for messages.

    Raises:
        DataError: naming the line.
    """
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}, line {line}: this is no UTF-8 text ({error})") from error
    count = int(lines[0])
    place = f"{where}, line {line + 1}"
    info = {key: value(key, text, place) for key, text in comment(lines[1], place).items()}
    names = properties(str(info.pop("Properties", DEFAULT)), place)
    table = [text.split() for text in lines[2 : 2 + count]]
    width = sum(columns for _, _, columns in names)
    for row, words in enumerate(table):
        if len(words) != width:
            raise DataError(
                f"{where}, line {line + 2 + row}: {len(words)} values where Properties names "
                f"{width}; write the atoms' columns as they are into Properties="
            )
    arrays, first = {}, 0
    for name, kind, columns in names:
        cells = [words[first : first + columns] for words in table]
        arrays[name] = _array(name, kind, cells, columns, f"{where}, line", line + 2)
        first += columns
    return _structure(info, arrays, place)


def _array(
    name: str, kind: str, cells: list[list[str]], columns: int, where: str, line: int
) -> np.ndarray:
    """(atoms,) or (atoms, columns) of one property."""
    convert, dtype = _KINDS[kind]
    try:
        found = [convert(word) for words in cells for word in words]
    except (ValueError, KeyError):
        for row, words in enumerate(cells):
            for word in words:
                try:
                    convert(word)
                except (ValueError, KeyError) as error:
                    wanted = {"R": "a number", "I": "a whole number", "L": "T or F"}[kind]
                    raise DataError(
                        f"{where} {line + row}: {name} should be {wanted}, not {shortened(word)}"
                    ) from error
        raise
    array: np.ndarray = np.array(found, dtype=dtype)
    return array if columns == 1 else array.reshape(-1, columns)


def _whole(word: str) -> int:
    number = int(word)
    if not -MAX_WHOLE <= number < MAX_WHOLE:
        raise ValueError
    return number


# type of a property -> how a word is read, and the array's type
_KINDS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "R": (float, np.float64),
    "I": (_whole, np.int64),
    "S": (str, object),
    "L": (_TRUTH.__getitem__, np.bool_),
}


def _structure(info: dict[str, Any], arrays: dict[str, np.ndarray], where: str) -> Raw:
    positions = arrays.pop("positions", None)
    if positions is None or positions.ndim != 2 or positions.shape[1] != 3:
        raise DataError(f"{where}: Properties has no positions (pos:R:3)")
    if positions.dtype.kind not in "fi":
        raise DataError(f"{where}: pos must be of type R in Properties")
    numbers = _atomic_numbers(arrays, where)
    lattice = info.pop("Lattice", None)
    pbc = info.pop("pbc", lattice is not None)
    cell = np.zeros((3, 3)) if lattice is None else np.asarray(lattice, np.float64).T.copy()
    directions = np.asarray(pbc)
    if directions.shape not in ((), (3,)) or directions.dtype.kind not in "bi":
        raise DataError(f'{where}: pbc must be such as "T T F", not {shortened(pbc)}')
    stress = info.get("stress")
    if stress is not None:  # as ASE takes it: the upper triangle
        info["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return Raw(
        numbers=numbers,
        positions=positions.astype(np.float64),
        cell=cell,
        pbc=np.broadcast_to(directions.astype(bool), 3),
        info=info,
        arrays=arrays,
    )


def _atomic_numbers(arrays: dict[str, np.ndarray], where: str) -> np.ndarray:
    numbers, symbols = arrays.pop("numbers", None), arrays.pop("symbols", None)
    if numbers is not None:
        if numbers.ndim != 1 or numbers.dtype.kind != "i":
            raise DataError(f"{where}: Z must be one whole number per atom (Z:I:1)")
        return numbers
    if symbols is None or symbols.ndim != 1:
        raise DataError(f"{where}: Properties has no elements (species:S:1 or Z:I:1)")
    try:
        return np.array([atomic_numbers[str(s).capitalize()] for s in symbols], dtype=np.int64)
    except KeyError as error:
        raise DataError(f"{where}: {error} is no symbol of an element") from error
