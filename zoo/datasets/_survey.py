"""What a file holds, found in one pass that keeps no frame.

Which labels there are, and which columns, is a property of all frames together: a label that some
frames lack is refused, not filled. Every reader of structures reports each frame here, whether it
keeps it in memory or reads it again later, so that both give the same data set.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.datasets._labels import INPUTS, SHAPES, names
from zoo.errors import ConfigError, DataError, nearest

SHOWN = 8  # frame numbers in an error message
BLOCK = 4096  # values of a column that wait to become an array
# what ASE stores as results of a calculator and so are no columns
_RESULTS = frozenset({"free_energy", "magmom", "polarization", "dielectric_tensor"})
Keys = Mapping[str, str | None]


@dataclass(frozen=True)
class Findings:
    """All frames of a file in short.

    Attributes:
        counts: atoms of each structure (F,).
        labels: what every frame has, `stress` too where it follows from the virial.
        columns: plain values of `info` that every frame has (F,).
    """

    counts: np.ndarray
    labels: tuple[str, ...]
    columns: Mapping[str, np.ndarray]


class Survey:
    """Gathers what frames have.

    Args:
        keys: label -> name in the file; None leaves the label out.
        where: the file, for messages.

    Attributes:
        used: names of `info` that are no columns.

    Raises:
        ConfigError: for an unknown label, or a virial taken for a stress.
    """

    def __init__(self, keys: Keys, where: str = "") -> None:
        check_keys(keys, (*SHAPES, *INPUTS))
        self._keys, self._where = keys, f"{where}: " if where else ""
        self._counts = array("q")
        self._layouts: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        self._layout = array("q")
        self.used = {*SHAPES, *INPUTS, *_RESULTS}
        self.used |= {name for label in (*SHAPES, *INPUTS) for name in names(label)}
        self.used |= {key for key in keys.values() if key is not None}
        self._columns: dict[str, _Column] | None = None
        self._periodic = True

    def add(
        self, count: int, info: Mapping[str, Any], others: Iterable[str], *, periodic: bool
    ) -> None:
        """Reports one frame.

        Args:
            count: its atoms.
            info: its values.
            others: names of its arrays and results.
            periodic: whether it has three periodic directions.
        """
        self._counts.append(count)
        layout = (tuple(k for k, v in info.items() if v is not None), tuple(others))
        self._layout.append(self._layouts.setdefault(layout, len(self._layouts)))
        self._periodic &= periodic
        if self._columns is None:
            self._columns = {k: _Column() for k in info if k not in self.used}
        for name in list(self._columns):
            if not self._columns[name].add(info.get(name)):
                del self._columns[name]

    def finish(self) -> Findings:
        """What all frames have in common.

        Raises:
            DataError: if there are no structures, or a label is not in each of them.
        """
        if not self._counts:
            raise DataError(f"{self._where}the data set has no structures")
        labels = [label for label in SHAPES if self._everywhere(label)]
        for name in INPUTS:
            self._everywhere(name)
        if "virial" in labels and "stress" not in (*labels, *self._keys) and self._periodic:
            labels.insert(labels.index("virial"), "stress")
        columns = {name: column.values() for name, column in (self._columns or {}).items()}
        return Findings(np.frombuffer(self._counts, np.int64).copy(), tuple(labels), columns)

    def _everywhere(self, name: str) -> bool:
        """Whether every frame has a label; refuses one that only some have."""
        asked, key = name in self._keys, self._keys.get(name)
        if asked and key is None:
            return False
        without = [
            number
            for (info, others), number in self._layouts.items()
            if not _has(name, key, set(info), set(others))
        ]
        total = len(self._counts)
        missing = np.flatnonzero(np.isin(np.frombuffer(self._layout, np.int64), without))
        if len(missing) == total:
            if asked:
                self._refuse(name, key)
            return False
        if len(missing) and (asked or name in SHAPES):
            raise DataError(
                f"{self._where}{len(missing)} of {total} frames have no {key or name!r}: frames "
                f"{listed(missing)}; remove them, or leave the label out with "
                f"keys={{{name!r}: None}}"
            )
        return True

    def _refuse(self, name: str, key: str | None) -> None:
        info, others = next(iter(self._layouts))
        have = sorted({*info, *others} - {"numbers", "positions"})
        close = nearest(str(key), have)
        raise DataError(
            f"{self._where}no frame has {key!r}, which keys asks for as {name}; {close} "
            f"(frame 0 has: {', '.join(have) or 'no labels'}); write keys={{{name!r}: ...}} with "
            "one of these"
        )


def _has(name: str, key: str | None, info: set[str], others: set[str]) -> bool:
    if key is not None:
        return key in info or key in others
    if name in INPUTS:
        return not info.isdisjoint(names(name))
    return not (info | others).isdisjoint(names(name))


def check_keys(keys: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuses unknown names in `keys`, and names that are no text."""
    for name, key in keys.items():
        if name not in allowed:
            raise ConfigError(f"keys has no entry {name!r}: {nearest(str(name), allowed)}")
        if key is not None and not isinstance(key, str):
            raise ConfigError(
                f"keys maps labels to names in the file, such as {{{name!r}: 'REF_{name}'}}, not "
                f"to {key!r}"
            )
        if name == "stress" and key is not None and "virial" in key.lower():
            raise ConfigError(
                f"{key!r} is no stress: write keys={{'virial': {key!r}}}, and stress = -virial/V "
                "follows where all frames are periodic"
            )


def listed(indices: Iterable[int]) -> str:
    """A few frame numbers in words."""
    numbers = [str(int(i)) for i in indices]
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return ", ".join(numbers[:SHOWN]) + more


class _Column:
    """One plain value per frame, in blocks so that Python's own objects don't pile up."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._waiting: list[Any] = []

    def add(self, value: Any) -> bool:
        """Takes a value unless it isn't plain."""
        if not _plain(value):
            return False
        self._waiting.append(value)
        if len(self._waiting) == BLOCK:
            self._flush()
        return True

    def values(self) -> np.ndarray:
        """All of them (F,)."""
        if self._waiting:
            self._flush()
        return np.concatenate(self._blocks) if len(self._blocks) > 1 else self._blocks[0]

    def _flush(self) -> None:
        self._blocks.append(np.array(self._waiting))
        self._waiting = []


def _plain(value: Any) -> bool:
    if isinstance(value, int):  # bool too; a longer one would make an array of objects
        return -(2**63) <= value < 2**63
    return isinstance(value, (str, float, np.bool_, np.integer, np.floating))
