"""Tables with a line of names: .csv with commas, semicolons or tabs."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.datasets.domains._raw import LABEL_ALIASES, Keys, Raw
from zoo.datasets.domains._text import SHOWN, is_number, is_whole, lines_of, numbers, read_text
from zoo.errors import DataError, nearest

_DELIMITERS = ",;\t"
_AXES = ("x", "y", "z")
_CLASS_ONLY = ("label", "labels", "class")


@dataclass
class Table:
    """Words by column.

    Attributes:
        path: the file.
        columns: words of each column, by name.
        lines: where each row ends.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def find(
        self, wanted: str, keys: dict[str, str | None], aliases: tuple[str, ...]
    ) -> str | None:
        """The name of a column, asked for by `keys` or one of the usual ones; None if it isn't
        there.

        Raises:
            DataError: if `keys` asks for one that isn't there.
        """
        if wanted in keys:
            name = keys[wanted]
            if name is not None and name not in self.columns:
                raise DataError(
                    f"{self.path} has no column {name!r}, which keys asks for as {wanted}: "
                    f"{nearest(str(name), self.columns)}"
                )
            return name
        lower = {name.lower(): name for name in reversed(self.columns)}
        return next((lower[a] for a in (wanted, *aliases) if a in lower), None)

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers in float64.

        Raises:
            DataError: naming the line that holds something else.
        """
        for word, line in zip(self.columns[name], self.lines, strict=True):
            if not is_number(word):
                raise DataError(
                    f"{self.path}, line {line}, column {name!r}: {word[:SHOWN]!r} is no number; "
                    "correct it, or leave the column out of the file"
                )
        return np.array(numbers(self.columns[name], str(self.path)), dtype=np.float64)

    def whole(self, name: str) -> np.ndarray:
        """A column of whole numbers in int64.

        Raises:
            DataError: naming the line that holds something else.
        """
        for word, line in zip(self.columns[name], self.lines, strict=True):
            if not is_whole(word):
                raise DataError(
                    f"{self.path}, line {line}, column {name!r}: {word[:SHOWN]!r} is no whole "
                    "number"
                )
        return np.array([int(word) for word in self.columns[name]], dtype=np.int64)

    def values(self, name: str) -> np.ndarray:
        """A column as whole numbers, numbers or words, whichever all its entries are."""
        words = self.columns[name]
        if all(is_whole(word) for word in words):
            return self.whole(name)
        return self.numbers(name) if all(is_number(w) for w in words) else np.array(words)

    def features(self, taken: set[str]) -> tuple[np.ndarray, list[str]]:
        """The columns that nothing else took (rows, columns), and their names."""
        names = [name for name in self.columns if name not in taken]
        stacked = [self.numbers(name) for name in names]
        return np.stack(stacked, axis=1) if stacked else np.zeros((len(self), 0)), names


def read_table(path: Path) -> Table:
    """Reads a table.

    Raises:
        DataError: for rows of unequal length, empty cells or names, a name twice, or no names.
    """
    lines = lines_of(read_text(path))
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path} is empty")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    places: list[int] = []
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            places.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is no line of a table: {error}") from error
    names = rows[0]
    _check_names(path, names)
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {place} has {len(row)} cells, the line of names has {len(names)}"
            )
        if "" in row:
            raise DataError(
                f"{path}, line {place}: the cell of column {names[row.index('')]!r} is empty; fill "
                "it, or leave the row out"
            )
    if len(rows) == 1:
        raise DataError(f"{path} has a line of names but no rows")
    columns = {name: [row[k] for row in rows[1:]] for k, name in enumerate(names)}
    return Table(path, columns, places[1:])


def _check_names(path: Path, names: list[str]) -> None:
    if all(is_number(name) for name in names):
        raise DataError(f"{path} begins with numbers; its first line must name the columns")
    for name in names:
        if not name or names.count(name) > 1:
            raise DataError(f"{path}: the column name {name!r} is empty or there twice")


def read_vectors(path: Path, keys: Keys | None) -> Raw:
    """A table whose rows are samples."""
    table, settings = read_table(path), dict(keys or {})
    label, taken = _label(table, settings, LABEL_ALIASES)
    names = table.find("split", settings, ())
    values, features = table.features(taken | ({names} if names else set()))
    if not features:
        raise DataError(f"{path} has no columns of features beside {', '.join(sorted(taken))}")
    arrays = {"x": values}
    further = {"y": label, "split": names}
    return _raw(path, table, arrays, further, {"features": features}, ("y", "split"))


def read_points(path: Path, keys: Keys | None) -> Raw:
    """A table whose rows are points; the column `sample` says which cloud a row belongs to."""
    table, settings = read_table(path), dict(keys or {})
    places = [table.find(axis, settings if axis != "y" else {}, ()) for axis in _AXES]
    missing = [axis for axis, name in zip(_AXES, places, strict=True) if name is None]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}; points need the columns x, y and z; it has "
            f"{', '.join(table.columns)}"
        )
    found = [name for name in places if name is not None]
    label, taken = _label(table, settings, _CLASS_ONLY)
    group = table.find("sample", settings, ("cloud",))
    values, features = table.features({*taken, *found, *([group] if group else [])})
    arrays = {"pos": np.stack([table.numbers(name) for name in found], axis=1)}
    if features:
        arrays["x"] = values
    metadata = {"features": features} if features else {}
    raw = _raw(path, table, arrays, {"y": label}, metadata, (*_AXES, "sample"))
    return _grouped(raw, table, group)


def _label(
    table: Table, settings: dict[str, str | None], aliases: tuple[str, ...]
) -> tuple[str | None, set[str]]:
    """The column of labels, and what is then no feature: also a label that `keys` leaves out."""
    if "y" in settings and settings["y"] is None:
        usual = {name for name in table.columns if name.lower() in aliases}
        return None, usual
    # a first alias "y" would be a coordinate where only words such as "label" are looked for
    known = [name for name in table.columns if name.lower() in aliases]
    name = table.find("y", settings, ()) if "y" in settings else next(iter(known), None)
    return name, {name} if name else set()


def read_sequences(path: Path, keys: Keys | None) -> Raw:
    """A table whose rows are steps of the sequence in column `sequence`, or whole sequences."""
    table, settings = read_table(path), dict(keys or {})
    tokens = table.find("tokens", settings, ())
    label, taken = _label(table, settings, LABEL_ALIASES)
    if tokens is not None:
        taken = {tokens, *taken}
        others = [name for name in table.columns if name not in taken]
        if others:
            raise DataError(
                f"{path} has the columns {', '.join(others)} beside tokens; a sequence of tokens "
                "takes none but a label"
            )
        return _tokens(path, table, tokens, label)
    group = table.find("sequence", settings, ("series", "id"))
    if group is None:
        raise DataError(
            f"{path} has no column 'tokens' or 'sequence'; it has {', '.join(table.columns)}; name "
            'it with keys={"sequence": "..."}'
        )
    values, features = table.features({group, *taken})
    if not features:
        raise DataError(f"{path} has no columns of features beside {group!r}")
    arrays = {"sequences": values}
    raw = _raw(path, table, arrays, {"y": label}, {"features": features}, ("y", "sequence"))
    return _grouped(raw, table, group)


def _tokens(path: Path, table: Table, name: str, label: str | None) -> Raw:
    lists = []
    for cell, line in zip(table.columns[name], table.lines, strict=True):
        words = cell.split()
        for word in words:
            if not is_whole(word):
                raise DataError(
                    f"{path}, line {line}: the token {word[:SHOWN]!r} is no whole number"
                )
        lists.append([int(word) for word in words])
    arrays = {
        "tokens": np.array([token for tokens in lists for token in tokens], dtype=np.int64),
        "counts": np.array([len(tokens) for tokens in lists]),
    }
    return _raw(path, table, arrays, {"y": label}, {}, ("y", "tokens"))


def _raw(
    path: Path,
    table: Table,
    arrays: dict[str, np.ndarray],
    further: dict[str, str | None],
    metadata: Mapping[str, object],
    consumed: tuple[str, ...],
) -> Raw:
    arrays |= {ours: table.values(name) for ours, name in further.items() if name is not None}
    return Raw(path, arrays, "csv", metadata=dict(metadata), consumed=frozenset((*consumed, "y")))


def _grouped(raw: Raw, table: Table, group: str | None) -> Raw:
    """Rows of several samples, which must stand together; a label that is one per sample."""
    if group is None:
        return raw
    owner = table.columns[group]
    firsts = [k for k, name in enumerate(owner) if k == 0 or name != owner[k - 1]]
    names = [owner[k] for k in firsts]
    if len(set(names)) != len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{raw.path}: the rows of {group} {again!r} don't stand together; sort the file by "
            f"{group}"
        )
    raw.arrays["counts"] = np.diff([*firsts, len(owner)])
    raw.arrays[group] = np.array(names)
    label = raw.arrays.get("y")
    if label is not None and label.shape[0] == len(owner):
        same = [
            (label[a:b] == label[a]).all() for a, b in zip(firsts, [*firsts[1:], None], strict=True)
        ]
        if all(same):
            raw.arrays["y"] = label[firsts]
    return raw
