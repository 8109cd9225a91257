"""Energies of the low-index surfaces of fcc metals."""

import numpy as np
from ase import Atoms, units
from ase.build import fcc100, fcc110, fcc111
from ase.calculators.calculator import Calculator

from zoo.apps.physics.relaxation import relax
from zoo.errors import ConfigError

#: builder and number of layers of each surface; all slabs are about as thick
SURFACES = {"111": (fcc111, 9), "100": (fcc100, 9), "110": (fcc110, 13)}
#: Å between a slab and its image
VACUUM = 15.0


def surface_energy(
    metal: str,
    surface: str,
    calculator: Calculator,
    *,
    constant: float,
    energy: float,
    layers: int | None = None,
    fmax: float = 1e-3,
) -> float:
    """The energy of a relaxed, unreconstructed surface (one atom per layer) per area.

    Args:
        metal: chemical symbol.
        surface: "111", "100" or "110".
        calculator: of the potential.
        constant: its lattice constant (Å).
        energy: its energy of the bulk (eV per atom).
        layers: of the slab; those of `SURFACES` if None.
        fmax: force at which the atoms count as relaxed (eV/Å).

    Returns:
        (E(slab) - N E(bulk)) / (2 A) in J/m^2.

    Raises:
        ConfigError: for another surface.
        MeasurementError: if the relaxation does not converge.
    """
    relaxed = relax(slab(metal, surface, constant, layers), calculator, fmax=fmax)
    area = float(np.linalg.norm(np.cross(relaxed.cell[0], relaxed.cell[1])))
    excess = relaxed.get_potential_energy() - len(relaxed) * energy
    return float(excess / (2 * area) / (units.J / units.m**2))


def slab(metal: str, surface: str, constant: float, layers: int | None = None) -> Atoms:
    """A slab, periodic in all three directions across `VACUUM`; see `surface_energy`."""
    if surface not in SURFACES:
        raise ConfigError(f"unknown surface {surface!r}; it is one of {', '.join(SURFACES)}")
    build, usual = SURFACES[surface]
    atoms = build(metal, size=(1, 1, layers or usual), a=constant, vacuum=VACUUM / 2)
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
