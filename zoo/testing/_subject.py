"""The model under test in one precision, with the structures and scales of its checks."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from zoo.datasets.atoms import to_batch
from zoo.errors import CapabilityError, ConfigError, ZooError
from zoo.layers.atomistic import SCALARS, TOTALS
from zoo.models._atomistic import AtomisticModel
from zoo.testing import structures as build
from zoo.testing._base import BaseSubject
from zoo.testing._result import Skip

GROUPS = ("O(3)", "SO(3)")


@dataclass(frozen=True)
class Law:
    """How an output transforms.

    Attributes:
        rank: number of vector indices, 0 to 2.
        per_atom: one value per atom; otherwise one per structure.
        pseudo: changes sign under improper transformations.
    """

    rank: int
    per_atom: bool = False
    pseudo: bool = False

    def apply(self, value: Tensor, matrix: np.ndarray) -> Tensor:
        """The output of the structure that `matrix` has transformed."""
        m = torch.as_tensor(matrix, dtype=value.dtype, device=value.device)
        sign = -1.0 if self.pseudo and np.linalg.det(matrix) < 0 else 1.0
        if self.rank == 0:
            return sign * value
        if self.rank == 1:
            return sign * value @ m.T
        return sign * m @ value @ m.T


#: the outputs whose law is known by their name
LAWS: Mapping[str, Law] = {
    "energy": Law(0),
    "forces": Law(1, per_atom=True),
    "stress": Law(2),
    "virial": Law(2),
    "dipole": Law(1),
    "polarizability": Law(2),
    "charges": Law(0, per_atom=True),
    **dict.fromkeys(SCALARS, Law(0)),
}


class Subject(BaseSubject):
    """A copy of a model in one precision, called on ASE structures.

    Args:
        model: maps a `Batch` (as `zoo.to_batch` makes it) to a dict of outputs; never changed.
        dtype: "float64" or "float32".
        group: "O(3)" or "SO(3)"; None takes what the model says of itself, or O(3).
        laws: of outputs that `LAWS` does not know.
        seed: of the random structures.

    Raises:
        ConfigError: for an unknown precision or group.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: str = "float64",
        *,
        group: str | None = None,
        laws: Mapping[str, Law] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, dtype, seed=seed)
        self.laws = {**LAWS, **(laws or {})}
        self.group = symmetry_group(model) if group is None else group
        if self.group not in GROUPS:
            raise ConfigError(f"the group must be {' or '.join(GROUPS)}, not {self.group!r}")

    def rebuilt(self, model: nn.Module) -> Self:
        """The same tests of another model."""
        return type(self)(model, self.dtype, group=self.group, laws=self.laws, seed=self.seed)

    def law_known(self, name: str) -> bool:
        """Whether it is known how an output transforms."""
        return name in self.laws

    def precisions(self, name: str) -> set[torch.dtype]:
        """Energies are float64; a user's own module may return them in its own precision."""
        if name != "energy" and name not in TOTALS:
            return {self.torch_dtype}
        own = not isinstance(self.original, AtomisticModel)
        return {torch.float64, self.torch_dtype} if own else {torch.float64}

    @property
    def cutoff(self) -> float | None:
        """The model's cutoff (Å), if it says so."""
        cutoff = getattr(self.model, "cutoff", None)
        return None if cutoff is None else float(cutoff)

    def need_cutoff(self) -> float:
        """The cutoff.

        Raises:
            Skip: if the model has no attribute `cutoff`.
        """
        if self.cutoff is None:
            raise Skip("the model has no attribute `cutoff` (Å)")
        return self.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Up to five elements that the model was trained on, the commonest first."""
        seen: Mapping[int, int] = getattr(self.model, "trained_elements", None) or {}
        ranked = sorted(seen, key=lambda number: (-seen[number], number))
        return tuple(ranked[:5]) or build.ELEMENTS

    def batch(self, structures: Sequence[Atoms]) -> Any:
        """The batch that the model gets."""
        return to_batch(list(structures), dtype=self.torch_dtype).to(self.device)

    def __call__(self, structures: Sequence[Atoms], *outputs: str) -> dict[str, Tensor]:
        """The outputs of a batch, detached; `outputs` are a hint that models may ignore."""
        wanted: dict[str, Any] = {}
        if outputs and self.accepts("outputs"):
            wanted["outputs"] = outputs
        found = self.model(self.batch(structures), **wanted)
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{type(self.model).__name__} returned {type(found).__name__}; "
                'expected a dict of tensors such as {"energy": ..., "forces": ...}'
            )
        return {name: value.detach() for name, value in found.items()}

    def need(self, *outputs: str) -> None:
        """Skips a check of outputs that the model does not have."""
        names = set(self.reference) | set(self.periodic_reference)
        missing = [name for name in outputs if name not in names]
        if missing:
            raise Skip(f"the model has no output {' and '.join(missing)}")

    def need_derived(self, output: str) -> None:
        """Skips a check of what is no derivative of the energy: direct forces or stress.

        A model says so in an attribute `direct` that names them.
        """
        if output in getattr(self.model, "direct", ()):
            raise Skip(f"the model's {output} come from a direct head: no derivative of the energy")

    @functools.cached_property
    def molecules(self) -> list[Atoms]:
        """Three random molecules; the last is charged if the model takes charges."""
        rng = self.rng("molecules")
        found = [
            build.molecule(rng, size, elements=self.elements, cutoff=self.cutoff)
            for size in (4, 6, 5)
        ]
        found[2].info["charge"] = 1
        try:
            self(found[2:])
        except ZooError:
            del found[2].info["charge"]
        return found

    @functools.cached_property
    def crystals(self) -> list[Atoms]:
        """Two skewed cells with three periodic directions; none if the model takes no cells."""
        rng = self.rng("crystals")
        found = [
            build.crystal(rng, size, elements=self.elements, cutoff=self.cutoff) for size in (3, 5)
        ]
        try:
            self(found)
        except CapabilityError:
            return []
        return found

    def need_crystals(self) -> list[Atoms]:
        """The cells.

        Raises:
            Skip: if the model takes none.
        """
        if not self.crystals:
            raise Skip("the model takes no periodic structures")
        return self.crystals

    def take(self, molecules: Sequence[Atoms], crystals: Sequence[Atoms]) -> None:
        """Measures on these structures instead of random ones."""
        self.molecules, self.crystals = list(molecules), list(crystals)

    @property
    def groups(self) -> list[list[Atoms]]:
        """Molecules and cells, apart, because only cells have a stress."""
        return [group for group in (self.molecules, self.crystals) if group]

    @property
    def companies(self) -> list[list[Atoms]]:
        """Molecules with a lone atom; cells, also among molecules."""
        lone = Atoms([self.elements[0]], positions=[[0.3, -0.2, 0.1]])
        found = [[*self.molecules, lone]]
        if self.crystals:
            found += [self.crystals, [self.crystals[0], lone, *self.molecules]]
        return found

    @functools.cached_property
    def reference(self) -> dict[str, Tensor]:
        """Outputs of the molecules."""
        return self(self.molecules)

    @functools.cached_property
    def periodic_reference(self) -> dict[str, Tensor]:
        """Outputs of the cells."""
        return self(self.crystals) if self.crystals else {}

    @functools.cached_property
    def references(self) -> list[dict[str, Tensor]]:
        """Outputs of molecules, and of cells if the model takes them."""
        if not self.molecules:  # only where structures were given
            return [self.periodic_reference] if self.crystals else []
        return [self.reference, self.periodic_reference][: len(self.groups)]

    @functools.cached_property
    def scales(self) -> dict[str, float]:
        """Size of each output: what errors are divided by.

        For the energy it is the binding energy, so that reference energies of thousands of eV
        hide nothing.
        """
        sizes: dict[str, float] = {}
        for group, found in zip(self.groups, self.references, strict=True):
            for name, value in found.items():
                if name == "energy":
                    value = value - self._apart(group, value)
                sizes[name] = max(sizes.get(name, 0.0), float(value.abs().max()))
        return sizes

    def _apart(self, group: list[Atoms], like: Tensor) -> Tensor:
        present = {int(z) for atoms in group for z in atoms.numbers}
        singles = {z: Atoms([z], positions=[[0, 0, 0]]) for z in {*self.elements, *present}}
        try:
            energies = {z: float(self([atom])["energy"]) for z, atom in singles.items()}
        except (ZooError, RuntimeError, IndexError):  # the check of isolated atoms will tell
            return torch.zeros_like(like)
        sums = [sum(energies[int(z)] for z in atoms.numbers) for atoms in group]
        return torch.nan_to_num(like.new_tensor(sums))


def symmetry_group(model: nn.Module) -> str:
    """The group that a model names: its attribute `symmetry`, or a constructor argument."""
    declared = getattr(model, "symmetry", None)
    if isinstance(declared, str):
        return declared
    for value in dict(getattr(model, "hparams", {})).values():
        if isinstance(value, str) and value in GROUPS:
            return value
    return GROUPS[0]
