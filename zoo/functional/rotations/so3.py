"""Rotations of space: SO(3), with the metric in which distances are angles.

The same vocabulary, points and tangent vectors as in `zoo.functional.rotations.son`, in closed
forms that hold to rounding at every angle, 0 and pi included.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.precision import check_precision
from zoo.functional.rotations import son
from zoo.functional.rotations._convert import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    quaternion_to_matrix,
    vee,
)
from zoo.functional.rotations._convert import hat as hat
from zoo.functional.rotations.son import check as check
from zoo.functional.rotations.son import chordal_mean as chordal_mean
from zoo.functional.rotations.son import inner as inner
from zoo.functional.rotations.son import origin as origin
from zoo.functional.rotations.son import project as project
from zoo.functional.rotations.son import tangent as tangent
from zoo.functional.squares import safe_norm

Rotation = Float[Tensor, "... 3 3"]


def exp(x: Rotation, v: Rotation) -> Rotation:
    """The point reached from x after unit time with velocity v.

    Args:
        x: rotation.
        v: tangent vector at x, x times a skew matrix (radians).
    """
    check_precision("so3.exp", x, v)
    return x @ axis_angle_to_matrix(vee(x.mT @ v))


def log(x: Rotation, y: Rotation) -> Rotation:
    """The tangent vector at x whose exponential is y, of the least length.

    Args:
        x: rotation.
        y: rotation.
    """
    check_precision("so3.log", x, y)
    return x @ hat(matrix_to_axis_angle(x.mT @ y))


def dist(x: Rotation, y: Rotation) -> Float[Tensor, "..."]:
    """The angle of x^T y in radians, atan2(sin, cos).

    To rounding at every angle; the gradient is finite everywhere, and zero at 0 and pi.

    Args:
        x: rotation.
        y: rotation.
    """
    check_precision("so3.dist", x, y)
    turn = x.mT @ y
    cosine = (turn.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(safe_norm(vee(turn)), cosine)


def chordal_dist(x: Rotation, y: Rotation) -> Float[Tensor, "..."]:
    """Frobenius norm of x - y: 2 sqrt(2) sin(angle / 2); the gradient at zero is zero.

    Args:
        x: rotation.
        y: rotation.
    """
    return safe_norm((x - y).flatten(-2))


def transport(x: Rotation, y: Rotation, v: Rotation) -> Rotation:
    """Parallel transport along the geodesic from x to y.

    Args:
        x: rotation.
        y: rotation.
        v: tangent vector at x.
    """
    half = axis_angle_to_matrix(matrix_to_axis_angle(x.mT @ y) / 2)
    return x @ half @ son.skew(x.mT @ v) @ half


def geodesic(x: Rotation, y: Rotation, t: float | Float[Tensor, "..."]) -> Rotation:
    """The point a fraction t along the geodesic from x to y.

    Args:
        x: rotation at t = 0.
        y: rotation at t = 1.
        t: fraction; a tensor broadcasts against the leading axes.
    """
    factor = t[..., None] if isinstance(t, Tensor) else t
    return x @ axis_angle_to_matrix(factor * matrix_to_axis_angle(x.mT @ y))


def mean(
    points: Float[Tensor, "points ... 3 3"],
    weights: Float[Tensor, "points ..."] | None = None,
    *,
    steps: int = 100,
    tol: float | None = None,
) -> Rotation:
    """Fréchet mean: Karcher's iteration from the chordal mean.

    Args:
        points: rotations along the first axis.
        weights: not negative, with a positive sum; equal if None.
        steps: most iterations; 0 gives the chordal mean.
        tol: stops where every update is shorter, in radians; 10 times the precision if None.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    middle = chordal_mean(points, weights)
    share = son.shares(points, weights)[..., 0]
    limit = 10 * torch.finfo(points.dtype).eps if tol is None else tol
    for _ in range(steps):
        step = (share * matrix_to_axis_angle(middle.mT @ points)).sum(0)
        middle = middle @ axis_angle_to_matrix(step)
        if float(step.detach().square().sum(-1).amax()) <= limit * limit:
            break
    return middle


def random(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Rotation:
    """Rotations drawn uniformly (Haar measure), from normal quaternions.

    Args:
        shape: (..., 3, 3).
        generator: source of randomness; torch's own if None.
        dtype: of the result.
        device: of the result.
    """
    sizes = (*shape[:-2], 4)
    return quaternion_to_matrix(torch.randn(sizes, generator=generator, dtype=dtype, device=device))
