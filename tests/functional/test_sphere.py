"""Grids on the sphere: quadrature, the way to the grid and back, e3nn's conventions, refusals."""

import math

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.functional import (
    aliasing,
    e3nn_grid,
    fibonacci,
    from_grid_matrix,
    gauss_legendre,
    lebedev,
    spherical_harmonics,
    to_grid_matrix,
)

L = 6


@pytest.fixture
def float64():
    """e3nn's tables follow the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


EXACT = {
    "gauss_legendre": lambda degree: gauss_legendre(degree + 1, 2 * degree + 1),
    "e3nn_grid": lambda degree: e3nn_grid(2 * degree + 2, 2 * degree + 1),
    "lebedev": lambda degree: lebedev(2 * degree + 1),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_grids_give_coefficients_back(name):
    points, weights = EXACT[name](L)
    assert torch.allclose(points.norm(dim=-1), torch.ones(()).double())
    assert abs(float(weights.sum()) - 4 * math.pi) < 1e-12
    assert aliasing(L, points, weights) < 1e-12
    assert aliasing(L + 1, points, weights) > 1e-3  # and no more than promised
    there = to_grid_matrix(L, points)
    back = from_grid_matrix(L, points, weights)
    assert torch.allclose(back @ there, torch.eye(49).double(), atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_a_coarse_grid_is_refused_with_its_error(name):
    points, weights = EXACT[name](L - 1)
    with pytest.raises(ConfigError, match=rf"{len(points)} points is too coarse.*7 x 13"):
        from_grid_matrix(L, points, weights)
    back = from_grid_matrix(L, points, weights, allow_aliasing=True)
    assert back.shape == (49, len(points))


def test_the_message_names_the_measured_aliasing():
    points, weights = gauss_legendre(L, 2 * L + 1)
    measured = f"{aliasing(L, points, weights):.2g}"
    with pytest.raises(ConfigError, match=f"by up to {measured}"):
        from_grid_matrix(L, points, weights)


def test_spiral_converges():
    errors = [aliasing(4, *fibonacci(count)) for count in (100, 400, 1600)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2] > 0


@pytest.mark.parametrize("normalization", ["component", "norm", "integral"])
@pytest.mark.usefixtures("float64")
def test_matrices_are_those_of_e3nn(normalization):
    lat, lon = 2 * L + 2, 2 * L + 3
    points, weights = e3nn_grid(lat, lon)
    there = o3.ToS2Grid(L, (lat, lon), normalization=normalization, dtype=torch.float64)
    back = o3.FromS2Grid((lat, lon), L, normalization=normalization, dtype=torch.float64)
    assert torch.allclose(there.grid.reshape(-1, 3), points, atol=1e-14)
    x = torch.randn(5, 49, dtype=torch.float64)
    values = there(x)
    ours = x @ to_grid_matrix(L, points, normalization=normalization).T
    assert torch.allclose(values.flatten(1), ours, atol=1e-12)
    matrix = from_grid_matrix(L, points, weights, normalization=normalization)
    assert torch.allclose(back(values), ours @ matrix.T, atol=1e-12)


def test_harmonics_on_grids_are_those_of_edges():
    points, _ = lebedev(13)
    ours = to_grid_matrix(11, points)
    expected = spherical_harmonics(points, 11, normalization="integral")
    assert torch.allclose(ours, expected, atol=1e-12)


def test_bad_sizes():
    with pytest.raises(ConfigError, match="0 x 5"):
        gauss_legendre(0, 5)
    with pytest.raises(ConfigError, match="lat=7"):
        e3nn_grid(7, 5)
    with pytest.raises(ConfigError, match="order 12; the next one is 13"):
        lebedev(12)
    with pytest.raises(ConfigError, match="they end at 131"):
        lebedev(133)
    with pytest.raises(ConfigError, match="empty"):
        fibonacci(0)
    with pytest.raises(ConfigError, match="end at 24"):
        to_grid_matrix(25, fibonacci(4)[0])
    with pytest.raises(ConfigError, match="did you mean 'component'"):
        to_grid_matrix(2, fibonacci(4)[0], normalization="components")
