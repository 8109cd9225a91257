"""GyroSPD: the contract for each metric, invariance after adaptation, signals."""

import pytest
import torch

import zoo
from zoo.errors import ConfigError, DataError, ManifoldError
from zoo.testing import SampleContract

SMALL = {"in_channels": 5, "out_channels": 3, "hidden_channels": 4}


class TestGyroSPD(SampleContract):
    architecture = "gyrospd"


class TestGyroSPDAffineInvariant(SampleContract):
    architecture = "gyrospd"
    config = {**SMALL, "metric": "AIM"}


class TestGyroSPDLogCholesky(SampleContract):
    architecture = "gyrospd"
    config = {**SMALL, "metric": "LCM", "batch_norm": "gyro_lcm", "num_layers": 2}


class TestGyroSPDWithoutNorms(SampleContract):
    architecture = "gyrospd"
    config = {**SMALL, "input_norm": None}


class TestGyroSPDOnSignals(SampleContract):
    architecture = "gyrospd"
    config = {
        "in_channels": 3,
        "out_channels": 3,
        "hidden_channels": 4,
        "front_end": "augmented",
        "order": 2,
    }


class TestGyroSPDOnShrunkCovariances(SampleContract):
    architecture = "gyrospd"
    config = {**SMALL, "front_end": "covariance", "shrinkage": 0.1}


def model(**options):
    torch.manual_seed(0)
    return zoo.create("gyrospd", **{**SMALL, **options}).double()


def matrices(count=12):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, 20, generator=generator, dtype=torch.float64)
    return x @ x.mT / 20


def test_general_congruences_leave_eigenvalues_behind_the_input_norm():
    net, x = model().eval(), matrices()
    w = torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen = []
    for batch in (x, w @ x @ w.mT):
        net.adapt({"x": batch})
        seen.append(net.input_norm(batch))
    assert torch.allclose(*(torch.linalg.eigvalsh(s) for s in seen), atol=1e-9)
    assert not torch.allclose(*seen, atol=1e-3)


def test_metric_none_of_which_is_invariant_says_so():
    assert model().symmetry == "T+(n)"
    assert model(input_norm="riemannian").symmetry == "none"
    assert model(front_end="covariance").symmetry == "T+(n)"
    assert model(front_end="covariance", shrinkage=0.1).symmetry == "none"


def test_refusals():
    with pytest.raises(ManifoldError, match="GyroSPD: x"):
        model()({"x": -matrices()})
    with pytest.raises(DataError, match="shrinkage"):
        model(front_end="covariance")({"x": torch.randn(2, 5, 4, dtype=torch.float64)})
    with pytest.raises(ConfigError, match="AIM"):
        model(metric="nonsense")
    with pytest.raises(ConfigError, match="num_layers"):
        model(num_layers=-1)
