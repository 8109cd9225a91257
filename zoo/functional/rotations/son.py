r"""The rotation group SO(n) with its bi-invariant metric.

A point is a rotation matrix x, a tangent vector at x is x W with W skew. The metric is
<x W, x W'> = tr(W^T W') / 2: a rotation by theta in one plane has the length |theta|, and of
several planes the squares add up.

The logarithm goes through the square root: Q = R^{1/2} is the polar factor of 1 + R, its angles are
at most pi / 2, and log R = 2 g(C) S with C, S the symmetric and skew parts of Q and
g(cos theta) = theta / sin theta, analytic at every angle. Repeated and vanishing angles are
ordinary points. At an angle of pi (the cut locus) the root is one of several: one is taken, and
derivatives along the manifold stay finite.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional import polar as decompositions
from zoo.functional._weights import matrix_shares
from zoo.functional.angles import angle_over_sine_matrix
from zoo.functional.precision import check_precision
from zoo.functional.squares import safe_sqrt

#: how far R^T R may be from the identity, in multiples of the precision and of sqrt(n)
SLACK = 64.0
#: planes whose angle has a cosine below this less one are near the cut locus
NEAR = 1e-4
#: the nudge by which such planes get a sense of rotation, in multiples of the precision
NUDGE = 256.0
#: steps after which the square root is right to rounding, from an error of up to 1 / NUDGE
NEWTON = 3

Rotation = Float[Tensor, "... n n"]


def exp(x: Rotation, v: Rotation) -> Rotation:
    """x exp(x^T v): the point reached from x after unit time with velocity v.

    Args:
        x: rotation.
        v: tangent vector at x.
    """
    check_precision("son.exp", x, v)
    return x @ torch.matrix_exp(skew(x.mT @ v))


def log(x: Rotation, y: Rotation) -> Rotation:
    """The tangent vector at x whose exponential is y, of the least length.

    Args:
        x: rotation.
        y: rotation.
    """
    check_precision("son.log", x, y)
    return x @ log_matrix(x.mT @ y)


def log_matrix(r: Rotation) -> Rotation:
    """The skew logarithm of a rotation, with angles between -pi and pi."""
    root = square_root(r)
    cosines, sines = (root + root.mT) / 2, skew(root)
    return skew(2 * angle_over_sine_matrix(cosines) @ sines)


def square_root(r: Rotation) -> Rotation:
    """The rotation by half the angles of r; at an angle of pi, one of them.

    The polar factor of 1 + r loses digits as an angle nears pi. Newton's steps give them back; they
    change nothing but rounding, in the derivatives as well.
    """
    eye = torch.eye(r.shape[-1], dtype=r.dtype, device=r.device)
    root = decompositions.polar(eye + r + _nudge(r), gap=4 * NUDGE)
    for _ in range(NEWTON):
        step = skew(root.mT @ r @ root.mT) / 4
        root = root @ torch.linalg.solve(eye - step, eye + step)
    return root


def _nudge(r: Tensor) -> Tensor:
    """A small skew matrix on the planes that r turns by nearly pi, zero elsewhere."""
    with torch.no_grad():
        values, vectors = torch.linalg.eigh((r + r.mT) / 2)
        planes = vectors * (values < NEAR - 1).to(r)[..., None, :]
        inside = planes.mT @ _tie_break(r.shape[-1]).to(r) @ planes
        nudge: Tensor = NUDGE * torch.finfo(r.dtype).eps * (planes @ inside @ planes.mT)
    return nudge


def _tie_break(n: int) -> Tensor:
    """A skew matrix that picks a sense of rotation in planes turned by exactly pi."""
    index = torch.arange(n, dtype=torch.float64)
    upper = (1 / (1 + 0.1 * (index[:, None] + index))).triu(1)
    return upper.mT - upper


def dist(x: Rotation, y: Rotation) -> Float[Tensor, "..."]:
    """Geodesic distance in radians: root of the sum of the squared angles of x^T y.

    At distance zero the gradient is zero.

    Args:
        x: rotation.
        y: rotation.
    """
    check_precision("son.dist", x, y)
    return safe_sqrt(log_matrix(x.mT @ y).square().sum((-2, -1)) / 2)


def inner(x: Rotation, u: Rotation, v: Rotation) -> Float[Tensor, "..."]:
    """tr(u^T v) / 2 of two tangent vectors at x."""
    return (u * v).sum((-2, -1)) / 2


def transport(x: Rotation, y: Rotation, v: Rotation) -> Rotation:
    """Parallel transport along the geodesic from x to y: x Q (x^T v) Q with Q^2 = x^T y.

    Args:
        x: rotation.
        y: rotation.
        v: tangent vector at x.
    """
    root = square_root(x.mT @ y)
    return x @ root @ skew(x.mT @ v) @ root


def geodesic(x: Rotation, y: Rotation, t: float | Float[Tensor, "..."]) -> Rotation:
    """The point a fraction t along the geodesic from x to y.

    Args:
        x: rotation at t = 0.
        y: rotation at t = 1.
        t: fraction; a tensor broadcasts against the leading axes.
    """
    factor = t[..., None, None] if isinstance(t, Tensor) else t
    return exp(x, factor * log(x, y))


def mean(
    points: Float[Tensor, "points ... n n"],
    weights: Float[Tensor, "points ..."] | None = None,
    *,
    steps: int = 100,
    tol: float | None = None,
) -> Rotation:
    """Fréchet mean: Karcher's iteration from the chordal mean.

    The gradient is that of the iteration as it ran.

    Args:
        points: rotations along the first axis.
        weights: not negative, with a positive sum; equal if None.
        steps: most iterations; 0 gives the chordal mean.
        tol: stops where every update is shorter, in radians; 10 times the precision if None.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    share = shares(points, weights)
    limit = 10 * torch.finfo(points.dtype).eps if tol is None else tol
    middle = decompositions.polar((share * points).sum(0), special=True)
    for _ in range(steps):
        step = (share * log_matrix(middle.mT @ points)).sum(0)
        middle = middle @ torch.matrix_exp(step)
        if float(step.detach().square().sum((-2, -1)).amax()) <= limit * limit:
            break
    return middle


