"""Brauer networks: the contract under three groups, and what they learn of tensors."""

from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CapabilityError, ConfigError
from zoo.functional import tensor_power as tp
from zoo.testing import SampleContract


class TestInvariants(SampleContract):
    architecture = "brauer"


class TestTensors(SampleContract):
    architecture = "brauer"
    config = {"order_out": 2, "hidden_channels": 3, "num_layers": 1}


class TestRotations(SampleContract):
    architecture = "brauer"
    config = {"group": "SO", "order_out": 1, "orders": [1], "hidden_channels": 3}


class TestSymplectic(SampleContract):
    architecture = "brauer"
    config = {"group": "Sp", "dimension": 4, "order_out": 2, "hidden_channels": 3,
              "num_layers": 1}  # fmt: skip


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("brauer", **({"hidden_channels": 3} | changes)).double().eval()


@pytest.mark.parametrize(
    ("group", "n", "k", "o", "orders"),
    [("O", 3, 1, 3, [1, 2, 3]), ("O", 2, 3, 1, [1, 3]), ("SO", 2, 1, 0, [1, 2]),
     ("Sp", 2, 1, 1, [1, 2]), ("SO", 3, 2, 3, [1, 2])],
)  # fmt: skip
def test_other_orders(group: Any, n: int, k: int, o: int, orders: list[int]) -> None:
    model = make(group=group, dimension=n, order_in=k, order_out=o, orders=orders)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *[n] * k, dtype=torch.float64, generator=generator)
    g = tp.as_group(group).random_element(n, generator)
    out, moved = (model({"x": y})["prediction"] for y in (x, tp.act(g, x, k)))
    assert float(out.detach().abs().max()) > 1e-3
    torch.testing.assert_close(moved, tp.act(g, out, o), rtol=0, atol=1e-10)


def test_a_rotation_is_told_from_a_mirror_only_without_reflections() -> None:
    mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    x = torch.randn(4, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for group, differs in (("O", False), ("SO", True)):
        model = make(group=group, dimension=2, num_layers=1)
        out, turned = (model({"x": y})["prediction"] for y in (x, tp.act(mirror, x, 2)))
        assert (float((out - turned).detach().abs().max()) > 1e-6) is differs


def test_layers_square_a_matrix() -> None:
    """The trace of x x, which no linear map and no gate of traces can give."""
    x = torch.randn(64, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x - x.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * torch.eye(3)
    target = (x * x.mT).sum(dim=(1, 2))
    embedding = make(hidden_channels=6, num_layers=1)({"x": x})["embedding"].detach()
    a, b = (torch.cat([f, torch.ones(64, 1)], dim=1) for f in (embedding, embedding[:, :1] * 0))
    left = [target - f @ torch.linalg.lstsq(f, target[:, None]).solution[:, 0] for f in (a, b)]
    assert float(left[0].square().mean()) < 0.5 * float(left[1].square().mean())


def test_heads() -> None:
    model = make(out_channels=4, regression=False)
    x = torch.randn(2, 3, 3).double()
    assert model({"x": x})["logits"].shape == (2, 4)
    model.replace_head(2)
    assert model({"x": x})["logits"].shape == (2, 2)
    with pytest.raises(CapabilityError, match="a tensor of order 2, and has no head"):
        make(order_out=2).replace_head(2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group": "Sp"}, "n=3 is odd"),
        ({"group": "U"}, "'group' must be one of"),
        ({"hidden_channels": 0}, "hidden_channels=0"),
        ({"order_in": 0}, "order_in=0"),
        ({"orders": [-1]}, "expected 0 or more"),
        ({"order_in": 3}, "no hidden order of \\[0, 2\\] can be reached from order 3"),
        ({"order_out": 3}, "order 3 can't be reached from the hidden orders \\[0, 2\\]"),
        ({"order_out": 2, "out_channels": 2}, "a tensor is one prediction"),
        ({"order_out": 2, "regression": False}, "a tensor is one prediction"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)


def test_the_stress_turns_with_the_body() -> None:
    data = zoo.datasets.make("hyperelastic", train=50, val=1, test=1, shear=0.5)
    f = torch.stack([sample["x"] for sample in data]).double()
    p = torch.stack([sample["y"] for sample in data]).double()
    strain = (f.mT @ f - torch.eye(3)) / 2
    trace = strain.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    torch.testing.assert_close(p, f @ (trace * torch.eye(3) + strain), rtol=0, atol=2e-4)
