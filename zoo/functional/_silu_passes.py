"""SiLU, its slope and its curvature, each in one pass over memory; no graph is recorded.

From `MANY` numbers on they run as C code, compiled when first needed (`zoo.functional._library`);
below, elsewhere and without a compiler in torch, with the same results up to rounding.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from zoo.functional import _library
from zoo.functional._silu_source import program

#: numbers from which on code is compiled
MANY = 2**14
#: numbers that are worth a thread
PER_THREAD = 2**18


def value(x: Tensor, base: Tensor | None = None) -> Tensor:
    """silu(x), added to `base` if there is one."""
    call = _program(x, base)
    if call is None:
        found = torch.nn.functional.silu(x)
        return found if base is None else found.add_(base)
    out = torch.empty_like(x)
    if base is None:
        _run(call.value, x, out)
    else:
        _run(call.value_added, x, base, out)
    return out


def slope(g: Tensor, x: Tensor, more: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """g silu'(x), with `more` added if there is any; written to `out`, which may be `g`."""
    call = _program(x, g, more, out)
    if call is None:
        found: Tensor = torch.ops.aten.silu_backward(g, x)
        return found if more is None else found.add_(more)
    out = torch.empty_like(x) if out is None else out
    if more is None:
        _run(call.slope, g, x, out)
    else:
        _run(call.slope_added, g, x, more, out)
    return out


def both(t: Tensor, g: Tensor, x: Tensor, *, spent: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """t silu'(x), g silu'(x) and t g silu''(x); `spent`: the first may be written over t."""
    call = _program(x, t, g)
    if call is None:
        s = torch.sigmoid(x)
        inner = torch.addcmul(x, x, s, value=-2).add_(2)  # 2 + x (1 - 2 s)
        curved = torch.addcmul(s, s, s, value=-1).mul_(inner).mul_(g).mul_(t)
        along, back = (torch.ops.aten.silu_backward(v, x) for v in (t, g))
        return along, back, curved
    along = t if spent else torch.empty_like(x)
    curved, back = torch.empty_like(x), torch.empty_like(x)
    _run(call.both, t, g, x, along, back, curved)
    return along, back, curved


def _run(function: Any, *arrays: Tensor) -> None:
    places = [x.data_ptr() for x in arrays]
    size = arrays[0].numel()
    _library.in_threads(lambda *part: function(*places, *part), size, size // PER_THREAD)


def _program(x: Tensor, *others: Tensor | None) -> Any:
    """The compiled passes; None where torch's have to do."""
    if not _library.plain(x, *others) or x.numel() < MANY or x.dtype not in _library.REALS:
        return None
    for y in (x, *others):
        if y is not None and not (y.is_contiguous() and y.dtype == x.dtype and y.shape == x.shape):
            return None
    return _compiled(x.dtype)


@functools.cache
def _compiled(dtype: torch.dtype) -> Any:
    arrays = {"value": 2, "value_added": 3, "slope": 3, "slope_added": 4, "both": 6}
    return _library.program(program(dtype), {name: (n, 2) for name, n in arrays.items()})
