"""Functions of a squared length: closed forms, and all derivatives at zero."""

import math

import pytest
import torch

from zoo.functional import squares

DOUBLE = torch.float64
CASES = {
    "tanhc": (lambda r: torch.tanh(r) / r, (1.0, -1 / 3, 4 / 15)),
    "artanhc": (lambda r: torch.atanh(r) / r, (1.0, 1 / 3, 2 / 5)),
    "sinhc": (lambda r: torch.sinh(r) / r, (1.0, 1 / 6, 1 / 60)),
    "asinhc": (lambda r: torch.asinh(r) / r, (1.0, -1 / 6, 3 / 20)),
    "inv_sinhc": (lambda r: r / torch.sinh(r), (1.0, -1 / 6, 7 / 180)),
    "cosh_root": (torch.cosh, (1.0, 1 / 2, 1 / 12)),
    "sinc_root": (lambda r: torch.sin(r) / r, (1.0, -1 / 6, 1 / 60)),
    "cos_root": (torch.cos, (1.0, -1 / 2, 1 / 12)),
}


def derivatives(function, s):
    s = s.clone().requires_grad_()
    value = function(s)
    (first,) = torch.autograd.grad(value.sum(), s, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), s)
    return value.detach(), first.detach(), second


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(name, dtype):
    s = torch.cat(
        [torch.logspace(-12, -0.1, 200, dtype=DOUBLE), torch.tensor([0.0399999, 0.0400001])]
    )
    expected = CASES[name][0](s.sqrt())
    found = getattr(squares, name)(s.to(dtype))
    assert (found.double() - expected).abs().max() < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", CASES)
def test_derivatives_at_zero(name):
    found = derivatives(getattr(squares, name), torch.zeros(1, dtype=DOUBLE))
    assert [x.item() for x in found] == pytest.approx(CASES[name][1], rel=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_do_not_jump_where_the_series_ends(name):
    below, above = squares.LIMIT - 1e-13, squares.LIMIT + 1e-13
    for a, b in zip(
        derivatives(getattr(squares, name), torch.tensor([below], dtype=DOUBLE)),
        derivatives(getattr(squares, name), torch.tensor([above], dtype=DOUBLE)),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_gradgradcheck(name):
    s = torch.tensor([0.0, 1e-9, 0.03, 0.05, 0.5], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(squares, name), s[1:] + 1e-4)
    assert torch.autograd.gradgradcheck(getattr(squares, name), s[1:] + 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_asinh(dtype):
    x = torch.logspace(-15, 15, 400, dtype=DOUBLE)
    x = torch.cat([-x, torch.zeros(1, dtype=DOUBLE), x]).to(dtype)
    expected = torch.tensor([math.asinh(v) for v in x.tolist()], dtype=DOUBLE)
    error = (squares.asinh(x).double() - expected).abs() / expected.abs().clamp(min=1e-30)
    assert error.max() < 4 * torch.finfo(dtype).eps


def test_derivatives_of_asinh():
    x = torch.tensor([-2.0, 0.0, 1e-3, 3.0], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(squares.asinh, x)
    assert torch.autograd.gradgradcheck(squares.asinh, x)


def test_norms_at_zero():
    x = torch.zeros(3, dtype=DOUBLE, requires_grad=True)
    (grad,) = torch.autograd.grad(squares.safe_norm(x), x, create_graph=True)
    assert torch.equal(grad, torch.zeros_like(x))
    s = torch.tensor([0.0, 4.0], dtype=DOUBLE, requires_grad=True)
    (grad,) = torch.autograd.grad(squares.safe_sqrt(s).sum(), s)
    assert grad.tolist() == [0.0, 0.25]
