"""Integrals of three spherical harmonics, and harmonics as two-dimensional Fourier series.

The Gaunt coefficients are G_ijk = integral Y_l1i Y_l2j Y_l3k over the sphere, Y real, orthonormal,
polar axis y. By Wigner and Eckart each block is a multiple of the coupling tensor w (unit norm),

    G = s sqrt((2 l1 + 1) (2 l2 + 1) (2 l3 + 1) / 4 pi) (l1 l2 l3; 0 0 0) w_ijk

with a sign s of each triple, as e3nn's w is defined up to its sign only. The 3j symbol at
m = 0 vanishes for odd l1 + l2 + l3, so no product of functions on the sphere couples such degrees.

Fourier series (Luo, Chen, Krishnapriyan, Enabling Efficient Equivariant Operations in the Fourier
Basis via Gaunt Tensor Products, arXiv:2401.10216): with the polar angle theta continued to
[0, 2 pi), where sin(theta) changes sign, Y_lm is a trigonometric polynomial of degree l in both
angles,

    Y_lm(theta, phi) = sum_uv y_lm,uv exp(i (u theta + v phi)),

and the coefficients of a product, Z = X * Y (a two-dimensional convolution), give

    z_lm = sum_uv z_lm,uv Z_uv,  z_lm,uv = integral Y_lm exp(i (u theta + v phi)) dOmega.
"""

import functools
import math

import numpy as np
import torch
from jaxtyping import Complex128, Float
from torch import Tensor

from zoo.functional.clebsch_gordan import check_coupling, wigner_3j
from zoo.functional.irreps import check_degrees
from zoo.functional.sphere import gauss_legendre, to_grid_matrix
from zoo.functional.wigner import WIGNER_LIMIT


def gaunt(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    """The integrals of three orthonormal harmonics, float64, a fresh copy.

    Computed by a quadrature of Gauss and Legendre that is exact for the product.

    Args:
        l1: first degree.
        l2: second degree.
        l3: third degree.

    Raises:
        ConfigError: degrees that don't couple, or beyond the tables.
    """
    check_coupling(l1, l2, l3)
    return _gaunt(l1, l2, l3).clone()


def gaunt_coefficient(l1: int, l2: int, l3: int) -> float:
    """G / w, the signed factor between `gaunt` and `wigner_3j`; zero for odd l1 + l2 + l3.

    Raises:
        ConfigError: degrees that don't couple, or beyond the tables.
    """
    check_coupling(l1, l2, l3)
    return _coefficient(l1, l2, l3)


@functools.cache
def _coefficient(l1: int, l2: int, l3: int) -> float:
    if (l1 + l2 + l3) % 2:
        return 0.0
    return float((_gaunt(l1, l2, l3) * wigner_3j(l1, l2, l3)).sum())


@functools.cache
def _gaunt(l1: int, l2: int, l3: int) -> Tensor:
    shape = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)
    if (l1 + l2 + l3) % 2:
        return torch.zeros(shape, dtype=torch.float64)
    total = l1 + l2 + l3
    lat, lon = total // 2 + 1, total + 1
    y1, y2, y3 = (_harmonics(degree, lat, lon) for degree in (l1, l2, l3))
    _, weights = gauss_legendre(lat, lon)
    pairs = (y1[:, :, None] * y2[:, None, :]).flatten(1)  # (points, m1 m2)
    return (pairs.T @ (y3 * weights[:, None])).reshape(shape)


@functools.lru_cache(maxsize=64)
def _harmonics(degree: int, lat: int, lon: int) -> Tensor:
    points, _ = gauss_legendre(lat, lon)
    return to_grid_matrix(degree, points)[:, degree * degree :]


def grid_size(degree: int) -> tuple[int, int]:
    """(lat, lon) of a Gauss-Legendre grid that integrates degree `degree` exactly, lon even.

    With an even number of azimuths the grid is symmetric under inversion.
    """
    lon = degree + 1
    return degree // 2 + 1, lon + lon % 2


