"""EGNN: its equations written out pair by pair, the contract, inputs, and that it learns."""

from typing import Any

import pytest
import torch
from short_training import error_after
from torch import Tensor, nn
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError, UnsupportedInputError
from zoo.models.egnn import EGNN
from zoo.testing import SampleContract


class TestEGNN(SampleContract):
    architecture = "egnn"


class TestWithoutVelocities(SampleContract):
    architecture = "egnn"
    config = {"velocity": False, "hidden_channels": 6, "num_layers": 2}


class TestNodes(SampleContract):
    architecture = "egnn"
    config = {"target": "nodes", "out_channels": 3, "hidden_channels": 6, "num_layers": 2}


class TestPoints(SampleContract):
    architecture = "egnn"
    config = {
        "velocity": False,
        "charges": False,
        "domain": "points",
        "target": "samples",
        "hidden_channels": 6,
        "num_layers": 2,
    }


def sample(count: int, dim: int = 3, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, dim, generator=rng, dtype=torch.float64)
    charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
    x = torch.randn(count, 2, generator=rng, dtype=torch.float64)
    return Data(pos=pos, vel=vel, charge=charge, x=x)


def make(**config: Any) -> EGNN:
    torch.manual_seed(1)
    model = zoo.create("egnn", hidden_channels=5, num_layers=3, **config).double()
    assert isinstance(model, EGNN)
    with torch.no_grad():  # steps of the size of the data, not small ones
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    return model


def run(part: nn.Module, *values: Tensor) -> Tensor:
    """Two linear maps with an activation between, written out."""
    first, second = (m for m in part if isinstance(m, nn.Linear))  # type: ignore[attr-defined]
    hidden = torch.cat(values) @ first.weight.T + first.bias
    hidden = hidden * torch.sigmoid(hidden)
    out = hidden @ second.weight.T
    return out if second.bias is None else out + second.bias


def by_hand(model: EGNN, data: Data) -> tuple[Tensor, Tensor]:
    """Equations 3 to 7 of the paper for one sample, one pair after the other."""
    start, vel, q = data.pos, data.vel, data.charge
    count = len(start)
    features = torch.cat([vel.norm(dim=1, keepdim=True), data.x], dim=1)
    h, x = features @ model.embedding.weight.T + model.embedding.bias, start
    for layer in model.layers:
        new_h, new_x = [], []
        for i in range(count):
            total = torch.zeros(5, dtype=torch.float64)
            moved = torch.zeros_like(x[i])
            for j in range(count):
                if j == i:
                    continue
                now, then = ((p[i] - p[j]).pow(2).sum().reshape(1) for p in (x, start))
                known = torch.cat([h[i], h[j], now, (q[i] * q[j]).reshape(1), then])
                message = known @ layer.edge_first.weight.T + layer.edge_first.bias
                message = message * torch.sigmoid(message)
                message = message @ layer.edge_second.weight.T + layer.edge_second.bias
                message = message * torch.sigmoid(message)
                total = total + message
                moved = moved + (x[i] - x[j]) * run(layer.shift, message) / (count - 1)
            new_x.append(x[i] + moved + run(layer.drift, h[i]) * vel[i])
            new_h.append(h[i] + run(layer.node, h[i], total))
        h, x = torch.stack(new_h), torch.stack(new_x)
    return x, h


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_equations(dim: int) -> None:
    model = make(in_channels=2)
    samples = [sample(count, dim, seed=count) for count in (4, 5, 2)]
    out = model(samples)
    expected = [by_hand(model, data) for data in samples]
    for name, part in zip(("prediction", "embedding"), zip(*expected, strict=True), strict=True):
        wanted = torch.cat(part)
        assert (out[name] - wanted).abs().max() < 1e-12 * wanted.abs().max()


def test_the_published_network() -> None:
    model = zoo.create("egnn-nbody")
    assert (len(model.layers), model.hidden_channels) == (4, 64)
    assert sum(p.numel() for p in model.parameters()) == 134_020
    data = zoo.datasets.open("nbody").split("test")[0]
    out = model(data)["prediction"]
    assert out.shape == (5, 3) and out.dtype == torch.float32


def test_velocities_and_charges_matter() -> None:
    data, other = sample(5), sample(5)
    other.charge = other.charge * torch.tensor([1.0, 1, -1, 1, 1])
    model = make()
    assert (model(data)["prediction"] - model(other)["prediction"]).abs().max() > 1e-3
    neutral = make(charges=False)
    assert torch.equal(neutral(data)["prediction"], neutral(other)["prediction"])
    other = sample(5)
    other.vel = 2 * other.vel
    still = make(velocity=False)
    assert torch.equal(still(data)["prediction"], still(other)["prediction"])
    assert (model(data)["prediction"] - model(other)["prediction"]).abs().max() > 1e-3


def test_second_derivatives() -> None:
    """Also for a particle at rest, whose speed has no derivative."""
    model = make()
    data = sample(3)
    data.vel[1] = 0
    batch = model.prepare([data])
    pos, vel = batch.pos.clone().requires_grad_(), batch.vel.clone().requires_grad_()

    def energy(pos: Tensor, vel: Tensor) -> Tensor:
        batch.pos, batch.vel = pos, vel
        return model(batch)["prediction"].square().sum()

    first = torch.autograd.grad(energy(pos, vel), (pos, vel), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (pos, vel))
    assert all(bool(torch.isfinite(g).all()) for g in (*first, *second))
    still = vel.detach()
    assert torch.autograd.gradgradcheck(lambda p: energy(p, still), (pos,))


def test_heads() -> None:
    model = make(target="samples", out_channels=3)
    samples = [sample(4), sample(2)]
    assert model(samples)["prediction"].shape == (2, 3)
    model.replace_head(2)
    assert model(samples)["prediction"].shape == (2, 2)
    assert [type(part).__name__ for part in model.blocks()][-1] == "Sequential"
    with pytest.raises(CapabilityError, match="target='positions' has no head"):
        make().replace_head(2)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"in_channels": -1}, "in_channels=-1"),
        ({"domain": "points"}, "velocity=True, charges=True: points have neither"),
        ({"target": "positons"}, "positions"),
        ({"out_channels": 2}, "out_channels=2 with target='positions'"),
    ],
)
def test_impossible_models(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("egnn", **config)


def test_unfit_samples() -> None:
    model = make()
    data = sample(4)
    del data.charge
    with pytest.raises(UnsupportedInputError, match="no charge"):
        model(data)
    data.charge = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(UnsupportedInputError, match=r"charge of the shape \(4,\).*not \(4, 2\)"):
        model(data)
    with pytest.raises(UnsupportedInputError, match=r"x has the shape \(4, 2\), expected \(4, 3\)"):
        make(in_channels=3)(sample(4))
    data = sample(4)
    data.vel = data.vel[:, :1]  # would be spread over all coordinates
    with pytest.raises(UnsupportedInputError, match=r"vel of the shape \(4, 3\).*not \(4, 1\)"):
        model(data)


def test_it_learns_what_no_linear_map_can() -> None:
    """A hundred steps on 500 trajectories: ahead of the linear map's 0.0689 on others."""
    torch.manual_seed(0)
    dataset = zoo.datasets.open("nbody")
    model = zoo.create("egnn-nbody", hidden_channels=32)
    error = error_after(model, dataset, train=500, val=500, batch_size=100, steps=150, rate=3e-3)
    assert error < 0.06
