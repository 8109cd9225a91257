"""Minima of a potential: positions alone, or positions and cell."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from zoo.apps.physics._result import MeasurementError


def relax(
    atoms: Atoms,
    calculator: Calculator,
    *,
    fmax: float = 1e-4,
    steps: int = 1000,
    cell: bool = False,
) -> Atoms:
    """The minimum that BFGS reaches from a structure.

    Args:
        atoms: where to start; not changed.
        calculator: of the potential.
        fmax: largest force on an atom at the end (eV/Å); with `cell` also of what the filter makes
            of the stress.
        steps: of the optimiser at most.
        cell: whether the cell relaxes too.

    Returns:
        The structure at the minimum, with the calculator.

    Raises:
        MeasurementError: if the forces are not that small after so many steps.
    """
    relaxed: Atoms = atoms.copy()
    relaxed.calc = calculator
    target: Any = FrechetCellFilter(relaxed) if cell else relaxed
    if not BFGS(target, logfile=None).run(fmax=fmax, steps=steps):
        left = float(np.linalg.norm(target.get_forces(), axis=1).max())
        raise MeasurementError(
            f"{atoms.get_chemical_formula()} has no minimum within {steps} steps of relaxation: "
            f"the largest force is {left:.2g} eV/Å, wanted {fmax:.2g}"
        )
    return relaxed


def rmsd(first: Atoms, second: Atoms) -> float:
    """Root mean square distance of two molecules after the best rotation and shift (Å).

    Kabsch, Acta Cryst. A 32, 922 (1976), through the singular value decomposition; a reflection is
    not allowed.
    """
    a = first.positions - first.positions.mean(axis=0)
    b = second.positions - second.positions.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return float(np.sqrt(np.square(a @ (left @ flip @ right) - b).sum(axis=1).mean()))
