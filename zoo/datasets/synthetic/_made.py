"""What a generator yields, and helpers that keep its numbers the same on every platform.

NumPy's generators draw the same bits everywhere, but sines, products and decompositions may differ
in the last digit. So every number is rounded to a grid that is coarse beside such differences.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.errors import ConfigError

SOURCE = "made for this package by its own generator; no data of another set is used"
LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True)
class Made:
    """Arrays of a generated data set, and what its description says.

    Attributes:
        domain: of its samples.
        title: one line.
        arrays: by the names that the domain's archives have.
        limits: what it must not be taken for.
        keys: field -> array, where the names alone don't say.
        splits: their description; the column `split`, if there is one, unless said.
        source: where the numbers come from.
        licence: of the numbers.
        citation: of the recipe.
    """

    domain: str
    title: str
    arrays: Mapping[str, np.ndarray]
    limits: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Any] | None = None
    source: str = SOURCE
    licence: str = LICENCE
    citation: str = ""

    def metadata(self) -> dict[str, Any]:
        """What a data set made of it knows."""
        stated = {"title": self.title, "source": self.source, "licence": self.licence}
        stated |= {"citation": self.citation} if self.citation else {}
        return {**stated, "limits": list(self.limits)}


def settled(array: np.ndarray, bits: int) -> np.ndarray:
    """Numbers rounded to multiples of 2**-bits, as float32.

    Args:
        array: float64, any shape; entries below 2**(24 - bits), so that float32 holds them.
        bits: of the fraction.
    """
    return np.asarray(np.rint(array * 2.0**bits) * 2.0**-bits, dtype=np.float32)


def at_least(name: str, value: float, least: float) -> None:
    """Refuses a setting that is too small.

    Raises:
        ConfigError: naming it.
    """
    if not value >= least:
        raise ConfigError(f"{name} is {value}; it must be at least {least}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuses a setting outside a range.

    Raises:
        ConfigError: naming it.
    """
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must lie between {low} and {high}")


def parts(
    labels: np.ndarray, fractions: Mapping[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Assigns samples to splits, with the same share of every class in each.

    Args:
        labels: (samples,).
        fractions: share of each split; they add up to 1.
        rng: random numbers.

    Returns:
        Names of splits (samples,).
    """
    result = np.empty(len(labels), dtype=f"<U{max(map(len, fractions))}")
    ends = np.cumsum(list(fractions.values()))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(ends[:-1] * len(members)).astype(int)
        for name, part in zip(fractions, np.split(members, cuts), strict=True):
            result[part] = name
    return result
