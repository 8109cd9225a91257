"""Published splits: numbers or masks given inline, in files of their own, or in the data file.

Names say what an array is: `train_mask`, `train_masks` hold true or false (or 0 and 1) for every
sample, `train_idx`, `train_index`, `idx_train` or `train` hold numbers of samples. `valid`,
`validation` and `dev` are read as `val`. Several divisions of the same data ("folds") are the rows
of one array, or the columns of a mask.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._archive import read_npz
from zoo.errors import ConfigError, DataError

# split -> numbers of its samples, fold by fold
Published = Mapping[str, Sequence[np.ndarray]]

_SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_MASKS = ("mask", "masks")
_INDICES = ("idx", "index", "indices", "ids")
_SOURCES = ("indices", "file", "files")
SETTINGS = (*_SOURCES, "fold", "first", "rest")


def split_of(name: str, bare: bool = False) -> tuple[str, bool] | None:
    """What an array is by its name: the split, and whether it is a mask; None for other arrays.

    Args:
        name: such as "train_mask" or "idx_test".
        bare: whether "train" by itself counts as numbers of samples.
    """
    low = name.lower()
    if bare and low in _SPLITS:
        return _SPLITS[low], False
    first, _, last = low.partition("_")
    if first in _SPLITS and last in _MASKS + _INDICES:
        return _SPLITS[first], last in _MASKS
    if last in _SPLITS and first in _MASKS + _INDICES:
        return _SPLITS[last], first in _MASKS
    return None


def published(
    arrays: Mapping[str, np.ndarray], count: int, where: str, bare: bool = False
) -> dict[str, list[np.ndarray]]:
    """The splits that the arrays of a file describe.

    Args:
        arrays: by name; those whose names say nothing of splits are passed over.
        count: number of samples (or of nodes, where the split divides one graph).
        where: the file, for messages.
        bare: see `split_of`.

    Returns:
        By split, the ascending numbers of its samples for each fold.

    Raises:
        DataError: for ill-shaped arrays, or splits with different numbers of folds.
    """
    found: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        meaning = split_of(name, bare)
        if meaning is None:
            continue
        split, is_mask = meaning
        if split in found:
            raise DataError(f"{where} has two arrays for the split {split!r}; {name!r} is one")
        read = _folds_of_mask if is_mask else _folds_of_numbers
        found[split] = read(array, count, f"{where}: {name}")
    folds = {split: len(parts) for split, parts in found.items()}
    if len(set(folds.values())) > 1:
        raise DataError(f"{where}: its splits have different numbers of folds: {folds}")
    return found


def located(spec: Mapping[str, Any] | None, folder: Path) -> Mapping[str, Any] | None:
    """A split's description with its files looked for beside the data first."""
    if spec is None or spec.get("kind") != "index":
        return spec

    def place(name: Any) -> Any:
        beside = folder / name if isinstance(name, str) else None
        return str(beside) if beside is not None and beside.is_file() else name

    result = dict(spec)
    if "file" in result:
        result["file"] = place(result["file"])
    if isinstance(result.get("files"), Mapping):
        result["files"] = {split: place(name) for split, name in result["files"].items()}
    return result


def choose(
    spec: Mapping[str, Any], count: int, own: Published, noun: str = "samples"
) -> dict[str, np.ndarray]:
    """The splits that a description of kind "index" asks for.

    Args:
        spec: at most one of `indices` (numbers by split), `file` (an .npz), `files` (one .csv or
            .txt of whole numbers for each split); none of them takes the data file's own. `fold`
            picks one of several; `first: 1` says that counting starts at 1; `rest: test` names a
            split for everything else.
        count: number of samples.
        own: what the data file says.
        noun: what is divided, for messages.

    Raises:
        ConfigError: for an ill-formed description.
        DataError: for numbers that aren't there, twice there, or in two splits.
    """
    given = [name for name in _SOURCES if name in spec]
    if len(given) > 1:
        raise ConfigError(f"splits of kind 'index' take one of {', '.join(given)}, not all")
    offset = spec.get("first", 0)
    if offset not in (0, 1) or isinstance(offset, bool):
        raise ConfigError(f"splits.first says whether counting starts at 0 or 1, not {offset!r}")
    if given:
        parts = _READ[given[0]](spec[given[0]], count, offset)
    else:
        if not own:
            raise DataError(
                "the data file has no split of its own; give the numbers with "
                'splits={"kind": "index", "indices": {"train": [...]}}, or "file" or "files"'
            )
        parts = own
    splits = _fold(parts, spec.get("fold"))
    _check(splits, count, noun)
    if "rest" in spec:
        name = spec["rest"]
        if not isinstance(name, str) or name in splits:
            raise ConfigError(f"splits.rest names a split that has no numbers yet, not {name!r}")
        joined = np.concatenate([*splits.values(), np.zeros(0, dtype=np.int64)])
        splits[name] = np.setdiff1d(np.arange(count), joined)
    return splits


