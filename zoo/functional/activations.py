"""SiLU whose second derivative is cheap.

Where forces are the derivative of an energy and a loss is differentiated through them, every SiLU
is differentiated twice. PyTorch then falls back to elementary operations, and to the derivatives of
each; written out, with s the logistic function,

    silu'(x)  = s + x s (1 - s)
    silu''(x) = s (1 - s) (2 + x (1 - 2 s))

takes a third of the passes over memory, and many numbers take one for each order
(`zoo.functional._silu_passes`).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional import _silu_passes as passes


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x / (1 + exp(-x)), differentiable any number of times."""
    result: Tensor = _Silu.apply(x)
    return result


class _Silu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return passes.value(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Slope.apply(grad, *ctx.saved_tensors)


class _Slope(Function):
    """grad silu'(x)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(grad, x)
        return passes.slope(grad, x)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> Any:
        grad, x = ctx.saved_tensors
        if not torch.is_grad_enabled():
            along, _, curved = passes.both(above, grad, x)
            return along, curved
        s = torch.sigmoid(x)
        by_grad = _Slope.apply(above, x) if ctx.needs_input_grad[0] else None
        by_x = above * grad * (s * (1 - s) * (2 + x * (1 - 2 * s)))
        return by_grad, by_x


class SiLU(torch.nn.Module):
    """`silu` as a module."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The activation of each number."""
        return silu(x)
