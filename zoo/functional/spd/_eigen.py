r"""Functions of symmetric matrices from one eigendecomposition, differentiable three times.

`Eigen` holds the eigendecomposition of a matrix and the scalar functions that are to be applied to
it: `eigen(x).clamp(1e-4).log().matrix()` takes one `eigh` where the two layers of SPDNet take two.
Derivatives never pass through the eigenvectors: they follow the formulas of `_functions`, which
hold at repeated eigenvalues. The matrices are symmetrised, so gradients are those of
f((X + X^T) / 2). Three orders exist, so that logarithms and transports of flat metrics, which
hold a first derivative themselves, have two.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.errors import CapabilityError
from zoo.functional.spd._checks import eigh, refuse_indefinite, symmetrise
from zoo.functional.spd._functions import (
    Chain,
    Clamp,
    Exp,
    Inverse,
    InvSqrt,
    Log,
    Power,
    Scalar,
    Sqrt,
)


@dataclass(frozen=True)
class Eigen:
    """A symmetric matrix as its eigendecomposition, and a function of it that is still to be taken.

    Args:
        source: the matrix that was decomposed, (..., n, n); gradients flow into it.
        values: its eigenvalues, ascending, (..., n), without gradients.
        vectors: its eigenvectors as columns, (..., n, n), without gradients.
        function: what is applied to the eigenvalues; None for the matrix itself.
    """

    source: Tensor
    values: Tensor
    vectors: Tensor
    function: Scalar | None = None

    @property
    def spectrum(self) -> Float[Tensor, "*batch n"]:
        """Eigenvalues of the function of the matrix, without gradients."""
        return self.values if self.function is None else self.function.value(self.values)

    def apply(self, function: Scalar) -> "Eigen":
        """The same matrix with one more function applied.

        Raises:
            ManifoldError: an eigenvalue at which the function is not defined.
        """
        if function.positive:
            refuse_indefinite(self.spectrum, f"the argument of {type(function).__name__.lower()}")
        joined = function if self.function is None else Chain(self.function, function)
        return replace(self, function=joined)

    def log(self) -> "Eigen":
        """Logarithm."""
        return self.apply(Log())

    def exp(self) -> "Eigen":
        """Exponential."""
        return self.apply(Exp())

    def sqrt(self) -> "Eigen":
        """Square root."""
        return self.apply(Sqrt())

    def inv_sqrt(self) -> "Eigen":
        """Inverse square root."""
        return self.apply(InvSqrt())

    def inverse(self) -> "Eigen":
        """Inverse."""
        return self.apply(Inverse())

    def power(self, exponent: float) -> "Eigen":
        """A fixed real power."""
        return self.apply(Power(exponent))

    def clamp(self, floor: float) -> "Eigen":
        """Eigenvalues lifted to a floor; where none is below it, nothing has to be done."""
        if not torch.compiler.is_compiling() and bool((self.spectrum > floor).all()):
            return self
        return self.apply(Clamp(floor))

    def rounded(self) -> "Eigen":
        """Of a matrix that is positive definite by construction, before any function is applied.

        Eigenvalues that rounding alone can have moved to zero or below, by up to n units in the
        last place of the largest one, are lifted to one such unit. Lower ones stay, for the
        function to refuse.
        """
        top = self.values[..., -1:] * torch.finfo(self.values.dtype).eps
        noise = self.values > -self.values.shape[-1] * top
        return replace(
            self, values=torch.where(noise, torch.maximum(self.values, top), self.values)
        )

    def matrix(self) -> Float[Tensor, "*batch n n"]:
        """The function of the matrix, with gradients."""
        if self.function is None:
            return symmetrise(self.source)
        return _apply(self.source, self.values, self.vectors, self.function)


def eigen(x: Float[Tensor, "*batch n n"]) -> Eigen:
    """Decomposes symmetric matrices once, for any chain of functions.

    Args:
        x: symmetric matrices; they are averaged with their transposes.

    Raises:
        ManifoldError: entries that are not finite.
        DeviceError: a precision other than float32 and float64.
    """
    values, vectors = eigh(x.detach(), "the eigendecomposition")
    return Eigen(x, values, vectors)


def differential(
    function: Scalar, x: Float[Tensor, "*#batch n n"] | Eigen, v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """Df(X)[V], the derivative of a matrix function in a symmetric direction.

    Args:
        function: the scalar function.
        x: symmetric matrices, or their eigendecomposition.
        v: symmetric directions.
    """
    e = x if isinstance(x, Eigen) else eigen(x)
    shape = torch.broadcast_shapes(e.source.shape, v.shape)
    if function.positive:
        refuse_indefinite(e.values, f"the argument of {type(function).__name__.lower()}")
    return _first(e.source.expand(shape), v.expand(shape), e.values, e.vectors, function)


def spread(
    v: Tensor, values: Tensor, vectors: Tensor, kernel: Callable[[Tensor, Tensor], Any]
) -> Tensor:
    """U (k(l_i, l_j) (U^T V U)_ij) U^T, symmetric."""
    inside = vectors.mT @ v @ vectors
    inside = inside * kernel(values[..., :, None], values[..., None, :])
    return symmetrise(vectors @ inside @ vectors.mT)


class _Apply(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, vectors: Tensor, function: Scalar) -> Tensor:
        ctx.save_for_backward(x, values, vectors)
        ctx.function = function
        return (vectors * function.value(values)[..., None, :]) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, values, vectors = ctx.saved_tensors
        return _first(x, grad, values, vectors, ctx.function), None, None, None


class _First(Function):
    """Df(X)[V]: linear in V, self-adjoint, and itself a function of X."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, values: Tensor, vectors: Tensor, function: Scalar
    ) -> Tensor:
        ctx.save_for_backward(x, v, values, vectors)
        ctx.function = function
        return spread(v, values, vectors, function.first)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, v, values, vectors = ctx.saved_tensors
        of_x = of_v = None
        if ctx.needs_input_grad[0]:
            of_x = second_sum(x, v, grad, values, vectors, ctx.function)
        if ctx.needs_input_grad[1]:
            of_v = _first(x, grad, values, vectors, ctx.function)
        return of_x, of_v, None, None, None


