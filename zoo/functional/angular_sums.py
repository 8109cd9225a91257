"""Sums over neighbours of neighbours with small matrices of angles, as C code.

Around each atom lie edges in slots. With a coefficient p_ikl for each two of them and each degree,

    y_i = sum_k sum_l p_ikl v_kl

where values v are read in the slot's edge and results y written to an edge of the slot's own. This
is a product of small matrices for each atom: no list of triplets, no padding is read, and nothing
is gathered. The derivatives are two functions of the same kind, and derivatives of derivatives the
same three again. `zoo.layers.atomistic.Triplets` says where slots are, and has the same in torch.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _library
from zoo.functional._angular_source import program
from zoo.functional.needed import again

#: numbers of the values from which on code is compiled
MANY = 2**14
#: numbers of the values that are worth a thread
PER_THREAD = 2**18
#: of coefficients that code is written for
MOST_DEGREES = 16


@dataclass(frozen=True)
class Slots:
    """Slots around atoms that have equally many; the filled ones come first.

    Attributes:
        reads: (atoms, width), the row of v of each slot, int64.
        writes: (atoms, width), the row of y.
        counts: (atoms,), how many are filled.
    """

    reads: Tensor
    writes: Tensor
    counts: Tensor


def runs(values: Tensor, coefficients: Sequence[Tensor], *others: Tensor) -> bool:
    """Whether there is compiled code for sums of these, and enough of them."""
    dtype, degrees = values.dtype, coefficients[0].shape[-1]
    return (
        _library.plain(values, *coefficients, *others)
        and _fit(values, degrees, *others)
        and values.shape[0] * values.shape[-1] * degrees >= MANY
        and degrees <= MOST_DEGREES
        and dtype in _library.REALS
        and all(t.dtype == dtype for t in (*coefficients, *others))
        and compiled(dtype, degrees) is not None
    )


def _fit(values: Tensor, degrees: int, *others: Tensor) -> bool:
    """Whether sizes agree: C code would read beyond an end where torch raises an error."""
    if not others:
        return values.ndim == 3 and values.shape[1] == degrees
    radial, weight = others
    rows, sizes = (2 * radial.shape[0], weight.shape[2]), (degrees, radial.shape[2])
    return values.shape == rows and radial.shape[1:] == weight.shape[:2] == sizes


def angular_sums(
    values: Float[Tensor, "edges degrees channels"],
    *parts: tuple[Float[Tensor, "_ _ _ degrees"], Slots],
    plain: Callable[..., Tensor],
) -> Float[Tensor, "edges channels"]:
    """The sums above, for edges each of which is read in one slot and written in one.

    Args:
        values: v.
        parts: coefficients (atoms, i, k, degrees), and the slots of as many atoms.
        plain: the same of values and coefficients in elementary operations, for derivatives beyond
            the second.
    """
    kept, slots = [c.contiguous() for c, _ in parts], [s for _, s in parts]
    out: Tensor = _Sums.apply(slots, plain, values.contiguous(), *kept)
    return out


class _Sums(Function):
    @staticmethod
    def forward(
        ctx: Any, slots: Sequence[Slots], plain: Any, v: Tensor, *coefficients: Tensor
    ) -> Tensor:
        ctx.slots, ctx.plain = slots, plain
        ctx.save_for_backward(v, *coefficients)
        y = v.new_empty((v.shape[0], v.shape[2]))
        _sum(coefficients, v, y, slots, add=False)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        v, *coefficients = ctx.saved_tensors
        moving = any(ctx.needs_input_grad[3:])
        g = g.contiguous()
        if torch.is_grad_enabled():
            found = _Back.apply(ctx.slots, ctx.plain, g, v, *coefficients)
            return None, None, *found
        dots = _dots(g, v, coefficients, ctx.slots) if moving else [None] * len(coefficients)
        return None, None, _project(coefficients, g, v, ctx.slots), *dots


class _Back(Function):
    """(the derivative by y, v, the coefficients) -> those by v and the coefficients."""

    @staticmethod
    def forward(
        ctx: Any, slots: Sequence[Slots], plain: Any, g: Tensor, v: Tensor, *coefficients: Tensor
    ) -> Any:
        ctx.slots, ctx.plain = slots, plain
        ctx.save_for_backward(g, v, *coefficients)
        return _project(coefficients, g, v, slots), *_dots(g, v, coefficients, slots)

    @staticmethod
    def backward(ctx: Any, tv: Tensor, *tc: Tensor) -> Any:
        g, v, *coefficients = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain, needed = ctx.plain, ctx.needs_input_grad[2:]

            def make(g: Tensor, *inputs: Tensor) -> Sequence[Tensor]:
                first = again(lambda *t: [plain(*t)], inputs, [True] * len(inputs), [g])
                return cast(Sequence[Tensor], first)

            return None, None, *again(make, (g, v, *coefficients), needed, (tv, *tc))
        tv, along = tv.contiguous(), [t.contiguous() for t in tc]
        by_g = torch.empty_like(g)
        _sum(coefficients, tv, by_g, ctx.slots, add=False)
        _sum(along, v, by_g, ctx.slots, add=True)
        by_v = _project(along, g, v, ctx.slots)
        return None, None, by_g, by_v, *_dots(g, tv, coefficients, ctx.slots)


def _sum(
    coefficients: Sequence[Tensor], v: Tensor, y: Tensor, slots: Sequence[Slots], *, add: bool
) -> None:
    for p, s in zip(coefficients, slots, strict=True):
        _call("values", (p, v, y), s, v, int(add))


def _project(
    coefficients: Sequence[Tensor], g: Tensor, like: Tensor, slots: Sequence[Slots]
) -> Tensor:
    v = torch.empty_like(like)
    for p, s in zip(coefficients, slots, strict=True):
        _call("values_back", (p, g, v), s, v)
    return v


def _dots(
    g: Tensor, v: Tensor, coefficients: Sequence[Tensor], slots: Sequence[Slots]
) -> list[Tensor]:
    found = [torch.empty_like(c) for c in coefficients]
    for p, s in zip(found, slots, strict=True):
        _call("values_dots", (g, v, p), s, v)
    return found


def _call(name: str, arrays: tuple[Tensor, ...], slots: Slots, v: Tensor, *flags: int) -> None:
    degrees, channels = v.shape[1:]
    function = getattr(compiled(v.dtype, degrees), name)
    atoms, width = slots.reads.shape
    places = [a.data_ptr() for a in (*arrays, slots.reads, slots.writes, slots.counts)]
    work = atoms * width * degrees * channels
    _library.in_threads(
        lambda *part: function(*places, width, channels, *flags, *part), atoms, work // PER_THREAD
    )


@functools.cache
def compiled(dtype: torch.dtype, degrees: int) -> Any:
    """The program for so many degrees; None where it can't be made."""
    takes = {"values": (6, 5), "values_back": (6, 4), "values_dots": (6, 4)}
    takes |= {"factored": (9, 6), "factored_back": (13, 6), "factored_again": (17, 6)}
    return _library.program(program(dtype, degrees), takes)
