"""BiMap, ReEig, LogEig, ExpEig and vectors: agreement with spd-learn, gradients, refusals."""

import geoopt
import pytest
import spd_learn.modules as peer
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import spd
from zoo.layers.spd import BiMap, ExpEig, LogEig, ReEig, SymmetricVector


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _points(generator: torch.Generator, *shape: int) -> Tensor:
    return spd.affine_invariant.random(shape, generator=generator, dtype=torch.float64)


def _gradient(output: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    (grad,) = torch.autograd.grad((output * weights).sum(), x)
    return spd.symmetrise(grad)


@pytest.mark.parametrize(
    ("ours", "theirs", "shift"),
    [
        (ReEig(0.6), peer.ReEig(0.6, dtype=torch.float64), 0.0),
        (LogEig(), peer.LogEig(upper=False, flatten=False), 0.0),
        (
            torch.nn.Sequential(LogEig(), SymmetricVector()),
            peer.LogEig(upper=True),
            0.0,
        ),
        (
            torch.nn.Sequential(LogEig(), SymmetricVector(full=True)),
            peer.LogEig(upper=False),
            0.0,
        ),
        (ExpEig(), peer.ExpEig(upper=False, flatten=False), 0.0),
    ],
    ids=["ReEig", "LogEig", "upper", "full", "ExpEig"],
)
def test_parity_with_spd_learn(
    ours: torch.nn.Module, theirs: torch.nn.Module, shift: float, generator: torch.Generator
) -> None:
    x = _points(generator, 6, 7, 7).requires_grad_()
    a, b = ours(x), theirs(x)
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    state = generator.get_state()
    grad = _gradient(a, x, generator)
    generator.set_state(state)
    assert torch.allclose(grad, _gradient(b, x, generator), rtol=1e-12, atol=1e-12)


def test_parity_of_bimap_with_spd_learn(generator: torch.Generator) -> None:
    theirs = peer.BiMap(7, 4, dtype=torch.float64)
    ours = BiMap(7, 4).double()
    ours.set_(theirs.weight[0].detach())
    x = _points(generator, 6, 7, 7).requires_grad_()
    a, b = ours(x), theirs(x)
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    state = generator.get_state()
    grad = _gradient(a, x, generator)
    generator.set_state(state)
    assert torch.allclose(grad, _gradient(b, x, generator), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [(5, 5), (6, 3), (4, 1)])
def test_bimap_stays_orthonormal(sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = BiMap(*sizes).double()
    # the frame itself was drawn in single precision
    layer.set_(torch.randn(sizes, dtype=torch.float64))
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.3)
    for _ in range(5):
        optimiser.zero_grad()
        (layer.weight * torch.arange(sizes[1])).sum().backward()
        optimiser.step()
    weight = layer.weight.detach()
    assert torch.allclose(weight.T @ weight, torch.eye(sizes[1]).double(), atol=1e-12)
    assert float((weight - layer.base).abs().max()) > 0.1 or sizes == (4, 1)


def test_bimap_reaches_any_direction(generator: torch.Generator) -> None:
    """At the start the derivative of W by the parameter is the whole tangent space of Stiefel."""
    layer = BiMap(6, 3).double()
    jacobian = torch.func.jacrev(
        lambda raw: torch.func.functional_call(_Weight(layer), {"layer.raw": raw}, ())
    )(layer.raw.detach())
    rank = torch.linalg.matrix_rank(jacobian.reshape(18, 18), rtol=1e-8)
    assert int(rank) == 6 * 3 - 3 * 4 // 2


class _Weight(torch.nn.Module):
    def __init__(self, layer: BiMap) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> Tensor:
        return self.layer.weight


def test_geoopt_trains_its_parametrisation(generator: torch.Generator) -> None:
    layer = BiMap(6, 3, parametrization="geoopt").double()
    assert isinstance(layer.raw, geoopt.ManifoldParameter)
    target = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0]
    layer.set_(target.roll(1, 0))
    assert torch.allclose(layer.weight, target.roll(1, 0), atol=1e-12)
    optimiser = geoopt.optim.RiemannianAdam(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        losses.append(float(loss.detach()))
        optimiser.step()
    assert losses[-1] < 0.2 * losses[0]
    weight = layer.weight.detach()
    assert torch.allclose(weight.T @ weight, torch.eye(3).double(), atol=1e-6)


def test_layers_have_two_derivatives_at_repeated_eigenvalues() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(BiMap(4, 3), ReEig(0.5), LogEig(0.8), SymmetricVector()).double()
    x = torch.eye(4, dtype=torch.float64).repeat(1, 1, 1).requires_grad_()
    assert gradcheck(net, x)
    assert gradgradcheck(net, x)
    net(x).square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_log_with_a_floor_is_reeig_then_logeig(generator: torch.Generator) -> None:
    x = _points(generator, 6, 7, 7)
    assert torch.allclose(LogEig(0.6)(x), LogEig()(ReEig(0.6)(x)), atol=1e-13)
    decomposed = spd.eigen(x)
    assert torch.equal(LogEig(0.6)(decomposed), LogEig(0.6)(x))
    assert torch.allclose(ExpEig()(LogEig()(x)), x, atol=1e-12)


def test_state_comes_back() -> None:
    layer, other = BiMap(5, 3), BiMap(5, 3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.weight, other.weight)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="from 3 to 4"):
        BiMap(3, 4)
    with pytest.raises(ConfigError, match="cayley"):
        BiMap(3, 2, parametrization="caley")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="floor=0"):
        ReEig(0.0)
    with pytest.raises(ConfigError, match=r"\(3, 2\)"):
        BiMap(3, 2).set_(torch.eye(3))
    with pytest.raises(ManifoldError, match="-1"):
        LogEig()(-torch.eye(3))
    for layer in (BiMap(3, 2), ReEig(), LogEig(), ExpEig()):
        with pytest.raises(DeviceError, match="bfloat16"):
            layer(torch.eye(3, dtype=torch.bfloat16))
