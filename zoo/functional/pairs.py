"""Messages along pairs of atoms whose weights depend on the pair alone, as one closed algebra.

With weights w_p that are the same in both directions of a pair p = (i, j), the message

    M_i = sum_j w_ij * X_j

is a symmetric linear map of X. Its derivative with respect to X is itself, its derivative with
respect to w is

    d_p = G_i * X_j + G_j * X_i   (summed over the components that share a weight),

and the derivatives of d are messages again. Two functions therefore give derivatives of every
order, keep only w and X for backward (never the gathered rows of all edges), and evaluate the
radial network once per pair instead of once per direction.

Features are component-major, (components, atoms, channels): each component is a contiguous
block, and the weights of degree l serve the 2l + 1 components of that degree.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function


def pair_message(
    weight: Float[Tensor, "degrees pairs channels"],
    x: Float[Tensor, "components atoms channels"],
    index: Int[Tensor, "2 pairs"],
    degree: Sequence[int],
) -> Float[Tensor, "components atoms channels"]:
    """Sums `weight[degree[c], p] * x[c, other end of p]` over the pairs of each atom.

    Args:
        weight: one row per pair and degree; serves both directions.
        x: node features.
        index: the two atoms of each pair.
        degree: the degree of each component.
    """
    return _message(weight, x, index, tuple(degree))


class _Message(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, index: Tensor, degree: tuple[int, ...]) -> Any:
        ctx.save_for_backward(weight, x, index)
        ctx.degree = degree
        out = torch.zeros_like(x)
        a, b = index[0], index[1]
        for c, d in enumerate(degree):
            out[c].index_add_(0, a, weight[d] * x[c].index_select(0, b))
            out[c].index_add_(0, b, weight[d] * x[c].index_select(0, a))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight, x, index = ctx.saved_tensors
        grad_weight = grad_x = None
        if ctx.needs_input_grad[0]:
            grad_weight = _pair_dot(grad, x, index, ctx.degree, weight.shape[0])
        if ctx.needs_input_grad[1]:
            grad_x = _message(weight, grad, index, ctx.degree)
        return grad_weight, grad_x, None, None


class _PairDot(Function):
    """d[l, p] = sum over components c of degree l of g[c, i] x[c, j] + g[c, j] x[c, i]."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, index: Tensor, degree: tuple[int, ...], degrees: int
    ) -> Any:
        ctx.save_for_backward(g, x, index)
        ctx.degree = degree
        a, b = index[0], index[1]
        out = x.new_zeros(degrees, index.shape[1], x.shape[2])
        for c, d in enumerate(degree):
            ga, gb = g[c].index_select(0, a), g[c].index_select(0, b)
            out[d].addcmul_(ga, x[c].index_select(0, b))
            out[d].addcmul_(gb, x[c].index_select(0, a))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        g, x, index = ctx.saved_tensors
        grad_g = grad_x = None
        if ctx.needs_input_grad[0]:
            grad_g = _message(grad, x, index, ctx.degree)
        if ctx.needs_input_grad[1]:
            grad_x = _message(grad, g, index, ctx.degree)
        return grad_g, grad_x, None, None, None


_message: Callable[..., Tensor] = _Message.apply
_pair_dot: Callable[..., Tensor] = _PairDot.apply
