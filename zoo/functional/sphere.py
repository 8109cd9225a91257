"""Grids on the sphere, and the matrices that take coefficients to values on them and back.

Points are unit vectors (n, 3) with the polar axis y, weights (n,) sum to 4 pi. A product grid has
`lat` polar angles beta and `lon` azimuths alpha = 2 pi k / lon, the azimuth running fastest:

    point = (sin(beta) sin(alpha), cos(beta), sin(beta) cos(alpha))

With a signal f(r) = sum_lm n_l F_lm Y_lm(r), Y orthonormal, to_grid holds n_l Y_lm(r_i) and
from_grid w_i Y_lm(r_i) / n_l; their product is the identity when the quadrature is exact up to
degree 2 lmax. n_l is 1 ("integral"), sqrt(4 pi / (lmax + 1)) ("norm"), or that over sqrt(2l + 1)
("component"), as in e3nn's ToS2Grid and FromS2Grid.
"""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.harmonics import check_normalization
from zoo.functional.irreps import check_degrees
from zoo.functional.wigner import WIGNER_LIMIT, edge_quaternion, wigner_matrix

Points = Float[Tensor, "points 3"]
Weights = Float[Tensor, " points"]
#: from_grid @ to_grid further from the identity than this is aliasing, not rounding
ALIASING_LIMIT = 1e-6
#: degrees of exactness of the rules of Lebedev
LEBEDEV_ORDERS = (*range(3, 33, 2), *range(35, 132, 6))


def gauss_legendre(lat: int, lon: int) -> tuple[Points, Weights]:
    """The product grid with cos(beta) at the nodes of Gauss and Legendre, float64.

    Exact for spherical polynomials up to degree min(2 lat, lon) - 1: products of two signals of
    degree L need lat >= L + 1 and lon >= 2 L + 1.

    Args:
        lat: polar angles.
        lon: azimuths.

    Raises:
        ConfigError: fewer than one of either.
    """
    _check_sizes(lat, lon)
    nodes, weights = np.polynomial.legendre.leggauss(lat)
    beta = torch.arccos(torch.from_numpy(nodes[::-1].copy()))
    return _product(beta, torch.from_numpy(weights[::-1].copy()), lon)