def chordal_mean(
    points: Float[Tensor, "points ... n n"], weights: Float[Tensor, "points ..."] | None = None
) -> Rotation:
    """The rotation with the least sum of squared Frobenius distances: the projected average.

    Args:
        points: rotations along the first axis.
        weights: not negative, with a positive sum; equal if None.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    return decompositions.polar((shares(points, weights) * points).sum(0), special=True)


def shares(points: Tensor, weights: Tensor | None) -> Tensor:
    """Weights that sum to one, with axes for the matrices: (points, ..., 1, 1)."""
    check_precision("the mean of rotations", points)
    return matrix_shares("the mean of rotations", points, weights)


def project(x: Rotation) -> Rotation:
    """The rotation nearest to x: U diag(1, ..., 1, det) V^T of its singular value decomposition.

    Not unique where the two least singular values vanish, or agree and the determinant is
    negative; one is taken there, and derivatives along the choice are zero.

    Args:
        x: square matrices.
    """
    check_precision("son.project", x)
    return decompositions.polar(x, special=True)


def tangent(x: Rotation, v: Rotation) -> Rotation:
    """The part of v that is tangent at x: x times the skew part of x^T v."""
    return x @ skew(x.mT @ v)


def skew(v: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
    """The skew part (v - v^T) / 2."""
    return (v - v.mT) / 2


def random(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Rotation:
    """Rotations drawn uniformly (Haar measure).

    Args:
        shape: (..., n, n).
        generator: source of randomness; torch's own if None.
        dtype: of the result.
        device: of the result.
    """
    drawn = torch.randn(shape, generator=generator, dtype=dtype, device=device)
    out = decompositions.orthonormalize(drawn)
    flip = torch.linalg.det(out).sign()[..., None, None]
    return torch.cat([out[..., :1] * flip, out[..., 1:]], dim=-1)


def origin(
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Rotation:
    """The identity.

    Args:
        shape: (..., n, n).
        dtype: of the result.
        device: of the result.
    """
    return torch.eye(shape[-1], dtype=dtype, device=device).expand(shape).clone()


def check(x: Rotation, *, where: str, project: bool = False) -> Rotation:
    """The matrices, once they are known to be rotations.

    Args:
        x: matrices.
        where: names the caller in the message.
        project: takes the nearest rotations instead of refusing; entries that are not finite are
            refused all the same.

    Raises:
        DeviceError: half or integer precision.
        ManifoldError: not finite, not orthogonal, or with determinant -1; names the worst value.
    """
    check_precision(where, x)
    given, x = x, x.detach()
    if x.numel() == 0:
        return given
    if project and bool(x.isfinite().all()):
        return decompositions.polar(given, special=True)
    n = x.shape[-1]
    gap = float((x.mT @ x - torch.eye(n, dtype=x.dtype, device=x.device)).abs().max())
    limit = SLACK * torch.finfo(x.dtype).eps * math.sqrt(n)
    if not gap <= limit:
        raise ManifoldError(
            f"{where}: not a rotation: R^T R is off the identity by {gap:.2g}, at most "
            f"{limit:.2g} is allowed; pass project=True, or rotations.son.project(x), to take the "
            "nearest rotation"
        )
    if float(torch.linalg.det(x).min()) < 0:
        raise ManifoldError(
            f"{where}: a matrix of determinant -1 is a reflection, not a rotation; flip the sign "
            "of one axis, or take the nearest rotation by project=True or rotations.son.project(x)"
        )
    return given
