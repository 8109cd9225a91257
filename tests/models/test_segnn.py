"""SEGNN: its equations pair by pair, the contract, limits, inputs."""

from typing import Any

import pytest
import torch
from e3nn import o3
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models.segnn import SEGNN
from zoo.testing import SampleContract


class TestSEGNN(SampleContract):
    architecture = "segnn"


class TestScalars(SampleContract):
    architecture = "segnn"
    config = {"hidden_channels": 2, "num_layers": 1, "lmax": 0, "lmax_attr": 2}


def sample(count: int, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, 3, generator=rng, dtype=torch.float64)
    charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
    return Data(pos=pos, vel=vel, charge=charge)


def make(**config: Any) -> SEGNN:
    torch.manual_seed(1)
    model = zoo.create("segnn", **{"hidden_channels": 3, "num_layers": 2} | config).double()
    assert isinstance(model, SEGNN)
    with torch.no_grad():  # updates of the size of the features, not small ones
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def harmonics(vector: Tensor) -> Tensor:
    return o3.spherical_harmonics([0, 1], vector, normalize=True, normalization="component")


def by_hand(model: SEGNN, data: Data) -> Tensor:
    """Equations 8 to 10 of the paper for one sample, one pair after the other."""
    pos, vel, q = data.pos, data.vel, data.charge
    others = [[j for j in range(len(pos)) if j != i] for i in range(len(pos))]
    attr = []
    for i, heard in enumerate(others):
        mean = torch.stack([harmonics(pos[i] - pos[j]) for j in heard]).mean(0)
        attr.append(mean + harmonics(vel[i]))
        attr[i][0] = 1
    start = torch.cat([vel.norm(dim=1, keepdim=True), pos - pos.mean(0), vel], dim=1)
    f = [model.embedding(start[i : i + 1], attr[i][None])[0] for i in range(len(pos))]
    for layer in model.layers:
        new = []
        for i, heard in enumerate(others):
            total = torch.zeros_like(f[i])
            for j in heard:
                a = harmonics(pos[i] - pos[j])[None]
                known = torch.stack([(pos[i] - pos[j]).norm(), q[i] * q[j]])
                mixed = (layer.own.mix(f[i][None]) + layer.other(f[j][None])) / 2**0.5
                scalars = layer.pair.weight @ known
                mixed[:, : len(scalars)] += scalars
                message = layer.gate(layer.own.couple(mixed, a))
                total = total + layer.gate(layer.second(message, a))[0]
            both, a = torch.cat([f[i], total])[None], attr[i][None]
            inside = layer.update.gate(layer.update.first(both, a))
            new.append(f[i] + layer.update.second(inside, a)[0])
        f = new
    last = model.projection
    steps = [
        last.second(last.gate(last.first(x[None], a[None])), a[None])[0]
        for x, a in zip(f, attr, strict=True)
    ]
    return pos + torch.stack(steps)


def test_the_equations() -> None:
    model = make()
    samples = [sample(count, seed=count) for count in (4, 5, 2)]
    found = model(samples)["prediction"]
    wanted = torch.cat([by_hand(model, data) for data in samples])
    assert (found - wanted).abs().max() < 1e-10 * wanted.abs().max()


def test_the_published_size() -> None:
    """32 channels of degrees 0 and 1 have the weights of 64 scalars, the authors' rule."""
    model = zoo.create("segnn-nbody")
    assert isinstance(model, SEGNN)
    irreps, attr = o3.Irreps("32x0e+32x1o"), o3.Irreps("1x0e+1x1o")
    assert o3.FullyConnectedTensorProduct(irreps, attr, irreps).weight_numel == 64**2
    assert (len(model.layers), sum(p.numel() for p in model.parameters())) == (4, 147_424)
    data = zoo.datasets.open("nbody").split("test")[0]
    assert model(data)["prediction"].shape == (5, 3)


def test_features_of_degree_two_turn_with_the_input() -> None:
    torch.manual_seed(0)
    model = zoo.create("segnn-l2").double()
    data = sample(4)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    moved = Data(pos=data.pos @ turn.T + 1, vel=data.vel @ turn.T, charge=data.charge)
    wanted = model(data)["prediction"] @ turn.T + 1
    assert (model(moved)["prediction"] - wanted).abs().max() < 1e-9


def test_second_derivatives_at_rest_and_at_one_point() -> None:
    model, data = make(), sample(4)
    data.vel[1] = 0
    data.pos[2] = data.pos[0]
    batch = model.prepare([data])
    pos = batch.pos.clone().requires_grad_()
    batch.pos = pos
    (first,) = torch.autograd.grad(
        model(batch)["prediction"].square().sum(), pos, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), pos)
    assert torch.isfinite(first).all() and torch.isfinite(second).all()


def test_charges_matter() -> None:
    model, data, other = make(), sample(5), sample(5)
    other.charge = other.charge * torch.tensor([1.0, 1, -1, 1, 1])
    assert (model(data)["prediction"] - model(other)["prediction"]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("config", "words"),
    [({"lmax": 5}, "lmax=5"), ({"lmax_attr": 0}, "lmax_attr=0"), ({"num_layers": 0}, "num_layers")],
)
def test_impossible_models(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("segnn", **config)


def test_unfit_samples() -> None:
    model, data = make(), sample(4)
    data.charge = data.charge[:, None]
    with pytest.raises(UnsupportedInputError, match=r"charge of the shape \(4,\).*\(4, 1\)"):
        model(data)
