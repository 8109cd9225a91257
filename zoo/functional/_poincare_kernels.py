r"""Gyrovector addition and separation on the Poincaré ball, with derivatives in closed form.

With alpha = 1 - c|x|^2, beta = 1 - c|y|^2 and sigma = c|x + y|^2 the Möbius sum reads

    x + y = ((alpha + sigma) x + alpha y) / D,    D = sigma + alpha beta,

a sum of terms that are not negative, so nothing cancels where y is close to -x or both are close
to the boundary, and 1 - c|x + y|^2 = alpha beta / D. The separation u = c|x - y|^2 / (alpha beta)
is sinh^2 of half the distance (in units of 1 / sqrt(c)), and smooth where points meet.

Both depend on their inputs through three sums over the last axis. The gradients are combinations
of the inputs, written out here: one pass over memory per term instead of one per operation. When
a graph of the gradient is wanted, the sums are formed anew and traced, so every order works.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.errors import ManifoldError

Curvature = float | Tensor

#: how many eps c|x|^2 may exceed one before a point counts as outside
ROUNDING = 64.0
#: the largest norm is 1 - BOUNDARY eps in units of the radius: distance 16 or 36 from the origin
BOUNDARY = 2.0


def largest(dtype: torch.dtype) -> float:
    """The largest norm of a point, in units of the ball's radius."""
    return 1.0 - BOUNDARY * torch.finfo(dtype).eps


def square(x: Tensor) -> Tensor:
    """|x|^2 over the last axis, which is kept."""
    return (x * x).sum(-1, keepdim=True)


def gap(x: Tensor, c: Curvature) -> Tensor:
    """1 - c|x|^2, at least what the outermost point has.

    Raises:
        ManifoldError: a point outside of the ball by more than rounding. On a GPU this would wait
            for the device, so there `zoo.functional.poincare.check` has to be called.
    """
    raw = 1 - c * square(x)
    eps = torch.finfo(x.dtype).eps
    if not (x.is_cuda or torch.compiler.is_compiling()) and bool((raw < -ROUNDING * eps).any()):
        raise outside("the Poincaré ball", x, c)
    return raw.clamp(min=BOUNDARY * eps)


def outside(where: str, x: Tensor, c: Curvature) -> ManifoldError:
    """The error for points outside of the ball, which names the worst norm."""
    worst = torch.linalg.vector_norm(x.detach(), dim=-1).max().item()
    radius = float(c) ** -0.5
    return ManifoldError(
        f"{where}: a point of norm {worst:.9g} lies outside of the ball of radius "
        f"1/sqrt(c) = {radius:.9g} (c = {float(c):.6g}): pass points of a smaller norm, or repair "
        "them knowingly with poincare.project or project=True"
    )


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1, keepdim=True)


def _combine(p: Tensor, g: Tensor, q: Tensor, x: Tensor, *rest: Tensor) -> Tensor:
    """p g + q x (+ r y), in place where no graph is wanted."""
    if torch.is_grad_enabled():
        out = p * g + q * x
        return out + rest[0] * rest[1] if rest else out
    out = p * g
    wide = torch.broadcast_shapes(out.shape, x.shape, *(r.shape for r in rest))
    out = out if out.shape == wide else out.expand(wide).clone()
    out.addcmul_(q, x)
    return out.addcmul_(rest[0], rest[1]) if rest else out


def _curvature(ctx: Any, c: Curvature) -> tuple[Tensor, ...]:
    """Keeps the curvature for backward; what has to be saved of it."""
    ctx.c = None if isinstance(c, Tensor) else c
    return (c,) if isinstance(c, Tensor) else ()


def _sums(x: Tensor, y: Tensor, c: Curvature, sign: int) -> tuple[Tensor, Tensor, Tensor]:
    """alpha, beta and sigma, of x + y or x - y."""
    return gap(x, c), gap(y, c), c * square(x + y if sign > 0 else x - y)


def _coefficients(
    alpha: Tensor, beta: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """D, the factors of x and y, and what keeps the sum inside of the ball."""
    product = alpha * beta
    total = sigma + product
    limit = largest(alpha.dtype)
    # |x + y|^2 in units of the radius is sigma / D; the factor is no part of the derivative
    size = (sigma / total).detach()
    shrink = torch.where(size > limit**2, limit * torch.rsqrt(size), 1.0)
    return total, (alpha + sigma) / total, alpha / total, shrink


class _MobiusAdd(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: Curvature) -> Any:
        kept = _curvature(ctx, c)
        sums = _sums(x, y, c, 1)
        factors = _coefficients(*sums)
        ctx.save_for_backward(x, y, *sums, *factors, *kept)
        _, a, b, shrink = factors
        return _combine(a * shrink, x, b * shrink, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y, *rest = ctx.saved_tensors
        c = rest.pop() if ctx.c is None else ctx.c
        if torch.is_grad_enabled():
            sums = _sums(x, y, c, 1)
            rest = [*sums, *_coefficients(*sums)]
        alpha, beta, sigma, total, a, b, shrink = rest
        by_a, by_b = _dot(grad, x) * shrink, _dot(grad, y) * shrink
        both = by_a * a + by_b * b
        by_sigma = (by_a - both) / total
        by_alpha = (by_a + by_b - beta * both) / total
        by_beta = -alpha * both / total
        of_x = of_y = of_c = None
        across = 2 * c * by_sigma
        if ctx.needs_input_grad[0]:
            along = across - 2 * c * by_alpha
            of_x = _combine(a * shrink, grad, along, x, across, y).sum_to_size(x.shape)
        if ctx.needs_input_grad[1]:
            along = across - 2 * c * by_beta
            of_y = _combine(b * shrink, grad, across, x, along, y).sum_to_size(y.shape)
        if ctx.needs_input_grad[2]:
            of_c = (by_sigma * sigma / c - by_alpha * square(x) - by_beta * square(y)).sum()
        return of_x, of_y, of_c


class _Separation(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: Curvature) -> Any:
        kept = _curvature(ctx, c)
        alpha, beta, sigma = _sums(x, y, c, -1)
        ctx.save_for_backward(x, y, alpha, beta, sigma, *kept)
        return sigma / (alpha * beta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y, *sums = ctx.saved_tensors
        c = sums.pop() if ctx.c is None else ctx.c
        if torch.is_grad_enabled():
            sums = list(_sums(x, y, c, -1))
        alpha, beta, sigma = sums
        by_sigma = grad / (alpha * beta)
        by_alpha, by_beta = -by_sigma * sigma / alpha, -by_sigma * sigma / beta
        of_x = of_y = of_c = None
        cross = -2 * c * by_sigma
        if ctx.needs_input_grad[0]:
            of_x = _combine(2 * c * (by_sigma - by_alpha), x, cross, y).sum_to_size(x.shape)
        if ctx.needs_input_grad[1]:
            of_y = _combine(2 * c * (by_sigma - by_beta), y, cross, x).sum_to_size(y.shape)
        if ctx.needs_input_grad[2]:
            of_c = (by_sigma * sigma / c - by_alpha * square(x) - by_beta * square(y)).sum()
        return of_x, of_y, of_c


mobius_sum: Callable[[Tensor, Tensor, Curvature], Tensor] = _MobiusAdd.apply
separation: Callable[[Tensor, Tensor, Curvature], Tensor] = _Separation.apply