class Bilinear(Protocol):
    """Weights of a second derivative."""

    def second(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The weight of G'_ab V'_bc + V'_ab G'_bc."""


class _Second(Function):
    """D2f(X)[G, V], or another sum of that form."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        g: Tensor,
        v: Tensor,
        values: Tensor,
        vectors: Tensor,
        function: "Bilinear",
    ) -> Tensor:
        ctx.save_for_backward(x, g, v, values, vectors)
        ctx.function = function
        g, v = (vectors.mT @ symmetrise(y) @ vectors for y in (g, v))
        row, column = values[..., :, None], values[..., None, :]
        total = torch.zeros_like(g)
        for k in range(values.shape[-1]):
            weights = function.second(row, values[..., k, None, None], column)
            products = g[..., :, k, None] * v[..., k, None, :]
            total += weights * (products + products.mT)
        return symmetrise(vectors @ total @ vectors.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, g, v, values, vectors = ctx.saved_tensors
        function = ctx.function
        if not hasattr(function, "third"):
            raise CapabilityError(
                "this function has its first derivative by the matrix, no second: "
                "ask for one derivative of a loss"
            )
        of_x = of_g = of_v = None
        if ctx.needs_input_grad[0]:
            of_x = _third(x, g, v, grad, values, vectors, function)
        if ctx.needs_input_grad[1]:
            of_g = second_sum(x, grad, v, values, vectors, function)
        if ctx.needs_input_grad[2]:
            of_v = second_sum(x, grad, g, values, vectors, function)
        return of_x, of_g, of_v, None, None, None


class _Third(Function):
    """D3f(X)[G, V, W], what the second derivative of a differential needs; n^4 steps."""

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,
        x: Tensor,
        g: Tensor,
        v: Tensor,
        w: Tensor,
        values: Tensor,
        vectors: Tensor,
        function: Scalar,
    ) -> Tensor:
        turned = [vectors.mT @ symmetrise(y) @ vectors for y in (g, v, w)]
        total = torch.zeros_like(turned[0])
        i, m, j = values[..., :, None, None], values[..., None, :, None], values[..., None, None, :]
        for k in range(values.shape[-1]):
            weights = function.third(i, values[..., k, None, None, None], m, j)
            for a, b, c in permutations(turned):
                path = weights * b[..., None, k, :, None] * c[..., None, :, :]
                total += a[..., :, k, None] * path.sum(-2)
        return symmetrise(vectors @ total @ vectors.mT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise CapabilityError(
            "matrix functions have three derivatives, their differentials two: "
            "ask for at most two derivatives of a loss"
        )


_apply: Callable[..., Tensor] = _Apply.apply
_first: Callable[..., Tensor] = _First.apply
second_sum: Callable[..., Tensor] = _Second.apply
_third: Callable[..., Tensor] = _Third.apply
