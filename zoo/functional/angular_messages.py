"""Angular sums of products of features and radial functions, without storing the products.

    y_i = sum_k sum_l p_ikl x_k sum_m r_klm w_lm

The products x_k sum_m r_klm w_lm are `pair_factors`, their sums `angular_sums`. As one function
they are made atom by atom, in a place that stays in the processor's cache, and so is everything
that derivatives need of them. Derivatives beyond the second are those of elementary operations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _library
from zoo.functional.angular_sums import PER_THREAD, Slots, compiled
from zoo.functional.needed import again, needs_gradient, traceable

#: buffers that each function works in
_BUFFERS = {"factored": 1, "factored_back": 3, "factored_again": 6}


@dataclass(frozen=True)
class _Made:
    slots: Sequence[Slots]
    plain: Callable[..., Tensor]


def angular_messages(
    x: Float[Tensor, "edges channels"],
    radial: Float[Tensor, "pairs degrees basis"],
    weight: Float[Tensor, "degrees basis channels"],
    *parts: tuple[Float[Tensor, "_ _ _ degrees"], Slots],
    plain: Callable[..., Tensor],
) -> Float[Tensor, "edges channels"]:
    """The sums above, where `angular_sums.runs` says that there is code for them.

    Args:
        x: features of edges, the second half the reverse of the first.
        radial: functions r of each pair's distance.
        weight: w.
        parts: coefficients p (atoms, i, k, degrees), and the slots of as many atoms.
        plain: the same of x, radial, the coefficients and weight in elementary operations.
    """
    coefficients, slots = [c.contiguous() for c, _ in parts], [s for _, s in parts]
    inputs = (x.contiguous(), radial.contiguous(), *coefficients, traceable(weight.contiguous()))
    out: Tensor = _Messages.apply(_Made(slots, plain), *inputs)
    return out


class _Messages(Function):
    @staticmethod
    def forward(ctx: Any, made: _Made, *inputs: Tensor) -> Tensor:
        ctx.made = made
        ctx.save_for_backward(*inputs)
        x, radial, *coefficients, weight = inputs
        y = torch.empty_like(x)
        for p, slots in zip(coefficients, made.slots, strict=True):
            _call("factored", (p, x, radial, weight, y), slots, radial, weight)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        inputs = ctx.saved_tensors
        wanted = needs_gradient(ctx, 1)
        if not torch.is_grad_enabled():
            moving = any(ctx.needs_input_grad[2:-1])
            return None, *_back(ctx.made, g, inputs, moving, wanted)
        if wanted:  # beyond the second derivative
            plain = ctx.made.plain
            return None, *again(lambda *t: [plain(*t)], inputs, ctx.needs_input_grad[1:], [g])
        given = (g.contiguous(), *inputs[:-1], traceable(inputs[-1]))
        return None, *_Back.apply(ctx.made, *given), None


class _Back(Function):
    """(the derivative by y, contiguous; the inputs) -> those by all inputs but the weight."""

    @staticmethod
    def forward(ctx: Any, made: _Made, g: Tensor, *inputs: Tensor) -> Any:
        ctx.made = made
        ctx.save_for_backward(g, *inputs)
        return _back(made, g, inputs, True, False)[:-1]

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> Any:
        g, *inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = ctx.made.plain

            def make(g: Tensor, *given: Tensor) -> Sequence[Tensor]:
                needed = [True] * (len(given) - 1) + [False]
                first = again(lambda *t: [plain(*t)], given, needed, [g])
                return cast(Sequence[Tensor], first[:-1])

            return None, *again(make, (g, *inputs), ctx.needs_input_grad[1:], tangents)
        return None, *_again(ctx.made, tangents, g, inputs, needs_gradient(ctx, 1))


def _back(
    made: _Made, g: Tensor, inputs: Sequence[Tensor], moving: bool, wanted: bool
) -> tuple[Tensor | None, ...]:
    """Derivatives by the inputs; by radial functions and coefficients where `moving`."""
    x, radial, *coefficients, weight = inputs
    g, dx = g.contiguous(), torch.empty_like(x)
    dr = radial.new_zeros((x.shape[0], *radial.shape[1:]))
    dp = [torch.empty_like(p) if moving else None for p in coefficients]
    dw = torch.zeros_like(weight) if wanted else None
    for p, by_p, slots in zip(coefficients, dp, made.slots, strict=True):
        arrays = (p, g, x, radial, weight, by_p, dx, dr)
        _call("factored_back", arrays, slots, radial, weight, dw)
    return dx, _pairs(dr), *dp, dw


def _again(
    made: _Made, tangents: Sequence[Tensor], g: Tensor, inputs: Sequence[Tensor], wanted: bool
) -> tuple[Tensor | None, ...]:
    """Derivatives of the way back along tangents of what it returns."""
    x, radial, *coefficients, weight = inputs
    tx, tr, *tp = (t.contiguous() for t in tangents)
    dg, dx = torch.empty_like(g), torch.empty_like(x)
    dr = radial.new_zeros((x.shape[0], *radial.shape[1:]))
    dp = [torch.empty_like(p) for p in coefficients]
    dw = torch.zeros_like(weight) if wanted else None
    for p, t, by_p, slots in zip(coefficients, tp, dp, made.slots, strict=True):
        arrays = (t, tx, tr, p, g, x, radial, weight, dg, by_p, dx, dr)
        _call("factored_again", arrays, slots, radial, weight, dw)
    return dg, dx, _pairs(dr), *dp, dw


def _pairs(by_edge: Tensor) -> Tensor:
    first, second = by_edge.chunk(2)
    return first.add_(second)


def _call(
    name: str,
    arrays: tuple[Tensor | None, ...],
    slots: Slots,
    radial: Tensor,
    weight: Tensor,
    dw: Tensor | None = None,
) -> None:
    """Runs a function around all atoms; what it finds for the weight is added to `dw`."""
    degrees, basis, channels = weight.shape
    atoms, width = slots.reads.shape
    function = getattr(compiled(weight.dtype, degrees), name)
    places = [None if a is None else a.data_ptr() for a in arrays]
    around = [t.data_ptr() for t in (slots.reads, slots.writes, slots.counts)]
    sizes = (width, channels, basis, radial.shape[0])

    def run(start: int, stop: int, own: Tensor | None = None) -> None:
        space = weight.new_empty(_BUFFERS[name] * width * degrees * channels)
        last = [] if name == "factored" else [None if own is None else own.data_ptr()]
        function(*places, *last, *around, space.data_ptr(), *sizes, start, stop)

    threads = atoms * width * degrees * channels // PER_THREAD
    if dw is None:
        _library.in_threads(run, atoms, threads)
    else:
        dw.add_(_library.sum_in_threads(run, dw, atoms, threads))
