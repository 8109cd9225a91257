"""What all kinds of splits need: settings that are checked, columns, cuts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.errors import ConfigError, DataError, nearest

Splits = dict[str, np.ndarray]
Columns = Mapping[str, np.ndarray]


def cut(order: np.ndarray, fractions: Mapping[str, float]) -> Splits:
    """Consecutive pieces of the given fractions; rounding errors don't add up."""
    ends = np.rint(np.cumsum(list(fractions.values())) * len(order)).astype(int)
    return dict(zip(fractions, np.split(order, ends[:-1]), strict=True))


def fractions_of(spec: dict[str, Any]) -> dict[str, float]:
    """The share of each split.

    Raises:
        ConfigError: unless they lie between 0 and 1 and add up to 1.
    """
    fractions = spec.get("fractions")
    if not isinstance(fractions, Mapping) or not fractions:
        raise ConfigError(
            'splits needs fractions, such as {"train": 0.8, "val": 0.1, "test": 0.1}, '
            f"not {fractions!r}"
        )
    for name, value in fractions.items():
        if not is_number(value) or not 0 < value <= 1:
            raise ConfigError(f"the fraction of {name!r} must lie between 0 and 1, not {value!r}")
    if abs(sum(fractions.values()) - 1) > 1e-9:
        raise ConfigError(f"the fractions add up to {sum(fractions.values()):g}, not 1")
    return {str(name): float(value) for name, value in fractions.items()}


def is_number(value: Any) -> bool:
    """Whether a setting is a number; True and False aren't."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def generator_of(spec: dict[str, Any]) -> np.random.Generator:
    """Random numbers of the setting `seed`, 0 unless said.

    Raises:
        ConfigError: for a seed that is no whole number from 0 on.
    """
    seed = spec.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"the seed of a split is a whole number from 0 on, not {seed!r}")
    return np.random.default_rng(seed)


def column_of(spec: dict[str, Any], setting: str, columns: Columns) -> np.ndarray:
    """The values of the column that a setting names, or of several columns together.

    Several are joined to words such as "1/2".

    Raises:
        ConfigError: if the setting names nothing.
        DataError: for a column that isn't there.
    """
    given = spec.get(setting)
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    names = [name for name in listed if isinstance(name, str)]
    if not names or len(names) < len(listed):
        raise ConfigError(f"splits needs {setting!r}, the name of a column, not {given!r}")
    for name in names:
        if name not in columns:
            raise DataError(
                f"splits asks for the column {name!r} ({setting}), which not every sample has: "
                f"{nearest(name, columns)}"
            )
    if len(names) == 1:
        return columns[names[0]]
    words = [columns[name].astype(str).tolist() for name in names]
    return np.array(["/".join(parts) for parts in zip(*words, strict=True)])


def lists_of(values: Any) -> dict[str, list[str]]:
    """Words by name, where one word may stand for a list of it.

    Raises:
        ConfigError: for anything but a mapping.
    """
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(
            f'splits.values must say which values make which split, such as {{"train": ["a"]}}, '
            f"not {values!r}"
        )
    return {
        str(name): [str(v) for v in (wanted if isinstance(wanted, (list, tuple)) else [wanted])]
        for name, wanted in values.items()
    }
