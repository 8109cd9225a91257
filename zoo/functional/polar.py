r"""Polar factors and leading subspaces of matrices, with derivatives of every order.

Both are limits of a singular value or eigenvalue decomposition whose own derivative does not exist
where values repeat. Their derivatives need only sums, or gaps across the cut, of those values:

* polar factor O of A = O P: dO = O W + (I - O O^T) dA P^-1 with P W + W P = O^T dA - dA^T O;
* leading p eigenvectors U of a symmetric X, as a basis of their span: dU = Y with
  Y (U^T X U) - X Y = (I - U U^T) dX U, U^T Y = 0. Turning U within its span is left out: functions
  of the subspace don't see it, and it is what is infinite at repeated eigenvalues.

Both are Sylvester equations. The derivative of a Sylvester solve is made of Sylvester solves, so
that backward is differentiable again and again. Higham, Functions of Matrices, SIAM 2008, ch. 8;
Bendokat, Zimmermann, Absil, A Grassmann Manifold Handbook, arXiv:2011.13699.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.errors import ConfigError
from zoo.functional.precision import check_precision

#: differences of eigenvalues below this multiple of the precision times their size count as zero
GAP = 8.0


def sylvester(
    a: Float[Tensor, "... n n"], b: Float[Tensor, "... m m"], c: Float[Tensor, "... n m"]
) -> Float[Tensor, "... n m"]:
    """The solution Y of A Y - Y B = C for symmetric A and B.

    `sylvester(p, -p, c)` solves the Lyapunov equation P Y + Y P = C. Where an eigenvalue of A is
    one of B, the part of C along these eigenvectors is dropped. Differentiable to every order.

    Args:
        a: symmetric.
        b: symmetric.
        c: right-hand side.
    """
    with torch.no_grad():
        left, right = torch.linalg.eigh(a), torch.linalg.eigh(b)
    return _sylvester(a, b, c, *left, *right, GAP)


class _Sylvester(Function):
    """A Y - Y B = C in the eigenvectors of A and B, which are found once for all derivatives."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        a, b, c, la, qa, lb, qb, gap = arguments
        difference = la[..., :, None] - lb[..., None, :]
        limit = gap * torch.finfo(a.dtype).eps * difference.abs().amax((-2, -1), keepdim=True)
        regular = difference.abs() > limit
        inverse = torch.where(regular, 1 / torch.where(regular, difference, 1.0), 0.0)
        y = qa @ (inverse * (qa.mT @ c @ qb)) @ qb.mT
        ctx.save_for_backward(a, b, y, la, qa, lb, qb)
        ctx.shapes, ctx.gap = (a.shape, b.shape, c.shape), gap
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, b, y, *eigen = ctx.saved_tensors
        s = _sylvester(a, b, grad, *eigen, ctx.gap)
        grads = (-s @ y.mT, y.mT @ s, s)
        summed = (g.sum_to_size(shape) for g, shape in zip(grads, ctx.shapes, strict=True))
        return (*summed, None, None, None, None, None)


_sylvester: Callable[..., Tensor] = _Sylvester.apply


def polar(
    x: Float[Tensor, "... n p"], *, special: bool = False, gap: float = GAP
) -> Float[Tensor, "... n p"]:
    """The matrix with orthonormal columns that is nearest to x.

    Of tall matrices the rank must be full. A square one may be singular: of the nearest matrices,
    one is taken, and derivatives along directions in which it isn't unique are zero.

    Args:
        x: n >= p.
        special: of square matrices, take the nearest rotation (determinant 1).
        gap: sums of singular values below this multiple of the precision, relative to the
            largest, count as zero in derivatives.

    Raises:
        ConfigError: more columns than rows, or `special` for matrices that aren't square.
        DeviceError: half or integer precision.
    """
    n, p = x.shape[-2:]
    if p > n or (special and p != n):
        wanted = "a square matrix" if special else "at least as many rows as columns"
        raise ConfigError(f"the polar factor needs {wanted}; the matrix is {n} x {p}")
    check_precision("polar", x)
    return _polar(x, special, gap)


