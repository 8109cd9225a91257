"""Features of directed edges times functions of the distances of their pairs.

    y[e, l, c] = x[e, c] sum_m r[p, l, m] w[l, m, c]        for both edges e of each pair p

The factors are never stored, and neither are copies for both directions. From `MANY` numbers on
this and its first two derivatives run as C code (`zoo.functional._library`); below, elsewhere and
without a compiler in torch, with the same results up to rounding. Derivatives beyond the second are
those of elementary operations.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _library
from zoo.functional._pair_source import factors
from zoo.functional.needed import again, needs_gradient, traceable

#: numbers of the result from which on code is compiled
MANY = 2**14
#: numbers of the result that are worth a thread
PER_THREAD = 2**18


def pair_factors(
    x: Float[Tensor, "edges channels"],
    radial: Float[Tensor, "pairs degrees basis"],
    weight: Float[Tensor, "degrees basis channels"],
) -> Float[Tensor, "edges degrees channels"]:
    """Features times sum_m radial[l, m] weight[l, m].

    Args:
        x: of both directions of every pair, the second half the reverse of the first.
        radial: functions of each pair's distance, for each degree l.
        weight: of each of them.
    """
    if _runs(x, radial, weight):
        inputs = (x.contiguous(), radial.contiguous(), traceable(weight.contiguous()))
        out: Tensor = _Factors.apply(*inputs)
        return out
    return plain(x, radial, weight)


def _runs(*tensors: Tensor) -> bool:
    x, radial, weight = tensors
    if not _library.plain(*tensors) or x.numel() * radial.shape[1] < MANY:
        return False
    fit = x.shape == (2 * radial.shape[0], weight.shape[2]) and radial.shape[1:] == weight.shape[:2]
    same = x.dtype in _library.REALS and all(t.dtype == x.dtype for t in tensors)
    return fit and same and _program(x.dtype) is not None


def plain(x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
    """`pair_factors` in elementary operations."""
    factor = torch.einsum("plm,lmc->plc", radial, weight)
    return torch.cat([factor, factor]) * x[:, None]


def _plain_back(g: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> list[Tensor]:
    factor = torch.einsum("plm,lmc->plc", radial, weight)
    sums = (g * x[:, None]).unflatten(0, (2, -1)).sum(0)
    by_x = (torch.cat([factor, factor]) * g).sum(1)
    return [by_x, torch.einsum("plc,lmc->plm", sums, weight)]


class _Factors(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, radial, weight)
        out = x.new_empty((x.shape[0], radial.shape[1], x.shape[1]))
        _call("factors", (x, radial, weight, out), radial, weight, rows=1)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        inputs = ctx.saved_tensors
        wanted = needs_gradient(ctx, 1)
        if not torch.is_grad_enabled():
            return _back(g, inputs, ctx.needs_input_grad[1], wanted)
        if wanted:  # beyond the second derivative
            return again(lambda *t: [plain(*t)], inputs, ctx.needs_input_grad, [g])
        return *_Back.apply(g, *inputs[:2], traceable(inputs[2])), None


class _Back(Function):
    """(the derivative by the result, the inputs) -> those by x and the radial functions."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> Any:
        ctx.save_for_backward(g, x, radial, weight)
        return _back(g, (x, radial, weight), True, False)[:2]

    @staticmethod
    def backward(ctx: Any, by_x: Tensor, by_radial: Tensor) -> Any:
        g, x, radial, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (g, x, radial, weight)
            return again(_plain_back, inputs, ctx.needs_input_grad, [by_x, by_radial])
        given = (by_x.contiguous(), by_radial.contiguous(), g.contiguous(), x, radial, weight)
        found = [torch.empty_like(t) for t in given[2:4]]
        found.append(torch.zeros_like(radial))
        wanted = needs_gradient(ctx, 1)
        by_weight = _call("factors_again", (*given, *found), radial, weight, 4, wanted)
        return *found, by_weight


def _back(
    g: Tensor, inputs: Sequence[Tensor], by_radial: bool, wanted: bool
) -> tuple[Tensor | None, ...]:
    x, radial, weight = inputs
    g, dx = g.contiguous(), torch.empty_like(x)
    dr = torch.zeros_like(radial) if by_radial else None
    by_weight = _call("factors_back", (g, x, radial, weight, dx, dr), radial, weight, 2, wanted)
    return dx, dr, by_weight


def _call(
    name: str,
    arrays: tuple[Tensor | None, ...],
    radial: Tensor,
    weight: Tensor,
    rows: int,
    wanted: bool | None = None,
) -> Tensor | None:
    """Runs a function over all pairs; returns what threads found for the weight, if wanted.

    Args:
        name: of the function.
        arrays: its inputs and results.
        radial: (pairs, degrees, basis).
        weight: (degrees, basis, channels).
        rows: of channels, that the function needs to work in.
        wanted: whether there is a derivative by the weight; None for functions without.
    """
    function = getattr(_program(weight.dtype), name)
    pairs, degrees, basis = radial.shape
    channels = weight.shape[2]
    places = [None if a is None else a.data_ptr() for a in arrays]
    threads = 2 * pairs * degrees * channels // PER_THREAD

    def run(start: int, stop: int, own: Tensor | None = None) -> None:
        space = weight.new_empty(rows * channels)
        more = [] if wanted is None else [None if own is None else own.data_ptr()]
        sizes = (channels, basis, degrees, pairs, start, stop)
        function(*places, *more, space.data_ptr(), *sizes)

    if wanted:
        return _library.sum_in_threads(run, weight, pairs, threads)
    _library.in_threads(run, pairs, threads)
    return None


@functools.cache
def _program(dtype: torch.dtype) -> Any:
    arrays = {"factors": 5, "factors_back": 8, "factors_again": 11}
    return _library.program(factors(dtype), {name: (n, 6) for name, n in arrays.items()})
