"""Powers of SPD matrices whose exponent is learned, from one eigendecomposition."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional.spd._checks import refuse_indefinite, symmetrise
from zoo.functional.spd._eigen import Eigen
from zoo.functional.spd._functions import Power


def real_power(e: Eigen, exponent: Float[Tensor, ""]) -> Float[Tensor, "*batch n n"]:
    """X^p with gradients by X and p; second derivatives take the way of exp(p log X).

    Args:
        e: the decomposition of X itself, no function applied.
        exponent: p.

    Raises:
        ManifoldError: an eigenvalue that is not positive.
    """
    refuse_indefinite(e.values, "the argument of power")
    return _apply(e.source, exponent, e.values, e.vectors)


class _RealPower(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        powers = values.pow(p)
        ctx.save_for_backward(x, p, values, vectors, powers)
        return (vectors * powers[..., None, :]) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, p, values, vectors, powers = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(ctx, grad, x, p, values, vectors), None, None
        inside = vectors.mT @ grad @ vectors
        of_p = None
        if ctx.needs_input_grad[1]:
            along = inside.diagonal(dim1=-2, dim2=-1)
            of_p = (along * powers * values.log()).sum()
        of_x = None
        if ctx.needs_input_grad[0]:
            inside.mul_(Power(float(p)).first(values[..., :, None], values[..., None, :]))
            of_x = symmetrise(vectors @ inside @ vectors.mT)
        return of_x, of_p, None, None


def _differentiable(
    ctx: Any, grad: Tensor, x: Tensor, p: Tensor, values: Tensor, vectors: Tensor
) -> tuple[Tensor | None, ...]:
    """The same gradients as functions of everything, for a second derivative."""
    logarithm = Eigen(x, values, vectors).log()
    scaled = Eigen(p * logarithm.matrix(), p.detach() * logarithm.spectrum, vectors)
    wanted = [v for v, need in zip((x, p), ctx.needs_input_grad, strict=False) if need]
    found = iter(torch.autograd.grad(scaled.exp().matrix(), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in ctx.needs_input_grad[:2])


_apply: Callable[..., Tensor] = _RealPower.apply
