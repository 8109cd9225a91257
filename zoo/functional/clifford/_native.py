"""Weighted products, norms and gates as C code, written for one algebra and compiled on the spot.

A compiler takes a second for Cl(3, 0), some seconds for Cl(5, 0), and the result is kept; see
`zoo.functional._library`. Multivectors are read and written in place in both layouts, one block per
blade and blades last. Parameters of channels are spread over a period: so many channels, of several
samples where need be, as fill whole registers.
"""

import ctypes
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.functional import _library
from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._gate_source import gates
from zoo.functional.clifford._kernels import multiply_weighted
from zoo.functional.clifford._source import REALS
from zoo.functional.clifford._source import product as product_source
from zoo.functional.needed import again

#: of algebras that code is written for: more would be compiled for minutes
MOST_BLADES = 32
#: numbers of one multivector array that are worth a thread
PER_THREAD = 2**18

Kind = Literal["norm", "silu", "level"]
#: takes blade-major multivectors, then parameters
Plain = Callable[..., Tensor]


def runs(x: Tensor, of: Algebra) -> bool:
    """Whether there is compiled code for these multivectors, which is made at the first call."""
    return (
        _library.plain(x)
        and x.dtype in REALS
        and of.blades <= MOST_BLADES
        and _products(of, x.dtype) is not None
    )


