"""Solvers of ordinary differential equations: order, tolerance, systems that don't meet."""

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.integrate import dormand_prince, runge_kutta

DOUBLE = torch.float64
TURN = torch.tensor([[0.0, -3.0], [3.0, 0.0]], dtype=DOUBLE)


def turning(x: Tensor) -> Tensor:
    return x @ TURN.T


def turned(x: Tensor, time: float) -> Tensor:
    return x @ torch.linalg.matrix_exp(time * TURN).T


def start(rows: int = 3) -> Tensor:
    return torch.randn(rows, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))


def test_equal_steps_are_of_fourth_order() -> None:
    x = start()
    errors = [
        float((runge_kutta(turning, x, 1.0, steps) - turned(x, 1.0)).abs().max())
        for steps in (20, 40)
    ]
    assert errors[1] < 1e-4 and 12 < errors[0] / errors[1] < 20


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_steps_fit_the_tolerance(tolerance: float) -> None:
    x, calls = start(), [0]

    def counted(value: Tensor) -> Tensor:
        calls[0] += 1
        return turning(value)

    found = dormand_prince(counted, x, 2.0, tolerance=tolerance)
    error = float((found - turned(x, 2.0)).abs().max())
    assert error < 100 * tolerance
    assert calls[0] < 40 * tolerance**-0.2  # fifth order: steps grow with the root


def test_systems_do_not_meet() -> None:
    """A stiff neighbour takes more steps and changes nothing."""
    x = start(4)
    owner = torch.tensor([0, 0, 1, 1])
    speed = torch.tensor([1.0, 1.0, 30.0, 30.0], dtype=DOUBLE)[:, None]
    both = dormand_prince(lambda v: speed * turning(v), x, 1.0, tolerance=1e-6, owner=owner)
    alone = dormand_prince(turning, x[:2], 1.0, tolerance=1e-6)
    torch.testing.assert_close(both[:2], alone, rtol=0, atol=1e-14)
    torch.testing.assert_close(both[2:], turned(x[2:], 30.0), rtol=0, atol=1e-3)


def test_derivatives_go_through_the_steps() -> None:
    x = start(2).requires_grad_()
    strength = torch.tensor(0.8, dtype=DOUBLE, requires_grad=True)

    def solved(value: Tensor, k: Tensor) -> Tensor:
        return dormand_prince(lambda v: k * torch.tanh(turning(v)), value, 0.5, tolerance=1e-2)

    assert torch.autograd.gradcheck(solved, (x, strength), atol=1e-4)
    assert torch.autograd.gradgradcheck(solved, (x, strength), atol=1e-3)


def test_a_step_out_of_bounds_is_taken_back() -> None:
    """The first step leaves the numbers that there are, a shorter one does not."""
    x = torch.ones(1, 1, dtype=DOUBLE)
    found = dormand_prince(lambda v: -(v**101), x, 50.0, tolerance=1e-6, first=1.0)
    exact = (1.0 + 100 * 50.0) ** -0.01  # of dv/dt = -v^101
    torch.testing.assert_close(found, torch.full_like(x, exact), rtol=1e-4, atol=0)


def test_limits() -> None:
    assert dormand_prince(turning, start(0), 1.0, tolerance=1e-3).shape == (0, 2)
    with pytest.raises(ConfigError, match="more than 5 steps at tolerance 1e-12"):
        dormand_prince(turning, start(), 1.0, tolerance=1e-12, limit=5)
    with pytest.raises(ConfigError, match="tolerance=0.0"):
        dormand_prince(turning, start(), 1.0, tolerance=0.0)
    with pytest.raises(ConfigError, match="steps=0"):
        runge_kutta(turning, start(), 1.0, 0)