def _fold(parts: Published, fold: Any) -> dict[str, np.ndarray]:
    folds = len(next(iter(parts.values()), ()))
    if fold is None:
        if folds != 1:
            raise ConfigError(
                f'there are {folds} published folds; choose one: splits={{"kind": "index", '
                '"fold": 0}'
            )
        fold = 0
    if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < folds:
        raise ConfigError(f"splits.fold is a whole number from 0 to {folds - 1}, not {fold!r}")
    return {split: pieces[fold] for split, pieces in parts.items()}


def _check(splits: Mapping[str, np.ndarray], count: int, noun: str) -> None:
    owner: dict[int, str] = {}
    for split, numbers in splits.items():
        bad = numbers[(numbers < 0) | (numbers >= count)]
        if bad.size:
            raise DataError(
                f"the split {split!r} names {bad[0]}, but there are {count} {noun}, counted from "
                '0; "first": 1 says that a file counts from 1'
            )
        for number in numbers.tolist():
            if number in owner:
                raise DataError(f"{number} is in the split {owner[number]!r} and in {split!r}")
            owner[number] = split


def _folds_of_mask(array: np.ndarray, count: int, where: str) -> list[np.ndarray]:
    if array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{where} is a mask and must hold true and false, or 0 and 1")
    if array.ndim == 1:
        array = array[None]
    elif array.ndim == 2 and array.shape[1] != count and array.shape[0] == count:
        array = array.T
    if array.ndim != 2 or array.shape[1] != count:
        raise DataError(f"{where} has shape {array.shape}, expected ({count},) or (folds, {count})")
    return [np.flatnonzero(row) for row in array]


def _folds_of_numbers(array: np.ndarray, count: int, where: str) -> list[np.ndarray]:
    if array.dtype.kind == "b":
        return _folds_of_mask(array, count, where)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise DataError(f"{where} must hold whole numbers, (k,) or (folds, k)")
    rows = array[None] if array.ndim == 1 else array
    return [np.asarray(row, dtype=np.int64) for row in rows]


def _inline(value: Any, count: int, offset: int) -> Published:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f'splits.indices must look like {{"train": [0, 1]}}, not {value!r}')
    parts = {}
    for split, numbers in value.items():
        try:
            array = np.asarray(numbers)
        except ValueError as error:
            raise ConfigError(f"splits.indices.{split} must be one list of numbers") from error
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind == "b":
            raise ConfigError(f"splits.indices.{split} holds true and false; give numbers")
        parts[str(split)] = [
            row - offset for row in _folds_of_numbers(array, count, f"splits.indices.{split}")
        ]
    return parts


def _from_archive(value: Any, count: int, offset: int) -> Published:
    path = _path(value, "file")
    if path.suffix != ".npz":
        raise ConfigError(
            f'splits.file must be an .npz; name {path.name!r} with "files": {{"train": ...}}'
        )
    arrays = read_npz(path)
    parts = published(arrays, count, str(path), bare=True)
    if not parts:
        raise DataError(
            f"{path} has no array such as 'train_idx' or 'train_mask'; it has {', '.join(arrays)}"
        )
    if not offset:
        return parts
    masks = {meaning[0] for n in arrays if (meaning := split_of(n, True)) and meaning[1]}
    return {s: folds if s in masks else [f - 1 for f in folds] for s, folds in parts.items()}


def _from_lists(value: Any, count: int, offset: int) -> Published:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f'splits.files must look like {{"train": "a.csv"}}, not {value!r}')
    return {str(split): [_numbers(_path(name, "files")) - offset] for split, name in value.items()}


def _numbers(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text: {error}") from error
    numbers = []
    for place, line in enumerate(lines, start=1):
        for word in line.replace(",", " ").split():
            if not (word.isascii() and word.removeprefix("-").isdigit()) or len(word) > 18:
                raise DataError(
                    f"{path}, line {place}: {word[:40]!r} is no whole number; the file of a split "
                    "holds one number per line and nothing else"
                )
            numbers.append(int(word))
    if not numbers:
        raise DataError(f"{path} holds no numbers")
    return np.array(numbers, dtype=np.int64)


def _path(value: Any, setting: str) -> Path:
    if not isinstance(value, str):
        raise ConfigError(f"splits.{setting} needs the name of a file, not {value!r}")
    path = Path(value).expanduser()
    if not path.is_file():
        raise DataError(f"splits.{setting}: there is no file {value!r}, here or beside the data")
    return path


_READ: dict[str, Callable[[Any, int, int], Published]] = {
    "indices": _inline,
    "file": _from_archive,
    "files": _from_lists,
}
