"""Perceptrons on tensor powers: the contract, what commutes, what penalties do to them."""

from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.tensor_power import act, equivariant_basis, project
from zoo.layers.symmetry import EquivariancePenalty, TensorLinear
from zoo.models.soft_mlp import SoftMLP
from zoo.testing import SampleContract


class TestSoftMLP(SampleContract):
    architecture = "soft_mlp"


class TestOtherSpaces(SampleContract):
    architecture = "soft_mlp"
    config = {
        "space_in": "2x1+1x2",
        "space_out": "3x0+1x1",
        "dimension": 2,
        "scalars": 3,
        "vectors": 4,
        "matrices": 1,
        "num_layers": 1,
    }


def make(**config: Any) -> SoftMLP:
    torch.manual_seed(0)
    model = zoo.create("soft_mlp", scalars=4, vectors=4, matrices=2, **config).double()
    assert isinstance(model, SoftMLP)
    return model


@torch.no_grad()
def projected(model: SoftMLP) -> SoftMLP:
    """Every linear layer replaced by the nearest one that is equivariant under O(3)."""
    for layer in model.modules():
        if not isinstance(layer, TensorLinear):
            continue
        for rows, outputs, l in layer.spaces[1].blocks():  # noqa: E741
            for columns, inputs, k in layer.spaces[0].blocks():
                block = layer.weight[rows, columns].reshape(outputs, 3**l, inputs, 3**k)
                block = project(block.transpose(1, 2), equivariant_basis("O", 3, k, l))
                layer.weight[rows, columns] = block.transpose(1, 2).flatten(2).flatten(0, 1)
            bias = layer.bias[rows].reshape(outputs, 3**l, 1)
            layer.bias[rows] = project(bias, equivariant_basis("O", 3, 0, l)).flatten()
    return model


def turned(x: Tensor, g: Tensor) -> Tensor:
    return torch.cat([x[:, :5], (x[:, 5:].unflatten(1, (5, 3)) @ g.T).flatten(1)], 1)


def error(model: SoftMLP, dtype: torch.dtype = torch.float64) -> float:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(6, 20, generator=rng, dtype=dtype)
    g = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=dtype))[0]
    with torch.no_grad():
        plain = model({"x": x})["prediction"].unflatten(1, (3, 3))
        moved = model({"x": turned(x, g)})["prediction"].unflatten(1, (3, 3))
    return float((moved - act(g, plain, 2)).abs().max() / plain.abs().max())


def test_all_but_the_linear_layers_commute() -> None:
    """With equivariant weights the network is equivariant, with those of the start it is not."""
    model = make()
    penalty = EquivariancePenalty(model, {"O": 1.0})
    assert error(model) > 0.1 and float(penalty().detach()) > 1.0
    projected(model)
    assert error(model) < 1e-12 and float(penalty().detach()) < 1e-20
    x = torch.randn(4, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert model({"x": x})["prediction"].std(0).max() > 1e-3  # and not constant


def test_the_penalty_leads_there() -> None:
    model = make()
    before = error(model)
    penalty = EquivariancePenalty(model, {"O": 1.0})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        penalty().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert error(model) < 0.1 * before


def test_the_inertia_of_the_data() -> None:
    """The formula, equivariant but for the term along the third axis."""
    plain = zoo.datasets.open("inertia?train=8&val=4&test=4&perturbation=0.0").split("train")
    other = zoo.datasets.open("inertia?train=8&val=4&test=4").split("train")
    x = torch.stack([sample["x"] for sample in plain]).double()
    mass, place = x[:, :5], x[:, 5:].unflatten(1, (5, 3))
    square = place.square().sum(-1)[..., None, None] * torch.eye(3).double()
    each = square - place[..., :, None] * place[..., None, :]
    wanted = (mass[..., None, None] * each).mean(1)
    y = torch.stack([sample["y"] for sample in plain]).double().unflatten(1, (3, 3))
    assert (y - wanted).abs().max() < 1e-3
    more = torch.stack([sample["y"] for sample in other]).double().unflatten(1, (3, 3)) - y
    assert (more[:, 2, 2] - 0.3 * (mass * place[..., 2] ** 2).mean(1)).abs().max() < 1e-3
    more[:, 2, 2] = 0
    assert more.abs().max() < 1e-3


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="vectors=3.* vectors in pairs"):
        zoo.create("soft_mlp", vectors=3)
    with pytest.raises(ConfigError, match="expected a sum of terms"):
        zoo.create("soft_mlp", space_in="five vectors")
    with pytest.raises(UnsupportedInputError, match=r"shape \(20\), not \(19,\)"):
        make()({"x": torch.zeros(2, 19, dtype=torch.float64)})
