"""Lattice constant and bulk modulus of a crystal from its equation of state."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState

from zoo.apps.physics._result import MeasurementError

Array = npt.NDArray[np.float64]
# relative changes of lengths: of the search for the minimum, and of the fit about it
SEARCH = np.linspace(-0.06, 0.06, 13)
FIT = np.linspace(-0.02, 0.02, 9)


@dataclass(frozen=True)
class Equation:
    """A fitted equation of state.

    Attributes:
        volume: at the minimum (Å^3).
        energy: there (eV).
        bulk_modulus: there (GPa).
        volumes: of the points fitted (Å^3).
        energies: of the points fitted (eV).
    """

    volume: float
    energy: float
    bulk_modulus: float
    volumes: Array
    energies: Array


def equation_of_state(atoms: Atoms, calculator: Calculator) -> Equation:
    """Fits the Birch-Murnaghan equation to energies about the minimum.

    The minimum is searched for first, so that the points of the fit lie evenly about it whatever
    the start; Birch, Phys. Rev. 71, 809 (1947), in ASE's form.

    Args:
        atoms: a crystal whose shape and atoms do not relax, such as fcc; not changed.
        calculator: of the potential.

    Returns:
        The fit of nine volumes, lengths within 2 % of the minimum's.

    Raises:
        MeasurementError: if the energy has no minimum within 25 % of the starting lengths.
    """
    scale = _coarse(atoms, calculator)
    for _ in range(2):
        volumes, energies = _scan(atoms, calculator, scale * (1 + FIT))
        equation = EquationOfState(volumes, energies, eos="birchmurnaghan")
        volume, energy, modulus = equation.fit(warn=False)
        if not volumes[0] < volume < volumes[-1]:
            raise MeasurementError(
                f"the equation of state of {atoms.get_chemical_formula()} has its minimum at "
                f"{volume:.4g} Å^3, outside the points {volumes[0]:.4g} to {volumes[-1]:.4g}"
            )
        scale = (volume / atoms.get_volume()) ** (1 / 3)
    return Equation(float(volume), float(energy), float(modulus / units.GPa), volumes, energies)


def _coarse(atoms: Atoms, calculator: Calculator) -> float:
    """The scale of lengths nearest to the minimum, to 1 %."""
    scale = 1.0
    for _ in range(5):
        _, energies = _scan(atoms, calculator, scale * (1 + SEARCH))
        best = int(np.argmin(energies))
        scale *= 1 + SEARCH[best]
        if 0 < best < len(SEARCH) - 1:
            return float(scale)
    raise MeasurementError(
        f"the energy of {atoms.get_chemical_formula()} has no minimum near a volume of "
        f"{atoms.get_volume():.4g} Å^3"
    )


def _scan(atoms: Atoms, calculator: Calculator, scales: Array) -> tuple[Array, Array]:
    scaled = atoms.copy()
    scaled.calc = calculator
    volumes, energies = [], []
    for scale in scales:
        scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    return np.array(volumes), np.array(energies)
