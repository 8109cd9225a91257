r"""SiLU of signals on the sphere: to a grid, SiLU of each value, and back to coefficients.

    y = B silu(A x),    dx = A^T (silu'(A x) * B^T dy)

with A the values of the harmonics at the points and B the quadrature. The values take far more
memory than the coefficients. On the CPU a few rows at a time are taken through all steps while
their values fit into the cache, and backward computes the values anew, which is faster than to
write and read them. On a product grid, A and B may come in two factors, over polar angles and
azimuths, which together have fewer entries where the orders are few.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

#: values that one thread works on at a time; twice as many float32 fill half a megabyte
CHUNK = 2**16


def grid_silu(
    x: Float[Tensor, "rows coefficients channels"],
    there: Tensor | tuple[Tensor, ...],
    back: Tensor | tuple[Tensor, ...],
) -> Float[Tensor, "rows some channels"]:
    """Coefficients of SiLU of a signal.

    Args:
        x: coefficients.
        there: takes them to values (points, coefficients), constant; or the matrices that do so
            one after the other, as `through` has them.
        back: takes values to the coefficients that are wanted (some, points), constant; or several.
    """
    there = (there,) if isinstance(there, Tensor) else there
    back = (back,) if isinstance(back, Tensor) else back
    return _silu(x, len(there), *there, *back)


def through(matrices: Sequence[Tensor], x: Tensor, out: Tensor | None = None) -> Tensor:
    """Every row times one matrix after the other.

    Before each product, the entries of a row are arranged as (columns of the matrix, rest): a
    second matrix may so act on the leading one of the axes that the first one made.

    Args:
        matrices: the first to act first.
        x: (rows, ...).
        out: where to write the last product.

    Returns:
        (rows, height of the last matrix, rest).
    """
    for number, matrix in enumerate(matrices, start=1):
        height, columns = matrix.shape
        x = x.reshape(len(x), columns, x.shape[1:].numel() // columns)
        matrix = matrix.expand(len(x), height, columns)
        if out is not None and number == len(matrices):
            return torch.bmm(matrix, x, out=out)
        x = torch.bmm(matrix, x)
    return x


def _transposed(matrices: Sequence[Tensor]) -> list[Tensor]:
    return [matrix.T.contiguous() for matrix in reversed(matrices)]


def _chunks(x: Tensor, there: Sequence[Tensor]) -> int:
    """Rows to take at a time."""
    if x.device.type != "cpu":
        return max(len(x), 1)
    points = math.prod(len(m) for m in there) // math.prod(m.shape[1] for m in there[1:])
    return max(torch.get_num_threads() * CHUNK // max(points * x.shape[2], 1), 1)


class _Silu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, *matrices: Tensor) -> Any:
        ctx.count = count
        ctx.save_for_backward(x, *matrices)
        there, back = matrices[:count], matrices[count:]
        size = _chunks(x, there)
        out = x.new_empty(len(x), len(back[-1]), x.shape[2])
        for part, result in zip(x.split(size), out.split(size), strict=True):
            values = through(there, part)
            torch.nn.functional.silu(values, inplace=True)
            through(back, values, result)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, *matrices = ctx.saved_tensors
        return _slope(x, grad, ctx.count, *matrices), None, *(None for _ in matrices)


class _Slope(Function):
    """A^T (silu'(A x) * B^T g)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, count: int, *matrices: Tensor) -> Any:
        ctx.count = count
        ctx.save_for_backward(x, grad, *matrices)
        there, back = matrices[:count], matrices[count:]
        down, up = _transposed(there), _transposed(back)
        size = _chunks(x, there)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        parts = zip(x.split(size), grad.split(size), out.split(size), strict=True)
        for part, above, result in parts:
            slopes = torch.ops.aten.silu_backward(through(up, above), through(there, part))
            through(down, slopes, result)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, above, *matrices = ctx.saved_tensors
        there, back = matrices[: ctx.count], matrices[ctx.count :]
        values, turned = through(there, x), through(there, grad)
        s = torch.sigmoid(values)
        of_x = of_above = None
        if ctx.needs_input_grad[0]:
            second = s * (1 - s) * (2 + values * (1 - 2 * s))
            of_x = through(_transposed(there), second * through(_transposed(back), above) * turned)
        if ctx.needs_input_grad[1]:
            of_above = through(back, s * (1 + values * (1 - s)) * turned)
        return of_x, of_above, None, *(None for _ in matrices)


_silu: Callable[..., Tensor] = _Silu.apply
_slope: Callable[..., Tensor] = _Slope.apply
