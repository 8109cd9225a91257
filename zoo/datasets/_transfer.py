"""Splits within sessions, and across sessions or subjects.

Signals of one session resemble each other more than those of the next, so what a model is worth is
told by a session, or a subject, that it never saw: `leave_out`. `within` is the easier question
beside it. A part of what is held out may be set aside as the split `adapt`, whose labels are never
shown (`Dataset.split("adapt")` has no `y`): models adapt to the new session on it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.datasets._split_tools import (
    Columns,
    Splits,
    column_of,
    cut,
    fractions_of,
    generator_of,
    is_number,
)
from zoo.errors import ConfigError, DataError, nearest

ADAPT = "adapt"
WITHIN = ("by", "fractions", "seed", "stratify", "where")
LEAVE_OUT = ("key", "value", "fold", "val_fraction", "adapt", "seed", "stratify", "where")


def within(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Divides every session by itself.

    Args:
        spec: `by`, a column or several whose combinations are the sessions; `fractions`; `seed`;
            `stratify`, a column ("y" for the labels) whose values are shared out evenly;
            `where`, {column: value} of the samples that take part, all unless said.
        columns: by name, (count,) each.
        count: number of samples.

    Returns:
        Numbers by split.
    """
    shares = fractions_of(spec)
    groups = _groups(spec, column_of(spec, "by", columns), columns)
    order = generator_of(spec).permutation(_chosen(spec, columns, count))
    return _share(order, groups, shares)


def leave_out(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Holds out all samples with one value of a column, to test on.

    Args:
        spec: `key`, a column or several; `value` (or a list of them) to hold out, or `fold`, the
            number of the value in ascending order, so that counting folds leaves out each in turn;
            `val_fraction`, a share of the other samples to validate on; `adapt`, a share of the
            held-out samples, the first in the file's order, whose labels stay hidden; `seed`,
            `stratify` and `where` as for `within`.
        columns: by name, (count,) each.
        count: number of samples.

    Returns:
        Numbers of `train` and `test`, and of `val` and `adapt` where they were asked for.
    """
    text = column_of(spec, "key", columns).astype(str)
    chosen = _chosen(spec, columns, count)
    held = np.isin(text[chosen], _held_out(spec, np.unique(text[chosen]).tolist()))
    rest, test = chosen[~held], chosen[held]
    splits: Splits = {"train": rest}
    if "val_fraction" in spec:
        share = _share_of(spec, "val_fraction")
        order = generator_of(spec).permutation(rest)
        splits = _share(order, _groups(spec, text, columns), {"train": 1 - share, "val": share})
    if "adapt" in spec:
        share = _share_of(spec, "adapt")
        return splits | cut(test, {ADAPT: share, "test": 1 - share})
    return splits | {"test": test}


def _held_out(spec: dict[str, Any], present: list[str]) -> list[str]:
    """The values of the key that are held out."""
    if ("value" in spec) == ("fold" in spec):
        raise ConfigError(
            "splits of kind 'leave_out' need either value, which one is held out, or fold, its "
            f"number; {spec['key']!r} has {', '.join(present[:12])}"
        )
    if "fold" in spec:
        fold = spec["fold"]
        if not isinstance(fold, int) or isinstance(fold, bool) or not 0 <= fold < len(present):
            raise ConfigError(
                f"splits.fold is a whole number from 0 to {len(present) - 1}, not {fold!r}"
            )
        return [present[fold]]
    values = spec["value"] if isinstance(spec["value"], (list, tuple)) else [spec["value"]]
    for value in map(str, values):
        if value not in present:
            raise DataError(f"no sample has {spec['key']}={value!r}: {nearest(value, present)}")
    return [str(value) for value in values]


def _groups(spec: dict[str, Any], sessions: np.ndarray, columns: Columns) -> np.ndarray:
    """What is divided evenly: sessions, by the classes in them where they are asked for."""
    words = sessions.astype(str)
    if "stratify" not in spec:
        return words
    classes = column_of(spec, "stratify", columns).astype(str)
    return np.char.add(np.char.add(words, "\n"), classes)


def _share(order: np.ndarray, groups: np.ndarray, shares: Mapping[str, float]) -> Splits:
    """Cuts every group by itself.

    The groups lie one after another, and each cut is rounded for all samples up to the end of the
    group: so a group has its exact share where that is a whole number, and the rounding of many
    small groups doesn't add up.
    """
    ranked = order[np.argsort(groups[order], kind="stable")]
    sizes = np.unique(groups[order], return_counts=True)[1]
    ends = np.cumsum([0, *sizes])
    cuts = np.rint(np.outer(np.cumsum([0.0, *shares.values()]), ends)).astype(int)
    counts = np.diff(np.diff(cuts, axis=0), axis=1)  # of each split in each group
    which = np.concatenate([np.repeat(np.arange(len(shares)), column) for column in counts.T])
    return {name: ranked[which == k] for k, name in enumerate(shares)}


def _chosen(spec: dict[str, Any], columns: Columns, count: int) -> np.ndarray:
    """Numbers of the samples that take part."""
    wanted = spec.get("where", {})
    if not isinstance(wanted, Mapping):
        raise ConfigError(f'splits.where must look like {{"subject": "1"}}, not {wanted!r}')
    taken = np.ones(count, dtype=bool)
    for name, value in wanted.items():
        values = [str(v) for v in (value if isinstance(value, (list, tuple)) else [value])]
        text = column_of({"where": name}, "where", columns).astype(str)
        present = np.unique(text).tolist()
        for word in values:
            if word not in present:
                raise DataError(f"no sample has {name}={word!r}: {nearest(word, present)}")
        taken &= np.isin(text, values)
    return np.flatnonzero(taken)


def _share_of(spec: dict[str, Any], name: str) -> float:
    share = spec[name]
    if not is_number(share) or not 0 < share < 1:
        raise ConfigError(f"splits.{name} is a share between 0 and 1, not {share!r}")
    return float(share)
