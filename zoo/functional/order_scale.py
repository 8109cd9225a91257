"""Order-major features times weights of their edge, shared by the orders +m and -m.

Several features, such as those of source and target, may be joined along the channels on the way:
the products are written where they belong. Product, its adjoint by the features, and its
derivative by the weights are each other's derivatives, so backward works at every order.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.errors import ConfigError
from zoo.functional.so2 import OrderSizes

#: below this many numbers in a row, products of whole tensors beat those of each order
SHORT = 256


def scale_orders(
    features: Sequence[Tensor],
    weights: Float[Tensor, "edges radial"],
    sizes: OrderSizes,
) -> Float[Tensor, "edges kept channels"]:
    """Features joined along their channels, times the weights.

    Args:
        features: order-major; their channels add up to `sizes.inputs`.
        weights: per edge, for m = 0, 1, ..., degree by degree, the channels of each.
        sizes: of the joined features.

    Raises:
        ConfigError: another number of weights.
    """
    count = sum(sizes.degrees(m) for m in range(sizes.mmax + 1))
    if weights.shape[1] != count * sizes.inputs:
        raise ConfigError(
            f"{weights.shape[1]} weights per edge, expected {count * sizes.inputs}: "
            f"{count} degrees of orders m >= 0 times {sizes.inputs} channels"
        )
    return _scale(sizes, weights.reshape(len(weights), count, sizes.inputs), *features)


def _slices(sizes: OrderSizes, features: Sequence[Tensor]) -> Iterator[slice]:
    start = 0
    for x in features:
        yield slice(start, start + x.shape[2])
        start += x.shape[2]


def _by_order(x: Tensor, sizes: OrderSizes) -> list[Tensor]:
    """Views (edges, signs, degrees, channels) of each order of features."""
    counts = [(1 if m == 0 else 2, sizes.degrees(m)) for m in range(sizes.mmax + 1)]
    parts = x.split([signs * count for signs, count in counts], dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, counts, strict=True)]


def _by_weight(weights: Tensor, sizes: OrderSizes) -> list[Tensor]:
    """Views (edges, 1, degrees, channels) of each order of weights."""
    counts = [sizes.degrees(m) for m in range(sizes.mmax + 1)]
    return [part[:, None] for part in weights.split(counts, dim=1)]


@functools.cache
def _weight_rows(lmax: int, mmax: int) -> Tensor:
    """The row of weights that each row of features takes."""
    sizes = OrderSizes(lmax, mmax, 1, 1)
    rows, start = [], 0
    for m in range(mmax + 1):
        own = list(range(start, start + sizes.degrees(m)))
        rows += own if m == 0 else own + own
        start += sizes.degrees(m)
    return torch.tensor(rows)


def _multiply(x: Tensor, weights: Tensor, out: Tensor, sizes: OrderSizes) -> None:
    if sizes.degrees(0) * x.shape[2] < SHORT:
        rows = _weight_rows(sizes.lmax, sizes.mmax).to(x.device)
        torch.mul(x, weights.index_select(1, rows), out=out)
        return
    views = (_by_order(x, sizes), _by_weight(weights, sizes), _by_order(out, sizes))
    for part, weight, place in zip(*views, strict=True):
        torch.mul(part, weight, out=place)


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, sizes: OrderSizes, weights: Tensor, *features: Tensor) -> Any:
        ctx.sizes = sizes
        ctx.save_for_backward(weights, *features)
        out = weights.new_empty(len(weights), sizes.kept, sizes.inputs)
        for x, part in zip(features, _slices(sizes, features), strict=True):
            _multiply(x, weights[:, :, part], out[:, :, part], sizes)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weights, *features = ctx.saved_tensors
        of_weights = None
        of_features: tuple[Tensor | None, ...] = (None,) * len(features)
        if ctx.needs_input_grad[1]:
            of_weights = _match(ctx.sizes, grad, *features)
        if any(ctx.needs_input_grad[2:]):
            of_features = _part(ctx.sizes, grad, weights, *(x.shape[2] for x in features))
        return None, of_weights, *of_features


class _Part(Function):
    """The features of a gradient, times the weights."""

    @staticmethod
    def forward(ctx: Any, sizes: OrderSizes, grad: Tensor, weights: Tensor, *widths: int) -> Any:
        ctx.sizes = sizes
        ctx.save_for_backward(grad, weights)
        features = tuple(grad.new_empty(*grad.shape[:2], width) for width in widths)
        for x, part in zip(features, _slices(sizes, features), strict=True):
            _multiply(grad[:, :, part], weights[:, :, part], x, sizes)
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad, weights = ctx.saved_tensors
        of_grad = _scale(ctx.sizes, weights, *grads) if ctx.needs_input_grad[1] else None
        of_weights = _match(ctx.sizes, grad, *grads) if ctx.needs_input_grad[2] else None
        return None, of_grad, of_weights, *(None for _ in grads)


class _Match(Function):
    """Products of a gradient with the features, +m and -m added."""

    @staticmethod
    def forward(ctx: Any, sizes: OrderSizes, grad: Tensor, *features: Tensor) -> Any:
        ctx.sizes = sizes
        ctx.save_for_backward(grad, *features)
        count = sum(sizes.degrees(m) for m in range(sizes.mmax + 1))
        out = grad.new_empty(len(grad), count, sizes.inputs)
        for x, part in zip(features, _slices(sizes, features), strict=True):
            rows = _by_order(x, sizes), _by_order(grad[:, :, part], sizes)
            for mine, other, place in zip(*rows, _by_weight(out[:, :, part], sizes), strict=True):
                torch.mul(mine[:, :1], other[:, :1], out=place)
                if mine.shape[1] == 2:
                    place.addcmul_(mine[:, 1:], other[:, 1:])
        return out

    @staticmethod
    def backward(ctx: Any, grad_weights: Tensor) -> Any:
        grad, *features = ctx.saved_tensors
        of_grad = None
        of_features: tuple[Tensor | None, ...] = (None,) * len(features)
        if ctx.needs_input_grad[1]:
            of_grad = _scale(ctx.sizes, grad_weights, *features)
        if any(ctx.needs_input_grad[2:]):
            widths = (x.shape[2] for x in features)
            of_features = _part(ctx.sizes, grad, grad_weights, *widths)
        return None, of_grad, *of_features


_scale: Callable[..., Tensor] = _Scale.apply
_part: Callable[..., tuple[Tensor, ...]] = _Part.apply
_match: Callable[..., Tensor] = _Match.apply
