"""GFN2-xTB: energies, forces, dipoles, charges and frontier orbitals of molecules.

GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652, 2019) through tblite. The
labels are semi-empirical: a model trained on them reproduces GFN2-xTB, not DFT.
"""

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator

from zoo import _extras
from zoo.errors import DataError

LEVEL_OF_THEORY = "GFN2-xTB"
FIELD = 2e-3  # atomic units, for polarizabilities


class GFN2(Calculator):
    """tblite's GFN2-xTB of one molecule, restarting from the last charges.

    Unlike tblite's own ASE calculator it hands over no more than a step of dynamics needs, which
    saves a tenth of the time of aspirin and half of ethanol's, and it keeps the orbital energies.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # ASE's name for it

    def __init__(self, charge: float = 0.0, unpaired: int = 0) -> None:
        super().__init__()
        self.charge, self.unpaired = charge, unpaired
        self.field: np.ndarray | None = None  # uniform electric field (3,), atomic units
        self.result: Any = None
        self._tblite: Any = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        """One single point; see ASE's `Calculator.calculate`."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        current: Any = self.atoms
        try:
            self._singlepoint(current, system_changes)
        except RuntimeError as error:
            raise CalculationFailed(str(error)) from error
        self.results = {
            "energy": float(self.result["energy"]) * units.Hartree,
            "forces": self.result["gradient"] * (-units.Hartree / units.Bohr),
        }

    def _singlepoint(self, atoms: Atoms, changes: Any) -> None:
        positions = atoms.positions / units.Bohr
        if self._tblite is None or set(changes) - {"positions"}:
            interface = _extras.require("tblite.interface", extra="datagen", package="tblite")
            self._tblite = interface.Calculator(
                LEVEL_OF_THEORY, atoms.numbers, positions, self.charge, self.unpaired
            )
            self._tblite.set("verbosity", 0)
            if self.field is not None:
                _add_field(self._tblite, self.field)
            self.result = None
        else:
            self._tblite.update(positions)
        self.result = self._tblite.singlepoint(self.result)


def _add_field(tblite: Any, field: np.ndarray) -> None:
    """Puts a molecule into a field; the pointer is made here, as tblite 0.8 takes no array."""
    bridge = _extras.require("tblite.library", extra="datagen", package="tblite").ffi
    values = np.ascontiguousarray(field, dtype=np.float64)
    tblite.add("electric-field", bridge.cast("double *", values.ctypes.data))


def calculator(atoms: Atoms) -> GFN2:
    """A calculator for this molecule; `info["charge"]` (e) and `info["spin"]` (2S + 1) count.

    Raises:
        DataError: for a periodic structure.
    """
    if atoms.pbc.any():
        raise DataError("GFN2-xTB is used for molecules here; set atoms.pbc = False")
    unpaired = max(int(atoms.info.get("spin", 0)) - 1, 0)
    return GFN2(float(atoms.info.get("charge", 0.0)), unpaired)


def snapshot(atoms: Atoms) -> Atoms:
    """A detached copy without momenta.

    Args:
        atoms: with a calculator of `calculator`.

    Returns:
        The structure with, as calculator results, energy (eV), forces (eV/Å), dipole (e Å) and
        charges (e, Mulliken); and in `info` the energies of the frontier orbitals, `homo` and
        `lumo` (eV; without a `lumo` where every orbital is filled).
    """
    frame = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    frame.info = dict(atoms.info)
    forces = atoms.get_forces(apply_constraint=False)
    result = atoms.calc.result
    frame.calc = SinglePointCalculator(
        frame,
        energy=float(atoms.get_potential_energy()),
        forces=forces.copy(),
        dipole=np.asarray(result["dipole"]) * units.Bohr,
        charges=np.asarray(result["charges"]).copy(),
    )
    levels = np.asarray(result["orbital-energies"]) * units.Hartree
    filled = np.asarray(result["orbital-occupations"]) > 0.5
    frame.info["homo"] = float(levels[filled].max())
    if not filled.all():
        frame.info["lumo"] = float(levels[~filled].min())
    return frame


def polarizability(atoms: Atoms) -> np.ndarray:
    """Static polarizability of a molecule (3, 3), Å³, symmetric.

    Central differences of the dipole in uniform fields of `FIELD` atomic units along each axis.

    Args:
        atoms: the molecule; its calculator isn't used.

    Raises:
        CalculationFailed: if a calculation doesn't converge.
    """
    rows = []
    for axis in np.eye(3):
        ends = [_dipole_in(atoms, sign * FIELD * axis) for sign in (1, -1)]
        rows.append((ends[0] - ends[1]) / (2 * FIELD))
    matrix = np.array(rows) * (units.Bohr**2 / units.Hartree)  # e² Å²/eV
    # over 4 pi epsilon_0, which is e² / (Hartree Bohr), it is a volume
    return np.asarray((matrix + matrix.T) / 2) * (units.Hartree * units.Bohr)


def _dipole_in(atoms: Atoms, field: np.ndarray) -> np.ndarray:
    """Dipole in a uniform field (3,), atomic units."""
    single = calculator(atoms)
    single.field = field
    single.calculate(atoms)
    return np.asarray(single.result["dipole"])


def versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return _extras.versions("tblite", "ase", "rdkit", "numpy")


def label(atoms: Atoms) -> Atoms:
    """A copy of a molecule with the labels of `snapshot`."""
    labelled = atoms.copy()
    labelled.calc = calculator(labelled)
    labelled.get_potential_energy()
    return snapshot(labelled)
