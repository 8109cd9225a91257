"""Dividing frames into train, validation and test.

Frames of one trajectory resemble their neighbours, so a random split of them flatters a model:
`group` keeps groups (molecules, trajectories) whole, `time` cuts trajectories at points in time,
`assigned` takes what the data set itself says, `index` the numbers that a paper published.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from zoo.datasets import _published
from zoo.datasets._published import Published
from zoo.errors import ConfigError, DataError, nearest

Splits = dict[str, np.ndarray]
Columns = Mapping[str, np.ndarray]


def make(
    spec: Mapping[str, Any], columns: Columns, count: int, published: Published | None = None
) -> Splits:
    """Splits a data set.

    Args:
        spec: `kind` and its settings:
            {"kind": "random", "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}, "seed": 0};
            {"kind": "group", "key": "name", "fractions": ..., "seed": 0}: frames with the same
            value of the column stay together;
            {"kind": "time", "fractions": ...}: contiguous pieces in the file's order, with
            "by": "name" of each group separately;
            {"kind": "assigned", "key": "trajectory", "values": {"train": ["a"], "test": ["b"]}}:
            by the values of a column, with "val_fraction": 0.1 taken from the tail of train (of
            each group, with "by");
            {"kind": "index", "indices": {"train": [0, 5], "test": [2]}}: published numbers, given
            so, or by "file": "split.npz", or by "files": {"train": "a.csv"}, or without any of
            them the data file's own (see `zoo.datasets._published`).
        columns: by name, (count,) each.
        count: number of frames.
        published: the data file's own splits.

    Returns:
        Ascending frame numbers by split; no frame is in two.

    Raises:
        ConfigError: for an ill-formed `spec`.
        DataError: for a column that isn't there, or a split that would be empty.
    """
    spec = dict(spec)
    kind = spec.pop("kind", None)

    def index(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
        return _published.choose(spec, count, published or {})

    kinds = _KINDS | {"index": (index, _published.SETTINGS)}
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(
            f"splits needs a kind, one of {', '.join(kinds)}; it is {kind!r}"
            + (f": {nearest(str(kind), kinds)}" if kind is not None else "")
        )
    function, allowed = kinds[kind]
    for key in spec:
        if key not in allowed:
            raise ConfigError(f"splits of kind {kind!r} take no {key!r}: {nearest(key, allowed)}")
    splits = function(spec, columns, count)
    for name, indices in splits.items():
        if len(indices) == 0:
            raise DataError(
                f"the split {name!r} would be empty ({count} frames, {kind} split {spec}); "
                "give it a larger fraction or leave it out"
            )
    return {name: np.sort(indices).astype(np.int64) for name, indices in splits.items()}


def digest(splits: Splits, count: int) -> str:
    """SHA-256 of the frame numbers of each split; empty without splits."""
    if not splits:
        return ""
    result = hashlib.sha256(f"{count}".encode())
    for name in sorted(splits):
        result.update(f"\n{name} {len(splits[name])}\n".encode())
        result.update(splits[name].astype("<i8").tobytes())
    return result.hexdigest()


def _random(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    order = _generator(spec).permutation(count)
    return _cut(order, _fractions(spec))


def _group(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Whole groups, drawn at random, each to the split that lacks the most frames."""
    fractions = _fractions(spec)
    names, members = np.unique(_column(spec, "key", columns), return_inverse=True)
    if len(names) < len(fractions):
        raise DataError(
            f"{spec['key']!r} has {len(names)} distinct values, too few for the "
            f"{len(fractions)} splits {', '.join(fractions)}"
        )
    sizes = np.bincount(members)
    lack = {name: fraction * count for name, fraction in fractions.items()}
    owner: dict[str, list[int]] = {name: [] for name in fractions}
    order = [int(k) for k in _generator(spec).permutation(len(names))]
    for position, group in enumerate(order):
        empty = [name for name, groups in owner.items() if not groups]
        # the last groups go to splits that have none yet
        pool = empty if len(order) - position <= len(empty) else list(owner)
        target = max(pool, key=lambda name: lack[name])
        owner[target].append(group)
        lack[target] -= sizes[group]
    return {name: np.flatnonzero(np.isin(members, groups)) for name, groups in owner.items()}


def _time(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    fractions = _fractions(spec)
    pieces = [_cut(part, fractions) for part in _parts(spec, columns, np.arange(count))]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in fractions}


def _assigned(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    column = _column(spec, "key", columns)
    present = [str(v) for v in np.unique(column)]
    values = spec.get("values", {name: [name] for name in present})
    text = column.astype(str)
    splits: Splits = {}
    for name, wanted in _lists(values).items():
        for value in wanted:
            if value not in present:
                raise DataError(
                    f"no frame has {spec['key']}={value!r} (split {name!r}): "
                    f"{nearest(value, present)}"
                )
        splits[name] = np.flatnonzero(np.isin(text, wanted))
    if sum(len(s) for s in splits.values()) > len(np.unique(np.concatenate(list(splits.values())))):
        raise ConfigError(f"splits.values puts frames into two splits: {values}")
    fraction = spec.get("val_fraction")
    if fraction is not None:
        splits |= _tail(spec, columns, splits, fraction)
    return splits


def _tail(spec: dict[str, Any], columns: Columns, splits: Splits, fraction: Any) -> Splits:
    """Takes the last part of train for validation."""
    if not _is_number(fraction) or not 0 < fraction < 1 or "train" not in splits:
        raise ConfigError(f"val_fraction is a part of train between 0 and 1, not {fraction!r}")
    if "val" in splits:
        raise ConfigError("splits.values already names a split 'val'; leave out val_fraction")
    parts = _parts(spec, columns, splits["train"])
    cut = [_cut(part, {"train": 1 - fraction, "val": fraction}) for part in parts]
    return {name: np.concatenate([piece[name] for piece in cut]) for name in ("train", "val")}


def _parts(spec: dict[str, Any], columns: Columns, indices: np.ndarray) -> list[np.ndarray]:
    """`indices`, apart by the column `by` if there is one."""
    if "by" not in spec:
        return [indices]
    column = _column(spec, "by", columns)[indices]
    return [indices[column == value] for value in np.unique(column)]


def _cut(order: np.ndarray, fractions: Mapping[str, float]) -> Splits:
    """Consecutive pieces of the given fractions; rounding errors don't add up."""
    ends = np.rint(np.cumsum(list(fractions.values())) * len(order)).astype(int)
    return dict(zip(fractions, np.split(order, ends[:-1]), strict=True))


def _fractions(spec: dict[str, Any]) -> dict[str, float]:
    fractions = spec.get("fractions")
    if not isinstance(fractions, Mapping) or not fractions:
        raise ConfigError(
            'splits needs fractions, such as {"train": 0.8, "val": 0.1, "test": 0.1}, '
            f"not {fractions!r}"
        )
    for name, value in fractions.items():
        if not _is_number(value) or not 0 < value <= 1:
            raise ConfigError(f"the fraction of {name!r} must lie between 0 and 1, not {value!r}")
    if abs(sum(fractions.values()) - 1) > 1e-9:
        raise ConfigError(f"the fractions add up to {sum(fractions.values()):g}, not 1")
    return {str(name): float(value) for name, value in fractions.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _generator(spec: dict[str, Any]) -> np.random.Generator:
    seed = spec.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"the seed of a split is a whole number from 0 on, not {seed!r}")
    return np.random.default_rng(seed)


def _column(spec: dict[str, Any], setting: str, columns: Columns) -> np.ndarray:
    name = spec.get(setting)
    if not isinstance(name, str):
        raise ConfigError(f"splits needs {setting!r}, the name of a column, not {name!r}")
    if name not in columns:
        raise DataError(
            f"splits asks for the column {name!r} ({setting}), which not every frame has in "
            f"info: {nearest(name, columns)}"
        )
    return columns[name]


def _lists(values: Any) -> dict[str, list[str]]:
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(
            f'splits.values must say which values make which split, such as {{"train": ["a"]}}, '
            f"not {values!r}"
        )
    return {
        str(name): [str(v) for v in (wanted if isinstance(wanted, (list, tuple)) else [wanted])]
        for name, wanted in values.items()
    }


_KINDS: dict[str, tuple[Callable[[dict[str, Any], Columns, int], Splits], tuple[str, ...]]] = {
    "random": (_random, ("fractions", "seed")),
    "group": (_group, ("key", "fractions", "seed")),
    "time": (_time, ("fractions", "by")),
    "assigned": (_assigned, ("key", "values", "val_fraction", "by")),
}
