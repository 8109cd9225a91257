r"""Layers of the gyrovector spaces of SPD matrices: translation, scaling, multinomial regression.

Nguyen and Yang, "Building neural networks on matrix manifolds: a gyrovector space approach"
(ICML 2023, arXiv:2305.04560): P (+) Q, t (x) P, and hyperplanes
H = {X: <(-) P (+) X, A> = 0} with a point P and a symmetric direction A. The logit of a class is
|A| times the signed (pseudo-)gyrodistance to its hyperplane:

    AIM  <log(P^-1/2 X P^-1/2), A>
    LEM  <log X - log P, A>
    LCM  <phi(X) - phi(P), A> with phi(X) = strict(L) + log diag(L), X = L L^T, A lower triangular

Deviation: points are exp of symmetric matrices by default, so that any optimiser trains them.
"""

import math
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional import spd
from zoo.functional.precision import check_precision
from zoo.layers.spd._charts import Chart, CongruenceChart, FlatChart
from zoo.layers.spd.gyro_bn import GyroMetric
from zoo.layers.spd.parameter import Parametrization, SPDParameter


def gyro_chart(metric: GyroMetric, where: str) -> Chart:
    """The chart whose shift and scale are the gyro operations.

    Raises:
        ConfigError: for an unknown metric.
    """
    if metric not in get_args(GyroMetric):
        offer = nearest(str(metric), get_args(GyroMetric))
        raise ConfigError(f"{where} has no metric {metric!r}: {offer}")
    return CongruenceChart("symmetric") if metric == "AIM" else FlatChart(metric == "LCM")


class GyroTranslation(nn.Module):
    """X -> B (+) X with a learnable SPD matrix B, the identity at first.

    Args:
        size: n of the matrices.
        metric: of the gyrovector space.
        parametrization: of B.

    Raises:
        ConfigError: for an unknown metric.
    """

    def __init__(
        self, size: int, *, metric: GyroMetric = "AIM", parametrization: Parametrization = "exp"
    ) -> None:
        super().__init__()
        self.chart = gyro_chart(metric, "GyroTranslation")
        self.bias = SPDParameter(size, parametrization=parametrization)

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Translated SPD matrices.

        Raises:
            ManifoldError: for matrices that are not positive definite.
        """
        check_precision("GyroTranslation", x)
        return self.chart.lower(self.chart.shift(self.chart.lift(x), self.bias))


class GyroScaling(nn.Module):
    """X -> t (x) X with a learnable number t > 0, 1 at first.

    Args:
        metric: of the gyrovector space.

    Raises:
        ConfigError: for an unknown metric.
    """

    def __init__(self, *, metric: GyroMetric = "AIM") -> None:
        super().__init__()
        self.chart = gyro_chart(metric, "GyroScaling")
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Scaled SPD matrices.

        Raises:
            ManifoldError: for matrices that are not positive definite.
        """
        check_precision("GyroScaling", x)
        y = self.chart.lift(x)
        origin = self.chart.origin(x.shape[-1]).to(y)
        return self.chart.lower(self.chart.centre(y, origin).scaled(self.log_scale.exp()))


class GyroMLR(nn.Module):
    """Multinomial regression on SPD matrices: one hyperplane for each class.

    The points start at the identity, the directions at independent normal entries of variance
    2 / (n (n + 1)).

    Args:
        size: n of the matrices.
        out_channels: number of classes.
        metric: of the gyrovector space; AIM takes one decomposition per sample and class.

    Raises:
        ConfigError: for an unknown metric or fewer than one class.
    """

    def __init__(self, size: int, out_channels: int, *, metric: GyroMetric = "LEM") -> None:
        super().__init__()
        self.chart = gyro_chart(metric, "GyroMLR")
        if out_channels < 1:
            raise ConfigError(f"out_channels={out_channels}: GyroMLR needs at least one class")
        entries = size * (size + 1) // 2
        self.metric = metric
        self.points = nn.Parameter(torch.zeros(out_channels, size, size))  # log P
        self.directions = nn.Parameter(torch.randn(out_channels, entries) / math.sqrt(entries))

    def forward(self, x: Float[Tensor, "batch n n"]) -> Float[Tensor, "batch classes"]:
        """Logits.

        Raises:
            ManifoldError: for matrices that are not positive definite.
        """
        check_precision("GyroMLR", x)
        logarithm = 0.5 * (self.points + self.points.mT)
        if self.metric == "AIM":
            inverse = spd.exp(-0.5 * logarithm)  # P^-1/2
            moved = inverse @ x[:, None] @ inverse.mT  # (batch, classes, n, n)
            return (spd.to_vector(spd.log(moved)) * self.directions).sum(-1)
        if self.metric == "LEM":
            flat, origin = spd.to_vector(spd.log(x)), spd.to_vector(logarithm)
        else:
            triangle = spd.log_cholesky.to_triangle
            flat, origin = _lower(triangle(x)), _lower(triangle(spd.exp(logarithm)))
        return flat @ self.directions.mT - (origin * self.directions).sum(-1)

    def extra_repr(self) -> str:
        """Sizes and metric."""
        classes, n, _ = self.points.shape
        return f"size={n}, out_channels={classes}, metric={self.metric!r}"


def _lower(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch entries"]:
    """The entries of lower triangular matrices."""
    row, column = torch.tril_indices(x.shape[-1], x.shape[-1], device=x.device)
    return x[..., row, column]