def product(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """What `clifford.weighted_product` returns.

    Args:
        x: (batch, channels, blades), in any layout.
        y: likewise.
        weight: (channels, paths).
        of: the algebra.
    """
    out: Tensor = _Product.apply(x, y, weight, of)
    return out


@dataclass(frozen=True, eq=False)
class Made:
    """A norm or gate of multivectors.

    Attributes:
        kind: which function of `_gates`.
        plain: the same, differentiable any number of times.
        of: the algebra.
        groups: the group of each blade.
        least: of what is divided by.
    """

    kind: Kind
    plain: Plain
    of: Algebra
    groups: tuple[int, ...]
    least: float


def gate(made: Made, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """What a function of `_gates` returns.

    Args:
        made: which one.
        x: (batch, channels, blades), in any layout.
        parameters: (groups, channels) each, or (1, channels).
    """
    out: Tensor = _Gate.apply(made, x, *parameters)
    return out


class _Product(torch.autograd.Function):
    """The compiled product with its compiled derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.algebra = of
        x = _ready(x)
        return multiply(x, y, weight, of, torch.empty_like(x), add=False)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight = ctx.saved_tensors
        of, needed = ctx.algebra, ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a second derivative is wanted

            def make(x: Tensor, y: Tensor, weight: Tensor) -> list[Tensor]:
                a, b = (t.movedim(-1, 0).contiguous() for t in (x, y))
                return [multiply_weighted(a, b, weight.T, of).movedim(0, -1)]

            return *again(make, (x, y, weight), needed, [g]), None
        return *multiply_back(g, x, y, weight, of), None


class _Gate(torch.autograd.Function):
    """A compiled norm or gate with its compiled derivative."""

    @staticmethod
    def forward(ctx: Any, made: Made, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.made = made
        ctx.save_for_backward(x, *parameters)
        return scale(made, x, parameters)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted

            def make(x: Tensor, *parameters: Tensor) -> list[Tensor]:
                return [ctx.made.plain(x.movedim(-1, 0).contiguous(), *parameters).movedim(0, -1)]

            return None, *again(make, (x, *parameters), ctx.needs_input_grad[1:], [g])
        return None, *scale_back(ctx.made, g, x, parameters)


def multiply(
    x: Tensor, y: Tensor, weight: Tensor, of: Algebra, out: Tensor, *, add: bool
) -> Tensor:
    """The product, written to `out` or added to it."""
    call = _products(of, x.dtype)
    x, y = _ready(x), _ready(y)
    spread = _spread(weight.T, call.lanes())
    arrays = (*_place(x), *_place(y), spread.data_ptr(), *_place(out), add)
    _in_threads(lambda *part: call.forward(*arrays, *part), x, spread.shape[1])
    return out


def multiply_back(
    g: Tensor, x: Tensor, y: Tensor, weight: Tensor, of: Algebra
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives of the product, for the derivative `g` by it."""
    call = _products(of, x.dtype)
    g, x, y = _ready(g), _ready(x), _ready(y)
    dx, dy = torch.empty_like(x), torch.empty_like(y)
    spread = _spread(weight.T, call.lanes())
    arrays = (*_place(g), *_place(x), *_place(y), spread.data_ptr(), *_place(dx), *_place(dy))
    sums: dict[int, Tensor] = {}

    def run(start: int, stop: int, period: int) -> None:
        own = spread.new_zeros((2, *spread.shape))
        sums[start] = own[0]
        call.backward(*arrays, own[0].data_ptr(), own[1].data_ptr(), start, stop, period)

    _in_threads(run, x, spread.shape[1])
    return dx, dy, _gathered(sums, spread, weight.T).T


def scale(made: Made, x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """What a norm or gate makes of multivectors."""
    call = _gates(made.of, x.dtype, made.groups)
    x = _ready(x)
    out = torch.empty_like(x)
    spread = _spread(torch.cat(list(parameters)), call.lanes())
    arrays = (*_place(x), spread.data_ptr(), *_place(out))

    def run(start: int, stop: int, period: int) -> None:
        space, tail = spread.new_empty(3 * period), (x.shape[1], made.least)
        getattr(call, made.kind)(*arrays, space.data_ptr(), start, stop, period, *tail)

    _in_threads(run, x, spread.shape[1])
    return out


def scale_back(
    made: Made, g: Tensor, x: Tensor, parameters: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The derivatives of a norm or gate by multivectors and parameters."""
    call = _gates(made.of, x.dtype, made.groups)
    g, x = _ready(g), _ready(x)
    dx, joint = torch.empty_like(x), torch.cat(list(parameters))
    spread = _spread(joint, call.lanes())
    arrays = (*_place(g), *_place(x), spread.data_ptr(), *_place(dx))
    sums: dict[int, Tensor] = {}

    def run(start: int, stop: int, period: int) -> None:
        own, space = spread.new_zeros((2, *spread.shape)), spread.new_empty(3 * period)
        sums[start] = own[0]
        places = (own[0].data_ptr(), own[1].data_ptr(), space.data_ptr())
        tail = (start, stop, period, x.shape[1], made.least)
        getattr(call, f"{made.kind}_backward")(*arrays, *places, *tail)

    _in_threads(run, x, spread.shape[1])
    found = _gathered(sums, spread, joint)
    return dx, *found.split([len(p) for p in parameters])


def _spread(parameters: Tensor, lanes: int) -> Tensor:
    """(rows, channels) as (rows, period)."""
    return parameters.detach().repeat(1, lanes // math.gcd(lanes, parameters.shape[1]))


def _gathered(sums: Mapping[int, Tensor], spread: Tensor, like: Tensor) -> Tensor:
    """What threads found for the spread parameters, for the parameters (rows, channels).

    Added up by where they began, not by which came first, so that rounding does not vary.
    """
    found = [sums[start] for start in sorted(sums)]
    total = torch.stack([torch.zeros_like(spread), *found]).sum(0)
    return total.reshape(len(like), -1, like.shape[1]).sum(1)


def _ready(x: Tensor) -> Tensor:
    """In one of the two layouts."""
    return x if x.is_contiguous() or x.movedim(-1, 0).is_contiguous() else x.contiguous()


def _place(x: Tensor) -> tuple[int, int]:
    """Address, and steps from blade to blade: 1 where blades are last."""
    return x.data_ptr(), 1 if x.is_contiguous() else x.numel() // x.shape[-1]


def _in_threads(run: Callable[[int, int, int], None], x: Tensor, period: int) -> None:
    """`run(start, stop, period)` over all multivectors, in as many threads as torch has."""
    size = x.shape[0] * x.shape[1]
    if not size:
        return
    parts = x.numel() // PER_THREAD
    _library.in_threads(lambda start, stop: run(start, stop, period), size, parts, period)


_POINTER, _LONG = ctypes.c_void_p, ctypes.c_long
_ARRAY: tuple[Any, ...] = (_POINTER, _LONG)
_RANGE: tuple[Any, ...] = (_LONG,) * 3


@functools.cache
def _products(of: Algebra, dtype: torch.dtype) -> Any:
    """The compiled products, if they can be made."""
    library = _library.load(product_source(of, dtype))
    if library is not None:
        library.forward.argtypes = [*_ARRAY * 2, _POINTER, *_ARRAY, _LONG, *_RANGE]
        library.backward.argtypes = [
            *(*_ARRAY * 3, _POINTER, *_ARRAY * 2),
            *(_POINTER, _POINTER, *_RANGE),
        ]
    return library


@functools.cache
def _gates(of: Algebra, dtype: torch.dtype, groups: tuple[int, ...]) -> Any:
    """The compiled norms and gates."""
    library = _library.load(gates(of, dtype, groups))
    assert library is not None, "runs() is asked first"
    real = ctypes.c_float if dtype == torch.float32 else ctypes.c_double
    for kind in ("norm", "silu", "level"):
        forward, backward = getattr(library, kind), getattr(library, f"{kind}_backward")
        forward.argtypes = [*_ARRAY, _POINTER, *_ARRAY, _POINTER, *_RANGE, _LONG, real]
        backward.argtypes = [
            *(*_ARRAY * 2, _POINTER, *_ARRAY),
            *(_POINTER, _POINTER, _POINTER, *_RANGE, _LONG, real),
        ]
    return library
