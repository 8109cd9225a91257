"""Spherical harmonics: normalisations, the origin, refusals."""

import math

import pytest
import torch

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import spherical_harmonics


@pytest.mark.parametrize("name", ["component", "norm", "integral"])
def test_normalisations(name):
    r = torch.randn(20, 3, dtype=torch.float64)
    y = spherical_harmonics(r, 11, normalization=name)
    scale = {"component": 1.0, "norm": None, "integral": 1 / (4 * math.pi)}[name]
    for degree in range(12):
        square = y[:, degree**2 : (degree + 1) ** 2].square().sum(1)
        expected = 1.0 if scale is None else (2 * degree + 1) * scale
        assert torch.allclose(square, torch.full_like(square, expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_solid_harmonics_at_the_origin(dtype):
    """Polynomials: at r = 0 values and both derivatives are finite, and right up to l = 2."""
    r = torch.zeros(1, 3, dtype=dtype, requires_grad=True)
    y = spherical_harmonics(r, 6, normalization="norm", normalize=False)
    assert y.tolist()[0] == [1.0] + [0.0] * 48
    rows = [torch.autograd.grad(v, r, create_graph=True)[0] for v in y[0, 1:4]]
    assert torch.allclose(torch.cat(rows), torch.eye(3, dtype=dtype))
    (slope,) = torch.autograd.grad(y[0, 6], r, create_graph=True)  # y^2 - (x^2 + z^2) / 2
    curvature = [torch.autograd.grad(s, r, retain_graph=True)[0] for s in slope[0]]
    assert torch.allclose(torch.cat(curvature), torch.diag(torch.tensor([-1.0, 2, -1])).to(dtype))
    (all_of_them,) = torch.autograd.grad(y.sum(), r)
    assert torch.isfinite(all_of_them).all()


def test_directions_of_points_at_the_origin_are_refused():
    r = torch.ones(4, 3)
    r[2] = 0
    with pytest.raises(UnsupportedInputError, match="1 of 4 edges .* edges 2;"):
        spherical_harmonics(r, 3)


def test_limits():
    r = torch.ones(1, 3)
    with pytest.raises(ConfigError, match="lmax=12 is beyond the tables, which end at 11"):
        spherical_harmonics(r, 12)
    with pytest.raises(ConfigError, match="did you mean 'norm'"):
        spherical_harmonics(r, 2, normalization="norms")
