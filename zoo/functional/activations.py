"""SiLU whose second derivative is cheap.

Where forces are the derivative of an energy and a loss is differentiated through them, every SiLU
is differentiated twice. PyTorch then falls back to elementary operations, and to the derivatives of
each; written out, with s the logistic function,

    silu'(x)  = s + x s (1 - s)
    silu''(x) = s (1 - s) (2 + x (1 - 2 s))

takes a third of the passes over memory.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x / (1 + exp(-x)), differentiable any number of times."""
    result: Tensor = _Silu.apply(x)
    return result


class _Silu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Slope.apply(grad, *ctx.saved_tensors)


class _Slope(Function):
    """grad silu'(x)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(grad, x)
        slope: Tensor = torch.ops.aten.silu_backward(grad, x)
        return slope

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> Any:
        grad, x = ctx.saved_tensors
        by_grad = _Slope.apply(above, x) if ctx.needs_input_grad[0] else None
        by_x = above * grad * _curvature(x) if ctx.needs_input_grad[1] else None
        return by_grad, by_x


def _curvature(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    if torch.is_grad_enabled():
        return s * (1 - s) * (2 + x * (1 - 2 * s))
    inner = torch.addcmul(x, x, s, value=-2).add_(2)  # 2 + x (1 - 2 s)
    return torch.addcmul(s, s, s, value=-1).mul_(inner)


class SiLU(torch.nn.Module):
    """`silu` as a module."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The activation of each number."""
        return silu(x)
