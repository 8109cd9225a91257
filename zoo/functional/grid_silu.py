r"""SiLU of signals on the sphere: to a grid, SiLU of each value, and back to coefficients.

    y = B silu(A x),    dx = A^T (silu'(A x) * B^T dy)

with A the values of the harmonics at the points and B the quadrature. The values take far more
memory than the coefficients. On the CPU a few rows at a time are taken through all steps while
their values fit into the cache, and backward computes the values anew, which is faster than to
write and read them.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

#: values that one thread works on at a time; twice as many float32 fill half a megabyte
CHUNK = 2**16


def grid_silu(
    x: Float[Tensor, "rows coefficients channels"],
    there: Float[Tensor, "points coefficients"],
    back: Float[Tensor, "some points"],
) -> Float[Tensor, "rows some channels"]:
    """Coefficients of SiLU of a signal.

    Args:
        x: coefficients.
        there: takes them to values, constant.
        back: takes values to the coefficients that are wanted, constant.
    """
    return _silu(x, there, back)


def _chunks(x: Tensor, points: int) -> int:
    """Rows to take at a time."""
    if x.device.type != "cpu":
        return max(len(x), 1)
    return max(torch.get_num_threads() * CHUNK // max(points * x.shape[2], 1), 1)


class _Silu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor) -> Any:
        ctx.save_for_backward(x, there, back)
        size = _chunks(x, len(there))
        a, b = _batched(there, size), _batched(back, size)
        out = x.new_empty(len(x), len(back), x.shape[2])
        for part, result in zip(x.split(size), out.split(size), strict=True):
            values = torch.bmm(a[: len(part)], part)
            torch.nn.functional.silu(values, inplace=True)
            torch.bmm(b[: len(part)], values, out=result)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, there, back = ctx.saved_tensors
        return _slope(x, grad, there, back), None, None


class _Slope(Function):
    """A^T (silu'(A x) * B^T g)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, there: Tensor, back: Tensor) -> Any:
        ctx.save_for_backward(x, grad, there, back)
        size = _chunks(x, len(there))
        a, b, c = _batched(there, size), _batched(back.T, size), _batched(there.T, size)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        parts = zip(x.split(size), grad.split(size), out.split(size), strict=True)
        for part, above, result in parts:
            count = len(part)
            values = torch.bmm(b[:count], above)
            slopes = torch.ops.aten.silu_backward(values, torch.bmm(a[:count], part))
            torch.bmm(c[:count], slopes, out=result)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, above, there, back = ctx.saved_tensors
        values, turned = there @ x, there @ grad  # (rows, points, channels)
        s = torch.sigmoid(values)
        of_x = of_above = None
        if ctx.needs_input_grad[0]:
            second = s * (1 - s) * (2 + values * (1 - 2 * s))
            of_x = there.T @ (second * (back.T @ above) * turned)
        if ctx.needs_input_grad[1]:
            of_above = back @ (s * (1 + values * (1 - s)) * turned)
        return of_x, of_above, None, None


def _batched(matrix: Tensor, size: int) -> Tensor:
    return matrix.contiguous().expand(size, -1, -1)


_silu: Callable[[Tensor, Tensor, Tensor], Tensor] = _Silu.apply
_slope: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = _Slope.apply
