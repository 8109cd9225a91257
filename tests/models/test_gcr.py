"""Grassmann class representation on pictures."""

import geoopt
import pytest
import torch

import zoo
from zoo.errors import ConfigError
from zoo.functional import grassmann
from zoo.layers.grassmann import SubspaceHead


def test_the_published_head() -> None:
    model = zoo.create("gcr-resnet18")
    assert isinstance(model.head, SubspaceHead)
    assert model.head.scale == 25 and model.head.subspaces.raw.shape == (10, 512, 8)
    assert sum(p.numel() for p in model.features.parameters()) == 11_168_832
    linear = zoo.create("gcr-resnet18-linear")
    assert isinstance(linear.head, torch.nn.Linear)


@pytest.mark.parametrize("parametrization", ["qr", "exp", "geoopt"])
def test_it_trains(parametrization: str) -> None:
    torch.manual_seed(0)
    model = zoo.create("gcr-s", out_channels=3, parametrization=parametrization)
    x = torch.rand(24, 1, 8, 8)
    y = torch.arange(24) % 3
    x[y == 0, :, :4] += 1
    x[y == 1, :, :, 4:] += 1
    optimizer = geoopt.optim.RiemannianSGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(model({"x": x})["logits"], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        grassmann.check(model.head.subspaces().as_subclass(torch.Tensor), where="head")


def test_the_counterpart_has_as_many_parameters() -> None:
    ours = zoo.create("gcr-s")
    flat = zoo.create("gcr-s", classifier="linear", hidden_channels=[16, 33])
    sizes = [sum(p.numel() for p in model.parameters()) for model in (ours, flat)]
    assert abs(sizes[0] / sizes[1] - 1) < 0.01


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="1 to 32 dimensions, not 33"):
        zoo.create("gcr-s", subspace_dim=33)
    with pytest.raises(ConfigError, match="hidden_channels"):
        zoo.create("gcr-s", hidden_channels=[])
