r"""Scalar functions with their divided differences, from which matrix functions are differentiated.

For f(X) = U f(L) U^T the derivatives are (Daleckii and Krein; Bhatia, Matrix Analysis, V.3)

    Df(X)[G]      = U (f[l_i, l_j] G'_ij) U^T,
    D2f(X)[G, V]  = U (sum_k f[l_i, l_k, l_j] (G'_ik V'_kj + V'_ik G'_kj)) U^T,

with G' = U^T G U and the divided differences

    f[a, b] = (f(a) - f(b)) / (a - b),    f[a, b, c] = (f[a, b] - f[b, c]) / (a - c),

whose limits are f' and f'' / 2 where arguments coincide. First differences are written in closed
forms that lose no digits however close the arguments are. Second ones have such a form for roots,
inverses and clamps; for log, exp and powers, where the three arguments lie close together, the
Taylor series sum_n f^(n+2)(m) / (n+2)! h_n(a - m, b - m, c - m) replaces the quotient, h_n being
the complete homogeneous symmetric polynomials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import factorial
from typing import Protocol

import torch
from torch import Tensor

NEAR = 0.25  # relative spread of three arguments below which the series replaces the quotient
TINY = 1e-30  # instead of a gap of zero: log1p(x) / x and expm1(x) / x are one to the last digit
TERMS = 18  # of that series: (NEAR / 2)^18 is below the last digit of float64


class Scalar(Protocol):
    """A function of a number with its divided differences; arguments broadcast."""

    @property
    def positive(self) -> bool:
        """Whether it is defined for positive arguments only."""

    def value(self, x: Tensor) -> Tensor:
        """f(x)."""

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """f[a, b]."""

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """f[a, b, c]."""


@dataclass(frozen=True)
class Log:
    """log x."""

    positive: bool = True

    def value(self, x: Tensor) -> Tensor:
        """log x."""
        return x.log()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """log1p((a - b) / b) / (a - b), b the smaller one."""
        low = torch.minimum(a, b)
        x = _gap(a, b).div_(low).clamp_(min=TINY)
        return x.log1p().div_(x).div_(low)

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Homogeneous of degree -2."""
        coefficients = [(-1.0) ** (n + 1) / (n + 2) for n in range(TERMS)]
        return _homogeneous(self, a, b, c, coefficients, -2.0)


@dataclass(frozen=True)
class Exp:
    """e^x."""

    positive: bool = False

    def value(self, x: Tensor) -> Tensor:
        """e^x."""
        return x.exp()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """e^a (1 - e^-|d|) / |d|, a the larger one, d = a - b: nothing overflows before e^a."""
        x = _gap(a, b).clamp_(min=TINY).neg_()
        return x.expm1().div_(x).mul_(torch.maximum(a.exp(), b.exp()))

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """e^m times that of the arguments less their midpoint m."""
        low, mid, high = _ordered(a, b, c)
        far = high - low >= 2.0 * NEAR
        m = 0.5 * (high + low)
        coefficients = [1.0 / factorial(n + 2) for n in range(TERMS)]
        series = m.exp() * _series(coefficients, low - m, mid - m, high - m)
        return torch.where(far, _quotient(self, low, mid, high, far), series)


@dataclass(frozen=True)
class Sqrt:
    """Square root."""

    positive: bool = True

    def value(self, x: Tensor) -> Tensor:
        """sqrt x."""
        return x.sqrt()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """1 / (sqrt a + sqrt b)."""
        return (a.sqrt() + b.sqrt()).reciprocal_()

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """-1 / ((sqrt a + sqrt b) (sqrt b + sqrt c) (sqrt c + sqrt a))."""
        p, q, r = a.sqrt(), b.sqrt(), c.sqrt()
        return -1.0 / ((p + q) * (q + r) * (r + p))


@dataclass(frozen=True)
class InvSqrt:
    """1 / sqrt x."""

    positive: bool = True

    def value(self, x: Tensor) -> Tensor:
        """x^(-1/2)."""
        return x.rsqrt()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """-1 / (p q (p + q)) with p = sqrt a, q = sqrt b."""
        p, q = a.sqrt(), b.sqrt()
        return -1.0 / (p * q * (p + q))

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """(p + q + r) / (p q r (p + q) (q + r) (r + p))."""
        p, q, r = a.sqrt(), b.sqrt(), c.sqrt()
        return (p + q + r) / (p * q * r * (p + q) * (q + r) * (r + p))


@dataclass(frozen=True)
class Inverse:
    """1 / x."""

    positive: bool = True

    def value(self, x: Tensor) -> Tensor:
        """1 / x."""
        return x.reciprocal()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """-1 / (a b)."""
        return -1.0 / (a * b)

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """1 / (a b c)."""
        return 1.0 / (a * b * c)


