r"""The Grassmann manifold as orthogonal projectors P = U U^T of rank p.

A tangent vector at P is symmetric with P D + D P = D. The metric is tr(D D') / 2, for which the map
from bases to projectors is an isometry: distances are those of `zoo.functional.grassmann`, the root
of the sum of the squared principal angles (with tr(D D') they would be sqrt 2 times as long).
Points are lifted to bases, which any derivative here doesn't see, and the formulas for bases do the
rest. Bendokat, Zimmermann, Absil, arXiv:2011.13699, section 3.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional import polar as decompositions
from zoo.functional._weights import check_weights
from zoo.functional.grassmann import _basis as bases
from zoo.functional.precision import check_precision

Projector = Float[Tensor, "... n n"]


def from_basis(x: Float[Tensor, "... n p"]) -> Float[Tensor, "... n n"]:
    """The projector onto the span of an orthonormal basis: U U^T.

    Raises:
        DeviceError: half precision.
    """
    check_precision("projector.from_basis", x)
    return x @ x.mT


def to_basis(x: Projector, rank: int | None = None) -> Float[Tensor, "... n p"]:
    """An orthonormal basis of the range of a projector.

    The derivative is that of the subspace (see `zoo.functional.polar.leading_subspace`).

    Args:
        x: projectors, all of one rank.
        rank: of the projectors; read off the traces if None.

    Raises:
        ManifoldError: traces that don't agree on a rank.
    """
    return decompositions.leading_subspace(x, rank_of(x) if rank is None else rank)


def rank_of(x: Projector) -> int:
    """The rank that all projectors of a batch share, from their traces.

    Raises:
        ManifoldError: traces that differ, or lie nearer to no positive number than to another.
    """
    traces = x.detach().diagonal(dim1=-2, dim2=-1).sum(-1).flatten()
    ranks = traces.round()
    if ranks.numel() == 0 or not bool(torch.isfinite(traces).all()):
        raise ManifoldError("the rank of a projector can't be read off: its trace is not finite")
    low, high = int(ranks.min()), int(ranks.max())
    if low != high or low < 1:
        raise ManifoldError(
            f"projectors of one rank, at least 1, were expected; their traces lie between "
            f"{float(traces.min()):.6g} and {float(traces.max()):.6g}: give each rank in a batch "
            "of its own"
        )
    return low


def exp(x: Projector, v: Projector) -> Projector:
    """The point reached from x after unit time with velocity v.

    Args:
        x: projector.
        v: tangent vector at x.
    """
    basis = to_basis(x)
    return from_basis(bases.exp(basis, v @ basis))


def log(x: Projector, y: Projector) -> Projector:
    """The tangent vector at x whose exponential is y, of the least length.

    Args:
        x: projector.
        y: projector of the same rank.
    """
    rank = rank_of(x)
    basis = to_basis(x, rank)
    return _raised(basis, bases.log(basis, to_basis(y, rank)))


def _raised(basis: Tensor, v: Tensor) -> Tensor:
    """The tangent vector at U U^T of a tangent vector at U."""
    return v @ basis.mT + basis @ v.mT


def dist(x: Projector, y: Projector) -> Float[Tensor, "..."]:
    """Geodesic distance: root of the sum of the squared principal angles, in radians.

    Args:
        x: projector.
        y: projector of the same rank.
    """
    rank = rank_of(x)
    return bases.dist(to_basis(x, rank), to_basis(y, rank))


def inner(x: Projector, u: Projector, v: Projector) -> Float[Tensor, "..."]:
    """tr(u v) / 2 of two tangent vectors at x."""
    return (u * v).sum((-2, -1)) / 2


def transport(x: Projector, y: Projector, v: Projector) -> Projector:
    """Parallel transport along the geodesic from x to y.

    Args:
        x: projector.
        y: projector of the same rank.
        v: tangent vector at x.
    """
    rank = rank_of(x)
    start, end = to_basis(x, rank), to_basis(y, rank)
    return _raised(end, bases.transport(start, end, v @ start))


def geodesic(x: Projector, y: Projector, t: float | Float[Tensor, "..."]) -> Projector:
    """The point a fraction t along the geodesic from x to y.

    Args:
        x: projector at t = 0.
        y: projector at t = 1.
        t: fraction; a tensor broadcasts against the leading axes.
    """
    rank = rank_of(x)
    return from_basis(bases.geodesic(to_basis(x, rank), to_basis(y, rank), t))


def mean(
    points: Float[Tensor, "points ... n n"],
    weights: Float[Tensor, "points ..."] | None = None,
    *,
    steps: int = 100,
    tol: float | None = None,
) -> Projector:
    """Fréchet mean (see `zoo.functional.grassmann.mean`).

    Args:
        points: projectors along the first axis.
        weights: not negative, with a positive sum; equal if None.
        steps: most iterations.
        tol: stops where every update is shorter, in radians.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    check_weights("projector.mean", points, weights, axes=2)
    return from_basis(bases.mean(to_basis(points), weights, steps=steps, tol=tol))


def project(x: Projector, *, rank: int | None = None) -> Projector:
    """The projector of a given rank that is nearest to x.

    Args:
        x: any square matrix; its symmetric part counts.
        rank: the nearest whole number to the trace if None.
    """
    check_precision("projector.project", x)
    return from_basis(to_basis(x, rank))


def tangent(x: Projector, v: Projector) -> Projector:
    """The part of v that is tangent at x: P S (1 - P) + (1 - P) S P, S the symmetric part of v."""
    symmetric = (v + v.mT) / 2
    half = x @ symmetric @ (torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) - x)
    return half + half.mT


def random(
    shape: tuple[int, ...],
    *,
    rank: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Projector:
    """Subspaces drawn uniformly (Haar measure).

    Args:
        shape: (..., n, n).
        rank: n // 2, at least 1, if None.
        generator: source of randomness; torch's own if None.
        dtype: of the result.
        device: of the result.
    """
    wide = max(1, shape[-1] // 2) if rank is None else rank
    sizes = (*shape[:-1], wide)
    return from_basis(bases.random(sizes, generator=generator, dtype=dtype, device=device))


def check(x: Projector, *, where: str, project: bool = False) -> Projector:
    """The matrices, once they are known to be orthogonal projectors.

    Args:
        x: matrices.
        where: names the caller in the message.
        project: takes the nearest projectors instead of refusing; entries that are not finite are
            refused all the same.

    Raises:
        DeviceError: half or integer precision.
        ManifoldError: not finite, not symmetric, or not its own square; names matrix and value.
    """
    check_precision(where, x)
    given, x = x, x.detach()
    if not bool(torch.isfinite(x).all()):
        raise ManifoldError(f"{where}: the projectors have entries that are not finite")
    if project:
        return _project(given)
    limit = bases.SLACK * torch.finfo(x.dtype).eps * x.shape[-1] ** 0.5
    for gap, what in (((x - x.mT).abs(), "symmetric"), ((x @ x - x).abs(), "idempotent")):
        worst = gap.amax((-2, -1))
        if worst.numel() and float(worst.max()) > limit:
            raise ManifoldError(
                f"{where}: {bases.name_worst(worst)} is not {what}: off by "
                f"{float(worst.max()):.2g}, at most {limit:.2g} is allowed; "
                "pass project=True, or grassmann.projector.project(x), to take the nearest one"
            )
    return given


_project = project
