"""Means on the Poincaré ball."""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional._poincare_kernels import Curvature, gap, mobius_sum, square
from zoo.functional._poincare_origin import project, root
from zoo.functional._weights import check_weights
from zoo.functional.precision import check_precision
from zoo.functional.squares import asinhc


def midpoint(
    points: Float[Tensor, "points *batch dim"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch dim"]:
    """The Einstein gyro-midpoint, written on the ball (HNN++, arXiv:2006.08210, section 3.4).

    m = sum_i w_i lambda_i x_i / sum_i |w_i| (lambda_i - 1), and half of m in the gyrovector sense,
    m / (1 + sqrt(1 - c|m|^2)). A negative weight counts as its size at the opposite point. On the
    hyperboloid it is the normalised weighted sum. Weights that are all zero give the origin.

    Args:
        points: what to average, along the first axis.
        weights: one per point, the same for the whole batch or not; equal if left out.
        c: the curvature is -c.
    """
    check_precision("poincare.midpoint", points)
    root(c)
    weight = _aligned(weights, points)[..., None]
    alpha = gap(points, c)
    over = (2 * weight / alpha * points).sum(0)
    under = (weight.abs() * (2 - alpha) / alpha).expand(*points.shape[:-1], 1).sum(0)
    return halved(over, under, c)


def _aligned(weights: Tensor | None, points: Tensor) -> Tensor:
    """Weights with one axis for each of the points' axes but the last."""
    if weights is None:
        weights = points.new_ones(points.shape[0])
    return weights.reshape(*weights.shape, *(1,) * (points.ndim - 1 - weights.ndim))


def mixed(
    points: Float[Tensor, "*batch keys dim"],
    weights: Float[Tensor, "*batch queries keys"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch queries dim"]:
    """Gyro-midpoints of the same points for many rows of weights, as matrix products.

    Args:
        points: what to average.
        weights: a row per midpoint.
        c: the curvature is -c.
    """
    check_precision("poincare.mixed", points, weights)
    root(c)
    alpha = gap(points, c)
    over = weights @ (2 / alpha * points)
    return halved(over, weights.abs() @ ((2 - alpha) / alpha), c)


def halved(over: Tensor, under: Tensor, c: Curvature) -> Tensor:
    """Half, in the gyrovector sense, of the point with Klein coordinates over / under.

    Args:
        over: sums of w lambda x.
        under: sums of |w| (lambda - 1), one per row; zero gives the origin.
        c: the curvature is -c.
    """
    empty = under <= 0
    klein = over / torch.where(empty, 1.0, under)
    rest = (1 - c * square(klein)).clamp(min=torch.finfo(klein.dtype).tiny)
    return project(torch.where(empty, 0.0, klein / (1 + torch.sqrt(rest))), c=c)


def mean(
    points: Float[Tensor, "points *batch dim"],
    weights: Float[Tensor, "points *some"] | None = None,
    *,
    c: Curvature = 1.0,
    steps: int = 100,
    tol: float | None = None,
) -> Float[Tensor, "*batch dim"]:
    """The Fréchet mean, which minimises sum_i w_i dist(x_i, mean)^2.

    Each step is a gyro-midpoint with the weights w_i r_i / sinh(r_i), r_i the distances to the
    present mean. As r^2 is a concave function of cosh(r), each step minimises an upper bound of
    the sum that touches it: the sum falls in every step, with no step size to choose. Gradients
    pass through all steps and converge with them.

    Args:
        points: what to average, along the first axis.
        weights: one per point, not negative, the same for the whole batch or not; equal if left
            out.
        c: the curvature is -c.
        steps: of the iteration, at most.
        tol: stops when no mean moves further than this, in units of 1 / sqrt(c); 16 eps if left
            out.

    Raises:
        ConfigError: no points, or weights that don't fit.
    """
    check_precision("poincare.mean", points)
    check_weights("poincare.mean", points, weights, axes=1)
    limit = (16 * torch.finfo(points.dtype).eps if tol is None else tol) ** 2 / 4
    weight = _aligned(weights, points)
    centre = midpoint(points, weight, c=c)
    for _ in range(steps):
        seen = mobius_sum(-centre, points, c)  # from the centre, where midpoints are accurate
        alpha = gap(seen, c)[..., 0]
        u = (1 - alpha) / alpha
        step = midpoint(seen, weight * asinhc(u) * torch.rsqrt(1 + u), c=c)
        centre = mobius_sum(centre, step, c)
        if bool((c * square(step.detach()) <= limit).all()):
            break
    return centre
