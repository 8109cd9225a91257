"""The steerable geometric product whole: linear maps, norm and product as one function.

Its parts one by one would write a sum and two derivatives of the input more than this does.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.clifford import _native
from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._functions import channels_first
from zoo.functional.clifford._gates import norm_of
from zoo.functional.clifford._kernels import multiply_weighted
from zoo.functional.clifford._linear import grade_linear, rows_of
from zoo.functional.needed import again

Matrices = Float[Tensor, "channels channels grades"]


def steerable_product(
    x: Float[Tensor, "blades batch channels"],
    right: Matrices,
    share: Float[Tensor, "grades channels"] | None,
    left: Matrices,
    bias: Float[Tensor, "1 channels 1"],
    weight: Float[Tensor, "channels paths"],
    of: Algebra,
    *,
    least: float,
) -> Float[Tensor, "blades batch channels"]:
    """left x + bias + the weighted product of x and the normalised right x, in compiled code.

    Ruhe, Brandstetter, Forré, arXiv:2305.11141, equations 11 and 12. Only where there is compiled
    code, see `_mode`.

    Args:
        x: blade-major.
        right: a matrix for each grade.
        share: of `normalise`; None takes the right factor as it is.
        left: a matrix for each grade.
        bias: added to the scalars.
        weight: in the order of `of.paths`.
        of: the algebra.
        least: of `normalise`.
    """
    out: Tensor = _Steerable.apply(x, right, share, left, bias, weight, (of, least))
    return out


def _plain(
    made: tuple[Algebra, float],
    x: Tensor,
    right: Tensor,
    share: Tensor | None,
    left: Tensor,
    bias: Tensor,
    weight: Tensor,
) -> Tensor:
    """The same of steps that can be differentiated any number of times."""
    of, least = made
    y = grade_linear(x, right, None, of)
    if share is not None:
        y = norm_of(of, least).plain(y, share)
    return grade_linear(x, left, bias, of) + multiply_weighted(x, y, weight.T, of)


class _Steerable(torch.autograd.Function):
    """With its derivative, in which what comes to the input from three sides is added in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        right, share, left, bias, weight, (of, least) = given
        x = x.contiguous()
        y = raw = _mixed(x, right, of)
        if share is not None:
            y = _native.scale(norm_of(of, least), channels_first(raw), (share,)).movedim(-1, 0)
        out = _mixed(x, left, of)
        out[0] += bias.reshape(-1)
        x_, y_, out_ = (channels_first(t) for t in (x, y, out))
        _native.multiply(x_, y_, weight, of, out_, add=True)
        ctx.made = of, least
        ctx.save_for_backward(x, right, share, left, bias, weight, raw, y)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, raw, y = ctx.saved_tensors
        x, right, share, left, bias, weight = inputs
        of, least = ctx.made
        if torch.is_grad_enabled():  # a second derivative is wanted
            made = ctx.made
            needed = ctx.needs_input_grad[: len(inputs)]
            return *again(lambda *given: [_plain(made, *given)], inputs, needed, [g]), None
        g = g.contiguous()
        g_, x_, y_ = (channels_first(t) for t in (g, x, y))
        dx_, dy_, d_weight = _native.multiply_back(g_, x_, y_, weight, of)
        d_share = None
        if share is not None:
            dy_, d_share = _native.scale_back(
                norm_of(of, least), dy_, channels_first(raw), (share,)
            )
        dx, dy = (t.movedim(-1, 0) for t in (dx_, dy_))
        d_right = _pulled(dx, dy, x, right, of)
        d_left = _pulled(dx, g, x, left, of)
        return dx, d_right, d_share, d_left, g[0].sum(0).reshape(bias.shape), d_weight, None


def _mixed(x: Tensor, matrices: Tensor, of: Algebra) -> Tensor:
    """A matrix of each grade on the channels."""
    out = torch.empty_like(x)
    for matrix, rows in zip(matrices.unbind(2), rows_of(of, matrices.shape[2]), strict=True):
        torch.mm(x[rows].flatten(0, 1), matrix.T, out=out[rows].flatten(0, 1))
    return out


def _pulled(dx: Tensor, g: Tensor, x: Tensor, matrices: Tensor, of: Algebra) -> Tensor:
    """Adds a linear map's derivative by x to `dx`; returns that by the matrices."""
    out = matrices.new_empty((matrices.shape[2], *matrices.shape[:2]))
    for grade, rows in enumerate(rows_of(of, len(out))):
        into, pull = dx[rows].flatten(0, 1), g[rows].flatten(0, 1)
        torch.addmm(into, pull, matrices[..., grade], out=into)
        torch.mm(pull.T, x[rows].flatten(0, 1), out=out[grade])
    return out.permute(1, 2, 0)