@dataclass(frozen=True)
class Power:
    """x^p for a fixed real p."""

    exponent: float
    positive: bool = True

    def value(self, x: Tensor) -> Tensor:
        """x^p."""
        return x.pow(self.exponent)

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """b^(p-1) expm1(p log1p(x)) / x with x = (a - b) / b, b the smaller one."""
        p = self.exponent
        x = _gap(a, b).div_(torch.minimum(a, b)).clamp_(min=TINY)
        pick = torch.maximum if p < 1.0 else torch.minimum  # x^(p-1) falls, or grows
        scale = pick(a.pow(p - 1.0), b.pow(p - 1.0))
        return x.log1p().mul_(p).expm1_().div_(x).mul_(scale)

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Homogeneous of degree p - 2."""
        p = self.exponent
        coefficients = [0.5 * p * (p - 1.0)]
        for n in range(1, TERMS):
            coefficients.append(coefficients[-1] * (p - n - 1.0) / (n + 2.0))
        return _homogeneous(self, a, b, c, coefficients, p - 2.0)


@dataclass(frozen=True)
class Clamp:
    """max(x, floor), with derivative zero at the floor itself."""

    floor: float
    positive: bool = False

    def value(self, x: Tensor) -> Tensor:
        """max(x, floor)."""
        return x.clamp(min=self.floor)

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """1 above the floor, 0 below, the quotient (a - floor) / (a - b) across it."""
        low, high = torch.minimum(a, b), torch.maximum(a, b)
        above = (high - self.floor).clamp_(min=0.0)
        across = (low <= self.floor) & (above > 0)
        quotient = above.div_((high - low).masked_fill_(~across, 1.0))
        return torch.where(across, quotient, (low > self.floor).to(a.dtype))

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Not zero only where the floor lies between the arguments."""
        low, mid, high = _ordered(a, b, c)
        floor = self.floor
        across = (low <= floor) & (high > floor)
        upper = torch.where(mid > floor, (floor - low) / (mid - low), (high - floor) / (high - mid))
        return torch.where(across, upper / torch.where(across, high - low, 1.0), 0.0)


@dataclass(frozen=True)
class Chain:
    """outer(inner(x)); divided differences follow from those of the two."""

    inner: Scalar
    outer: Scalar

    @property
    def positive(self) -> bool:
        """As the inner one: that of the outer is asked where the two are joined."""
        return self.inner.positive

    def value(self, x: Tensor) -> Tensor:
        """outer(inner(x))."""
        return self.outer.value(self.inner.value(x))

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """outer[f(a), f(b)] f[a, b], f the inner one."""
        outer = self.outer.first(self.inner.value(a), self.inner.value(b))
        return outer.mul_(self.inner.first(a, b))

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """g[fb, fc] f[a, b, c] + g[fa, fb, fc] f[a, b] f[a, c]."""
        f, g = self.inner, self.outer
        fa, fb, fc = f.value(a), f.value(b), f.value(c)
        bend = g.first(fb, fc) * f.second(a, b, c)
        return bend + g.second(fa, fb, fc) * f.first(a, b) * f.first(a, c)


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, for the caller to write into."""
    return (a - b).abs_()


def _ordered(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    mid = torch.maximum(low, torch.minimum(high, c))
    return torch.minimum(low, c), mid, torch.maximum(high, c)


def _quotient(f: Scalar, low: Tensor, mid: Tensor, high: Tensor, far: Tensor) -> Tensor:
    spread = torch.where(far, high - low, 1.0)
    return (f.first(high, mid) - f.first(mid, low)) / spread


def _homogeneous(
    f: Scalar, a: Tensor, b: Tensor, c: Tensor, coefficients: Sequence[float], degree: float
) -> Tensor:
    """f[a, b, c] of log or a power: the series is that of (1 + x) around the midpoint."""
    low, mid, high = _ordered(a, b, c)
    m = 0.5 * (high + low)
    far = high - low >= NEAR * m
    x, y, z = ((v - m) / m for v in (low, mid, high))
    series = m.pow(degree) * _series(coefficients, x, y, z)
    return torch.where(far, _quotient(f, low, mid, high, far), series)


def _series(coefficients: Sequence[float], x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """sum_n c_n h_n(x, y, z), where h_n = e_1 h_(n-1) - e_2 h_(n-2) + e_3 h_(n-3)."""
    e1, e2, e3 = x + y + z, x * y + y * z + z * x, x * y * z
    h = [torch.ones_like(e1), e1, e1 * e1 - e2]
    total = coefficients[0] * h[0] + coefficients[1] * h[1] + coefficients[2] * h[2]
    for coefficient in coefficients[3:]:
        h = [h[1], h[2], e1 * h[2] - e2 * h[1] + e3 * h[0]]
        total = total + coefficient * h[2]
    return total


def chain(functions: Sequence[Scalar]) -> Scalar:
    """The functions one after the other, the first one innermost.

    Args:
        functions: at least one.
    """
    out = functions[0]
    for _, outer in pairwise(functions):
        out = Chain(out, outer)
    return out
