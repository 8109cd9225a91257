"""The rotation MLP, and the order of representations in the sanity test of Zhou et al. (2019)."""

import pytest
import torch

import zoo
from zoo.errors import ConfigError
from zoo.functional.rotations import so3
from zoo.layers.rotations import ChordalLoss


def test_the_network_of_the_paper() -> None:
    model = zoo.create("rotation_mlp-6d")
    sizes = [layer[0].weight.shape for layer in model.layers]
    assert sizes == [(128, 9), (128, 128), (128, 128)]
    assert model.head.linear.out_features == 6
    x = so3.random((4, 3, 3)).flatten(1)
    out = model({"x": x})["prediction"]
    so3.check(out.view(4, 3, 3), where="prediction")


def test_several_rotations_and_refusals() -> None:
    model = zoo.create("rotation_mlp", in_channels=5, out_channels=18, representation="svd9d")
    out = model({"x": torch.randn(3, 5)})["prediction"]
    assert out.shape == (3, 18)
    so3.check(out.view(3, 2, 3, 3), where="prediction")
    with pytest.raises(ConfigError, match="a rotation has 9 entries"):
        zoo.create("rotation_mlp", out_channels=6)
    with pytest.raises(ConfigError, match="representation"):
        zoo.create("rotation_mlp", representation="7d")
    with pytest.raises(ConfigError, match="num_layers=0"):
        zoo.create("rotation_mlp", num_layers=0)


def trained_error(representation: str, steps: int = 250) -> float:
    """Mean angle in degrees on fresh rotations after a short training."""
    torch.manual_seed(0)
    model = zoo.create("rotation_mlp", representation=representation)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = ChordalLoss()
    for _ in range(steps):
        r = so3.random((64, 3, 3), generator=generator)
        out = model({"x": r.flatten(1)})["prediction"].view(-1, 3, 3)
        optimizer.zero_grad()
        loss(out, r).backward()
        optimizer.step()
    model.eval()
    test = so3.random((512, 3, 3), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        out = model({"x": test.flatten(1)})["prediction"].view(-1, 3, 3)
        return float(torch.rad2deg(so3.dist(out, test)).mean())


def test_continuous_representations_learn_better() -> None:
    errors = {name: trained_error(name) for name in ("6d", "5d", "quaternion", "euler")}
    assert max(errors["6d"], errors["5d"]) < 0.6 * min(errors["quaternion"], errors["euler"])
