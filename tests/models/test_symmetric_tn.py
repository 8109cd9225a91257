"""Symmetric tensor network: the contract, its equations pair by pair, epsilons, that it learns."""

from typing import Any

import pytest
import torch
from short_training import error_after
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models.symmetric_tn import SymmetricTN
from zoo.testing import SampleContract, SampleSubject, run_check


class TestSymmetricTN(SampleContract):
    architecture = "symmetric_tn"


class TestRotationsAlone(SampleContract):
    architecture = "symmetric_tn"
    config = {"reflections": False, "hidden_channels": 6, "num_layers": 1, "vector_channels": 1}


class TestPlane(SampleContract):
    architecture = "symmetric_tn"
    config = {"dimension": 2, "reflections": False, "hidden_channels": 6, "num_layers": 1}


def sample(count: int, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, 3, generator=rng, dtype=torch.float64)
    charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
    return Data(pos=pos, vel=vel, charge=charge)


def make(**config: Any) -> SymmetricTN:
    torch.manual_seed(1)
    settings = {"hidden_channels": 5, "num_layers": 2, **config}
    model = zoo.create("symmetric_tn", **settings).double()
    assert isinstance(model, SymmetricTN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    return model.eval()


def by_hand(model: SymmetricTN, data: Data) -> Tensor:
    """Pair by pair, from scalar products and the vectors themselves."""
    n = len(data.pos)
    h = model.embedding(data.vel.square().sum(1, keepdim=True))
    v = model.start[None, :, None] * data.vel[:, None]
    for layer in model.layers:
        new_h, new_v = [], []
        for i in range(n):
            total, moved = torch.zeros_like(h[i]), torch.zeros_like(v[i])
            for j in range(n):
                if i == j:
                    continue
                x = torch.stack([data.pos[i] - data.pos[j], *v[i], *v[j]])
                gram = x @ x.T
                products = [gram[a, b] for a in range(len(x)) for b in range(a, len(x))]
                known = [h[i], h[j], torch.stack([*products, data.charge[i] * data.charge[j]])]
                message = layer.message(torch.cat(known))
                total = total + message
                moved = moved + layer.along(message).reshape(len(v[i]), len(x)) @ x / (n - 1)
            new_h.append(h[i] + layer.update(torch.cat([h[i], total])))
            new_v.append(v[i] + moved)
        h, v = torch.stack(new_h), torch.stack(new_v)
    return data.pos + (model.decoder(h)[..., None] * v).sum(1)


def test_the_equations() -> None:
    model = make()
    samples = [sample(count, seed=count) for count in (4, 3)]
    wanted = torch.cat([by_hand(model, data) for data in samples])
    assert (model(samples)["prediction"] - wanted).abs().max() < 1e-9 * wanted.abs().max()


def test_epsilons_tell_mirror_images_apart() -> None:
    for reflections, passes in ((True, True), (False, False)):
        subject = SampleSubject(make(reflections=reflections, num_layers=1), group="E(n)")
        assert run_check("rotation", subject).passed
        assert run_check("reflection", subject).passed is passes
    counts = [len(make(reflections=r).layers[0].opened) for r in (True, False)]
    assert counts == [5, 5 + 10]  # vectors of a pair, and their products


def test_it_learns() -> None:
    torch.manual_seed(0)
    dataset = zoo.datasets.open("nbody")
    model = zoo.create("symmetric_tn", hidden_channels=16, num_layers=2)
    options: Any = {"train": 300, "val": 300, "batch_size": 100}
    error = error_after(model, dataset, steps=60, rate=1e-2, **options)
    assert error < 0.06


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="vector_channels=0"):
        zoo.create("symmetric_tn", vector_channels=0)
    with pytest.raises(ConfigError, match="dimension=5 with reflections=False"):
        zoo.create("symmetric_tn", dimension=5, reflections=False)
    data = sample(3)
    del data.charge
    with pytest.raises(UnsupportedInputError, match="charge"):
        make()(data)
