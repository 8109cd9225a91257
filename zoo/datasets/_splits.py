"""Dividing frames into train, validation and test.

Frames of one trajectory resemble their neighbours, so a random split of them flatters a model:
`group` keeps groups (molecules, trajectories) whole, `time` cuts trajectories at points in time,
`assigned` takes what the data set itself says, `index` the numbers that a paper published,
`leave_out` holds a session or a subject out, `within` divides each of them, `kfold` tests on each
sample once.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from zoo.datasets import _published, _transfer
from zoo.datasets._kfold import KFOLD, kfold
from zoo.datasets._published import Published
from zoo.datasets._split_tools import (
    Columns,
    Splits,
    column_of,
    cut,
    fractions_of,
    generator_of,
    is_number,
    lists_of,
)
from zoo.errors import ConfigError, DataError, nearest


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
            them the data file's own (see `zoo.datasets._published`);
            {"kind": "shuffled", "seed": 1024, "fractions": {"test": 0.5, "train": 0.5}}: by
            Python's `random.Random(seed).shuffle`, cut in that order, as some authors divide;
            {"kind": "kfold", "folds": 10, "fold": 0, "seed": 0, "stratify": "y"}: see
            `zoo.datasets._kfold`;
            {"kind": "within", ...} and {"kind": "leave_out", ...}: within sessions, and across
            sessions or subjects (see `zoo.datasets._transfer`).
            Where a column is asked for, a list of names takes all their combinations.
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
    order = generator_of(spec).permutation(count)
    return cut(order, fractions_of(spec))


def _shuffled(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Python's own shuffle of the file's order, cut in the order of the fractions.

    Every part but the last is rounded down, as authors' loaders do: with the seed 1024 and half to
    test on first, this is the division of HDM05 that LieBN's results are for.
    """
    shares, seed = fractions_of(spec), spec.get("seed", 0)
    generator_of(spec)  # refuses an ill-formed seed
    order = list(range(count))
    random.Random(seed).shuffle(order)
    ends = [0]
    for share in list(shares.values())[:-1]:
        ends.append(ends[-1] + int(share * count))
    pieces = [np.array(order[a:b], dtype=np.int64) for a, b in pairwise([*ends, count])]
    return dict(zip(shares, pieces, strict=True))


def _group(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Whole groups, drawn at random, each to the split that lacks the most frames."""
    fractions = fractions_of(spec)
    names, members = np.unique(column_of(spec, "key", columns), return_inverse=True)
    if len(names) < len(fractions):
        raise DataError(
            f"{spec['key']!r} has {len(names)} distinct values, too few for the "
            f"{len(fractions)} splits {', '.join(fractions)}"
        )
    sizes = np.bincount(members)
    lack = {name: fraction * count for name, fraction in fractions.items()}
    owner: dict[str, list[int]] = {name: [] for name in fractions}
    order = [int(k) for k in generator_of(spec).permutation(len(names))]
    for position, group in enumerate(order):
        empty = [name for name, groups in owner.items() if not groups]
        # the last groups go to splits that have none yet
        pool = empty if len(order) - position <= len(empty) else list(owner)
        target = max(pool, key=lambda name: lack[name])
        owner[target].append(group)
        lack[target] -= sizes[group]
    return {name: np.flatnonzero(np.isin(members, groups)) for name, groups in owner.items()}


def _time(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    fractions = fractions_of(spec)
    pieces = [cut(part, fractions) for part in _parts(spec, columns, np.arange(count))]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in fractions}


def _assigned(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    column = column_of(spec, "key", columns)
    present = [str(v) for v in np.unique(column)]
    values = spec.get("values", {name: [name] for name in present})
    text = column.astype(str)
    splits: Splits = {}
    for name, wanted in lists_of(values).items():
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
    if not is_number(fraction) or not 0 < fraction < 1 or "train" not in splits:
        raise ConfigError(f"val_fraction is a part of train between 0 and 1, not {fraction!r}")
    if "val" in splits:
        raise ConfigError("splits.values already names a split 'val'; leave out val_fraction")
    parts = _parts(spec, columns, splits["train"])
    pieces = [cut(part, {"train": 1 - fraction, "val": fraction}) for part in parts]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in ("train", "val")}


def _parts(spec: dict[str, Any], columns: Columns, indices: np.ndarray) -> list[np.ndarray]:
    """`indices`, apart by the column `by` if there is one."""
    if "by" not in spec:
        return [indices]
    column = column_of(spec, "by", columns)[indices]
    return [indices[column == value] for value in np.unique(column)]


_KINDS: dict[str, tuple[Callable[[dict[str, Any], Columns, int], Splits], tuple[str, ...]]] = {
    "random": (_random, ("fractions", "seed")),
    "group": (_group, ("key", "fractions", "seed")),
    "time": (_time, ("fractions", "by")),
    "assigned": (_assigned, ("key", "values", "val_fraction", "by")),
    "shuffled": (_shuffled, ("fractions", "seed")),
    "kfold": (kfold, KFOLD),
    "within": (_transfer.within, _transfer.WITHIN),
    "leave_out": (_transfer.leave_out, _transfer.LEAVE_OUT),
}
