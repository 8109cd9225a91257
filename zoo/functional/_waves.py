"""Spherical Bessel functions and Legendre polynomials with two derivatives, as C code.

`zoo.functional.spherical_basis` has the same in torch, which runs elsewhere and is what derivatives
beyond the second are made of.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _library
from zoo.functional._wave_source import bessel, legendre
from zoo.functional.needed import again

#: numbers from which on code is compiled
MANY = 2**12
#: numbers that are worth a thread
PER_THREAD = 2**16
#: polynomials that code is written for
MOST_DEGREES = 16


def bessel_runs(x: Tensor) -> bool:
    """Whether there is compiled code for these arguments, and enough of them."""
    return _ready(x) and _bessel(x.dtype) is not None


def legendre_runs(x: Tensor, kept: Tensor, degrees: int) -> bool:
    """Likewise for cosines, with `kept` of the same shape, true or false."""
    known = _ready(x) and _library.plain(kept) and kept.dtype == torch.bool
    fits = kept.shape == x.shape and 0 < degrees <= MOST_DEGREES
    return known and fits and _legendre(x.dtype, degrees) is not None


def _ready(x: Tensor) -> bool:
    return _library.plain(x) and x.numel() >= MANY and x.dtype in _library.REALS


class Bessel(Function):
    """(x, contiguous; its derivative in torch) -> j_l(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
        found = [torch.empty_like(x) for _ in range(3)]
        places = [t.data_ptr() for t in (x, *found)]
        call, rows = _bessel(x.dtype).bessel, x.shape[0]
        _library.in_threads(
            lambda *part: call(*places, *x.shape[1:], *part), rows, x.numel() // PER_THREAD
        )
        ctx.derivative = derivative
        ctx.save_for_backward(x, *found[1:])
        return found[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, first, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _BesselSlope.apply(g, x, first, second, ctx.derivative), None
        return g * first, None


class _BesselSlope(Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, first: Tensor, second: Tensor, derivative: Any
    ) -> Tensor:
        ctx.derivative = derivative
        ctx.save_for_backward(g, x, first, second)
        return g * first

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> Any:
        g, x, first, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            derivative, needed = ctx.derivative, ctx.needs_input_grad[:2]
            found = again(lambda g, x: [g * derivative(x)], (g, x), needed, [t])
            return *found, None, None, None
        return t * first, t * g * second, None, None, None


class Legendre(Function):
    """(cosines, which are kept, both contiguous; number, the same in torch) -> polynomials.

    Zero where nothing is kept.
    """

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, kept: Tensor, degrees: int, plain: Any) -> Tensor:
        out = cosine.new_empty((*cosine.shape, degrees))
        _run(degrees, "values", cosine, kept, out)
        ctx.degrees, ctx.plain = degrees, plain
        ctx.save_for_backward(cosine, kept)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        cosine, kept = ctx.saved_tensors
        # a copy made inside the function would hide what g depends on from further derivatives
        g = g.contiguous()
        return _LegendreSlope.apply(g, cosine, kept, ctx.degrees, ctx.plain), None, None, None


class _LegendreSlope(Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, cosine: Tensor, kept: Tensor, degrees: int, plain: Any
    ) -> Tensor:
        out = torch.empty_like(cosine)
        _run(degrees, "slopes", g, cosine, kept, out)
        ctx.degrees, ctx.plain = degrees, plain
        ctx.save_for_backward(g, cosine, kept)
        return out

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> Any:
        g, cosine, kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain, needed = ctx.plain, ctx.needs_input_grad[:2]

            def make(g: Tensor, cosine: Tensor) -> Sequence[Tensor]:
                first = again(lambda c: [plain(c, kept)], (cosine,), [True], [g])
                return cast(Sequence[Tensor], first)

            return *again(make, (g, cosine), needed, [t]), None, None, None
        by_g, by_cosine = torch.empty_like(g), torch.empty_like(cosine)
        _run(ctx.degrees, "again", t.contiguous(), g, cosine, kept, by_g, by_cosine)
        return by_g, by_cosine, None, None, None


def _run(degrees: int, name: str, *arrays: Tensor) -> None:
    cosine = arrays[{"values": 0, "slopes": 1, "again": 2}[name]]
    call = getattr(_legendre(cosine.dtype, degrees), name)
    places, size = [t.data_ptr() for t in arrays], cosine.numel()
    _library.in_threads(lambda *part: call(*places, *part), size, size // PER_THREAD)


@functools.cache
def _bessel(dtype: torch.dtype) -> Any:
    return _library.program(bessel(dtype), {"bessel": (4, 4)})


@functools.cache
def _legendre(dtype: torch.dtype, degrees: int) -> Any:
    arrays = {"values": 3, "slopes": 4, "again": 6}
    return _library.program(legendre(dtype, degrees), {name: (n, 2) for name, n in arrays.items()})
