"""A sample of the domain `atoms` as plain arrays, and what makes one unusable."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from zoo.datasets._check.geometry import Structure
from zoo.datasets._labels import per_atom
from zoo.datasets.atoms import check_structures
from zoo.errors import UnsupportedInputError

FIELDS = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One structure with its labels.

    Attributes:
        structure: its geometry.
        charge: total charge, e.
        spin: multiplicity, 0 where it isn't stated.
        labels: by name; per-structure ones without a leading axis.
    """

    structure: Structure
    charge: float
    spin: float
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.structure.numbers)

    def label(self, name: str) -> np.ndarray | None:
        """A label if this frame has it and all of it is finite."""
        value = self.labels.get(name)
        return value if value is not None and bool(np.isfinite(value).all()) else None

    @cached_property
    def refusal(self) -> str:
        """Why no model takes the structure; empty if one does."""
        s = self.structure
        arrays = {
            "atomic_numbers": s.numbers,
            "pos": s.positions,
            "cell": s.cell[None],
            "pbc": s.pbc[None],
            "charge": np.array([self.charge]),
            "spin": np.array([self.spin]),
        }
        try:
            check_structures(arrays, [len(self)])
        except UnsupportedInputError as error:
            return str(error)
        return ""


def to_frame(sample: Any, labels: frozenset[str]) -> Frame:
    """Reads a sample of an atoms data set.

    Args:
        sample: PyG `Data` with the domain's fields.
        labels: the names of its labels.
    """
    values = {name: np.asarray(sample[name]) for name in FIELDS}
    stored = {name: np.asarray(sample[name]) for name in labels}
    return Frame(
        structure=Structure(
            numbers=values["atomic_numbers"],
            positions=values["pos"].astype(np.float64),
            cell=values["cell"].reshape(3, 3).astype(np.float64),
            pbc=values["pbc"].reshape(3).astype(bool),
        ),
        charge=float(values["charge"].reshape(-1)[0]),
        spin=float(values["spin"].reshape(-1)[0]),
        labels={k: v if per_atom(k) else v[0] for k, v in stored.items()},
    )
