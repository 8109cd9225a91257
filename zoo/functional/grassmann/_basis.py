r"""The Grassmann manifold of p-dimensional subspaces of R^n, a subspace as an orthonormal basis.

A point is U (n, p) with U^T U = 1; U and U O are the same point for every orthogonal O. A tangent
vector at U is D (n, p) with U^T D = 0; where U turns to U O, D turns to D O. The metric is
<D, D'> = tr(D^T D'), so that distances are the root of the sum of the squared principal angles.
Every function returns the representative that its formula gives; whatever depends on the subspace
alone doesn't see which.

Formulas: Edelman, Arias, Smith, SIAM J. Matrix Anal. Appl. 20, 1998 (exp, transport); Bendokat,
Zimmermann, Absil, A Grassmann Manifold Handbook, arXiv:2011.13699 (log with a single SVD, Alg.
5.3). They are evaluated as matrix functions, analytic in cosines or squares of angles, whose
derivatives of every order are finite at equal points and repeated angles. The cut locus of U are
the subspaces with a principal angle of pi / 2 to it: there the logarithm is one of several and its
derivative isn't defined; one is returned, with finite derivatives.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional import polar as decompositions
from zoo.functional._weights import matrix_shares
from zoo.functional.angles import angle_over_sine_matrix
from zoo.functional.grassmann._functions import cos_sinc
from zoo.functional.precision import check_precision
from zoo.functional.squares import safe_sqrt

#: how far U^T U may be from the identity, in multiples of the precision and of sqrt(n)
SLACK = 64.0

Basis = Float[Tensor, "... n p"]


def rotate(
    x: Float[Tensor, "... n p"], v: Float[Tensor, "... n p"], z: Float[Tensor, "... n k"]
) -> Float[Tensor, "... n k"]:
    """exp(v x^T - x v^T) z: the rotation of R^n that takes x along the geodesic of v.

    Args:
        x: basis.
        v: tangent vector at x.
        z: columns to turn.

    Raises:
        DeviceError: half precision.
    """
    check_precision("grassmann.rotate", v, z)
    half_cos, half_sinc = cos_sinc(v.mT @ v / 4)
    cos, sinc, bend = _doubled(half_cos, half_sinc)
    along = x.mT @ z
    across = v.mT @ z
    start = x @ (cos @ along - along - sinc @ across)
    return z + start + v @ (sinc @ along - bend @ across)


def _doubled(cos: Tensor, sinc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cos(sqrt G), sin(sqrt G) / sqrt G, (1 - cos(sqrt G)) / G from those of G / 4."""
    eye = torch.eye(cos.shape[-1], dtype=cos.dtype, device=cos.device)
    return 2 * cos @ cos - eye, sinc @ cos, sinc @ sinc / 2


def exp(x: Basis, v: Basis) -> Basis:
    """The point reached from x after unit time with velocity v.

    Args:
        x: basis.
        v: tangent vector at x.
    """
    check_precision("grassmann.exp", x, v)
    cos, sinc = cos_sinc(v.mT @ v)
    return x @ cos + v @ sinc


def log(x: Basis, y: Basis) -> Basis:
    """The tangent vector at x whose exponential is y, of the least length.

    Args:
        x: basis.
        y: basis.
    """
    return _log(x, y)[0]