class _Polar(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, special: bool, gap: float) -> Any:
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        if special:
            flip = torch.linalg.det(u @ vh).sign()[..., None]
            signs = torch.cat([torch.ones_like(s[..., 1:]), flip], dim=-1)
            u, s = u * signs[..., None, :], s * signs
        out = u @ vh
        ctx.save_for_backward(x, out, s, vh)
        ctx.gap = gap
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, out, s, vh = ctx.saved_tensors
        stretch = _symmetric(out.mT @ x)
        along = out.mT @ grad
        turn = _sylvester(stretch, -stretch, along - along.mT, s, vh.mT, -s, vh.mT, ctx.gap)
        result = out @ turn
        if x.shape[-2] > x.shape[-1]:
            across = grad - out @ along
            result = result + torch.linalg.solve(stretch, across.mT).mT
        return result, None, None


_polar: Callable[[Tensor, bool, float], Tensor] = _Polar.apply


def leading_subspace(x: Float[Tensor, "... n n"], rank: int) -> Float[Tensor, "... n p"]:
    """Orthonormal basis of the eigenvectors with the largest `rank` eigenvalues.

    The derivative is that of the subspace: right for whatever depends on the span alone, and finite
    at repeated eigenvalues. Where eigenvalues repeat across the cut, the subspace isn't unique and
    its derivative along those directions is set to zero.

    Args:
        x: symmetric (its symmetric part is taken).
        rank: dimension of the subspace.

    Raises:
        ConfigError: a rank below 1 or above n.
        DeviceError: half or integer precision.
    """
    n = x.shape[-1]
    if not 1 <= rank <= n:
        raise ConfigError(f"a subspace of R^{n} has 1 to {n} dimensions, not {rank}")
    check_precision("leading_subspace", x)
    return _leading(_symmetric(x), rank)


class _Leading(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int) -> Any:
        values, vectors = torch.linalg.eigh(x)
        values, vectors = values.flip(-1), vectors.flip(-1)
        basis = vectors[..., :rank].contiguous()
        ctx.save_for_backward(x, basis, values, vectors)
        return basis

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, basis, values, vectors = ctx.saved_tensors
        rank = basis.shape[-1]
        # x on the complement of the span; on the span itself anything that isn't an eigenvalue
        # there, for which the least of all eigenvalues less one will do
        shift = values[..., -1, None] - 1
        span = basis @ basis.mT
        across = x - span @ x
        rest = across - across @ span + shift[..., None] * span
        low = torch.cat([shift.expand_as(values[..., :rank]), values[..., rank:]], dim=-1)
        inner = basis.mT @ x @ basis
        eye = torch.eye(rank, dtype=x.dtype, device=x.device).expand_as(inner)
        normal = grad - basis @ (basis.mT @ grad)
        y = -_sylvester(rest, inner, normal, low, vectors, values[..., :rank], eye, GAP)
        return _symmetric(y @ basis.mT), None


_leading: Callable[[Tensor, int], Tensor] = _Leading.apply


def orthonormalize(x: Float[Tensor, "... n p"]) -> Float[Tensor, "... n p"]:
    """The Q of the QR decomposition whose R has a positive diagonal, which makes it unique.

    Differentiable to every order for matrices of full column rank.

    Args:
        x: n >= p, full column rank.

    Raises:
        ConfigError: more columns than rows.
        DeviceError: half or integer precision.
    """
    n, p = x.shape[-2:]
    if p > n:
        raise ConfigError(f"{p} columns of length {n} can't be orthonormal; take at most {n}")
    check_precision("orthonormalize", x)
    q, r = torch.linalg.qr(x)
    signs = r.detach().diagonal(dim1=-2, dim2=-1).sign()
    return cast(Tensor, q * torch.where(signs == 0, 1.0, signs)[..., None, :])


def _symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) / 2