def hemisphere(
    points: Float[Tensor, "points 3"], weights: Float[Tensor, " points"]
) -> tuple[Tensor, Tensor] | None:
    """Half of a grid that is symmetric under inversion, with doubled weights.

    Args:
        points: unit vectors.
        weights: of the points.

    Returns:
        One point of each antipodal pair and the weights, or None for another grid.
    """
    sign = torch.zeros(len(points), dtype=torch.float64)
    for axis in (0, 2, 1):  # the last that isn't zero decides
        clear = points[:, axis].abs() > 1e-9
        sign = torch.where(clear, points[:, axis].sign(), sign)
    upper, lower = points[sign > 0], points[sign < 0]
    if len(upper) != len(lower) or len(upper) + len(lower) != len(points):
        return None
    distance, partner = torch.cdist(upper, -lower).min(1)
    if distance.max() > 1e-7 or len(partner.unique()) != len(upper):
        return None
    if (weights[sign > 0] - weights[sign < 0][partner]).abs().max() > 1e-12:
        return None
    return upper.clone(), 2 * weights[sign > 0]


# --- Fourier ------------------------------------------------------------------------------------


def to_fourier(lmax: int) -> Complex128[Tensor, "u v coefficients"]:
    """y_lm,uv for |u| <= lmax and 0 <= v <= lmax, complex128, a fresh copy.

    u runs from -lmax to lmax. Real signals have y_(-u)(-v) = y_uv*, so v >= 0 holds everything.

    Args:
        lmax: highest degree; coefficients are degree-major.

    Raises:
        ConfigError: `lmax` negative or beyond the tables.
    """
    check_degrees(lmax, limit=WIGNER_LIMIT)
    return _to_fourier(lmax).clone()


@functools.cache
def _to_fourier(lmax: int) -> Tensor:
    size = 2 * lmax + 2
    theta = torch.arange(size, dtype=torch.float64) * (2 * math.pi / size)
    values = _on_torus(lmax, theta, theta)  # (theta, phi, coefficients)
    series = torch.fft.fft2(values, dim=(0, 1)) / size**2
    rows = torch.arange(-lmax, lmax + 1) % size
    kept: Tensor = series[rows][:, : lmax + 1].contiguous()
    return kept


def _on_torus(lmax: int, theta: Tensor, phi: Tensor) -> Tensor:
    """Orthonormal harmonics on a product grid whose polar angle goes around the whole circle."""
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    points = torch.stack([t.sin() * p.sin(), t.cos(), t.sin() * p.cos()], dim=-1)
    # beyond pi the point is that of 2 pi - theta, phi + pi: the continuation by itself
    values = to_grid_matrix(lmax, points.reshape(-1, 3))
    return values.reshape(*t.shape, -1)


def from_fourier(lmax: int, band: int) -> Complex128[Tensor, "coefficients u v"]:
    """Weights that take a half spectrum to coefficients: z_lm = Re sum_uv weight_lm,uv Z_uv.

    The terms v < 0 of the sum are the conjugates of those with v > 0, so the weights are z_lm,uv,
    twice that for v > 0.

    Args:
        lmax: highest degree.
        band: the spectrum holds |u| <= band and 0 <= v <= band.

    Raises:
        ConfigError: `lmax` negative or beyond the tables.
    """
    check_degrees(lmax, limit=WIGNER_LIMIT)
    return _from_fourier(lmax, band).clone()


@functools.cache
def _from_fourier(lmax: int, band: int) -> Tensor:
    nodes, weights = np.polynomial.legendre.leggauss(lmax + band + 2)
    theta = torch.arccos(torch.from_numpy(nodes))
    weight = torch.from_numpy(weights)
    phi = torch.arange(2 * max(lmax, band) + 2, dtype=torch.float64)
    phi = phi * (2 * math.pi / len(phi))
    values = _on_torus(lmax, theta, phi) * weight[:, None, None]
    u = torch.arange(-band, band + 1, dtype=torch.float64)
    v = torch.arange(band + 1, dtype=torch.float64)
    around = torch.exp(1j * phi[:, None] * v) * (2 * math.pi / len(phi))
    by_order = torch.einsum("tpk,pv->tkv", values.to(torch.complex128), around)
    # only exp(i u theta)'s even part, for odd v its odd part, meets signals on the sphere; the
    # other part of each is no polynomial in cos(theta), and continued signals don't have it
    even = torch.cos(theta[:, None] * u).to(torch.complex128)
    odd = 1j * torch.sin(theta[:, None] * u)
    out = torch.empty(values.shape[-1], len(u), len(v), dtype=torch.complex128)
    for part, first in ((even, 0), (odd, 1)):
        out[:, :, first::2] = torch.einsum("tkv,tu->kuv", by_order[:, :, first::2], part)
    out[:, :, 1:] *= 2
    return out
