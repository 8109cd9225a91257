r"""Functions of symmetric matrices: log, exp, roots, powers, clamp, and Lyapunov's equation.

Each takes one `eigh` of the symmetric part of its argument, however large the rest is (`check`
refuses matrices that are not symmetric), and is differentiable three times, at repeated eigenvalues
too (see `_functions`). A chain shares the decomposition:
`eigen(x).clamp(1e-4).log().matrix()`.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional.spd import _eigen
from zoo.functional.spd._checks import eigh, refuse_indefinite
from zoo.functional.spd._eigen import Eigen, eigen, spread
from zoo.functional.spd._functions import Exp, Log, Power
from zoo.functional.spd._real_power import real_power

Matrix = Float[Tensor, "*batch n n"]


def log(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Logarithm of SPD matrices; their symmetric parts are taken.

    Raises:
        ManifoldError: an eigenvalue that is not positive; here and below it is named.
    """
    return eigen(x).log().matrix()


def exp(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Exponential of symmetric matrices; their symmetric parts are taken."""
    return eigen(x).exp().matrix()


def sqrt(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Square root of SPD matrices; their symmetric parts are taken."""
    return eigen(x).sqrt().matrix()


def inv_sqrt(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Inverse square root of SPD matrices; their symmetric parts are taken."""
    return eigen(x).inv_sqrt().matrix()


def inverse(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Inverse of SPD matrices; their symmetric parts are taken."""
    return eigen(x).inverse().matrix()


def clamp(x: Float[Tensor, "*batch n n"], floor: float) -> Float[Tensor, "*batch n n"]:
    """Symmetric matrices with their eigenvalues lifted to a floor (rectification)."""
    return eigen(x).clamp(floor).matrix()


def power(
    x: Float[Tensor, "*batch n n"], exponent: float | Float[Tensor, "*exponents"]
) -> Float[Tensor, "*batch n n"]:
    """A real power of SPD matrices; their symmetric parts are taken, but for exponent 1.

    Args:
        x: SPD matrices.
        exponent: a number, or a tensor that broadcasts against the batch and gets its gradient;
            one of several elements costs a second decomposition, exp(p log X).
    """
    if isinstance(exponent, Tensor) and exponent.ndim == 0:
        return real_power(eigen(x), exponent)
    if isinstance(exponent, Tensor):
        return exp(exponent[..., None, None] * log(x))
    return x if exponent == 1.0 else eigen(x).power(exponent).matrix()


def differential_log(
    x: Float[Tensor, "*#batch n n"] | Eigen, v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """D log(X)[V]: takes a tangent vector at X to one at log X."""
    return _eigen.differential(Log(), x, v)


def differential_exp(
    x: Float[Tensor, "*#batch n n"] | Eigen, v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """D exp(X)[V]."""
    return _eigen.differential(Exp(), x, v)


def differential_power(
    x: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    exponent: float | Float[Tensor, "*exponents"],
) -> Float[Tensor, "*batch n n"]:
    """D(X^p)[V]. A tensor as exponent gets its gradient."""
    if isinstance(exponent, Tensor):
        p = exponent[..., None, None]
        return differential_exp(p * log(x), p * differential_log(x, v))
    if exponent == 1.0:
        return v.expand(torch.broadcast_shapes(x.shape, v.shape))
    return _eigen.differential(Power(exponent), x, v)


def lyapunov(
    x: Float[Tensor, "*#batch n n"], v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """The solution Y of X Y + Y X = V for symmetric V; differentiable at every order.

    Args:
        x: SPD matrices.
        v: symmetric right-hand sides.
    """
    shape = torch.broadcast_shapes(x.shape, v.shape)
    values, vectors = eigh(x.detach(), "the matrix of Lyapunov's equation")
    refuse_indefinite(values, "the matrix of Lyapunov's equation")
    return _lyapunov(x.expand(shape), v.expand(shape), values, vectors)


class _Lyapunov(Function):
    """The derivative by V is the same self-adjoint solve; that by X follows from the product rule:
    dX Y + Y dX + X dY + dY X = 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        y = spread(v, values, vectors, lambda a, b: 1.0 / (a + b))
        ctx.save_for_backward(x, y, values, vectors)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y, values, vectors = ctx.saved_tensors
        of_v = _lyapunov(x, grad, values, vectors)
        product = y @ of_v
        return -(product + product.mT), of_v, None, None


_lyapunov: Callable[..., Tensor] = _Lyapunov.apply
