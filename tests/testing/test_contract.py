"""The checks pass for an honest model and fail for each broken one."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import ConfigError
from zoo.testing import (
    BROKEN,
    CAPS,
    CHECKS,
    Broken,
    Law,
    Subject,
    check_contract,
    plan,
    run_check,
    tolerance,
)
from zoo.testing._honest import HonestPotential


def build(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_honest_model_passes_every_check(seed: int) -> None:
    results = check_contract(build(HonestPotential), seed=seed)
    assert [result.describe() for result in results if not result.passed] == []
    assert [(result.name, result.dtype) for result in results] == plan()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.model.__name__}-{b.check}-{b.dtype}")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_broken_model_is_rejected(broken: Broken, seed: int) -> None:
    subject = Subject(build(broken.model), broken.dtype, seed=seed)
    result = run_check(broken.check, subject)
    assert result.status == "failed", result.describe()
    # a model that crashes would prove nothing about the measurement
    crashes = broken.model.__name__ == "EdgesNeeded"
    assert (result.error is None) == crashes, result.describe()


def test_every_check_has_a_broken_model() -> None:
    assert {broken.check for broken in BROKEN} == set(CHECKS)
    assert set(CHECKS) <= set(CAPS)


def test_reflections_are_not_asked_of_a_model_of_rotations_only() -> None:
    kind = next(b.model for b in BROKEN if b.check == "reflection")
    subject = Subject(build(kind), group="SO(3)")
    for name in ("reflection", "inversion"):
        result = run_check(name, subject)
        assert result.skipped and not result.passed
        assert "SO(3)" in result.reason
    assert run_check("rotation", subject).passed


class Silent(nn.Module):
    """An honest model that says nothing of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HonestPotential()

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        return self.inner.forward(batch)


def test_a_missing_cutoff_is_said_not_passed() -> None:
    results = check_contract(build(Silent), names=["rotation", "smoothness", "separation"])
    status = {(r.name, r.dtype): r.status for r in results}
    assert status["rotation", "float64"] == "passed"
    assert status["smoothness", "float64"] == "skipped"
    assert status["separation", "float32"] == "skipped"
    assert all("cutoff" in r.reason for r in results if r.skipped)


class OnlyEnergy(nn.Module):
    """The least that a user's module can be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        difference = batch.pos[:, None] - batch.pos[None]
        same = batch.batch[:, None] == batch.batch[None]
        pair = torch.exp(-difference.square().sum(-1)) * same
        rows = torch.zeros(batch.num_graphs, dtype=pair.dtype)
        return {"energy": self.weight * rows.index_add(0, batch.batch, pair.sum(1))}


def test_a_module_with_energy_alone_is_measured_as_far_as_it_goes() -> None:
    status = {(r.name, r.dtype): r for r in check_contract(OnlyEnergy())}
    assert status["rotation", "float64"].passed
    assert status["save_load", "float64"].passed
    assert status["forces", "float64"].skipped
    assert "forces" in status["forces", "float64"].reason
    # it ignores cells, and is told so
    assert status["periodic", "float64"].status == "failed"


class Named(HonestPotential):
    """Gives an output that the library has no law for."""

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        found = super().forward(batch)
        return {"quadrupole": found["polarizability"], "energy": found["energy"]}


def test_outputs_of_unknown_law_are_named_and_can_be_given_one() -> None:
    result = run_check("outputs", Subject(build(Named)))
    assert "no law" in str(result.detail["quadrupole"])
    assert "quadrupole" not in run_check("rotation", Subject(build(Named))).detail
    known = run_check("rotation", Subject(build(Named), laws={"quadrupole": Law(2)}))
    assert known.passed and "quadrupole" in known.detail
    wrong = run_check("rotation", Subject(build(Named), laws={"quadrupole": Law(0)}))
    assert wrong.status == "failed"


class Crashing(HonestPotential):
    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        raise ValueError("out of order")


def test_an_exception_of_the_model_is_a_failure_with_its_words() -> None:
    results = check_contract(build(Crashing), names=["rotation"])
    assert {r.status for r in results} == {"failed"}
    assert all("ValueError: out of order" in r.reason for r in results)


def test_tolerances_may_only_tighten() -> None:
    assert tolerance("rotation", "float32") == CAPS["rotation"]["float32"]
    assert tolerance("rotation", "float32", {"rotation": {"float32": 1e-5}}) == 1e-5
    with pytest.raises(ConfigError, match="cap"):
        tolerance("rotation", "float32", {"rotation": {"float32": 1.0}})
    with pytest.raises(ConfigError, match="did you mean 'rotation'"):
        tolerance("rotation", "float32", {"rotatoin": {"float32": 1e-5}})
    with pytest.raises(ConfigError, match="float64"):
        tolerance("forces", "float64", {"forces": {"float32": 1e-5}})
    tight = run_check("rotation", Subject(build(HonestPotential)), {"rotation": {"float64": 1e-30}})
    assert tight.status == "failed" and tight.tolerance == 1e-30


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rotation'"):
        check_contract(build(HonestPotential), names=["rotations"])
    with pytest.raises(ConfigError, match="float16"):
        Subject(build(HonestPotential), "float16")
    with pytest.raises(ConfigError, match=r"O\(2\)"):
        Subject(build(HonestPotential), group="O(2)")


def test_results_are_plain_data() -> None:
    model = build(HonestPotential)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    results = check_contract(model)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32
    text = json.dumps([result.to_dict() for result in results], allow_nan=False)
    assert json.loads(text)[0]["status"] == "passed"
    again = check_contract(model)
    assert [r.error for r in again] == [r.error for r in results]
