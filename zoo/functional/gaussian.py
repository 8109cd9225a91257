"""Gaussians of feature vectors from sums that can be added up frame by frame.

The covariance is the estimator of Ledoit and Wolf (J. Multivariate Anal. 88, 365, 2004), a mixture
(1 - s) C + s m Id of the sample covariance C and a multiple of the identity, m = tr(C) / d. Its
weight s = min(b, D) / D needs |C - m Id|^2 = D and b = mean |x x^T - C|^2 / n, both of centred x,
and the latter follows from sums of x, x x^T, |x|^2 x and |x|^4: one pass over the data is enough.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Moments(NamedTuple):
    """Sums over vectors x: their number, x, x x^T, |x|^2 x and |x|^4."""

    number: Float[Tensor, ""]
    first: Float[Tensor, " features"]
    second: Float[Tensor, "features features"]
    third: Float[Tensor, " features"]
    fourth: Float[Tensor, ""]


def moments(x: Float[Tensor, "vectors features"]) -> Moments:
    """The sums over some vectors; those over more are their sums, entry by entry.

    The vectors should have been shifted by a fixed one near their mean, so that nothing cancels.
    """
    squared = x.square().sum(1)
    count = squared.new_tensor(float(len(x)))
    return Moments(count, x.sum(0), x.T @ x, squared @ x, squared.square().sum())


def centred(sums: Moments) -> tuple[Float[Tensor, " features"], Moments]:
    """The mean, and the sums over x - mean.

    The third of them is left at zero, since no centred estimate needs it.
    """
    n, first, second, third, fourth = sums
    mean = first / n
    m2 = mean.square().sum()
    quartic = (
        fourth
        + 4.0 * mean @ second @ mean
        + n * m2.square()
        - 4.0 * third @ mean
        + 2.0 * m2 * second.trace()
        - 4.0 * m2 * first @ mean
    )
    around = second - n * torch.outer(mean, mean)
    zero = torch.zeros_like(first)
    return mean, Moments(n, zero, 0.5 * (around + around.T), zero, quartic.clamp(min=0.0))


def ledoit_wolf(sums: Moments) -> tuple[Float[Tensor, "features features"], float]:
    """The covariance of vectors of mean zero.

    Args:
        sums: from `centred`, or several of those added up.

    Returns:
        The covariance, and the weight s of the identity in it, in [0, 1].
    """
    n, covariance = sums.number, sums.second / sums.number
    level = covariance.trace() / len(covariance)
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    spread = (covariance - level * identity).square().sum()
    noise = ((sums.fourth / n - covariance.square().sum()) / n).clamp(min=0.0)
    weight = float((noise / spread).clamp(max=1.0)) if float(spread) > 0.0 else 1.0
    return (1.0 - weight) * covariance + weight * level * identity, weight


def mahalanobis(
    x: Float[Tensor, "vectors features"],
    mean: Float[Tensor, " features"],
    factor: Float[Tensor, "features features"],
) -> Float[Tensor, " vectors"]:
    """Distances from a Gaussian, divided by the square root of the number of features.

    Vectors drawn from it lie at about 1 in any number of features.

    Args:
        x: vectors.
        mean: of the Gaussian.
        factor: lower Cholesky factor of its covariance.
    """
    white: Tensor = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    return (white.square().sum(0) / len(mean)).sqrt()


def pack_lower(matrices: Float[Tensor, "k n n"]) -> Float[Tensor, "k packed"]:
    """The lower triangles, row after row."""
    row, column = torch.tril_indices(matrices.shape[1], matrices.shape[1])
    return matrices[:, row, column]


def unpack_lower(packed: Float[Tensor, "k packed"]) -> Float[Tensor, "k n n"]:
    """Lower triangular matrices from their packed triangles."""
    n = (math.isqrt(8 * packed.shape[1] + 1) - 1) // 2
    row, column = torch.tril_indices(n, n)
    matrices = packed.new_zeros(len(packed), n, n)
    matrices[:, row, column] = packed
    return matrices


def group_maximum(
    values: Float[Tensor, " rows"], index: Int[Tensor, " rows"], size: int
) -> Float[Tensor, " size"]:
    """The largest value of each group of rows; zero for a group without any."""
    return values.new_zeros(size).scatter_reduce(0, index, values, "amax")
