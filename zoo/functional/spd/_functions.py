r"""Scalar functions with their divided differences, from which matrix functions are differentiated.

For f(X) = U f(L) U^T the derivatives are (Daleckii and Krein; Bhatia, Matrix Analysis, V.3)

    Df(X)[G]      = U (f[l_i, l_j] G'_ij) U^T,
    D2f(X)[G, V]  = U (sum_k f[l_i, l_k, l_j] (G'_ik V'_kj + V'_ik G'_kj)) U^T,

and so on, with G' = U^T G U and the divided differences

    f[a, b] = (f(a) - f(b)) / (a - b),    f[a, b, c] = (f[a, b] - f[b, c]) / (a - c), ...

whose limits are f', f'' / 2, f''' / 6 where arguments coincide. First differences are written in
closed forms that lose no digits however close the arguments are. Second ones have such a form for
roots, inverses and clamps; otherwise, where the arguments lie close together, the Taylor series
sum_n f^(n+k)(m) / (n+k)! h_n(a - m, b - m, ...) replaces the quotient, k the order and h_n the
complete homogeneous symmetric polynomials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import factorial
from typing import Protocol

import torch
from torch import Tensor

NEAR = 0.25  # relative spread of the arguments below which the series replaces the quotient
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

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """f[a, b, c, d]."""


class _Homogeneous:
    """log and the powers: but for a constant, f(m (1 + x)) is m^degree sum_n c_n x^n."""

    @property
    def degree(self) -> float:
        """Zero for the logarithm."""
        return 0.0

    @property
    def positive(self) -> bool:
        """They are."""
        return True

    def coefficient(self, n: int) -> float:
        """c_n for n > 0."""
        out = 1.0
        for k in range(n):
            out *= (self.degree - k) / (k + 1.0)
        return out

    def value(self, x: Tensor) -> Tensor:
        """x^degree."""
        return x.pow(self.degree)

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """b^(p-1) expm1(p log1p(x)) / x with x = (a - b) / b, b the smaller one, p the degree."""
        p = self.degree
        x = _gap(a, b).div_(torch.minimum(a, b)).clamp_(min=TINY)
        pick = torch.maximum if p < 1.0 else torch.minimum  # x^(p-1) falls, or grows
        scale = pick(a.pow(p - 1.0), b.pow(p - 1.0))
        return x.log1p().mul_(p).expm1_().div_(x).mul_(scale)

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """f[a, b, c]."""
        low, mid, high = _ordered(a, b, c)
        far = high - low >= NEAR * 0.5 * (high + low)
        spread = torch.where(far, high - low, 1.0)
        quotient = (self.first(high, mid) - self.first(mid, low)) / spread
        return torch.where(far, quotient, self._taylor(2, low, mid, high))

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """f[a, b, c, d]."""
        low, p, q, high = _ordered(a, b, c, d)
        far = high - low >= NEAR * 0.5 * (high + low)
        spread = torch.where(far, high - low, 1.0)
        quotient = (self.second(high, q, p) - self.second(q, p, low)) / spread
        return torch.where(far, quotient, self._taylor(3, low, p, q, high))

    def _taylor(self, order: int, *points: Tensor) -> Tensor:
        m = 0.5 * (points[0] + points[-1])
        coefficients = [self.coefficient(n + order) for n in range(TERMS)]
        return m.pow(self.degree - order) * _series(coefficients, [(v - m) / m for v in points])


@dataclass(frozen=True)
class Power(_Homogeneous):
    """x^p for a fixed real p."""

    exponent: float

    @property
    def degree(self) -> float:
        """p."""
        return self.exponent


@dataclass(frozen=True)
class Log(_Homogeneous):
    """log x."""

    def coefficient(self, n: int) -> float:
        """Of log(1 + x)."""
        return (-1.0) ** (n + 1) / n

    def value(self, x: Tensor) -> Tensor:
        """log x."""
        return x.log()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """log1p((a - b) / b) / (a - b), b the smaller one."""
        low = torch.minimum(a, b)
        x = _gap(a, b).div_(low).clamp_(min=TINY)
        return x.log1p().div_(x).div_(low)


@dataclass(frozen=True)
class Sqrt(_Homogeneous):
    """Square root."""

    @property
    def degree(self) -> float:
        """1 / 2."""
        return 0.5

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
class InvSqrt(_Homogeneous):
    """1 / sqrt x."""

    @property
    def degree(self) -> float:
        """-1 / 2."""
        return -0.5

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
class Inverse(_Homogeneous):
    """1 / x."""

    @property
    def degree(self) -> float:
        """-1."""
        return -1.0

    def value(self, x: Tensor) -> Tensor:
        """1 / x."""
        return x.reciprocal()

    def first(self, a: Tensor, b: Tensor) -> Tensor:
        """-1 / (a b)."""
        return -1.0 / (a * b)

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """1 / (a b c)."""
        return 1.0 / (a * b * c)

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """-1 / (a b c d)."""
        return -1.0 / (a * b * c * d)


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
        spread = torch.where(far, high - low, 1.0)
        quotient = (self.first(high, mid) - self.first(mid, low)) / spread
        return torch.where(far, quotient, self._taylor(2, low, mid, high))

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """The same with four arguments."""
        low, p, q, high = _ordered(a, b, c, d)
        far = high - low >= 2.0 * NEAR
        spread = torch.where(far, high - low, 1.0)
        quotient = (self.second(high, q, p) - self.second(q, p, low)) / spread
        return torch.where(far, quotient, self._taylor(3, low, p, q, high))

    @staticmethod
    def _taylor(order: int, *points: Tensor) -> Tensor:
        m = 0.5 * (points[0] + points[-1])
        coefficients = [1.0 / factorial(n + order) for n in range(TERMS)]
        return m.exp() * _series(coefficients, [v - m for v in points])


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

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """Not zero only where the floor lies between the arguments."""
        low, p, q, high = _ordered(a, b, c, d)
        across = (low <= self.floor) & (high > self.floor)
        quotient = self.second(high, q, p) - self.second(q, p, low)
        return torch.where(across, quotient / torch.where(across, high - low, 1.0), 0.0)


@dataclass(frozen=True)
class Chain:
    """outer(inner(x)); divided differences follow from those of the two.

    They come from Newton's interpolation of the outer function g at the values of the inner one f.
    """

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
        """g[fa, fb] f[a, b]."""
        outer = self.outer.first(self.inner.value(a), self.inner.value(b))
        return outer.mul_(self.inner.first(a, b))

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """g[fa, fb] f[a, b, c] + g[fa, fb, fc] f[a, c] f[b, c]."""
        f, g = self.inner, self.outer
        fa, fb, fc = f.value(a), f.value(b), f.value(c)
        bend = g.first(fa, fb) * f.second(a, b, c)
        return bend + g.second(fa, fb, fc) * f.first(a, c) * f.first(b, c)

    def third(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        """g[fa, fb] f[a, b, c, d] + g[fa, fb, fc] (f[a, c] f[b, c, d] + f[a, c, d] f[b, d])
        + g[fa, fb, fc, fd] f[a, d] f[b, d] f[c, d]."""
        f, g = self.inner, self.outer
        fa, fb, fc, fd = f.value(a), f.value(b), f.value(c), f.value(d)
        pairs = f.first(a, c) * f.second(b, c, d) + f.second(a, c, d) * f.first(b, d)
        ends = f.first(a, d) * f.first(b, d) * f.first(c, d)
        total = g.first(fa, fb) * f.third(a, b, c, d) + g.second(fa, fb, fc) * pairs
        return total + g.third(fa, fb, fc, fd) * ends


def _gap(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, for the caller to write into."""
    return (a - b).abs_()


