"""The contract outside atoms passes honest models and rejects every broken one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoo.datasets.domains import DOMAINS
from zoo.errors import ConfigError
from zoo.models._inputs import FORMS, batch_of
from zoo.testing import (
    BROKEN_SAMPLES,
    CAPS,
    SAMPLE_CHECKS,
    SAMPLE_GROUPS,
    Broken,
    SampleSubject,
    check_contract,
    run_check,
    unsettled,
)
from zoo.testing import samples as make
from zoo.testing._actions import lorentz
from zoo.testing._honest_samples import HONEST, HonestGraph, HonestMatrix


def build(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return unsettled(kind())


@pytest.mark.parametrize("kind", HONEST, ids=lambda kind: kind.__name__)
def test_honest_models_pass(kind: type[nn.Module]) -> None:
    results = check_contract(build(kind))
    assert [r.describe() for r in results if r.status == "failed"] == []
    assert sum(r.status == "passed" for r in results) >= 18


@pytest.mark.parametrize(
    "broken", BROKEN_SAMPLES, ids=lambda b: f"{b.model.__name__}-{b.check}-{b.dtype}"
)
def test_broken_models_are_rejected(broken: Broken) -> None:
    result = run_check(broken.check, SampleSubject(build(broken.model), broken.dtype))
    assert result.status == "failed", result.describe()


def test_every_check_rejects_something() -> None:
    assert {broken.check for broken in BROKEN_SAMPLES} == set(SAMPLE_CHECKS)
    assert set(SAMPLE_CHECKS) <= set(CAPS)


def test_honest_models_cover_every_symmetry_check() -> None:
    named = {check for _, checks in SAMPLE_GROUPS.values() for check in checks}
    assert named <= set(SAMPLE_CHECKS)
    measured = {
        r.name
        for kind in HONEST
        for r in check_contract(build(kind), names=sorted(named))
        if r.status == "passed"
    }
    assert measured == named


@pytest.mark.parametrize("domain", sorted(FORMS))
def test_every_domain_has_inputs(domain: str, rng_seed: int = 5) -> None:
    assert set(FORMS) == set(DOMAINS)
    wanted = make.Wanted(domain)
    samples = make.make(wanted, np.random.default_rng(rng_seed))
    assert batch_of(samples, domain, torch.float32) is not None
    for odd in make.odd(wanted, np.random.default_rng(rng_seed)).values():
        batch_of(odd, domain, torch.float64)


def test_dead_parameters_are_named_unless_listed() -> None:
    class Idle(HonestMatrix):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Parameter(torch.zeros(2))

    model = build(Idle)
    failed = run_check("reach", SampleSubject(model))
    assert "spare" in failed.detail and "spare" in failed.describe()
    assert run_check("reach", SampleSubject(model, idle=["spa*"])).passed


def test_a_layer_with_inputs_of_its_own() -> None:
    class Boost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            x = batch["x"]
            square = (-x[..., :1].square() + x[..., 1:].square().sum(-1, keepdim=True)).abs()
            return self.scale * x * torch.tanh(square)

    inputs = [{"x": np.array([2.0, 0.3, -0.4])}, {"x": np.array([1.5, -0.6, 0.2])}]
    options: dict[str, Any] = {"domain": "vector", "group": "O(1, n)", "inputs": inputs}
    (right,) = check_contract(
        Boost(), laws={"output": "equivariant"}, names=["isometry"], **options
    )[:1]
    assert right.passed, right.describe()
    (wrong,) = check_contract(Boost(), names=["isometry"], **options)[:1]
    assert wrong.status == "failed"


def test_lorentz_transformations_keep_the_product() -> None:
    matrix = lorentz(np.random.default_rng(0), 5)
    metric = np.diag([-1.0, 1, 1, 1, 1])
    np.testing.assert_allclose(matrix.T @ metric @ matrix, metric, atol=1e-12)


def test_groups_and_domains_are_checked() -> None:
    with pytest.raises(ConfigError, match="no symmetry group is called 'GL'"):
        SampleSubject(HonestMatrix(), group="GL")
    assert SampleSubject(HonestGraph(), group="S(n) x O(1,n)").factors == ("S(n)", "O(1, n)")
    with pytest.raises(ConfigError, match="no such domain"):
        SampleSubject(nn.Linear(2, 2), domain="matrixes")
    with pytest.raises(ConfigError, match="no check is called 'forces'"):
        check_contract(HonestMatrix(), names=["forces"])


def test_refusals_of_odd_inputs_are_noted() -> None:
    class Picky(HonestMatrix):
        def check(self, batch: Any) -> None:
            if bool((batch["x"][:, 0, 1] == 0).all()):
                raise ConfigError("no diagonal matrices, please")

    result = run_check("odd_inputs", SampleSubject(build(Picky)))
    assert result.passed and "no diagonal" in str(result.detail["identity refused"])


def test_constants_of_the_manifest_survive_saving() -> None:
    model = HonestMatrix()
    model.set_normalisation(x=(0.25, 3.0))
    result = run_check("save_load", SampleSubject(unsettled(model), "float64"))
    assert result.status == "passed", result.describe()
