"""Several energy heads on one trunk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import molecule

import zoo
from zoo.errors import CapabilityError, ConfigError, DataError, UnknownHeadError
from zoo.models._calculator import ZooCalculator

SMALL = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 6, "cutoff": 4.0}
ATOMS = [molecule("CH3OH"), molecule("CH4"), molecule("H2O")]


@pytest.fixture
def make() -> Callable[..., Any]:
    """Makes a small model with these heads; every head has references and scales of its own."""

    def build(*heads: str) -> Any:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            model = zoo.create("tensornet", **SMALL, heads=list(heads)).double().eval()
        for k, name in enumerate(model.energy_heads):
            model.set_references({1: 1.0 + k, 6: 10.0 * (k + 1), 8: -5.0}, name)
            model.scale_of(name).scale.fill_(1.0 + k)
        return model

    return build


def test_each_head_has_its_own_answer(make: Callable[..., Any]) -> None:
    model = make("energy", "energy/pbe", "dipole")
    assert model.energy_heads == ("energy", "pbe")
    assert model.outputs == ("energy", "dipole", "forces", "stress", "virial")
    first, second = model(ATOMS), model(ATOMS, head="pbe")
    assert torch.equal(model(ATOMS, head="energy")["energy"], first["energy"])
    assert torch.equal(model(ATOMS, head="energy/pbe")["forces"], second["forces"])
    assert not torch.allclose(first["forces"], second["forces"])
    assert torch.equal(first["dipole"], second["dipole"])


def test_a_batch_may_say_which_head_each_structure_has(make: Callable[..., Any]) -> None:
    model = make("energy", "energy/pbe")
    first, second = model(ATOMS), model(ATOMS, head="pbe")
    batch = zoo.to_batch(ATOMS, dtype=torch.float64, labels=False)
    batch.head = torch.tensor([0, 1, 0])
    mixed = model(batch)
    expected = torch.stack([first["energy"][0], second["energy"][1], first["energy"][2]])
    torch.testing.assert_close(mixed["energy"], expected, rtol=0, atol=1e-12)
    atoms = (batch.batch == 1)[:, None]
    forces = torch.where(atoms, second["forces"], first["forces"])
    torch.testing.assert_close(mixed["forces"], forces, rtol=0, atol=1e-12)


def test_one_step_trains_both_heads(make: Callable[..., Any]) -> None:
    model = make("energy", "energy/pbe").train()
    batch = zoo.to_batch(ATOMS, dtype=torch.float64, labels=False)
    batch.head = torch.tensor([0, 1, 0])
    model(batch)["forces"].square().sum().backward()
    slopes = {n: p.grad.abs().max() for n, p in model.named_parameters() if p.grad is not None}
    assert slopes["heads.energy.network.0.weight"] > 0
    assert slopes["heads.energy/pbe.network.0.weight"] > 0
    batch.head = torch.tensor([1, 1, 1])
    model.zero_grad()
    model(batch)["forces"].square().sum().backward()
    assert not model.heads["energy"].network[0].weight.grad.any()


def test_a_single_head_is_what_it_was(make: Callable[..., Any]) -> None:
    model = make("energy")
    assert not [name for name in model.state_dict() if "energy_scales" in name]
    assert "heads.energy.network.0.weight" in model.state_dict()


def test_a_new_head_is_a_copy_and_the_default(make: Callable[..., Any]) -> None:
    model = make("energy", "dipole")
    before = model(ATOMS)
    model.add_head("pbe_d3")
    assert model.energy_heads == ("pbe_d3", "energy")
    assert model.hparams["heads"] == ["energy/pbe_d3", "energy", "dipole"]
    assert torch.equal(model(ATOMS)["energy"], before["energy"])
    model.set_references({6: 99.0})
    assert torch.equal(model(ATOMS, head="energy")["energy"], before["energy"])
    assert not torch.equal(model(ATOMS)["energy"], before["energy"])
    for name in ("energy", "a.b", "", "dipole", "pbe/d3"):
        with pytest.raises(ConfigError, match="can't name"):
            model.add_head(name)
    with pytest.raises(ConfigError, match="already"):
        model.add_head("pbe_d3")


def test_heads_are_saved_chosen_and_left_out(make: Callable[..., Any], tmp_path: Path) -> None:
    model = make("energy/pbe", "energy", "dipole")
    model.restrict_elements({1: 9, 6: 9, 8: 9})
    zoo.save(model, tmp_path, name="tensornet-s.x.r1", golden_inputs=ATOMS)
    loaded = zoo.load(tmp_path, check=True)
    assert loaded.energy_heads == ("pbe", "energy")
    outputs = loaded.manifest.outputs
    assert outputs["energy/pbe"].default and outputs["energy"].default is None
    assert "the default head" in zoo.card(tmp_path)
    for head in ("pbe", "energy"):
        assert torch.equal(loaded(ATOMS, head=head)["energy"], model(ATOMS, head=head)["energy"])
    other = zoo.load(tmp_path, heads=["energy", "pbe"], check=True)
    assert torch.equal(other(ATOMS)["energy"], model(ATOMS, head="energy")["energy"])
    one = zoo.load(tmp_path, heads=["pbe"])
    assert one.outputs == ("energy", "forces", "stress", "virial")
    assert one.hparams["heads"] == ["energy/pbe"]
    zoo.save(one, tmp_path / "one", name="tensornet-s.x.r2", golden_inputs=ATOMS)
    again = zoo.load(tmp_path / "one", check=True)
    assert torch.equal(again(ATOMS)["forces"], model(ATOMS)["forces"])
    more = zoo.load(tmp_path, heads=["new:scan", "energy"])
    assert more.energy_heads == ("scan", "energy")
    assert torch.equal(more(ATOMS)["energy"], model(ATOMS, head="pbe")["energy"])
    with pytest.raises(UnknownHeadError, match="did you mean 'pbe'"):
        zoo.load(tmp_path, heads=["pbee"])
    with pytest.raises(ConfigError, match="expected at least one"):
        zoo.load(tmp_path, heads=[])
    with pytest.raises(ConfigError, match="already"):
        zoo.load(tmp_path, heads=["new:pbe"])


def test_golden_outputs_watch_every_head(make: Callable[..., Any], tmp_path: Path) -> None:
    from zoo.hub import golden, weights
    from zoo.hub._entries import Golden

    model = make("energy/pbe", "energy")
    zoo.save(model, tmp_path, name="tensornet-s.x.r1", golden_inputs=ATOMS)
    tensors = weights.parse((tmp_path / "golden.safetensors").read_bytes(), where="golden")
    assert "output.forces/energy" in tensors
    with torch.no_grad():
        model.heads["energy"].network[0].weight.mul_(1.1)
    bad = {r.output for r in golden.compare(model, tensors, Golden(file="x")) if not r.passed}
    assert bad == {"energy/energy", "forces/energy"}


def test_unknown_heads_are_refused(make: Callable[..., Any]) -> None:
    model = make("energy", "energy/pbe")
    with pytest.raises(UnknownHeadError, match=r"no head 'pbee': did you mean 'pbe'\? \(heads: en"):
        model(ATOMS, head="pbee")
    with pytest.raises(UnknownHeadError, match="did you mean 'pbe'"):
        model.calculator(head="pbee")
    with pytest.raises(UnknownHeadError, match="energy/<name>"):
        make("energy", "dipole/x")
    batch = zoo.to_batch(ATOMS, dtype=torch.float64, labels=False)
    batch.head = torch.tensor([0, 1, 2])
    with pytest.raises(DataError, match="below 2"):
        model(batch)
    batch.head = torch.tensor([0, 1, 1])
    with pytest.raises(ConfigError, match="leave out one"):
        model(batch, head="pbe")
    with pytest.raises(CapabilityError, match="no energy head"):
        make("dipole").find_head(None)


def test_the_calculator_takes_a_head(make: Callable[..., Any]) -> None:
    model = make("energy", "energy/pbe")
    atoms = molecule("CH3OH")
    atoms.calc = model.calculator(head="pbe")
    assert isinstance(atoms.calc, ZooCalculator)
    assert atoms.get_potential_energy() == float(model(atoms, head="pbe")["energy"])
    atoms.calc = model.calculator()
    assert atoms.get_potential_energy() == float(model(atoms)["energy"])
