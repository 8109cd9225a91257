"""Radial functions: values, the cutoff, and the published parameters."""

import math

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional import (
    bessel_basis,
    cosine_cutoff,
    expnorm,
    expnorm_parameters,
    gaussian_basis,
    gaussian_parameters,
    polynomial_envelope,
)
from zoo.layers.radial import BesselBasis, GaussianBasis


def test_cutoff_vanishes_with_its_slope():
    r = torch.tensor([0.0, 2.0, 4.0, 4.1], dtype=torch.float64, requires_grad=True)
    phi = cosine_cutoff(r, 4.0)
    assert torch.allclose(phi, torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(phi.sum(), r)
    assert slope[0] == 0 and slope[2].abs() < 1e-15 and slope[3] == 0


def test_expnorm_formula():
    means, betas = expnorm_parameters(5.0, 8)
    assert means[0] == math.exp(-5.0) and means[-1] == 1.0
    r = 1.3
    alpha = 5.0 / 5.0
    expected = [
        0.5 * (math.cos(math.pi * r / 5.0) + 1) * math.exp(-b * (math.exp(-alpha * r) - m) ** 2)
        for m, b in zip(means.tolist(), betas.tolist(), strict=True)
    ]
    out = expnorm(torch.tensor([r], dtype=torch.float64), 5.0, means, betas)
    assert torch.allclose(out[0], torch.tensor(expected, dtype=torch.float64))


def test_gaussians_are_as_wide_as_they_are_apart():
    centres, coefficient = gaussian_parameters(6.0, 4)
    assert centres.tolist() == [0.0, 2.0, 4.0, 6.0]
    out = gaussian_basis(torch.tensor([2.0, 3.0], dtype=torch.float64), centres, coefficient)
    expected = [math.exp(-((r - c) ** 2) / (2 * 2.0**2)) for r in (2.0, 3.0) for c in (0, 2, 4, 6)]
    assert torch.allclose(out.flatten(), torch.tensor(expected, dtype=torch.float64))


def test_gaussian_tails_are_not_denormal():
    centres, coefficient = gaussian_parameters(6.0, 64)
    out = gaussian_basis(torch.tensor([0.0]), centres.float(), coefficient.float())
    assert out.min() > torch.finfo(torch.float32).tiny


def test_width_is_counted_in_spacings():
    _, coefficient = gaussian_parameters(6.0, 4, width=1.5)
    assert float(coefficient) == pytest.approx(-0.5 / 3.0**2, rel=1e-15)
    assert torch.equal(GaussianBasis(6.0, 4, width=1.5).coefficient, coefficient.float())
    for size, width in ((1, 1.0), (4, 0.0)):
        with pytest.raises(ConfigError, match=f"size={size}, width={width}"):
            gaussian_parameters(6.0, size, width)


def test_bessel_functions_are_orthonormal_on_the_ball():
    cutoff, n = 3.0, 20000
    r = (torch.arange(n, dtype=torch.float64) + 0.5) * (cutoff / n)
    e = BesselBasis(cutoff, 5).double()(r)
    product = torch.einsum("ra,rb,r->ab", e, e, r.square()) * (cutoff / n)
    assert torch.allclose(product, torch.eye(5, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bessel_functions_at_the_origin(dtype):
    frequencies = math.pi * torch.arange(1, 4, dtype=dtype)
    r = torch.tensor([0.0, 1e-12, 1e-3, 0.01, 0.03, 0.1], dtype=dtype, requires_grad=True)
    e = bessel_basis(r, 3.0, frequencies)
    eps = torch.finfo(dtype).eps
    assert torch.allclose(e[0], math.sqrt(2 / 3.0) * frequencies / 3.0, rtol=4 * eps)
    (first,) = torch.autograd.grad(e[:, 2].sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    a = math.pi  # of the third function: e = sqrt(2/3) sin(a r) / r
    x = a * r.detach().double()
    curve = torch.where(
        x < 1e-4,
        -a * a / 3 * torch.ones_like(x),
        a * a * (-torch.sin(x) / x - 2 * torch.cos(x) / x**2 + 2 * torch.sin(x) / x**3),
    )
    expected = (math.sqrt(2 / 3.0) * a * curve).to(dtype)
    assert torch.allclose(second, expected, rtol=2e-3 if dtype == torch.float32 else 1e-7)


@pytest.mark.parametrize("power", [3, 5, 6])
def test_envelope_is_twice_differentiable_at_the_cutoff(power):
    r = torch.tensor([0.0, 1.2, 4.0 - 1e-9, 4.0, 4.5], dtype=torch.float64, requires_grad=True)
    u = polynomial_envelope(r, 4.0, power)
    p, x = power, 1.2 / 4.0
    formula = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1)
    formula -= p * (p + 1) / 2 * x ** (p + 2)
    expected = torch.tensor([1.0, formula, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(u, expected, atol=1e-15)
    for _ in range(2):
        (u,) = torch.autograd.grad(u.sum(), r, create_graph=True)
        assert torch.allclose(u[[0, 2, 3, 4]], torch.zeros(4, dtype=torch.float64), atol=1e-6)
        assert u[1].abs() > 1e-3


def test_envelope_is_never_negative():
    r = torch.linspace(3.0, 4.0, 10001)
    assert polynomial_envelope(r, 4.0, 5).min() == 0.0
    with pytest.raises(ConfigError, match="power=0"):
        polynomial_envelope(r, 4.0, 0)
