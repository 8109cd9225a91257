r"""The log-Cholesky metric of SPD matrices (Lin, SIAM J. Matrix Anal. Appl. 40, 1353, 2019).

With X = L L^T, the map X -> strict(L) + log diag(L) is an isometry onto the lower triangular
matrices with the Frobenius inner product: the metric is flat and needs no eigenvalues. A tangent
vector V at X belongs to dL = L (L^-1 V L^-T)_half, the strictly lower part plus half the diagonal.
The metric with `theta` is the pull-back along X -> X^theta divided by theta^2.

Symmetry is not looked at, which would slow distances down: one triangle of every matrix is read, or
with `theta` other than 1 its symmetric part. `check` refuses matrices that are not symmetric.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional._weights import matrix_shares
from zoo.functional.spd._checks import cholesky
from zoo.functional.spd._deform import (
    deform,
    deform_vector,
    magnitude,
    restore,
    restore_vector,
)
from zoo.functional.spd._metric import (
    Number,
    origin,
    random,
    root,
    scalar,
    trace_product,
    whiten,
)
from zoo.functional.spd._points import check, project

__all__ = [
    "check",
    "dist",
    "exp",
    "from_triangle",
    "geodesic",
    "inner",
    "log",
    "mean",
    "origin",
    "project",
    "random",
    "to_triangle",
    "transport",
]


def to_triangle(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The lower triangular matrix strict(L) + log diag(L) that stands for X = L L^T."""
    factor = cholesky(x, where="to_triangle: the matrix")
    return factor.tril(-1) + torch.diag_embed(_diagonal(factor).log())


def from_triangle(y: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The SPD matrix that a lower triangular one stands for."""
    factor = y.tril(-1) + torch.diag_embed(_diagonal(y).exp())
    return factor @ factor.mT


def exp(
    x: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """End of the geodesic that leaves X with velocity V."""
    factor = cholesky(deform(x, theta), where="exp: the point")
    change = _change(factor, deform_vector(x, v, theta))
    diagonal = _diagonal(factor)
    grown = diagonal * torch.exp(_diagonal(change) / diagonal)
    end = (factor + change).tril(-1) + torch.diag_embed(grown)
    return restore(end @ end.mT, theta)


def log(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Velocity at X of the geodesic that reaches Y at time 1.

    Symmetry is taken for granted, see the module.
    """
    point = deform(x, theta)
    factor = cholesky(point, where="log: the first matrix")
    end = cholesky(deform(y, theta), where="log: the second matrix")
    diagonal = _diagonal(factor)
    growth = diagonal * (_diagonal(end) / diagonal).log()
    change = (end - factor).tril(-1) + torch.diag_embed(growth)
    return restore_vector(point, _tangent(factor, change), theta)


def dist(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """Frobenius distance of the triangular matrices, divided by |theta|.

    Symmetry is taken for granted, see the module.
    """
    difference = to_triangle(deform(x, theta)) - to_triangle(deform(y, theta))
    return root(trace_product(difference, difference)) / magnitude(theta)


def inner(
    x: Float[Tensor, "*#batch n n"],
    u: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch"]:
    """The metric at X."""
    factor = cholesky(deform(x, theta), where="inner: the point")
    scale = _diagonal(factor)
    a, b = (_change(factor, deform_vector(x, w, theta)) for w in (u, v))
    out = trace_product(a.tril(-1), b.tril(-1))
    diagonal = (_diagonal(a) * _diagonal(b) / scale.square()).sum(-1)
    return (out + diagonal) / (theta * theta)


def transport(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    v: Float[Tensor, "*#batch n n"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """V carried in parallel from X to Y, along any path."""
    target = deform(y, theta)
    factor = cholesky(deform(x, theta), where="transport: the first matrix")
    end = cholesky(target, where="transport: the second matrix")
    change = _change(factor, deform_vector(x, v, theta))
    scaled = _diagonal(change) * _diagonal(end) / _diagonal(factor)
    carried = change.tril(-1) + torch.diag_embed(scaled)
    return restore_vector(target, _tangent(end, carried), theta)


def geodesic(
    x: Float[Tensor, "*#batch n n"],
    y: Float[Tensor, "*#batch n n"],
    t: float | Float[Tensor, "*times"],
    *,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """The point at time t of the geodesic from X (t = 0) to Y (t = 1)."""
    begin, end = to_triangle(deform(x, theta)), to_triangle(deform(y, theta))
    return restore(from_triangle(begin + scalar(t) * (end - begin)), theta)


def mean(
    points: Float[Tensor, "points *batch n n"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    steps: int = 1,
    tol: float | None = None,
    init: Float[Tensor, "*batch n n"] | None = None,
    theta: Number = 1.0,
) -> Float[Tensor, "*batch n n"]:
    """Fréchet mean over the first axis: the mean of the triangular matrices.

    Symmetry is taken for granted, see the module.

    Args:
        points: SPD matrices.
        weights: one per point, or per point and batch entry; normalised. None: equal ones.
        steps: without influence: the mean is a closed form; so are the two after it.
        tol: see steps.
        init: see steps.
        theta: power of the deformation.
    """
    shares = matrix_shares("mean", points, weights)
    triangles = to_triangle(deform(points, theta))
    return restore(from_triangle((shares * triangles).sum(0)), theta)


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _change(factor: Tensor, v: Tensor) -> Tensor:
    """dL = L (L^-1 V L^-T)_half."""
    inside = whiten(factor, v)
    return factor @ (inside.tril() - 0.5 * torch.diag_embed(_diagonal(inside)))


def _tangent(factor: Tensor, change: Tensor) -> Tensor:
    """L dL^T + dL L^T."""
    half = change @ factor.mT
    return half + half.mT
