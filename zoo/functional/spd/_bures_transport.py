r"""Parallel transport of the Bures-Wasserstein metric.

The geodesic from X to Y is G(t) = (I + t D) X (I + t D) with D = T - I, T the optimal map. It is
the image of a straight line of square roots A(t) = (I + t D) X^1/2, and a field W(t) along it is
parallel when the derivative of its horizontal lift Z A, W = Z G + G Z, has no horizontal part.
That gives

    W' = Z G B + B G Z,    B = D (I + t D)^-1,    G Z + Z G = W.

Where G commutes with B throughout, so for X = I or Y = I, the solution is closed: in the
eigenbasis, W_ij grows like sqrt(g_i + g_j). Otherwise the equation is integrated by Gauss-Legendre
collocation with eight nodes (order 16), on pieces so short that the poles of B are far away.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional.spd import matrix
from zoo.functional.spd._checks import (
    cholesky,
    eigh,
    eigvalsh,
    naming,
    refuse_indefinite,
    symmetrise,
)
from zoo.functional.spd._eigen import eigen, second_sum, spread
from zoo.functional.spd._functions import InvSqrt, Scalar, Sqrt

NODES = 8
ROUNDS = 60  # of the fixed-point iteration on one piece; about 15 are needed


def to_origin(
    x: Float[Tensor, "*#batch n n"], v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """V carried from X to the identity: entries times sqrt(2 / (l_i + l_j)) in the eigenbasis.

    First derivatives exist; the second one by X is refused.
    """
    return _closed(x, v, InvSqrt())


def from_origin(
    x: Float[Tensor, "*#batch n n"], v: Float[Tensor, "*#batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """V carried from the identity to X: the inverse of `to_origin`."""
    return _closed(x, v, Sqrt())


def product_root(factor: Tensor, y: Tensor, where: str) -> Tensor:
    """(L^T Y L)^1/2; errors are about Y, which `where` names.

    The product's condition is that of both matrices multiplied, so its smallest eigenvalues can be
    lost in rounding; their roots hardly matter.
    """
    with naming(y, where):
        return eigen(factor.mT @ y @ factor).rounded().sqrt().matrix()


def carry(x: Tensor, y: Tensor, v: Tensor, pieces: int | None) -> Tensor:
    """V carried from X to Y along the geodesic."""
    shape = torch.broadcast_shapes(x.shape, y.shape, v.shape)
    x, y, v = (a.expand(shape) for a in (x, y, v))
    factor = cholesky(x, where="transport: the first matrix")
    half = product_root(factor, y, "transport: the second matrix")
    half = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    optimal = symmetrise(torch.linalg.solve_triangular(factor.mT, half.mT, upper=True))
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    way = optimal - identity
    count = _pieces(optimal.detach()) if pieces is None else pieces
    nodes, inside, end = (torch.as_tensor(a).to(x) for a in _gauss())
    w = symmetrise(v)
    for k in range(count):
        times = ((nodes + k) / count).reshape(NODES, *[1] * optimal.dim())
        moved = identity + times * way
        rate = torch.linalg.solve(moved, way.expand(moved.shape))
        w = _piece(w, moved @ x @ moved, rate, inside / count, end / count)
    return w


def _pieces(optimal: Tensor) -> int:
    """So many that no piece is longer than half the distance to a pole of B."""
    values = eigvalsh(optimal, "transport: the optimal map")
    refuse_indefinite(values, "transport: the optimal map")
    steepest = torch.maximum((values - 1.0).abs(), (1.0 - 1.0 / values).abs())
    return max(1, math.ceil(2.0 * float(steepest.max()))) if values.numel() else 1


def _piece(start: Tensor, point: Tensor, rate: Tensor, inside: Tensor, end: Tensor) -> Tensor:
    """Picard's iteration for the values at the nodes, then the step."""
    limit = torch.finfo(start.dtype).eps * float(start.detach().abs().amax())
    w = start.expand(torch.broadcast_shapes(point.shape, start.shape))
    for _ in range(ROUNDS):
        growth = _growth(w, point, rate)
        new = start + torch.tensordot(inside, growth, dims=1)
        moved = float((new - w).detach().abs().amax()) if w.numel() else 0.0
        w = new
        if moved <= limit:
            break
    out: Tensor = start + torch.tensordot(end, _growth(w, point, rate), dims=1)
    return out


def _growth(w: Tensor, point: Tensor, rate: Tensor) -> Tensor:
    half = rate @ point @ matrix.lyapunov(point, w)
    return half + half.mT


@lru_cache(maxsize=1)
def _gauss() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes c in (0, 1), integrals of their Lagrange polynomials up to each node and up to 1."""
    c = 0.5 * (np.polynomial.legendre.leggauss(NODES)[0] + 1.0)
    powers = np.arange(NODES)
    to_monomials = np.linalg.inv(c[:, None] ** powers)
    inside = (c[:, None] ** (powers + 1) / (powers + 1)) @ to_monomials
    end = (1.0 / (powers + 1.0)) @ to_monomials
    return c, inside, end


def _closed(x: Tensor, v: Tensor, function: Scalar) -> Tensor:
    shape = torch.broadcast_shapes(x.shape, v.shape)
    values, vectors = eigh(x.detach(), "transport: the point")
    refuse_indefinite(values, "transport: the point")
    return _scaled(x.expand(shape), v.expand(shape), values, vectors, function)


class _Kernel:
    """f((a + b) / 2), and its divided differences in one of the two arguments."""

    def __init__(self, function: Scalar) -> None:
        self.function = function

    def value(self, a: Tensor, b: Tensor) -> Tensor:
        return self.function.value(0.5 * (a + b))

    def second(self, a: Tensor, c: Tensor, b: Tensor) -> Tensor:
        return 0.5 * self.function.first(0.5 * (a + c), 0.5 * (b + c))


class _Scaled(Function):
    """V'_ij f((l_i + l_j) / 2) in the eigenbasis of X."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, v: Tensor, values: Tensor, vectors: Tensor, function: Scalar
    ) -> Tensor:
        ctx.save_for_backward(x, v, values, vectors)
        ctx.function = function
        return spread(v, values, vectors, _Kernel(function).value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, v, values, vectors = ctx.saved_tensors
        of_x = of_v = None
        if ctx.needs_input_grad[0]:
            of_x = second_sum(x, v, grad, values, vectors, _Kernel(ctx.function))
        if ctx.needs_input_grad[1]:
            of_v = _scaled(x, grad, values, vectors, ctx.function)
        return of_x, of_v, None, None, None


_scaled: Callable[..., Tensor] = _Scaled.apply
