"""SiLU with a cheap second derivative."""

import torch

from zoo.functional.activations import SiLU, silu


def test_values_and_derivatives_of_every_order_are_torchs():
    x = torch.linspace(-30, 30, 241, dtype=torch.float64).requires_grad_()
    ours, theirs = silu(x), torch.nn.functional.silu(x)
    for _ in range(4):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        ours, theirs = (
            torch.autograd.grad((v * (1 + 0.1 * x)).sum(), x, create_graph=True)[0]
            for v in (ours, theirs)
        )


def test_second_derivatives_without_a_graph():
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    slopes = []
    for function in (SiLU(), torch.nn.SiLU()):
        (slope,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        slopes.append(torch.autograd.grad(slope.square().sum(), x)[0])
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-14)


def test_gradients_by_one_argument_alone():
    x = torch.randn(5, dtype=torch.float64)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(silu(weight * x).sum(), weight, create_graph=True)
    assert torch.autograd.grad(slope.sum(), weight)[0].isfinite().all()
