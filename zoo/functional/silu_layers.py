"""Layers silu(W x + b), one after the other, differentiated twice without waste.

Where forces are the derivative of an energy and a loss is differentiated through them, each layer
needs six matrix products: two for the value and the slope, the tangent, a second way back, and two
for the gradient of the weight. Here everything else is as little as it can be. With z = W x + b,

    way back         gx = W^T (g silu'(z))
    its derivative   along t: silu'(z) W t by g;  (W t) g silu''(z) by z;  (g silu'(z)) t^T by W

z is kept, an output to autograd, so that what comes to it from the second derivative joins the way
back before the product with W; activations are computed again; each of the three lines is one pass
over memory beside its product. Derivatives beyond the second are those of elementary operations.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _silu_passes as passes
from zoo.functional.needed import again, needs_gradient, traceable


def silu_layers(
    x: Float[Tensor, "rows inputs"],
    *layers: tuple[Float[Tensor, "_ _"], Float[Tensor, " _"] | None],
    skip: bool = False,
) -> Float[Tensor, "rows outputs"]:
    """s(W_n ... s(W_1 x + b_1) ... + b_n) with s = SiLU, differentiable any number of times.

    Args:
        x: one row for each sample.
        layers: weight (outputs, inputs) and bias, or None, of each.
        skip: adds x to the result, which needs as many outputs as inputs.
    """
    weights, biases = [w for w, _ in layers], [b for _, b in layers]
    recorded = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    kind = x.device.type
    cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if recorded or cast:
        return _plain(x, weights, biases, skip)[0]
    parameters = [traceable(p) for p in (*weights, *biases) if p is not None]
    biased = [b is not None for b in biases]
    out: tuple[Tensor, ...] = _Layers.apply(biased, skip, x, *parameters)
    return out[0]


def _plain(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], skip: bool
) -> tuple[Tensor, ...]:
    """The same in elementary operations; also what stands before each activation."""
    h, before = x, []
    for weight, bias in zip(weights, biases, strict=True):
        before.append(torch.nn.functional.linear(h, weight, bias))
        h = torch.nn.functional.silu(before[-1])
    return x + h if skip else h, *before


def _plain_back(
    g: Tensor, before: Sequence[Tensor], weights: Sequence[Tensor], skip: bool
) -> Tensor:
    h = g
    for z, weight in zip(reversed(before), reversed(weights), strict=True):
        s = torch.sigmoid(z)
        h = (h * (s * (1 + z * (1 - s)))) @ weight
    return g + h if skip else h


class _Layers(Function):
    """(x, weights and biases) -> the result, and what stands before each activation."""

    @staticmethod
    def forward(ctx: Any, biased: list[bool], skip: bool, x: Tensor, *parameters: Tensor) -> Any:
        ctx.biased, ctx.skip = biased, skip
        weights, biases = _split(parameters, biased)
        h, before = x, []
        for weight, bias in zip(weights, biases, strict=True):
            z = h @ weight.T if bias is None else torch.addmm(bias, h, weight.T)
            before.append(z)
            last = len(before) == len(weights)
            h = passes.value(z, x if skip and last else None)
        ctx.save_for_backward(x, *before, *parameters)
        ctx.set_materialize_grads(False)
        return h, *before

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *more: Tensor | None) -> Any:
        x, *saved = ctx.saved_tensors
        before, parameters = saved[: len(ctx.biased)], saved[len(ctx.biased) :]
        weights, biases = _split(parameters, ctx.biased)
        wanted = needs_gradient(ctx, len(parameters))
        if g is None:
            g = torch.zeros_like(before[-1])
        by_x: Tensor | None
        found: Sequence[Tensor | None]
        if not torch.is_grad_enabled():
            by_x, found = _back(ctx, g, more, (x, *before), weights, wanted)
        elif wanted or any(m is not None for m in more):  # beyond the second derivative
            by_x, *found = _again(ctx, (g, *more), x, parameters)
        else:
            by_x, found = _Back.apply(ctx.skip, g, *before, *(traceable(w) for w in weights)), []
        return None, None, by_x, *(found or [None] * len(parameters))


class _Back(Function):
    """(the derivative by the result, what stands before activations, weights) -> that by x."""

    @staticmethod
    def forward(ctx: Any, skip: bool, g: Tensor, *saved: Tensor) -> Tensor:
        ctx.skip = skip
        before, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        h, above = g, []  # the derivative by each activation
        for z, weight in zip(reversed(before), reversed(weights), strict=True):
            above.append(h)
            first = len(above) == len(weights)
            h = _product(passes.slope(h, z), weight, g if skip and first else None)
        ctx.save_for_backward(*above[::-1], *saved)
        return h

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> Any:
        count = len(ctx.saved_tensors) // 3
        above, before, weights = (ctx.saved_tensors[i * count : (i + 1) * count] for i in range(3))
        if torch.is_grad_enabled():
            inputs, skip = (above[-1], *before, *weights), ctx.skip

            def make(g: Tensor, *saved: Tensor) -> list[Tensor]:
                return [_plain_back(g, saved[:count], saved[count:], skip)]

            return None, *again(make, inputs, ctx.needs_input_grad[1:], [t])
        wanted = needs_gradient(ctx, count)
        along, curves, found = t, [], []
        for g, z, weight in zip(above, before, weights, strict=True):
            tangent = along @ weight.T
            out, back, curved = passes.both(tangent, g, z, spent=True)
            curves.append(curved)
            found.append(back.T @ along if wanted else None)
            along = out
        return None, along.add_(t) if ctx.skip else along, *curves, *found


def _back(
    ctx: Any,
    g: Tensor,
    more: Sequence[Tensor | None],
    kept: Sequence[Tensor],
    weights: Sequence[Tensor],
    wanted: bool,
) -> tuple[Tensor, list[Tensor]]:
    """The way back, with what comes to `before` from elsewhere; no graph is recorded."""
    x, *before = kept
    by_weights, by_biases = [], []
    h = g
    for i in reversed(range(len(weights))):
        h = passes.slope(h, before[i], more[i], None if h is g else h)
        if wanted:
            by_weights.append(h.T @ (passes.value(before[i - 1]) if i else x))
            by_biases += [h.sum(0)] if ctx.biased[i] else []
        h = _product(h, weights[i], g if ctx.skip and i == 0 else None)
    return h, [*by_weights[::-1], *by_biases[::-1]]


def _again(
    ctx: Any, grads: Sequence[Tensor | None], x: Tensor, parameters: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The way back in elementary operations."""
    given = [i for i, g in enumerate(grads) if g is not None]
    biased, skip = ctx.biased, ctx.skip

    def make(x: Tensor, *parameters: Tensor) -> list[Tensor]:
        out = _plain(x, *_split(parameters, biased), skip)
        return [out[i] for i in given]

    needed = ctx.needs_input_grad[2:]
    return again(make, (x, *parameters), needed, [g for g in grads if g is not None])


def _product(g: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
    return g @ weight if added is None else torch.addmm(added, g, weight)


def _split(
    parameters: Sequence[Tensor], biased: Sequence[bool]
) -> tuple[Sequence[Tensor], list[Tensor | None]]:
    """Weights, and biases or None."""
    biases = iter(parameters[len(biased) :])
    return parameters[: len(biased)], [next(biases) if b else None for b in biased]
