"""Matrix product states: the formula, long chains, fresh heads, and what they learn."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.layers.tensor_network import MPSHead, site_features
from zoo.testing import SampleContract


class TestMPS(SampleContract):
    architecture = "mps"


class TestOtherSize(SampleContract):
    architecture = "mps"
    config = {"n_sites": 15, "out_channels": 2, "bond_dim": 2, "label_site": 0}


class TestPublished(SampleContract):
    """The function as published, of vectors."""

    architecture = "mps"
    config = {
        "n_sites": 5,
        "out_channels": 2,
        "bond_dim": 2,
        "label_site": 1,
        "feature_map": "linear",
        "normalise": False,
        "domain": "vector",
    }


def direct(head: MPSHead, x: Tensor) -> Tensor:
    """The formula, matrix by matrix."""
    chain = head.chain
    phi = site_features(x, chain.feature_map)
    left, right = chain.ends
    out = []
    for sample in phi:
        matrices = [
            torch.einsum("s,sij->ij", f, a) for f, a in zip(sample, chain.cores, strict=True)
        ]
        row, column = left, right
        for matrix in matrices[: chain.label_site]:
            row = row @ matrix
        for matrix in reversed(matrices[chain.label_site :]):
            column = matrix @ column
        if chain.normalise:
            row, column = row / row.norm(), column / column.norm()
        out.append(torch.stack([row @ label @ column for label in head.label.weight]))
    return torch.stack(out)


@pytest.mark.parametrize("label_site", [None, 0, 3, 9])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("feature_map", ["cos_sin", "linear"])
def test_the_formula(label_site: int | None, normalise: bool, feature_map: Any) -> None:
    torch.manual_seed(0)
    head = MPSHead(9, 3, 4, feature_map, label_site, normalise=normalise).double()
    with torch.no_grad():
        head.chain.ends.add_(torch.randn(2, 4))
    x = torch.rand(5, 9, dtype=torch.float64)
    torch.testing.assert_close(head(x), direct(head, x), rtol=1e-12, atol=1e-12)
    grads = [
        torch.autograd.grad(f(x).square().sum(), list(head.parameters()))
        for f in (head, lambda x: direct(head, x))
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_features_of_a_site() -> None:
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    root = math.sqrt(0.5)
    expected = torch.tensor([[1.0, 0.0], [root, root], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(site_features(x), expected)
    lines = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(site_features(x, "linear"), lines)


def test_normalising_keeps_the_order_of_the_classes() -> None:
    torch.manual_seed(0)
    head = MPSHead(12, 5, 3)
    x = torch.rand(20, 12)
    normalised = head(x)
    head.chain.normalise = False
    published = head(x)
    assert torch.equal(normalised.argsort(dim=1), published.argsort(dim=1))
    ratio = normalised / published
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, None])
def test_long_chains_are_finite(value: float | None) -> None:
    torch.manual_seed(0)
    head = MPSHead(1000, 2, 4)
    x = torch.rand(3, 1000) if value is None else torch.full((3, 1000), value)
    x.requires_grad_()
    out = head(x)
    assert bool(torch.isfinite(out).all()) and float(out.detach().abs().max()) > 1e-3
    grads = torch.autograd.grad(out.square().sum(), [x, *head.parameters()])
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)
    assert all(float(grad.abs().max()) > 0 for grad in grads[1:])


def test_second_derivatives() -> None:
    torch.manual_seed(0)
    head = MPSHead(5, 2, 2).double()
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, (x,))
    assert torch.autograd.gradgradcheck(head, (x,))


def accuracy(logits: Tensor, y: Tensor) -> float:
    return float((logits.argmax(1) == y).double().mean())


def fit(model: Any, data: dict[str, Any], epochs: int) -> float:
    """Accuracy on the test part after a short training."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = data["train"]["x"], data["train"]["y"]
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model({"x": x[rows]})["logits"], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return accuracy(model({"x": data["test"]["x"]})["logits"], data["test"]["y"])


def test_bars_and_stripes() -> None:
    """Above 95 % where a linear model has about 50 %."""
    dataset = zoo.datasets.open("bars-and-stripes")
    torch.manual_seed(0)
    model = zoo.create("mps-bars")
    linear = zoo.create(
        "hnnpp", in_channels=36, out_channels=2, num_layers=0, geometry="euclidean", domain="image"
    )
    data = {name: model.prepare(list(dataset.split(name))) for name in ("train", "test")}
    assert fit(model, data, epochs=6) > 0.95
    assert 0.4 < fit(linear, data, epochs=6) < 0.6


def test_a_fresh_head_keeps_the_chain() -> None:
    model = zoo.create("mps", n_sites=16, bond_dim=3)
    before = model.chain.cores.clone()
    model.replace_head(["left", "right"])
    assert torch.equal(model.chain.cores, before)
    assert model({"x": torch.rand(2, 1, 4, 4)})["logits"].shape == (2, 2)
    assert list(model.head_parameters()) == ["head.weight"]


@pytest.mark.parametrize(("preset", "count"), [("mps-s", 55_240), ("mps-bars", 4_752)])
def test_sizes(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"n_sites": 0}, "n_sites=0"),
        ({"bond_dim": 0}, "bond_dim=0"),
        ({"init_std": -1.0}, "init_std=-1.0"),
        ({"label_site": 65}, "label_site=65 lies outside of a chain of 64 sites"),
        ({"out_channels": 0}, "n_classes=0"),
        ({"feature_map": "fourier"}, "cos_sin"),
    ],
)
def test_impossible_chains(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("mps", **config)


def test_unfit_samples() -> None:
    model = zoo.create("mps", bond_dim=2)
    with pytest.raises(UnsupportedInputError, match=r"64 numbers \(n_sites\), not 16"):
        model({"x": torch.zeros(1, 1, 4, 4)})
    with pytest.raises(DeviceError, match="float16"):
        MPSHead(4, 2).half()(torch.zeros(3, 4, dtype=torch.float16))
    with pytest.raises(UnsupportedInputError, match="n_sites=64"):
        model.chain(torch.zeros(1, 16))