def _ordered(*points: Tensor) -> Sequence[Tensor]:
    """The points from the lowest to the highest, entry by entry."""
    if len(points) > 3:
        return torch.stack(torch.broadcast_tensors(*points)).sort(0).values.unbind(0)
    a, b, c = points
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    mid = torch.maximum(low, torch.minimum(high, c))
    return torch.minimum(low, c), mid, torch.maximum(high, c)


def _series(coefficients: Sequence[float], points: Sequence[Tensor]) -> Tensor:
    """sum_n c_n h_n(points), with h_n = e_1 h_(n-1) - e_2 h_(n-2) + e_3 h_(n-3) - ..."""
    elementary = [torch.ones_like(points[0])]
    for x in points:
        zero = torch.zeros_like(x)
        raised = [zero, *(e * x for e in elementary)]
        elementary = [e + r for e, r in zip([*elementary, zero], raised, strict=True)]
    signed = [(-1.0) ** k * e for k, e in enumerate(elementary[1:])]
    h = [torch.ones_like(signed[0])]
    total = coefficients[0] * h[0]
    for coefficient in coefficients[1:]:
        new = sum(e * old for e, old in zip(signed, reversed(h), strict=False))
        assert isinstance(new, Tensor)
        h = [*h[1 - len(points) :], new]
        total = total + coefficient * new
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
