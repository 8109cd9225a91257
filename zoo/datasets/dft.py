"""PBE/def2-SVP single points: energies and forces of given structures.

Kohn-Sham DFT with the PBE functional (Perdew, Burke, Ernzerhof, Phys. Rev. Lett. 77, 3865, 1996),
the def2-SVP basis and density fitting, through PySCF. Each calculation starts from the density of
the one before when the atoms agree, which saves about a third of the SCF steps and moves the
energy by less than the SCF threshold (1e-9 Hartree).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from zoo import _extras
from zoo.errors import ConfigError, DataError


def label(
    frames: Sequence[Atoms],
    *,
    functional: str = "pbe",
    basis: str = "def2-SVP",
    grid: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Atoms]:
    """Labels structures one by one.

    Args:
        frames: molecules (Å); `info["charge"]` (e, default 0) must leave a closed shell.
        functional: any functional that PySCF knows.
        basis: any basis that PySCF knows.
        grid: PySCF's integration grid level, 0 to 9.
        progress: called with (frames done, frames in all).

    Yields:
        A copy of each frame with energy (eV), forces (eV/Å) and dipole (e Å).

    Raises:
        DataError: if a frame is periodic or has an open shell, or a calculation does not
            converge; names the frame. Also where PySCF knows no such functional or basis.
        ConfigError: for a grid level that doesn't exist.
    """
    if grid not in range(10):
        raise ConfigError(f"the integration grid is a level from 0 to 9, not {grid!r}")
    for index, atoms in enumerate(frames):
        _check(atoms, index)
    density, previous = None, None
    for index, atoms in enumerate(frames):
        if previous is None or not np.array_equal(previous.numbers, atoms.numbers):
            density = None
        try:
            solver = _solver(atoms, functional, basis, grid)
            solver.kernel(dm0=density)
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(f"frame {index}: {functional}/{basis} in PySCF: {error}") from error
        if not solver.converged:
            raise DataError(f"frame {index}: the SCF of {functional}/{basis} did not converge")
        gradient = solver.nuc_grad_method().set(verbose=0).kernel()
        density, previous = solver.make_rdm1(), atoms
        yield _labelled(atoms, solver, gradient)
        if progress is not None:
            progress(index + 1, len(frames))


def record(*, functional: str = "pbe", basis: str = "def2-SVP", grid: int = 3) -> dict[str, Any]:
    """What decides the numbers: level of theory and versions."""
    return {
        "level_of_theory": f"{functional.upper()}/{basis}",
        "grid": grid,
        "density_fitting": True,
        "versions": _extras.versions("pyscf", "ase", "numpy"),
    }


def _check(atoms: Atoms, index: int) -> None:
    if atoms.pbc.any():
        raise DataError(f"frame {index} is periodic; these calculations are for molecules")
    charge = float(atoms.info.get("charge", 0))
    if charge != round(charge):
        raise DataError(f"frame {index}: the charge must be a whole number, not {charge}")
    if (int(atoms.numbers.sum()) - round(charge)) % 2:
        raise DataError(
            f"frame {index} has an odd number of electrons (charge {charge:g}), which is an open "
            'shell; set info["charge"]'
        )


def _solver(atoms: Atoms, functional: str, basis: str, grid: int) -> Any:
    gto = _extras.require("pyscf.gto", extra="datagen", package="pyscf")
    dft = _extras.require("pyscf.dft", extra="datagen", package="pyscf")
    molecule = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)),
        basis=basis,
        charge=int(atoms.info.get("charge", 0)),
        verbose=0,
    )
    solver = dft.RKS(molecule, xc=functional).density_fit()
    solver.grids.level = grid
    solver.conv_tol = 1e-9
    return solver


def _labelled(atoms: Atoms, solver: Any, gradient: np.ndarray) -> Atoms:
    frame = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    frame.info = dict(atoms.info)
    frame.calc = SinglePointCalculator(
        frame,
        energy=float(solver.e_tot) * units.Hartree,
        forces=-gradient * units.Hartree / units.Bohr,
        dipole=solver.dip_moment(unit="AU", verbose=0) * units.Bohr,
    )
    return frame
