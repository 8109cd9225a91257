"""Linear maps of channels, grade by grade: one matrix multiplication for all blades of a grade."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.clifford._algebra import Algebra


def grade_linear(
    x: Float[Tensor, "blades batch inputs"],
    weight: Float[Tensor, "outputs inputs *grades"],
    bias: Float[Tensor, "*_"] | None,
    of: Algebra,
) -> Float[Tensor, "blades batch outputs"]:
    """A matrix for each grade, or one for all, on the channels of multivectors.

    Args:
        x: blade-major.
        weight: with an axis of grades, or without.
        bias: one number per output, added to the scalars.
        of: the algebra.
    """
    matrices = weight.permute(2, 0, 1) if weight.ndim == 3 else weight[None]
    shift = None if bias is None else bias.reshape(-1)
    out: Tensor = _Linear.apply(x, matrices, shift, of)
    return out


class _Linear(torch.autograd.Function):
    """Writes each grade to its place, so that nothing is joined afterwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor, bias: Tensor | None, of: Algebra) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, matrices)
        ctx.algebra = of
        out = x.new_empty((*x.shape[:2], matrices.shape[1]))
        for rows, matrix in zip(rows_of(of, len(matrices)), matrices, strict=True):
            torch.mm(x[rows].flatten(0, 1), matrix.T, out=out[rows].flatten(0, 1))
        if bias is not None:
            out[0] += bias
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, matrices = ctx.saved_tensors
        of = ctx.algebra
        need_x, need_matrices, need_bias, _ = ctx.needs_input_grad
        return (
            _Linear.apply(g, matrices.mT, None, of) if need_x else None,
            _Outer.apply(g, x, len(matrices), of) if need_matrices else None,
            g[0].sum(0) if need_bias else None,
            None,
        )


class _Outer(torch.autograd.Function):
    """The derivative by the matrices: (matrices, outputs, inputs)."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, count: int, of: Algebra) -> Tensor:
        g, x = g.contiguous(), x.contiguous()
        ctx.save_for_backward(g, x)
        ctx.algebra = of
        out = x.new_empty((count, g.shape[2], x.shape[2]))
        for place, rows in zip(out.unbind(), rows_of(of, len(out)), strict=True):
            torch.mm(g[rows].flatten(0, 1).T, x[rows].flatten(0, 1), out=place)
        return out

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        need_g, need_x, _, _ = ctx.needs_input_grad
        return (
            _Linear.apply(x, v, None, ctx.algebra) if need_g else None,
            _Linear.apply(g, v.mT, None, ctx.algebra) if need_x else None,
            None,
            None,
        )


def rows_of(of: Algebra, matrices: int) -> list[slice]:
    """The blades that each of so many matrices is for: all, or those of a grade."""
    if matrices == 1:
        return [slice(0, of.blades)]
    return [of.slice(grade) for grade in range(matrices)]
