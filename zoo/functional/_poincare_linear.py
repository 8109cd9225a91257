r"""The point of the Poincaré ball that has given distances to hyperplanes, as one function.

With t the arguments of asinh in HNN++'s distances (arXiv:2006.08210, eq. 6 and 7), a = 2|z|, s the
root of the curvature and w = sinh(a asinh(t)), the linear layer's output is

    y = w / (s (1 + sqrt(1 + |w|^2))).

All its derivatives follow from what forward has at hand, cosh(a asinh(t)) = sqrt(1 + w^2) among
it, so backward needs one square root per coordinate and no other transcendental function. When a
graph of the gradient is wanted the output is formed anew from traced operations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.functional._poincare_kernels import largest, square
from zoo.functional.squares import asinh

#: the largest argument of sinh, whose square is finite; beyond 20 (40) points are at the boundary
LARGEST_ARGUMENT = {torch.float32: 40.0, torch.float64: 300.0}


def _factor(far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y / w at |w|^2, 1 + |w|^2 under the root, and where the largest norm is reached."""
    base = torch.sqrt(1 + far)
    factor = 1 / (1 + base)
    bound = largest(far.dtype) * torch.rsqrt(far.clamp(min=1.0))
    return torch.minimum(factor, bound), base, factor > bound


def _traced(
    inner: Tensor, inverse: Tensor, shift: Tensor | None, a: Tensor, scale: float | Tensor
) -> Tensor:
    """The same in operations that autograd knows."""
    limit = LARGEST_ARGUMENT[inner.dtype]
    t = inner * inverse if shift is None else inner * inverse + shift
    w = torch.sinh((a * asinh(t)).clamp(-limit, limit))
    return w * (_factor(square(w))[0] / scale)


class _FromPlanes(Function):
    @staticmethod
    def forward(
        ctx: Any,
        inner: Tensor,
        inverse: Tensor,
        shift: Tensor | None,
        a: Tensor,
        scale: float | Tensor,
    ) -> Any:
        t = inner * inverse if shift is None else torch.addcmul(shift, inner, inverse)
        slope = torch.mul(t, t).add_(1).sqrt_()  # d asinh = dt / slope
        # |t| + t^2 / (1 + slope) = |t| + slope - 1, without its cancellation
        angle = (t * t).div_(slope + 1).add_(t.abs()).log1p_().copysign_(t)
        limit = LARGEST_ARGUMENT[t.dtype]
        w = torch.mul(angle, a).clamp_(-limit, limit).sinh_()
        far = square(w)
        given: tuple[Tensor, ...] = (inner, inverse, a)
        given += () if shift is None else (shift,)
        given += (scale,) if isinstance(scale, Tensor) else ()
        ctx.shifted, ctx.scale = shift is not None, None if isinstance(scale, Tensor) else scale
        ctx.save_for_backward(*given, slope, angle, w, far)
        return w * (_factor(far)[0] / scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        inner, inverse, a, *rest = ctx.saved_tensors
        shift = rest.pop(0) if ctx.shifted else None
        scale = rest.pop(0) if ctx.scale is None else ctx.scale
        inputs = (inner, inverse, shift, a, scale)
        if torch.is_grad_enabled():
            return _graph(ctx, grad, inputs)
        slope, angle, w, far = rest
        factor, base, full = _factor(far)
        along = (grad * w).sum(-1, keepdim=True)
        bend = torch.where(full, factor / far.clamp(min=1.0), factor.square() / base)
        by_w = (grad * (factor / scale)).addcmul_(-bend / scale * along, w)
        by_angle = torch.mul(w, w).add_(1).sqrt_().mul_(by_w)  # by a asinh(t)
        by_a = (by_angle * angle).sum_to_size(a.shape) if ctx.needs_input_grad[3] else None
        by_t = by_angle.mul_(a).div_(slope)
        by_inverse = (by_t * inner).sum(-1, keepdim=True) if ctx.needs_input_grad[1] else None
        by_shift = by_t.sum_to_size(shift.shape) if shift is not None else None
        by_scale = -(along * factor).sum() / scale**2 if ctx.needs_input_grad[4] else None
        return by_t.mul_(inverse), by_inverse, by_shift, by_a, by_scale


def _graph(ctx: Any, grad: Tensor, inputs: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
    wanted = [x for x, need in zip(inputs, ctx.needs_input_grad, strict=True) if need]
    found = iter(torch.autograd.grad(_traced(*inputs), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in ctx.needs_input_grad)


from_planes: Callable[[Tensor, Tensor, Tensor | None, Tensor, float | Tensor], Tensor] = (
    _FromPlanes.apply
)
