"""Physical properties against closed forms, identities and ASE's own tools."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations
from scipy import constants
from springs import Springs

from zoo.apps.physics import (
    MeasurementError,
    elastic_constants,
    equation_of_state,
    frequencies,
    hessian,
    minimum,
    ordered_alloy,
    relax,
    surface_energy,
    vacancy_formation_energy,
)
from zoo.apps.physics.alloys import prototype
from zoo.apps.physics.relaxation import rmsd
from zoo.errors import ConfigError

EV, J_PER_M2 = constants.e, constants.e / 1e-20
REST = 2.5
EDGE = REST * 2**0.5  # of the cube, with nearest neighbours at REST
STIFFNESS, DEPTH = 5.0, 0.3


def test_frequency_of_two_atoms_on_a_spring() -> None:
    stiffness = 40.0  # eV/Å^2
    atoms = Atoms("CO", positions=[[0, 0, 0], [0.3, 0.4, 1.0]])
    atoms.positions[1] *= 1.1 / np.linalg.norm(atoms.positions[1])
    (found,) = frequencies(atoms, Springs(stiffness, 1.1, 0.0))
    a, b = atoms.get_masses() * constants.atomic_mass
    omega = np.sqrt(stiffness * EV / 1e-20 * (1 / a + 1 / b))
    assert found == pytest.approx(omega / (2 * np.pi * constants.c) / 100, rel=1e-5)


def test_frequencies_are_those_of_ase(tmp_path: Path) -> None:
    atoms = relax(molecule("CH4"), EMT(), fmax=1e-4)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    vibrations.run()
    waves = vibrations.get_frequencies()
    signed = waves.real - waves.imag  # ASE gives imaginary ones as such
    internal = np.argsort(abs(signed))[6:]
    ours = frequencies(atoms, EMT())
    assert ours.shape == (9,)
    assert ours[0] < -100  # EMT would have this molecule flat
    np.testing.assert_allclose(ours, np.sort(signed[internal]), rtol=2e-4)
    matrix = hessian(atoms, EMT())
    assert matrix.shape == (15, 15)
    # moving the whole molecule costs nothing
    assert abs(matrix @ np.tile(np.eye(3), (5, 1))).max() < 1e-3


def test_number_of_modes() -> None:
    assert len(frequencies(Atoms("H"), Springs())) == 0
    assert len(frequencies(Atoms("CO2", [[0, 0, 0], [0, 0, 2.5], [0, 0, -2.5]]), Springs())) == 4


def test_a_saddle_point_is_left() -> None:
    # two arms at rest at 1 Å, their ends at rest at 1.5 Å: straight is the top of a barrier
    springs = Springs(10.0, {("C", "O"): 1.0, ("O", "O"): 1.5}, 0.0)
    straight = Atoms("OCO", [[-1.15, 0, 0], [0, 0, 0], [1.15, 0, 0]])
    stuck = relax(straight, springs)
    assert stuck.get_angle(0, 1, 2) == pytest.approx(180.0)
    assert frequencies(stuck, springs)[0] < -10
    bent, found = minimum(straight, springs)
    assert found.shape == (3,)
    assert found[0] > 10
    assert bent.get_distances(1, [0, 2]) == pytest.approx([1.0, 1.0], abs=1e-4)
    assert bent.get_distance(0, 2) == pytest.approx(1.5, abs=1e-4)


def test_relaxation_that_does_not_end() -> None:
    with pytest.raises(MeasurementError, match="CH4 has no minimum within 2 steps"):
        relax(molecule("CH4"), EMT(), steps=2)


def test_distance_of_molecules_after_rotation() -> None:
    one = molecule("CH3OH")
    other = one.copy()
    other.rotate(70.0, (1, 2, 3))
    other.translate((3.0, 0.0, -1.0))
    assert rmsd(one, other) == pytest.approx(0.0, abs=1e-10)
    other.positions[0] += 0.1
    assert 0.01 < rmsd(one, other) < 0.1
    mirrored = molecule("H2O2")
    mirrored.positions[:, 0] *= -1
    assert rmsd(molecule("H2O2"), mirrored) > 0.1


@pytest.fixture(scope="module")
def springs() -> Springs:
    return Springs(STIFFNESS, REST, DEPTH)


def test_equation_of_state_of_springs(springs: Springs) -> None:
    for start in (EDGE, 1.09 * EDGE):
        found = equation_of_state(bulk("Cu", "fcc", a=start), springs)
        assert (4 * found.volume) ** (1 / 3) == pytest.approx(EDGE, rel=1e-5)
        assert found.energy == pytest.approx(-6 * DEPTH, abs=5e-5)
        expected = 4 * STIFFNESS / (3 * EDGE) * EV * 1e30 / 1e9
        assert found.bulk_modulus == pytest.approx(expected, rel=5e-3)


def test_no_minimum_of_volume() -> None:
    with pytest.raises(MeasurementError, match="no minimum near a volume"):
        equation_of_state(bulk("Cu", "fcc", a=2.2), Springs(5.0, 3.0, 0.0))


def test_elastic_constants_of_springs(springs: Springs) -> None:
    found = elastic_constants(bulk("Cu", "fcc", a=EDGE, cubic=True), springs, strain=1e-3)
    unit = STIFFNESS / EDGE * EV * 1e30 / 1e9  # GPa
    assert found == pytest.approx((2 * unit, unit, unit), rel=1e-3)


@pytest.mark.parametrize("metal", ["Cu", "Pt"])
def test_bulk_modulus_two_ways(metal: str) -> None:
    state = equation_of_state(bulk(metal, "fcc"), EMT())
    crystal = bulk(metal, "fcc", a=(4 * state.volume) ** (1 / 3), cubic=True)
    constants_ = elastic_constants(crystal, EMT())
    assert constants_.bulk_modulus == pytest.approx(state.bulk_modulus, rel=5e-3)
    assert constants_.c11 > constants_.c12 > 0
    assert constants_.c44 > 0


def test_vacancy_breaks_as_many_bonds_as_an_atom_has(springs: Springs) -> None:
    crystal = bulk("Cu", "fcc", a=EDGE, cubic=True)
    assert vacancy_formation_energy(crystal, springs, repeat=2) == pytest.approx(6 * DEPTH)
    assert len(crystal) == 4


def test_vacancy_relaxes() -> None:
    crystal = bulk("Cu", "fcc", a=3.59, cubic=True)
    relaxed = vacancy_formation_energy(crystal, EMT(), repeat=2)
    assert relaxed < vacancy_formation_energy(crystal, EMT(), repeat=2, fmax=10.0)


@pytest.mark.parametrize(("surface", "area", "bonds"), [("111", 3**0.5 / 4, 3), ("100", 0.5, 4)])
def test_surface_breaks_bonds(springs: Springs, surface: str, area: float, bonds: int) -> None:
    found = surface_energy(
        "Cu", surface, springs, constant=EDGE, energy=-6 * DEPTH, layers=5, fmax=1e-4
    )
    assert found == pytest.approx(bonds * DEPTH / 2 / (area * EDGE**2) * J_PER_M2, rel=1e-6)


def test_surfaces() -> None:
    open_one = surface_energy("Cu", "110", EMT(), constant=3.59, energy=-0.006)
    assert open_one > surface_energy("Cu", "111", EMT(), constant=3.59, energy=-0.006) > 0
    with pytest.raises(ConfigError, match=r"unknown surface '211'; it is one of 111, 100, 110"):
        surface_energy("Cu", "211", EMT(), constant=3.59, energy=0.0)


@pytest.mark.parametrize(("kind", "share"), [("L1_2", 3.0), ("L1_0", 4.0)])
def test_alloys_of_springs(kind: str, share: float) -> None:
    unlike = 0.05  # eV that a bond between unlike atoms is deeper
    pairs = {("Ag", "Ag"): DEPTH, ("Ag", "Cu"): DEPTH + unlike, ("Cu", "Cu"): DEPTH}
    springs = Springs(STIFFNESS, REST, pairs)
    energies = {"Ag": -6 * DEPTH, "Cu": -6 * DEPTH}
    found = ordered_alloy(prototype("Ag", "Cu", kind, 1.02 * EDGE), springs, energies)
    assert found.formation_energy == pytest.approx(-share * unlike, abs=1e-5)
    assert found.lattice_constant == pytest.approx(EDGE, rel=1e-4)
    assert found.c_over_a == pytest.approx(1.0, abs=1e-4)


def test_an_ordered_alloy_changes_its_shape() -> None:
    # unlike atoms are closer: the axis across the layers shrinks, those within them keep their size
    rest = {("Ag", "Ag"): REST, ("Ag", "Cu"): 0.97 * REST, ("Cu", "Cu"): REST}
    springs = Springs(STIFFNESS, rest, DEPTH)
    energies = {"Ag": -6 * DEPTH, "Cu": -6 * DEPTH}
    found = ordered_alloy(prototype("Ag", "Cu", "L1_0", EDGE), springs, energies)
    expected = (2 * 0.97**2 - 1) ** 0.5
    assert found.c_over_a == pytest.approx(expected, rel=1e-4)
    assert found.formation_energy == pytest.approx(0.0, abs=1e-6)
