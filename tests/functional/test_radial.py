"""Radial functions: values, the cutoff, and the published parameters."""

import math

import torch

from zoo.functional import cosine_cutoff, expnorm, expnorm_parameters


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
