"""FA-GNN: the average over frames written out, the contract, degenerate clouds, gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models.fa_gnn import FAGNN
from zoo.testing import SampleContract


class TestFAGNN(SampleContract):
    architecture = "fa_gnn"


class TestRotationsAlone(SampleContract):
    architecture = "fa_gnn"
    config = {"reflections": False, "hidden_channels": 6, "num_layers": 2}


class TestPlane(SampleContract):
    architecture = "fa_gnn"
    config = {"dimension": 2, "hidden_channels": 6, "num_layers": 2, "detach": False}


def sample(count: int, dim: int = 3, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, dim, generator=rng, dtype=torch.float64)
    charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
    return Data(pos=pos, vel=vel, charge=charge)


def make(**config: Any) -> FAGNN:
    torch.manual_seed(1)
    model = zoo.create("fa_gnn", hidden_channels=6, num_layers=3, **config).double().eval()
    assert isinstance(model, FAGNN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def axes(points: Tensor) -> list[Tensor]:
    """All eight elements of the frame of some points."""
    centred = points - points.mean(0)
    vectors = torch.linalg.eigh(centred.T @ centred)[1]
    signs = [[a, b, c] for a in (1.0, -1.0) for b in (1.0, -1.0) for c in (1.0, -1.0)]
    return [vectors * torch.tensor(s, dtype=torch.float64) for s in signs]


def messages(layer: Any, h: Tensor, data: Data) -> Tensor:
    """A plain message layer, pair by pair."""
    new = []
    for i in range(len(h)):
        total = torch.zeros_like(h[i])
        for j in range(len(h)):
            if j == i:
                continue
            square = (data.pos[i] - data.pos[j]).pow(2).sum()
            known = torch.cat([h[i], h[j], torch.stack([square, data.charge[i] * data.charge[j]])])
            message = layer.edge_first(known)
            message = layer.edge_second(message * torch.sigmoid(message))
            total = total + message * torch.sigmoid(message)
        new.append(h[i] + layer.node(torch.cat([h[i], total])))
    return torch.stack(new)


def by_hand(model: FAGNN, data: Data) -> Tensor:
    frame = axes(data.pos)
    centred = data.pos - data.pos.mean(0)
    seen = [model.embedding(torch.cat([centred @ r, data.vel @ r], dim=1)) for r in frame]
    for k, layer in enumerate(model.layers):
        seen = [messages(layer, h, data) for h in seen]
        if k == len(model.layers) - 1:
            break
        turned = [h.reshape(len(h), -1, 3) @ r.T for h, r in zip(seen, frame, strict=True)]
        vectors = torch.stack(turned).mean(0)
        points = vectors.reshape(-1, 3)
        frame = axes(points)
        seen = [((vectors - points.mean(0)) @ r).reshape(len(vectors), -1) for r in frame]
    steps = [model.decoder(h) @ r.T for h, r in zip(seen, frame, strict=True)]
    return data.pos + torch.stack(steps).mean(0)


def test_the_equations() -> None:
    model = make()
    samples = [sample(count, seed=count) for count in (4, 5, 3)]
    found = model(samples)["prediction"]
    wanted = torch.cat([by_hand(model, data) for data in samples])
    assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()


@pytest.mark.parametrize("count", [1, 2])
def test_few_particles_are_equivariant(count: int) -> None:
    """Their positions leave axes to chance, which velocities decide."""
    model, data = make(), sample(count)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    moved = Data(pos=data.pos @ turn.T, vel=data.vel @ turn.T, charge=data.charge)
    wanted = model(data)["prediction"] @ turn.T
    assert (model(moved)["prediction"] - wanted).abs().max() < 1e-9


def test_a_symmetric_cloud_is_warned_of() -> None:
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double()
    data = Data(pos=corners, vel=torch.zeros(4, 3).double(), charge=torch.ones(4).double())
    with pytest.warns(UserWarning, match=r"samples \[1\] of this batch.* repeated eigenvalues"):
        make()([sample(5), data])


def test_frames_are_constants_in_training_only() -> None:
    """The slope by a parameter that moves latent frames, against finite differences."""
    data = [sample(5)]

    def slopes(model: FAGNN) -> tuple[float, float]:
        batch = model.prepare(data)

        def loss() -> Tensor:
            return model(batch)["prediction"].square().sum()

        weight = model.embedding.weight
        (grad,) = torch.autograd.grad(loss(), weight)
        with torch.no_grad():
            weight[0, 0] += 1e-6
            above = float(loss())
            weight[0, 0] -= 2e-6
            below = float(loss())
            weight[0, 0] += 1e-6
        return float(grad[0, 0]), (above - below) / 2e-6

    for model in (make(), make(detach=False).train()):
        exact, measured = slopes(model)
        assert abs(exact - measured) < 1e-5 * abs(measured)
    constant, measured = slopes(make().train())
    assert abs(constant - measured) > 1e-3 * abs(measured)


def test_the_published_size() -> None:
    model = zoo.create("fa-gnn")
    assert isinstance(model, FAGNN)
    assert (len(model.layers), sum(p.numel() for p in model.parameters())) == (4, 92_103)
    data = zoo.datasets.open("nbody").split("test")[0]
    assert model(data)["prediction"].shape == (5, 3)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="hidden_channels=64.* multiple of dimension"):
        zoo.create("fa_gnn", hidden_channels=64)
    with pytest.raises(ConfigError, match="dimension=9.*at most 8"):
        zoo.create("fa_gnn", hidden_channels=18, dimension=9)
    model, data = make(), sample(4)
    del data.charge
    with pytest.raises(UnsupportedInputError, match="charge"):
        model(data)


def test_no_particles_at_all() -> None:
    none = Data(pos=torch.zeros(0, 3), vel=torch.zeros(0, 3), charge=torch.zeros(0))
    assert make().float()(none)["prediction"].shape == (0, 3)