def _log(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm, and the orthogonal O with exp_x(log) = y O."""
    check_precision("grassmann.log", x, y)
    turn = decompositions.polar(y.mT @ x)
    aligned = y @ turn
    cosines = x.mT @ aligned
    cosines = (cosines + cosines.mT) / 2
    normal = aligned - x @ cosines
    normal = normal - x @ (x.mT @ normal)  # once more: tangent to the last digit
    return normal @ angle_over_sine_matrix(cosines), turn


def dist(x: Basis, y: Basis) -> Float[Tensor, "..."]:
    """Geodesic distance: root of the sum of the squared principal angles, in radians.

    To rounding even for subspaces that nearly coincide; at distance zero the gradient is zero.

    Args:
        x: basis.
        y: basis.
    """
    return safe_sqrt(_log(x, y)[0].square().sum((-2, -1)))


def inner(x: Basis, u: Basis, v: Basis) -> Float[Tensor, "..."]:
    """tr(u^T v) of two tangent vectors at x."""
    return (u * v).sum((-2, -1))


def transport(x: Basis, y: Basis, v: Basis) -> Basis:
    """Parallel transport along the geodesic from x to y.

    Args:
        x: basis.
        y: basis.
        v: tangent vector at x.

    Returns:
        The tangent vector at the basis y.
    """
    direction, turn = _log(x, y)
    moved = rotate(x, direction, v) @ turn.mT
    return moved - y @ (y.mT @ moved)


def geodesic(x: Basis, y: Basis, t: float | Float[Tensor, "..."]) -> Basis:
    """The point a fraction t along the geodesic from x to y.

    Args:
        x: basis at t = 0.
        y: basis at t = 1.
        t: fraction; a tensor broadcasts against the leading axes.
    """
    v = log(x, y)
    return exp(x, v * (t[..., None, None] if isinstance(t, Tensor) else t))


def mean(
    points: Float[Tensor, "points ... n p"],
    weights: Float[Tensor, "points ..."] | None = None,
    *,
    steps: int = 100,
    tol: float | None = None,
    start: Float[Tensor, "... n p"] | None = None,
) -> Basis:
    """Fréchet mean: Karcher's iteration, from the leading subspace of the mean projector.

    The gradient is that of the iteration as it ran.

    Args:
        points: bases along the first axis.
        weights: not negative, with a positive sum; equal if None.
        steps: most iterations; 0 gives the starting point.
        tol: stops where every update is shorter, in radians; 10 times the precision if None.
        start: where to begin instead.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    check_precision("grassmann.mean", points)
    share = matrix_shares("grassmann.mean", points, weights)
    if start is None:
        projectors = (share * (points @ points.mT)).sum(0)
        start = decompositions.leading_subspace(projectors, points.shape[-1])
    limit = 10 * torch.finfo(points.dtype).eps if tol is None else tol
    middle = start
    for _ in range(steps):
        step = (share * log(middle.expand_as(points), points)).sum(0)
        middle = exp(middle, step)
        if float(step.detach().square().sum((-2, -1)).amax()) <= limit * limit:
            break
    return middle


def project(x: Basis) -> Basis:
    """The orthonormal basis nearest to x, its polar factor.

    Args:
        x: full column rank.

    Raises:
        ManifoldError: a rank-deficient matrix; names it and its singular values.
    """
    check_precision("grassmann.project", x)
    check_rank(x, where="grassmann.project")
    return decompositions.polar(x)


def tangent(x: Basis, v: Basis) -> Basis:
    """The part of v that is tangent at x: v - x x^T v."""
    return v - x @ (x.mT @ v)


def random(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Basis:
    """Subspaces drawn uniformly (Haar measure).

    Args:
        shape: (..., n, p).
        generator: source of randomness; torch's own if None.
        dtype: of the result.
        device: of the result.
    """
    drawn = torch.randn(shape, generator=generator, dtype=dtype, device=device)
    return decompositions.orthonormalize(drawn)


def origin(
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Basis:
    """The subspace of the first p axes, as the first p columns of the identity.

    Args:
        shape: (..., n, p).
        dtype: of the result.
        device: of the result.
    """
    eye = torch.eye(shape[-2], shape[-1], dtype=dtype, device=device)
    return eye.expand(shape).clone()


def check(
    x: Basis, *, where: str, precision: torch.dtype | None = None, project: bool = False
) -> Basis:
    """The bases, once they are known to be orthonormal.

    Args:
        x: bases.
        where: names the caller in the message.
        precision: whose rounding is allowed; that of x if None. Bases that were stored in float32
            are no better in float64.
        project: takes the nearest orthonormal bases instead of refusing; bases without full rank
            are refused all the same.

    Raises:
        DeviceError: half or integer precision.
        ManifoldError: more columns than rows, entries that are not finite, rank-deficient bases,
            columns that are not orthonormal; names the worst matrix and value.
    """
    check_precision(where, x)
    n, p = x.shape[-2:]
    if p > n:
        raise ManifoldError(
            f"{where}: {p} columns of length {n} span no {p}-dimensional subspace; take the "
            f"transpose, or at most {n} columns"
        )
    check_rank(x, where=where)
    if project:
        return decompositions.polar(x)
    given, x = x, x.detach()
    eye = torch.eye(p, dtype=x.dtype, device=x.device)
    gap = (x.mT @ x - eye).abs().amax((-2, -1))
    limit = SLACK * torch.finfo(precision or x.dtype).eps * n**0.5
    if gap.numel() and float(gap.max()) > limit:
        raise ManifoldError(
            f"{where}: the columns of {name_worst(gap)} are not orthonormal: U^T U is off the "
            f"identity by {float(gap.max()):.2g}, at most {limit:.2g} is allowed; "
            "pass project=True, or grassmann.project(x), to take the nearest orthonormal basis"
        )
    return given


def check_rank(x: Basis, *, where: str) -> None:
    """Refuses matrices without full column rank.

    Args:
        x: n >= p.
        where: names the caller in the message.

    Raises:
        ManifoldError: entries that are not finite, or dependent columns; names the matrix.
    """
    if not bool(torch.isfinite(x).all()):
        bad = (~torch.isfinite(x)).any(-1).any(-1).to(x.dtype)
        raise ManifoldError(f"{where}: {name_worst(bad)} has entries that are not finite")
    if x.numel() == 0:
        return
    values = torch.linalg.svdvals(x.detach())
    least, most = values[..., -1], values[..., 0]
    limit = max(x.shape[-2:]) * torch.finfo(x.dtype).eps
    ratio = torch.where(most > 0, least / most.clamp_min(torch.finfo(x.dtype).tiny), 0.0)
    if float(ratio.min()) <= limit:
        worst = int(ratio.flatten().argmin())
        rank = int(
            (values.reshape(-1, values.shape[-1])[worst] > limit * most.flatten()[worst]).sum()
        )
        raise ManifoldError(
            f"{where}: {name_worst(-ratio)} has rank {rank} instead of {x.shape[-1]} (least over "
            f"largest singular value {float(ratio.min()):.2g}, above {limit:.2g} is needed); give "
            "linearly independent columns, or fewer of them"
        )


def name_worst(values: Float[Tensor, "..."]) -> str:
    """Names the matrix of a batch at which a value is largest."""
    if values.ndim == 0:
        return "the matrix"
    index: Any = torch.unravel_index(values.argmax(), values.shape)
    return f"matrix [{', '.join(str(int(i)) for i in index)}]"
