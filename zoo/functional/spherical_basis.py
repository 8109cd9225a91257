"""Spherical Bessel functions and Legendre polynomials: waves in a ball, edge by edge.

The functions j_l(z_ln r / c) P_l(cos a), z_ln the n-th root of j_l, are the standing waves of a
ball of radius c that do not depend on an azimuth (DimeNet, arXiv:2003.03123, eq. 5 to 7).
"""

import functools
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _waves

#: terms of the power series below x = l + 1: the rest is below 1e-17 of it for every l
_TERMS = 20


@functools.cache
def _roots(degrees: int, count: int) -> tuple[tuple[float, ...], ...]:
    """Roots of j_0, j_1, ...; those of j_l lie between those of j_(l-1)."""
    rows = [np.pi * np.arange(1, count + degrees)]
    for degree in range(1, degrees):
        ends = rows[-1]
        between = zip(ends[:-1], ends[1:], strict=True)
        found = [
            brentq(lambda x, n=degree: spherical_jn(n, x), a, b, xtol=1e-15) for a, b in between
        ]
        rows.append(np.array(found))
    return tuple(tuple(row[:count].tolist()) for row in rows)


def bessel_roots(degrees: int, count: int) -> Float[Tensor, "degrees count"]:
    """The first positive roots z_ln of the spherical Bessel functions j_0 to j_(degrees-1).

    Args:
        degrees: how many functions.
        count: roots of each.

    Returns:
        Roots in float64, a copy.
    """
    return torch.tensor(_roots(degrees, count), dtype=torch.float64)


def spherical_bessel(x: Float[Tensor, "rows degrees count"]) -> Float[Tensor, "rows degrees count"]:
    """j_l(x) with l = 0, 1, 2, ... along the second axis; x >= 0.

    Power series below x = l + 1, recurrence upwards in l above, which is stable there. Derivatives
    of every order are spherical Bessel functions themselves and finite at 0:
    j_l' = (l j_(l-1) - (l+1) j_(l+1)) / (2l+1).
    """
    if _waves.bessel_runs(x):
        found: Tensor = _waves.Bessel.apply(x.contiguous(), _slope)
        return found
    result: Tensor = _SphericalBessel.apply(x, 0)
    return result


def _slope(x: Tensor, shift: int = 0) -> Tensor:
    """The derivative of j of degree l + shift."""
    degree = _degrees(x, shift).to(x.dtype)[:, None]
    below = _SphericalBessel.apply(x, shift - 1)
    above = _SphericalBessel.apply(x, shift + 1)
    slope: Tensor = (degree * below - (degree + 1) * above) / (2 * degree + 1)
    return slope


class _SphericalBessel(Function):
    """j of degree l + shift; degrees below zero, whose factor is zero, are taken as zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shift = shift
        evaluate = _everywhere if torch.compiler.is_compiling() else _evaluate
        return evaluate(x, _degrees(x, shift), max(x.shape[1] - 1 + shift, 0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * _slope(x, ctx.shift), None


def _degrees(x: Tensor, shift: int) -> Tensor:
    return (torch.arange(x.shape[1], device=x.device) + shift).clamp(min=0)


def _evaluate(x: Tensor, degrees: Tensor, highest: int) -> Tensor:
    bound = (degrees + 1).to(x.dtype)[:, None]
    result = _upwards(x.clamp(min=bound), degrees, highest)
    small = x < bound
    column = degrees[:, None].expand_as(x)[small]
    result[small] = _series(x[small], column, highest)
    return result


def _everywhere(x: Tensor, degrees: Tensor, highest: int) -> Tensor:
    """The same, with both formulas at every point: how many lie below the bound isn't known."""
    bound = (degrees + 1).to(x.dtype)[:, None]
    below = _series(x.clamp(max=bound), degrees[:, None], highest)
    return torch.where(x < bound, below, _upwards(x.clamp(min=bound), degrees, highest))


def _series(
    x: Float[Tensor, "*points"], degrees: Int[Tensor, "*degrees"], highest: int
) -> Float[Tensor, "*points"]:
    """x^l / (2l+1)!! sum_k (-x^2/2)^k / (k! (2l+3)(2l+5)...(2l+2k+1))."""
    step = -0.5 * x.square()
    twice = (2 * degrees + 1).to(x.dtype)
    total = torch.ones_like(x)
    for k in range(_TERMS, 0, -1):
        total = 1 + total * step / (k * (twice + 2 * k))
    for k in range(1, highest + 1):
        total = torch.where(k <= degrees, total * x / (2 * k + 1), total)
    return total


def _upwards(x: Tensor, degrees: Tensor, highest: int) -> Tensor:
    """j_(k+1) = (2k+1)/x j_k - j_(k-1) from j_0 and j_1."""
    column = degrees[:, None]
    inverse = 1 / x
    low = torch.sin(x) * inverse
    high = (low - torch.cos(x)) * inverse
    result = torch.where(column == 0, low, high)
    for k in range(1, highest):
        low, high = high, (2 * k + 1) * inverse * high - low
        result = torch.where(column == k + 1, high, result)
    return result


def legendre(
    cosine: Float[Tensor, "*shape"], degrees: int, kept: Bool[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape degrees"]:
    """Legendre polynomials P_0 to P_(degrees-1) of a cosine.

    Args:
        cosine: in [-1, 1].
        degrees: how many polynomials.
        kept: where they are wanted; zero elsewhere, with zero derivatives.
    """
    if kept is not None and _waves.legendre_runs(cosine, kept, degrees):
        plain = functools.partial(_legendre, degrees)
        given = cosine.contiguous(), kept.contiguous()
        result: Tensor = _waves.Legendre.apply(*given, degrees, plain)
        return result
    return _legendre(degrees, cosine, kept)


def _legendre(degrees: int, cosine: Tensor, kept: Tensor | None) -> Tensor:
    found = [torch.ones_like(cosine), cosine]
    for k in range(2, degrees):
        found.append(((2 * k - 1) * cosine * found[-1] - (k - 1) * found[-2]) / k)
    values = torch.stack(found[:degrees], dim=-1)
    return values if kept is None else values * kept[..., None]