def e3nn_grid(lat: int, lon: int) -> tuple[Points, Weights]:
    """e3nn's product grid, beta = pi (i + 1/2) / lat, with its quadrature, float64.

    Weights of Kostelec and Rockmore (FFTs on the rotation group, 2008), exact for spherical
    polynomials up to degree min(lat, lon) - 1.

    Args:
        lat: polar angles, an even number.
        lon: azimuths.

    Raises:
        ConfigError: an odd number of polar angles, or fewer than one of either.
    """
    _check_sizes(lat, lon)
    if lat % 2:
        raise ConfigError(f"lat={lat}: the quadrature of this grid needs an even number")
    beta = (torch.arange(lat, dtype=torch.float64) + 0.5) * (math.pi / lat)
    odd = 2 * torch.arange(lat // 2, dtype=torch.float64) + 1
    weights = 4 / lat * torch.sin(beta) * (torch.sin(odd * beta[:, None]) / odd).sum(1)
    return _product(beta, weights, lon)


def fibonacci(count: int) -> tuple[Points, Weights]:
    """Points along the golden spiral, y = 1 - (2 i + 1) / count, equal weights, float64.

    No degree is exact; the error falls with the number of points.

    Args:
        count: number of points.

    Raises:
        ConfigError: fewer than one point.
    """
    _check_sizes(count, 1)
    i = torch.arange(count, dtype=torch.float64)
    y = 1 - (2 * i + 1) / count
    radius = torch.sqrt(1 - y * y)
    angle = i * (math.pi * (3 - math.sqrt(5)))
    points = torch.stack([radius * torch.sin(angle), y, radius * torch.cos(angle)], dim=-1)
    return points, torch.full((count,), 4 * math.pi / count, dtype=torch.float64)


def lebedev(order: int) -> tuple[Points, Weights]:
    """The rule of Lebedev that is exact up to degree `order`, float64.

    Args:
        order: degree of exactness; signals of degree L need 2 L.

    Raises:
        ConfigError: an order without a rule; names the next one.
    """
    if order not in LEBEDEV_ORDERS:
        larger = [n for n in LEBEDEV_ORDERS if n > order]
        hint = f"the next one is {larger[0]}" if larger else f"they end at {LEBEDEV_ORDERS[-1]}"
        raise ConfigError(f"there is no rule of Lebedev of order {order}; {hint}")
    from scipy.integrate import lebedev_rule  # a heavy import that most users don't need

    points, weights = lebedev_rule(order)
    return torch.from_numpy(points.T.copy()), torch.from_numpy(weights.copy())


def to_grid_matrix(
    lmax: int, points: Points, *, normalization: str = "integral"
) -> Float[Tensor, "points coefficients"]:
    """n_l Y_lm at the points, float64.

    Args:
        lmax: highest degree.
        points: unit vectors.
        normalization: "integral", "norm" or "component", see the module.

    Raises:
        ConfigError: `lmax` beyond the tables, an unknown normalisation.
    """
    return _harmonics(lmax, points) * _norms(lmax, normalization).to(points.device)


def from_grid_matrix(
    lmax: int,
    points: Points,
    weights: Weights,
    *,
    normalization: str = "integral",
    allow_aliasing: bool = False,
) -> Float[Tensor, "coefficients points"]:
    """w_i Y_lm / n_l, which takes values on the grid back to coefficients, float64.

    Args:
        lmax: highest degree.
        points: unit vectors.
        weights: of the points, with sum 4 pi.
        normalization: "integral", "norm" or "component", see the module.
        allow_aliasing: whether to accept a grid on which the degrees up to `lmax` mix.

    Raises:
        ConfigError: a grid too coarse for `lmax`; the message gives the measured aliasing.
    """
    values = _harmonics(lmax, points)
    back = (values * weights.double()[:, None]).T
    if not allow_aliasing:
        _refuse_aliasing(lmax, len(points), _distance(back @ values))
    return back / _norms(lmax, normalization).to(points.device)[:, None]


def aliasing(lmax: int, points: Points, weights: Weights) -> float:
    """max |from_grid @ to_grid - Id| up to degree `lmax`: how far degrees mix on the grid."""
    values = _harmonics(lmax, points)
    return _distance((values * weights.double()[:, None]).T @ values)


def _distance(product: Tensor) -> float:
    return float((product - torch.eye(len(product)).to(product)).abs().max())


def _refuse_aliasing(lmax: int, count: int, error: float) -> None:
    if error > ALIASING_LIMIT:
        raise ConfigError(
            f"a grid of {count} points is too coarse for lmax={lmax}: going to the grid and back "
            f"changes coefficients by up to {error:.2g} (limit {ALIASING_LIMIT:g}); exact "
            f"quadrature up to degree {2 * lmax} is needed: {lmax + 1} x {2 * lmax + 1} points of "
            f"Gauss-Legendre, {2 * lmax + 2} x {2 * lmax + 1} of e3nn's grid; "
            f"allow_aliasing=True accepts the error"
        )


def _harmonics(lmax: int, points: Tensor) -> Tensor:
    """Orthonormal harmonics: D of the rotation to +y maps Y_l(r) to Y_l0(y), so row 0 is Y_l."""
    check_degrees(lmax, limit=WIGNER_LIMIT)
    rows = wigner_matrix(
        edge_quaternion(points.double()), lmax, 0
    )  # (points, lmax + 1, coefficients)
    return rows.sum(1) * torch.sqrt((2 * _degrees(lmax) + 1) / (4 * math.pi)).to(points.device)


@functools.cache
def _degrees(lmax: int) -> Tensor:
    degrees = [degree for degree in range(lmax + 1) for _ in range(2 * degree + 1)]
    return torch.tensor(degrees, dtype=torch.float64)


def _norms(lmax: int, normalization: str) -> Tensor:
    check_normalization(normalization)
    if normalization == "integral":
        return torch.ones((lmax + 1) ** 2, dtype=torch.float64)
    scale = math.sqrt(4 * math.pi / (lmax + 1))
    if normalization == "norm":
        return torch.full(((lmax + 1) ** 2,), scale, dtype=torch.float64)
    return scale / torch.sqrt(2 * _degrees(lmax) + 1)


def _check_sizes(lat: int, lon: int) -> None:
    if lat < 1 or lon < 1:
        raise ConfigError(f"a grid of {lat} x {lon} points is empty; both must be at least 1")


def _product(beta: Tensor, weights: Tensor, lon: int) -> tuple[Tensor, Tensor]:
    """The product of polar angles, weights with sum 2, and `lon` azimuths."""
    alpha = torch.arange(lon, dtype=torch.float64) * (2 * math.pi / lon)
    b, a = torch.meshgrid(beta, alpha, indexing="ij")
    points = torch.stack([b.sin() * a.sin(), b.cos(), b.sin() * a.cos()], dim=-1)
    every = (weights * (2 * math.pi / lon))[:, None].expand(-1, lon)
    return points.reshape(-1, 3), every.reshape(-1)
