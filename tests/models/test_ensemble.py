"""Ensembles: means, spreads, and what may not be joined."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from zoo.errors import CapabilityError, ConfigError
from zoo.models import _atomistic
from zoo.models._ensemble import Ensemble
from zoo.models.tensornet import TensorNet
from zoo.testing import check_contract

CONFIG = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 8}


def member(seed: int, **changes: object) -> TensorNet:
    torch.manual_seed(seed)
    net = TensorNet(**{**CONFIG, **changes}).double().eval()  # type: ignore[arg-type]
    net.set_references({1: -13.6, 8: -2043.2})
    return net


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble([member(seed) for seed in range(3)]).eval()


@pytest.fixture
def structures() -> list[Atoms]:
    return [molecule("H2O"), Atoms("He"), molecule("CH3OH")]


def test_means_and_spreads(ensemble: Ensemble, structures: list[Atoms]) -> None:
    found = ensemble(structures)
    each = [net(structures) for net in ensemble.members]
    energies = torch.stack([out["energy"] for out in each])
    forces = torch.stack([out["forces"] for out in each])
    torch.testing.assert_close(found["energy"], energies.mean(0))
    torch.testing.assert_close(found["forces"], forces.mean(0))
    torch.testing.assert_close(found["energy_std"], energies.std(0))
    torch.testing.assert_close(found["forces_std"], forces.var(0).sum(1).sqrt())
    assert float(found["energy_std"][0]) > 1e-4


def test_equal_members_are_the_member_exactly(structures: list[Atoms]) -> None:
    net = member(0)
    found = Ensemble([net, copy.deepcopy(net), copy.deepcopy(net)]).eval()(structures)
    single = net(structures)
    assert all(torch.equal(found[name], value) for name, value in single.items())
    assert not found["energy_std"].any()
    assert not found["forces_std"].any()


def test_stress_and_chosen_outputs(ensemble: Ensemble) -> None:
    crystal = bulk("Cu", cubic=True)
    found = ensemble(crystal)
    stress = torch.stack([net(crystal)["stress"] for net in ensemble.members])
    torch.testing.assert_close(found["stress"], stress.mean(0))
    assert list(ensemble(crystal, outputs=["forces_std", "virial"])) == ["forces_std", "virial"]
    with pytest.raises(CapabilityError, match="nonsense"):
        ensemble(crystal, outputs=["nonsense"])


def test_spreads_do_not_depend_on_motion_order_or_company(ensemble: Ensemble) -> None:
    atoms = molecule("CH3OH")
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    turned = atoms.copy()
    turned.rotate(40, rng.normal(size=3))
    order = rng.permutation(len(atoms))
    first, both = ensemble(atoms), ensemble([molecule("H2O"), turned[order]])
    torch.testing.assert_close(both["energy_std"][1:], first["energy_std"])
    torch.testing.assert_close(both["forces_std"][3:], first["forces_std"][order])


def test_the_contract_holds_for_the_mean(ensemble: Ensemble) -> None:
    names = ["rotation", "permutation", "batching", "forces", "dtypes"]
    results = check_contract(ensemble, names=names)
    assert len(results) == 9
    assert [r.describe() for r in results if not r.passed] == []


def test_one_neighbour_list_serves_all(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = _atomistic.neighbor_pairs
    monkeypatch.setattr(
        _atomistic, "neighbor_pairs", lambda *a, **k: (calls.append(1), real(*a, **k))[1]
    )
    ensemble(molecule("H2O"))
    assert len(calls) == 1


def test_gradients_pass_through_means_and_spreads() -> None:
    net = member(0)
    twins = Ensemble([net, copy.deepcopy(net)]).train()
    out = twins(molecule("H2O"))
    (out["forces"].square().sum() + out["forces_std"].sum() + out["energy_std"].sum()).backward()
    grads = [p.grad for p in twins.parameters() if p.grad is not None]
    assert grads
    assert all(bool(torch.isfinite(g).all()) for g in grads)


def test_the_calculator_knows_the_spread(ensemble: Ensemble) -> None:
    atoms = molecule("H2O")
    atoms.calc = ensemble.calculator()
    energy = atoms.get_potential_energy()
    found = ensemble(molecule("H2O"))
    assert energy == pytest.approx(float(found["energy"]))
    assert atoms.calc.results["energy_std"] == pytest.approx(float(found["energy_std"]))
    np.testing.assert_allclose(atoms.calc.results["forces_std"], found["forces_std"])
    assert atoms.calc.get_property("energy_std", atoms) > 0


def test_what_may_not_be_joined(ensemble: Ensemble) -> None:
    with pytest.raises(ConfigError, match="two members or more; 1 given"):
        Ensemble([member(0)])
    with pytest.raises(ConfigError, match="num_rbf"):
        Ensemble([member(0), member(1, num_rbf=6)])
    with pytest.raises(ConfigError, match="float32"):
        Ensemble([member(0), member(1).float()])
    with pytest.raises(ConfigError, match="ensemble itself"):
        Ensemble([member(0), ensemble])
    with pytest.raises(CapabilityError, match="one by one"):
        ensemble.blocks()


def test_elements_are_those_of_all_members(ensemble: Ensemble) -> None:
    pair = Ensemble([member(0), member(1)])
    pair.restrict_elements({1: 5, 8: 2})
    assert pair.trained_elements == {1: 5, 8: 2}
    assert all(not bool(net.allowed[6]) for net in pair.members)
