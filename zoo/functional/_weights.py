"""Weights of means: what is refused, and shares that sum to one."""

from torch import Tensor

from zoo.errors import ConfigError


def check_weights(where: str, points: Tensor, weights: Tensor | None, *, axes: int) -> None:
    """Refuses what no mean can be taken with.

    Args:
        where: names the mean in the message.
        points: along the first axis.
        weights: one for each point, with the first of the points' other axes or without.
        axes: at the end, of one point.

    Raises:
        ConfigError: no points, weights of another shape, negative, or that sum to nothing.
    """
    lead = tuple(points.shape[: points.ndim - axes])
    if not lead or lead[0] == 0:
        raise ConfigError(f"{where}: the mean of no points is not defined; give at least one")
    if weights is None:
        return
    shape = tuple(weights.shape)
    fits = 1 <= len(shape) <= len(lead) and shape[0] == lead[0]
    if not fits or any(w not in (1, n) for w, n in zip(shape, lead, strict=False)):
        raise ConfigError(
            f"{where}: weights of shape {shape}; expected {lead[:1]}, one per point, or {lead}"
        )
    if not bool((weights >= 0).all()):
        raise ConfigError(
            f"{where}: weights must not be negative; the smallest is {float(weights.min()):g}"
        )
    total = weights.sum(0)
    if not bool((total > 0).all()):
        raise ConfigError(
            f"{where}: weights sum to {float(total.min()):g}; the sum must be positive"
        )


def matrix_shares(where: str, points: Tensor, weights: Tensor | None) -> Tensor:
    """Weights that sum to one, with axes for matrices: (points, ..., 1, 1).

    Args:
        where: see `check_weights`.
        points: matrices along the first axis.
        weights: see there; equal ones if None.

    Raises:
        ConfigError: see there.
    """
    check_weights(where, points, weights, axes=2)
    if weights is None:
        return points.new_full((1,) * points.ndim, 1 / len(points))
    missing = points.ndim - 2 - weights.ndim
    shaped = weights.reshape(*weights.shape, *(1,) * missing)[..., None, None]
    shares: Tensor = shaped / shaped.sum(0)
    return shares
