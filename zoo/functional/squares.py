"""Functions of a squared length that are smooth at zero, with all their derivatives.

tanh(r) / r, sinh(r) / r and their like are analytic in s = r^2. Written in r, their derivatives at
the zero vector are 0 / 0; written in s, with the Taylor series near zero, every derivative is
finite and right: below s = 0.04 the series is used, above it the closed form, whose second
derivative loses at most three digits to cancellation there.

The first derivative is written out, so that a plain backward pass costs a few operations; a graph
of it, where one is wanted, comes from autograd.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

#: below it the series stands for the function
LIMIT = 0.04
#: terms of a series; the last is below 1e-18 (float64) and 1e-8 (float32) of the first
TERMS = {torch.float32: 6, torch.float64: 14}


def tanhc(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """tanh(r) / r at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _TANHC)


def artanhc(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """artanh(r) / r at s = r^2, 0 <= s < 1; 1 at zero."""
    return _smooth(s, _ARTANHC)


def sinhc(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sinh(r) / r at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _SINHC)


def asinhc(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """asinh(r) / r at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _ASINHC)


def inv_sinhc(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """r / sinh(r) at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _INV_SINHC)


def cosh_root(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """cosh(r) at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _COSH)


def sinc_root(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sin(r) / r at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _SINC)


def cos_root(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """cos(r) at s = r^2 >= 0; 1 at zero."""
    return _smooth(s, _COS)


def asinh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """asinh, several times as fast on a CPU as torch's, to the last digit or two.

    sign(x) log1p(|x| + x^2 / (1 + sqrt(1 + x^2))): no cancellation at either end. The square must
    not overflow: |x| below 1e19 in float32, 1e154 in float64.
    """
    return _asinh(x)


def safe_norm(
    x: Float[Tensor, "*shape dim"], *, keepdim: bool = False
) -> Float[Tensor, "*shape rest"] | Float[Tensor, "*shape"]:
    """Euclidean length over the last axis, whose gradient at the zero vector is zero."""
    square = x.square().sum(-1, keepdim=keepdim)
    return safe_sqrt(square)


def safe_sqrt(s: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Square root, with value and all derivatives zero at s = 0."""
    zero = s <= 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, s)))


class _Asinh(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.save_for_backward(x)
        square = x * x
        root = torch.sqrt(1 + square)
        return torch.copysign(torch.log1p(square.div_(root.add_(1)).add_(x.abs())), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * torch.rsqrt(1 + x * x)


_asinh: Callable[[Tensor], Tensor] = _Asinh.apply


@dataclass(frozen=True)
class _Analytic:
    """A function f of s = r^2.

    Attributes:
        series: the coefficients of its Taylor series.
        closed: r -> f.
        slope: (s, r, f) -> df/ds, away from zero.
    """

    series: tuple[float, ...]
    closed: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor, Tensor], Tensor]


class _Smooth(Function):
    """Value and first derivative without a graph of the many terms of a series."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, f: _Analytic) -> Any:
        ctx.f = f
        r = torch.sqrt(s.clamp(min=torch.finfo(s.dtype).tiny))
        value = f.closed(r)  # as a value, the closed form is exact at the smallest r
        ctx.save_for_backward(s, r, value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        s, r, value = ctx.saved_tensors
        if torch.is_grad_enabled():
            traced = _traced(s, ctx.f)
            return torch.autograd.grad(traced, s, grad, create_graph=True)[0], None
        terms = ctx.f.series[1 : TERMS.get(s.dtype)]
        near = s < LIMIT
        small = torch.where(near, s, 0.0)
        slope = torch.full_like(s, len(terms) * terms[-1])
        for n in range(len(terms) - 1, 0, -1):
            slope.mul_(small).add_(n * terms[n - 1])
        return grad * torch.where(near, slope, ctx.f.slope(s, r, value)), None


_smooth: Callable[[Tensor, _Analytic], Tensor] = _Smooth.apply


def _traced(s: Tensor, f: _Analytic) -> Tensor:
    """The same in operations that autograd knows, for derivatives of higher order."""
    near = s < LIMIT
    terms = f.series[: TERMS.get(s.dtype)]
    small = torch.where(near, s, 0.0)  # powers of a large s would overflow, and 0 * inf is NaN
    value = torch.full_like(s, terms[-1])
    for coefficient in reversed(terms[:-1]):
        value = value * small + coefficient
    return torch.where(near, value, f.closed(torch.sqrt(torch.where(near, LIMIT, s))))


def _quotient(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    """Coefficients of the quotient of two power series; the second begins with one."""
    out: list[float] = []
    for n, value in enumerate(over):
        out.append(value - math.fsum(out[k] * under[n - k] for k in range(n)))
    return tuple(out)


_RANGE = range(max(TERMS.values()))
_cosh = tuple(1 / math.factorial(2 * n) for n in _RANGE)
_sinhc = tuple(1 / math.factorial(2 * n + 1) for n in _RANGE)
_one = (1.0,) + (0.0,) * (len(_RANGE) - 1)
_COSH = _Analytic(_cosh, torch.cosh, lambda s, r, f: torch.sinh(r) / (2 * r))
_SINHC = _Analytic(
    _sinhc, lambda r: torch.sinh(r) / r, lambda s, r, f: (torch.cosh(r) - f) / (2 * s)
)
_COS = _Analytic(
    tuple((-1) ** n * value for n, value in enumerate(_cosh)),
    torch.cos,
    lambda s, r, f: torch.sin(r) / (-2 * r),
)
_SINC = _Analytic(
    tuple((-1) ** n * value for n, value in enumerate(_sinhc)),
    lambda r: torch.sin(r) / r,
    lambda s, r, f: (torch.cos(r) - f) / (2 * s),
)
_TANHC = _Analytic(
    _quotient(_sinhc, _cosh),
    lambda r: torch.tanh(r) / r,
    lambda s, r, f: (1 - s * f.square() - f) / (2 * s),
)
_INV_SINHC = _Analytic(
    _quotient(_one, _sinhc),
    lambda r: r / torch.sinh(r),
    lambda s, r, f: f * (1 - r / torch.tanh(r)) / (2 * s),
)
_ARTANHC = _Analytic(
    tuple(1 / (2 * n + 1) for n in _RANGE),
    lambda r: torch.atanh(r) / r,
    lambda s, r, f: (1 / (1 - s) - f) / (2 * s),
)
_ASINHC = _Analytic(
    tuple((-0.25) ** n * math.comb(2 * n, n) / (2 * n + 1) for n in _RANGE),
    lambda r: asinh(r) / r,
    lambda s, r, f: (torch.rsqrt(1 + s) - f) / (2 * s),
)
