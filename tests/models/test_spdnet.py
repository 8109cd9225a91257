"""SPDNet: agreement with spd-learn, invariance, adaptation, training, refusals."""

from typing import ClassVar

import geoopt
import numpy as np
import pytest
import torch
from spd_learn.models import SPDNet as Peer
from torch import Tensor

import zoo
from zoo.errors import ConfigError, DataError, ManifoldError
from zoo.functional import spd
from zoo.models.spdnet import SPDNet
from zoo.testing import SampleContract


class TestContract(SampleContract):
    architecture = "spdnet"


class TestPlainContract(SampleContract):
    architecture = "spdnet"
    config: ClassVar = {"in_channels": 5, "out_channels": 3, "hidden_channels": [4, 3]}


class TestSignalContract(SampleContract):
    architecture = "spdnet"
    config: ClassVar = {
        "in_channels": 3,
        "out_channels": 2,
        "hidden_channels": [4],
        "front_end": "augmented",
        "order": 2,
        "shrinkage": 0.1,
        "batch_norm": "lie_lcm",
        "rectify_last": True,
    }


def _points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spd.affine_invariant.random(shape, generator=generator, dtype=dtype)


def _logits(model: SPDNet, x: Tensor) -> Tensor:
    return model({"x": x})["logits"]


def test_parity_with_spd_learn() -> None:
    theirs = Peer(input_type="cov", n_chans=6, subspacedim=4, n_outputs=3).double()
    config = {"in_channels": 6, "out_channels": 3, "hidden_channels": [4], "rectify_last": True}
    ours = SPDNet(**config).double()  # type: ignore[arg-type]
    frame = torch.linalg.qr(torch.randn(6, 4, dtype=torch.float64))[0]
    theirs.bimap.weight = frame[None]
    ours.layers[0].bimap.set_(theirs.bimap.weight[0].detach())
    ours.head.load_state_dict(theirs.classifier.state_dict())
    x = _points(5, 6, 6)
    assert torch.allclose(_logits(ours, x), theirs(x), rtol=1e-12, atol=1e-12)
    _logits(ours, x).square().sum().backward()
    theirs(x).square().sum().backward()
    found, wanted = ours.head.weight.grad, theirs.classifier.weight.grad
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)  # type: ignore[arg-type]


def test_the_papers_network() -> None:
    model = zoo.create("spdnet-afew")
    sizes = [(b.bimap.in_features, b.bimap.out_features) for b in model.layers]
    assert sizes == [(400, 200), (200, 100), (100, 50)]
    assert [b.reeig is None for b in model.layers] == [False, False, True]
    assert model.head.in_features == 50 * 50
    assert all(b.norm is None for b in model.layers)


def test_rows_halve_by_default() -> None:
    model = zoo.create("spdnet", in_channels=7, out_channels=2)
    assert [b.bimap.out_features for b in model.layers] == [4, 2]


@pytest.mark.parametrize("norm", [None, "riemannian", "lie_aim", "lie_lcm", "gbw"])
def test_gradients_reach_everything_at_identity(norm: str | None) -> None:
    torch.manual_seed(0)
    model = zoo.create("spdnet", in_channels=5, out_channels=3, batch_norm=norm).double()
    x = torch.eye(5, dtype=torch.float64).repeat(4, 1, 1)
    x[1:] += 0.3 * _points(3, 5, 5)
    _logits(model, x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    assert float(model.layers[0].bimap.raw.grad.abs().max()) > 0


def test_adapted_logits_are_invariant_under_triangular_congruence() -> None:
    torch.manual_seed(0)
    model = zoo.create("spdnet", in_channels=5, out_channels=3, input_norm="lie_aim").double()
    model.eval()
    x = _points(40, 5, 5)
    factor = torch.linalg.cholesky(_points(5, 5, seed=1))
    moved = factor @ x @ factor.T
    assert model.symmetry == "T+(n)"
    assert zoo.create("spdnet", in_channels=5, out_channels=3).symmetry == "none"
    before = _logits(model, moved)
    model.adapt({"x": x})
    reference = _logits(model, x)
    model.adapt({"x": moved})
    assert torch.allclose(_logits(model, moved), reference, atol=1e-10)
    assert not torch.allclose(before, reference, atol=1e-3)


def test_signals_go_straight_in() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(4, 3, 50)).astype(np.float32)
    model = zoo.create("spdnet", in_channels=3, out_channels=2, front_end="covariance").eval()
    assert model.domain == "signal"
    found = model([{"x": s} for s in signals])["logits"]
    matrices = np.stack([np.cov(s, bias=True) for s in signals])
    other = zoo.create("spdnet", in_channels=3, out_channels=2).eval()
    other.load_state_dict(model.state_dict())
    assert torch.allclose(found, other([{"x": m} for m in matrices])["logits"], atol=1e-5)
    augmented = zoo.create("spdnet", in_channels=3, out_channels=2, front_end="augmented")
    assert augmented.layers[0].bimap.in_features == 12
    assert augmented([{"x": s} for s in signals])["logits"].shape == (4, 2)
    with pytest.raises(DataError):
        model({"x": torch.randn(2, 3, 2)})


@pytest.mark.parametrize("parametrization", ["cayley", "geoopt"])
def test_it_learns(parametrization: str) -> None:
    torch.manual_seed(0)
    model = zoo.create(
        "spdnet",
        in_channels=6,
        out_channels=2,
        hidden_channels=[3],
        parametrization=parametrization,
    )
    base = _points(2, 6, 6, seed=2, dtype=torch.float32)
    x = spd.affine_invariant.exp(
        base.repeat_interleave(20, 0), 0.2 * spd.symmetrise(torch.randn(40, 6, 6))
    )
    y = torch.arange(2).repeat_interleave(20)
    optimiser = geoopt.optim.RiemannianAdam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(_logits(model, x), y)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1
    weight = model.layers[0].bimap.weight.detach()
    assert torch.allclose(weight.T @ weight, torch.eye(3), atol=1e-5)


def test_a_new_head_keeps_the_rest() -> None:
    model = zoo.create("spdnet", in_channels=4, out_channels=2, full_vector=True)
    before = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("head.")}
    model.replace_head(["a", "b", "c"])
    assert _logits(model, _points(2, 4, 4).float()).shape == (2, 3)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert [type(b).__name__ for b in model.blocks()] == ["SPDBlock", "SPDBlock", "Linear"]


def test_bad_matrices_are_refused_or_repaired() -> None:
    model = zoo.create("spdnet", in_channels=3, out_channels=2).double()
    x = torch.diag_embed(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, -0.5]], dtype=torch.float64))
    with pytest.raises(ManifoldError, match=r"x\[1\].*-0\.5"):
        _logits(model, x)
    repairing = zoo.create("spdnet", in_channels=3, out_channels=2, project=True).double()
    assert bool(_logits(repairing, x).isfinite().all())
    with pytest.raises(ConfigError, match="from 4 to 5"):
        zoo.create("spdnet", in_channels=4, out_channels=2, hidden_channels=[5])
    with pytest.raises(ConfigError, match="hidden_channels is empty"):
        zoo.create("spdnet", in_channels=4, out_channels=2, hidden_channels=[])
