"""Potentials whose physical properties are known in closed form."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress


class Springs(Calculator):  # type: ignore[misc]  # ASE's classes are untyped
    """Springs between atoms closer than a cutoff: 1/2 k (r - r0)^2 less a depth.

    `rest` and `depth` are numbers, or mappings from sorted pairs of symbols.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        stiffness: float = 5.0,
        rest: float | Mapping[tuple[str, str], float] = 2.5,
        depth: float | Mapping[tuple[str, str], float] = 0.3,
        cutoff: float = 3.0,
    ) -> None:
        super().__init__()
        self.stiffness, self.rest, self.depth, self.cutoff = stiffness, rest, depth, cutoff

    def calculate(
        self, atoms: Atoms | None = None, properties: object = None, changes: object = all_changes
    ) -> None:
        super().calculate(atoms, ["energy"], all_changes)
        i, j, distance, arm = neighbor_list("ijdD", self.atoms, self.cutoff)
        symbols = np.array(self.atoms.get_chemical_symbols())
        pairs = [tuple(sorted(pair)) for pair in zip(symbols[i], symbols[j], strict=True)]
        rest, depth = (
            np.array([value[pair] for pair in pairs]) if isinstance(value, Mapping) else value
            for value in (self.rest, self.depth)
        )
        # each pair is listed twice
        energy = 0.5 * np.sum(0.5 * self.stiffness * (distance - rest) ** 2 - depth)
        pull = (self.stiffness * (distance - rest) / distance)[:, None] * arm
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        self.results = {"energy": float(energy), "forces": forces}
        if self.atoms.pbc.all():
            virial = 0.5 * np.einsum("ex,ey->xy", arm, pull)
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())
