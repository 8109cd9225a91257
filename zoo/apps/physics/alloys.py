"""Ordered alloys of two fcc metals: size, shape and formation energy."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from zoo.apps.physics.relaxation import relax

#: sites of the cube that the first metal takes: the corner, then the centres of the faces
SITES = {"L1_2": (0,), "L1_0": (0, 1)}


@dataclass(frozen=True)
class Alloy:
    """What was measured of an ordered alloy.

    Attributes:
        lattice_constant: the cube root of the volume of four atoms (Å).
        formation_energy: energy less that of its metals (eV per atom).
        c_over_a: ratio of the axis along the layers' normal to the other two (1 for L1_2).
    """

    lattice_constant: float
    formation_energy: float
    c_over_a: float


def ordered_alloy(
    crystal: Atoms, calculator: Calculator, energies: Mapping[str, float], *, fmax: float = 1e-4
) -> Alloy:
    """Relaxes an ordered alloy, cell included.

    Args:
        crystal: from `prototype`; not changed.
        calculator: of the potential; it needs stress.
        energies: of the bulk metals with the same potential (eV per atom), by symbol.
        fmax: force, and what the filter makes of the stress, at which it counts as relaxed (eV/Å).

    Raises:
        MeasurementError: if the relaxation does not converge.
    """
    relaxed = relax(crystal, calculator, fmax=fmax, cell=True)
    apart = sum(energies[symbol] for symbol in relaxed.symbols)
    lengths = relaxed.cell.lengths()
    return Alloy(
        lattice_constant=float(relaxed.get_volume() ** (1 / 3)),
        formation_energy=float(relaxed.get_potential_energy() - apart) / len(relaxed),
        c_over_a=float(2 * lengths[0] / (lengths[1] + lengths[2])),
    )


def prototype(first: str, second: str, kind: str, constant: float) -> Atoms:
    """An ordered alloy before relaxation, four atoms in a cube.

    Args:
        first: the metal of the corner (L1_2: one of four sites; L1_0: a layer out of two).
        second: the metal of the other sites.
        kind: "L1_2" or "L1_0".
        constant: edge of the cube (Å).
    """
    crystal = bulk(second, "fcc", a=constant, cubic=True)
    crystal.symbols[list(SITES[kind])] = first
    return crystal
