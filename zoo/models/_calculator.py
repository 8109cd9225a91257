"""The ASE calculator of an atomistic model.

Properties follow ASE's names, units and signs: energies in eV, forces in eV/Å, stress in eV/Å³ as
the six components xx, yy, zz, yz, xz, xy. One model call fills every property that the structure
allows, so a step of dynamics costs one call however many properties are read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from zoo.datasets.atoms import to_batch
from zoo.errors import CapabilityError, ZooError, nearest
from zoo.models._atomistic import AtomisticModel

_PER_STRUCTURE = ("energy", "stress", "dipole", "polarizability")
_INFO = ("charge", "spin")  # kept in atoms.info, where ASE does not look for changes


class MissingPropertyError(CapabilityError, PropertyNotImplementedError):
    """A property that the model, or this structure, does not have; ASE knows it as its own."""


class ZooCalculator(Calculator):
    """Energies, forces and stress of a model for ASE's dynamics, relaxations and analyses.

    Args:
        model: any atomistic model, on any device and in any precision; it is not copied.

    `energy` and `free_energy` are the same number: the model has no electronic temperature.
    """

    def __init__(self, model: AtomisticModel) -> None:
        super().__init__()
        self.model = model
        self._title = model.checkpoint_name or type(model).__name__
        known = [name for name in model.outputs if name in {"forces", *_PER_STRUCTURE}]
        self.implemented_properties = [*known, "free_energy"] if "energy" in known else known

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation, the charge and spin in `info` included."""
        changes = list(super().check_state(atoms, tol=tol))
        if self.atoms is not None:
            changes += [k for k in _INFO if atoms.info.get(k) != self.atoms.info.get(k)]
        return changes

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """One property, calculated if the structure changed since the last call.

        Raises:
            CapabilityError: if the model has no such output (also ASE's
                `PropertyNotImplementedError`, which ASE's own tools expect).
        """
        if name not in self.implemented_properties:
            offered = nearest(name, self.implemented_properties)
            raise MissingPropertyError(f"{self._title} has no output {name!r}: {offered}")
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fills `results` for one structure.

        Args:
            atoms: the structure; without it the one of the last calculation.
            properties: what must be among the results.
            system_changes: unused, since every call computes everything.

        Raises:
            CapabilityError: if stress is asked of a structure that is not periodic in all three
                directions.
            UnsupportedInputError: if the model can't take the structure.
        """
        structure = atoms if atoms is not None else self.atoms
        if structure is None:
            raise ZooError("the calculator has no structure; call it through atoms.calc = ...")
        if "stress" in properties and not structure.pbc.all():
            raise MissingPropertyError(
                f"stress needs three periodic directions; pbc is {structure.pbc.tolist()}. "
                "Set atoms.pbc = True and a cell, or ask for energy and forces only"
            )
        batch = to_batch(structure, dtype=self.model.dtype, labels=False)
        out = self.model(batch.to(self.model.device), create_graph=False)
        self.atoms = structure.copy()
        self.results = {
            name: _numpy(name, out[name]) for name in self.implemented_properties if name in out
        }
        if "energy" in self.results:
            self.results["free_energy"] = self.results["energy"]


def _numpy(name: str, value: Any) -> float | np.ndarray:
    """One output in ASE's form: the graph axis dropped, float64, stress in six components."""
    array: np.ndarray = value.detach().cpu().double().numpy()
    if name in _PER_STRUCTURE:
        array = array[0]
    if name == "energy":
        return float(array)
    if name == "stress":
        return np.asarray(full_3x3_to_voigt_6_stress(array))
    return array
