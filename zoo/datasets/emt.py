"""Metals with ASE's effective-medium theory: energies, forces and stress.

EMT (Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394, 1996) as ASE implements it: a smooth potential
of seven fcc metals, exact in periodic cells and cheap, so a model of it can be judged by lattice
constants, elastic constants, vacancies and surfaces. A test bed, not a description of real metals.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc110, fcc111, make_supercell
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from zoo import _extras

LEVEL_OF_THEORY = "EMT (ASE)"
METALS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")
#: Å of vacuum above a slab; twice what EMT reaches
VACUUM = 12.0
_SURFACES = {"100": (fcc100, (2, 2, 6)), "110": (fcc110, (2, 2, 8)), "111": (fcc111, (2, 2, 6))}


def calculator(atoms: Atoms) -> EMT:
    """A calculator with no memory of another structure."""
    return EMT()


def snapshot(atoms: Atoms) -> Atoms:
    """A detached copy without momenta, with energy (eV), forces (eV/Å) and stress (eV/Å^3)."""
    frame = Atoms(
        numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.copy(), pbc=atoms.pbc
    )
    frame.info = dict(atoms.info)
    frame.calc = SinglePointCalculator(
        frame,
        energy=float(atoms.get_potential_energy()),
        forces=atoms.get_forces(apply_constraint=False).copy(),
        stress=atoms.get_stress(apply_constraint=False).copy(),
    )
    return frame


def versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return _extras.versions("ase", "numpy")


def structures(metals: Sequence[str] = METALS) -> Iterator[tuple[str, Atoms]]:
    """Periodic structures of the metals and of every pair of them, by name.

    Bulk (32 atoms), a vacancy (31), the three low-index slabs (24 or 32), and of each pair the
    ordered alloys L1_2 (both ways), L1_0 and a random one (32). Slabs are periodic in all three
    directions, across `VACUUM`, so that every structure has a stress.

    Args:
        metals: chemical symbols.

    Yields:
        Names such as "Cu-bulk", "Cu-111", "AuCu3-L12", and structures at EMT's lattice constant
        (alloys at the mean of their metals', weighted by composition).
    """
    constants = {metal: lattice_constant(metal) for metal in metals}
    for metal, constant in constants.items():
        crystal = bulk(metal, "fcc", a=constant, cubic=True).repeat(2)
        yield f"{metal}-bulk", crystal
        vacancy = crystal.copy()
        del vacancy[0]
        yield f"{metal}-vacancy", vacancy
        for name, (build, size) in _SURFACES.items():
            slab = build(metal, size=size, a=constant, vacuum=VACUUM / 2)
            slab.info, slab.pbc = {}, True
            yield f"{metal}-{name}", _bare(slab)
    for first, second in combinations(metals, 2):
        yield from _alloys(first, second, constants)


def lattice_constant(metal: str) -> float:
    """EMT's equilibrium lattice constant of an fcc metal (Å), to 1e-4 Å."""
    start = bulk(metal, "fcc").cell.cellpar()[0] * 2**0.5
    grid = start * np.linspace(0.94, 1.06, 25)
    for _ in range(3):
        energies = [_energy_per_atom(metal, a) for a in grid]
        best = grid[int(np.argmin(energies))]
        grid = np.linspace(best - (grid[1] - grid[0]), best + (grid[1] - grid[0]), 25)
    return float(round(best, 5))


def strained(atoms: Atoms, rng: np.random.Generator, size: float) -> Atoms:
    """The structure under a random homogeneous strain.

    Args:
        atoms: starting structure.
        rng: random numbers.
        size: largest relative change of lengths by the isotropic part of the strain; the
            components of the rest lie within half of it.
    """
    shear = rng.uniform(-size / 2, size / 2, (3, 3))
    strain = (shear + shear.T) / 2
    strain += (rng.uniform(-size, size) - np.trace(strain) / 3) * np.eye(3)
    changed: Atoms = atoms.copy()
    changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return changed


def _bare(atoms: Atoms) -> Atoms:
    """Without tags and other arrays of the builder."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def _energy_per_atom(metal: str, constant: float) -> float:
    crystal = bulk(metal, "fcc", a=constant)
    crystal.calc = EMT()
    return float(crystal.get_potential_energy())


def _alloys(first: str, second: str, constants: dict[str, float]) -> Iterator[tuple[str, Atoms]]:
    """The ordered alloys of two metals, and a random one."""
    for share, name in (
        (0.25, f"{first}{second}3-L12"),
        (0.75, f"{first}3{second}-L12"),
        (0.5, f"{first}{second}-L10"),
        (0.5, f"{first}{second}-random"),
    ):
        constant = share * constants[first] + (1 - share) * constants[second]
        cell = bulk(second, "fcc", a=constant, cubic=True)
        # sites of the cube: the corner, then the centres of its faces
        chosen = {0.25: [0], 0.75: [1, 2, 3], 0.5: [0, 1]}[share]
        cell.symbols[chosen] = first
        crystal = make_supercell(cell, 2 * np.eye(3, dtype=int))
        if name.endswith("random"):
            mixed = np.random.default_rng(int(crystal.numbers.sum())).permutation(crystal.numbers)
            crystal.numbers = mixed
        yield name, crystal
