"""Augmentation by a constraint: the multiplier, the chain, images and clouds, refusals."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.symmetry import (
    Action,
    GroupTransform,
    ImageTransform,
    InvarianceConstraint,
)

X = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SPIN = GroupTransform(Action("SO"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first(batch: dict[str, Tensor]) -> Tensor:
    """A loss that knows the axes."""
    return batch["x"][:, 0, 0].square()


def length(batch: dict[str, Tensor]) -> Tensor:
    """One that does not."""
    return batch["x"].square().sum((1, 2))


def test_it_sleeps_while_the_bound_holds() -> None:
    constraint = InvarianceConstraint(SPIN, limit=1e3)
    x = X.clone().requires_grad_()
    for step in range(3):
        term = constraint(length, {"x": x}, rng(step))
        assert float(term) == 0 and not term.requires_grad
    assert float(constraint.mu) == 0
    assert abs(float(constraint.measured) - float(length({"x": X}).mean())) < 1e-9


def test_it_wakes_grows_and_sleeps_again() -> None:
    constraint = InvarianceConstraint(SPIN, limit=1.0, rate=0.5)
    x = X.clone().requires_grad_()
    assert float(constraint(length, {"x": x}, rng())) == 0  # measured first
    value = float(length({"x": X}).mean())
    assert abs(float(constraint.mu) - 0.5 * (value - 1.0)) < 1e-9
    term = constraint(length, {"x": x}, rng())
    (grad,) = torch.autograd.grad(term, x)
    assert abs(float(term.detach()) - 0.5 * (value - 1.0) ** 2) < 1e-9
    assert (grad - 0.5 * (value - 1.0) * 2 * X / len(X)).abs().max() < 1e-9
    grown = float(constraint.mu)
    for _ in range(40):
        constraint(length, {"x": 0.1 * X}, rng())
    assert float(constraint.mu) < grown and float(constraint.mu) == 0


def test_the_chain_prefers_what_is_worse() -> None:
    """More proposals find larger losses; the acceptance is that of Metropolis and Hastings."""

    def mean(proposals: int) -> float:
        constraint = InvarianceConstraint(SPIN, limit=0.0, proposals=proposals)
        found = []
        for seed in range(60):
            constraint(first, {"x": X}, rng(seed))
            found.append(float(constraint.measured))
        return sum(found) / len(found)

    once, often = mean(1), mean(12)
    assert often > 1.2 * once
    # under density proportional to the loss, the mean of cos^2 on the sphere is 3/5, not 1/3
    assert 1.4 < often / once < 2.2


def test_labels_turn_with_inputs() -> None:
    data = [Data(pos=X[k], y=2 * X[k] + 1.0) for k in range(3)]
    batch = Batch.from_data_list(data)
    action = Action("E", {"y": "position"}, vectors=())
    transform = GroupTransform(action, labels=("y",))
    moved = transform.apply(batch, transform.draw(batch, rng()))
    assert (moved.pos - batch.pos).abs().max() > 0.1
    inside = (moved.pos[0] - moved.pos[1]).norm() - (X[0, 0] - X[0, 1]).norm()
    assert abs(float(inside)) < 1e-12
    outside = (moved.y[0] - moved.y[1]).norm() - 2 * (X[0, 0] - X[0, 1]).norm()
    assert abs(float(outside)) < 1e-12
    assert torch.equal(batch.pos, X[:3].flatten(0, 1))  # the batch stays


def test_images() -> None:
    x = torch.rand(5, 2, 9, 9, generator=rng()).double()
    turn = ImageTransform(angle=90.0)
    quarter = (torch.full((5,), math.pi / 2).double(), torch.zeros(5, 2).double())
    turned = turn.apply({"x": x}, quarter)["x"]
    assert (turned - x.rot90(1, (2, 3))).abs().max() < 1e-5
    assert (turned - x.rot90(-1, (2, 3))).abs().max() > 0.1
    shift = (torch.zeros(5).double(), torch.tensor([[2 / 9 * 2, 0.0]]).double().expand(5, 2))
    moved = turn.apply({"x": x}, shift)["x"]
    assert (moved[..., :-2] - x[..., 2:]).abs().max() < 1e-5
    angles, shifts = ImageTransform(angle=30.0, shift=0.1).draw({"x": x}, rng())
    assert angles.abs().max() <= math.pi / 6 and shifts.abs().max() <= 0.2
    assert angles.std() > 0 and shifts.std() > 0


def test_the_multiplier_is_saved() -> None:
    constraint = InvarianceConstraint(SPIN, limit=0.0)
    constraint(length, {"x": X}, rng())
    other = InvarianceConstraint(SPIN, limit=0.0)
    other.load_state_dict(constraint.state_dict())
    assert float(other.mu) == float(constraint.mu) > 0


def test_it_makes_a_model_indifferent() -> None:
    """A network on vectors whose labels know no axes, trained on samples along one axis only."""
    size = torch.rand(64, generator=rng()).double() + 0.5
    x = torch.stack([size, 0.05 * torch.randn(64, generator=rng(1)).double()], 1)[:, None]

    def run(active: bool) -> float:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        ).double()
        constraint = InvarianceConstraint(SPIN, limit=0.01, rate=0.2)

        def losses(batch: dict[str, Tensor]) -> Tensor:
            return (net(batch["x"][:, 0])[:, 0] - batch["y"]).square()

        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        batch = {"x": x, "y": size}
        for step in range(200):
            optimizer.zero_grad()
            loss = losses(batch).mean()
            if active:
                loss = loss + constraint(losses, batch, rng(step))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        element = SPIN.draw(batch, rng(999))
        with torch.no_grad():
            return float(losses(SPIN.apply(batch, element)).mean())

    assert run(True) < 0.1 * run(False)


@pytest.mark.parametrize(
    "options",
    [{"limit": -1.0}, {"limit": 0.1, "rate": 0.0}, {"limit": 0.1, "proposals": 0}],
)
def test_refusals_of_settings(options: Any) -> None:
    with pytest.raises(ConfigError, match="limit >= 0, rate > 0, proposals >= 1"):
        InvarianceConstraint(SPIN, **options)


def test_other_refusals() -> None:
    with pytest.raises(ConfigError, match="0 to 180 degrees"):
        ImageTransform(angle=0.0)
    with pytest.raises(UnsupportedInputError, match="samples, channels, rows, columns"):
        ImageTransform().draw({"x": torch.zeros(3, 4)}, None)
