"""The ASE calculator of an atomistic model.

Properties follow ASE's names, units and signs: energies in eV, forces in eV/Å, stress in eV/Å³ as
the six components xx, yy, zz, yz, xz, xy. One model call fills every property that the structure
allows, so a step of dynamics costs one call however many properties are read.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from zoo.datasets.atoms import to_batch
from zoo.errors import (
    CapabilityError,
    ConfigError,
    OutsideDomainError,
    TrustWarning,
    ZooError,
    nearest,
)
from zoo.layers.atomistic import SCALARS, AtomFeatures, AtomGraph
from zoo.models._atomistic import AtomisticModel
from zoo.models._trust import Verdict, trust_of

_PER_STRUCTURE = ("energy", "energy_std", "stress", "dipole", "polarizability", *SCALARS)
_PER_ATOM = ("forces", "forces_std", "charges")
TRUST_MODES = ("warn", "refuse")
_INFO = ("charge", "spin")  # kept in atoms.info, where ASE does not look for changes


class MissingPropertyError(CapabilityError, PropertyNotImplementedError):
    """A property that the model, or this structure, does not have; ASE knows it as its own."""


class ZooCalculator(Calculator):
    """Energies, forces and stress of a model for ASE's dynamics, relaxations and analyses.

    Args:
        model: any atomistic model, on any device and in any precision; it is not copied.
        head: the energy head to use; the model's first if None.
        trust: what to do with a structure outside the training domain: "warn" (once, until one
            lies inside again), "refuse", or nothing; `verdict` holds what was last found.

    Raises:
        UnknownHeadError: for a head that the model does not have.
        CapabilityError: with `trust`, if the model stores no training domain.
        ConfigError: for another word.

    `energy` and `free_energy` are the same number: the model has no electronic temperature.
    """

    def __init__(
        self, model: AtomisticModel, *, head: str | None = None, trust: str | None = None
    ) -> None:
        super().__init__()
        if trust is not None:
            if trust not in TRUST_MODES:
                raise ConfigError(f"trust is {trust!r}; expected {' or '.join(TRUST_MODES)}")
            trust_of(model)
        self.trust = trust
        self.verdict: Verdict | None = None
        self.model = model
        self.head = head if head is None else model.find_head(head)
        self._title = model.checkpoint_name or type(model).__name__
        known = [name for name in model.outputs if name in {*_PER_ATOM, *_PER_STRUCTURE}]
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
            OutsideDomainError: with trust="refuse", if it lies outside the training domain.
        """
        structure = atoms if atoms is not None else self.atoms
        if structure is None:
            raise ZooError("the calculator has no structure; call it through atoms.calc = ...")
        if "stress" in properties and not structure.pbc.all():
            raise MissingPropertyError(
                f"stress needs three periodic directions; pbc is {structure.pbc.tolist()}. "
                "Set atoms.pbc = True and a cell, or ask for energy and forces only"
            )
        batch = to_batch(structure, dtype=self.model.dtype, labels=False, centre=True)
        options: dict[str, Any] = {} if self.head is None else {"head": self.head}
        if self.trust is not None:
            options["observe"] = self._judge
        out = self.model(batch.to(self.model.device), **options, create_graph=False)
        self.atoms = structure.copy()
        self.results = {
            name: _numpy(name, out[name]) for name in self.implemented_properties if name in out
        }
        if "energy" in self.results:
            self.results["free_energy"] = self.results["energy"]

    def _judge(self, graph: AtomGraph, x: AtomFeatures) -> None:
        """Warns or refuses before anything else is computed."""
        trust = trust_of(self.model)
        before, (verdict,) = self.verdict, trust.judge(trust.measure(graph, x), 1)
        self.verdict = verdict
        if verdict.inside:
            return
        words = (
            f"outside the training domain of {self._title} (score {verdict.score:.3g}, limit 1): "
            f"{verdict.reason}"
        )
        if self.trust == "refuse":
            raise OutsideDomainError(words)
        if before is None or before.inside:
            warnings.warn(words, TrustWarning, stacklevel=2)


def _numpy(name: str, value: Any) -> float | np.ndarray:
    """One output in ASE's form: the graph axis dropped, float64, stress in six components."""
    array: np.ndarray = value.detach().cpu().double().numpy()
    if name in _PER_STRUCTURE:
        array = array[0]
    if array.ndim == 0:
        return float(array)
    if name == "stress":
        return np.asarray(full_3x3_to_voigt_6_stress(array))
    return array
