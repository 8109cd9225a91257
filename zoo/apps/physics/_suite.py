"""What the suites share: the two potentials side by side, and pieces of work."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from zoo.apps.physics._result import Measured, Row
from zoo.apps.physics._simulate import Progress
from zoo.errors import ConfigError, nearest
from zoo.models._atomistic import AtomisticModel

#: makes the reference's calculator of a structure
Reference = Callable[[Atoms], Calculator]
MODEL, REFERENCE = "model", "reference"
#: weight of a piece of work without dynamics, in the progress shown
STATIC = 20


class Pair:
    """A model and its reference.

    Args:
        model: as it is used in dynamics; everything else uses a copy in float64.
        reference: makes the reference's calculators.
        title: of the reference.
    """

    def __init__(self, model: AtomisticModel, reference: Reference, title: str) -> None:
        self.model, self.reference, self.title = model, reference, title

    @cached_property
    def precise(self) -> AtomisticModel:
        """The model in float64, so that finite differences measure it and not its rounding."""
        if self.model.dtype == torch.float64:
            return self.model
        return copy.deepcopy(self.model).double()

    def calculator(self, which: str, atoms: Atoms) -> Calculator:
        """A calculator of one of the two, for this structure."""
        return self.precise.calculator() if which == MODEL else self.reference(atoms)


@dataclass(frozen=True)
class Unit:
    """A piece of work: what of which system, its share of the progress, and how.

    `key` tells it apart from others in a folder of results; `scratch` is a file that is of no use
    once the work is done.
    """

    group: str
    system: str
    key: str
    weight: int
    measure: Callable[[Progress], Measured]
    scratch: Path | None = None


class Suite(Protocol):
    """A suite: `units` of the groups asked for, and under which `conditions` they measure."""

    def units(self, groups: Sequence[str]) -> list[Unit]:
        """The work, in order."""

    @property
    def conditions(self) -> dict[str, str]:
        """Property -> under which conditions."""


def compare(name: str, system: str, values: Callable[[str], float]) -> Row:
    """A row from a function of `MODEL` or `REFERENCE`."""
    return Row(quantity=name, system=system, model=values(MODEL), reference=values(REFERENCE))


def chosen(wanted: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """Those of the known names that are wanted; all if None.

    Raises:
        ConfigError: for another name.
    """
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}: {nearest(name, known)}")
    return [name for name in known if wanted is None or name in wanted]


def shortened(values: Any, count: int = 400) -> list[float]:
    """At most about `count` numbers of a long series, evenly spread."""
    return [float(value) for value in values[:: max(1, len(values) // count)]]
