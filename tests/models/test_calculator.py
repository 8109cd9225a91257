"""The ASE calculator: values, units, signs, when it recomputes, and what it refuses."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from zoo.errors import CapabilityError, UnsupportedElementError, ZooError
from zoo.models.tensornet import TensorNet


@pytest.fixture(scope="module")
def model() -> TensorNet:
    torch.manual_seed(0)
    network = TensorNet(hidden_channels=8, num_layers=1, num_rbf=8).double().eval()
    network.set_references({1: -13.0, 6: -1000.0, 8: -2000.0, 29: -45000.0})
    return network


@pytest.fixture
def ethanol(model: TensorNet) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.calc = model.calculator()
    return atoms


@pytest.fixture
def copper(model: TensorNet) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array + [[0, 0.2, 0], [0, 0, 0.1], [0, 0, 0]], scale_atoms=True)
    atoms.calc = model.calculator()
    return atoms


def test_values_are_the_models_own(model: TensorNet, ethanol: Atoms) -> None:
    out = model(ethanol.copy())
    assert ethanol.get_potential_energy() == float(out["energy"])
    assert ethanol.get_potential_energy(force_consistent=True) == float(out["energy"])
    np.testing.assert_array_equal(ethanol.get_forces(), out["forces"].numpy())


def test_forces_are_the_gradient(ethanol: Atoms) -> None:
    numerical = calculate_numerical_forces(ethanol, eps=1e-4)
    assert np.abs(numerical).max() > 1e-3
    np.testing.assert_allclose(ethanol.get_forces(), numerical, atol=1e-6)


def test_stress_has_ases_sign_and_order(copper: Atoms) -> None:
    numerical = calculate_numerical_stress(copper, eps=1e-5)
    assert np.abs(numerical).max() > 1e-4
    np.testing.assert_allclose(copper.get_stress(), numerical, atol=1e-7)
    assert copper.get_stress().shape == (6,)


def test_stress_of_a_molecule_is_refused_as_ase_expects(ethanol: Atoms) -> None:
    with pytest.raises(PropertyNotImplementedError, match="three periodic directions"):
        ethanol.get_stress()
    with pytest.raises(CapabilityError):
        ethanol.get_stress()
    assert ethanol.get_potential_energy() < 0  # and the calculator still works


def test_a_property_the_model_lacks_is_named(ethanol: Atoms) -> None:
    assert "dipole" not in ethanol.calc.implemented_properties
    with pytest.raises(PropertyNotImplementedError, match="no output 'dipole'"):
        ethanol.get_dipole_moment()


def test_dipole_head(ethanol: Atoms) -> None:
    torch.manual_seed(0)
    network = TensorNet(hidden_channels=8, num_layers=1, heads=["energy", "dipole"]).eval()
    ethanol.calc = network.calculator()
    expected = network(ethanol.copy())["dipole"][0].numpy()
    np.testing.assert_allclose(ethanol.get_dipole_moment(), expected, rtol=1e-6)


def test_one_call_per_structure(model: TensorNet, copper: Atoms) -> None:
    calls = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    try:
        copper.get_potential_energy()
        copper.get_forces()
        copper.get_stress()
        assert len(calls) == 1
        copper.positions[0] += 0.01
        copper.get_forces()
        assert len(calls) == 2
    finally:
        hook.remove()


def test_a_new_charge_is_a_new_structure(model: TensorNet, ethanol: Atoms) -> None:
    neutral = ethanol.get_potential_energy()
    ethanol.info["charge"] = 1
    charged = ethanol.get_potential_energy()
    assert charged == float(model(ethanol.copy())["energy"])
    assert charged != neutral


def test_single_precision_models_give_double_arrays(ethanol: Atoms) -> None:
    ethanol.calc = TensorNet(hidden_channels=8, num_layers=1).eval().calculator()
    assert ethanol.get_forces().dtype == np.float64
    assert isinstance(ethanol.get_potential_energy(), float)


def test_unseen_elements_are_refused(ethanol: Atoms) -> None:
    network = TensorNet(hidden_channels=8, num_layers=1).eval()
    network.restrict_elements({1: 10, 6: 10})
    ethanol.calc = network.calculator()
    with pytest.raises(UnsupportedElementError, match="O"):
        ethanol.get_potential_energy()


def test_without_a_structure(model: TensorNet) -> None:
    with pytest.raises(ZooError, match="no structure"):
        model.calculator().calculate()


def test_dynamics_keep_the_energy(ethanol: Atoms) -> None:
    ethanol.set_velocities(0.01 * np.random.default_rng(0).normal(size=(len(ethanol), 3)))
    start, moved = ethanol.get_total_energy(), ethanol.positions.copy()
    kinetic = ethanol.get_kinetic_energy()
    VelocityVerlet(ethanol, 0.1 * units.fs).run(20)
    assert np.abs(ethanol.positions - moved).max() > 1e-3
    assert abs(ethanol.get_total_energy() - start) < 1e-3 * kinetic


def test_relaxation_of_atoms_and_cell(copper: Atoms) -> None:
    start = copper.get_potential_energy()
    volume = copper.get_volume()
    BFGS(FrechetCellFilter(copper), logfile=None).run(fmax=0.01, steps=10)
    assert copper.get_potential_energy() < start
    assert copper.get_volume() != volume


def test_dynamics_leave_no_graph_behind(ethanol: Atoms) -> None:
    ethanol.get_forces()
    assert all(p.grad is None for p in ethanol.calc.model.parameters())
