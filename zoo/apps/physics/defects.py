"""The formation energy of a vacancy."""

from ase import Atoms
from ase.calculators.calculator import Calculator

from zoo.apps.physics.relaxation import relax


def vacancy_formation_energy(
    crystal: Atoms, calculator: Calculator, *, repeat: int = 3, fmax: float = 1e-3
) -> float:
    """What it costs to take an atom out of a crystal and put it back on a new site.

    Args:
        crystal: an element's crystal at its equilibrium, all atoms equivalent; not changed.
        calculator: of the potential.
        repeat: cells of the supercell along each axis.
        fmax: force at which the atoms count as relaxed (eV/Å).

    Returns:
        E(N - 1 atoms, relaxed at fixed cell) - (N - 1) / N E(N atoms), in eV.

    Raises:
        MeasurementError: if the relaxation does not converge.
    """
    whole = crystal.repeat(repeat)
    whole.calc = calculator
    per_atom = whole.get_potential_energy() / len(whole)
    del whole[0]
    relaxed = relax(whole, calculator, fmax=fmax)
    return float(relaxed.get_potential_energy() - len(relaxed) * per_atom)
