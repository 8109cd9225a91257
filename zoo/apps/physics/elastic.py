"""Elastic constants of a cubic crystal from the stress of small strains."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.calculators.calculator import Calculator


class Cubic(NamedTuple):
    """The three constants of a cubic crystal (GPa)."""

    c11: float
    c12: float
    c44: float

    @property
    def bulk_modulus(self) -> float:
        """(C11 + 2 C12) / 3 (GPa)."""
        return (self.c11 + 2 * self.c12) / 3


def elastic_constants(atoms: Atoms, calculator: Calculator, *, strain: float = 0.005) -> Cubic:
    """Elastic constants by central differences of the stress.

    Args:
        atoms: a cubic crystal with axes along x, y, z and no stress, each atom at a centre of
            symmetry (as in fcc), so that nothing relaxes inside the cell; not changed.
        calculator: of the potential; it needs stress.
        strain: size of the strain.

    Returns:
        C11 and C12 from strain along x, C44 from shear in the plane of y and z.
    """
    axial, shear = np.zeros((3, 3)), np.zeros((3, 3))
    axial[0, 0] = strain
    shear[1, 2] = shear[2, 1] = strain
    along = _difference(atoms, calculator, axial) / (2 * strain)
    across = _difference(atoms, calculator, shear) / (2 * strain)
    c12 = (along[1, 1] + along[2, 2]) / 2
    # the engineering shear strain is twice the component of the tensor
    constants = np.array([along[0, 0], c12, across[1, 2] / 2]) / units.GPa
    return Cubic(*(float(value) for value in constants))


def _difference(
    atoms: Atoms, calculator: Calculator, strain: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Stress (eV/Å^3) under a strain less that under its opposite."""
    strained = atoms.copy()
    strained.calc = calculator
    stresses = []
    for sign in (1.0, -1.0):
        cell = atoms.cell.array @ (np.eye(3) + sign * strain)
        strained.set_cell(cell, scale_atoms=True)
        stresses.append(strained.get_stress(voigt=False, apply_constraint=False))
    return np.asarray(stresses[0] - stresses[1])
