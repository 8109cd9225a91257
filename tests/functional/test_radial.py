"""Radial functions: values, the cutoff, and the published parameters."""

import math

import torch

from zoo.functional import (
    cosine_cutoff,
    expnorm,
    expnorm_parameters,
    gaussian_basis,
    gaussian_parameters,
)


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
