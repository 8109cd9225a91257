r"""GyroBN: batch norm of SPD matrices by the operations of a gyrovector space.

Chen et al., "Gyrogroup batch normalization" (ICLR 2025), Algorithm 1:

    out = B (+) (s / sqrt(v^2 + eps) (x) ((-) M (+) X)),

with M and v^2 the Fréchet mean and variance, and the gyro operations of SPD matrices of Nguyen and
Yang (ICML 2023, arXiv:2305.04560):

    AIM  P (+) Q = P^1/2 Q P^1/2, t (x) P = P^t
    LEM  P (+) Q = exp(log P + log Q), t (x) P = P^t
    LCM  Cholesky factors: strict parts add up, diagonals multiply; t (x) P likewise

LEM and LCM are the groups of LieBN; AIM differs from it in the root that moves means: symmetric
here, Cholesky's there. Deviation: the running variance is averaged with the same momentum as the
mean, and all statistics are buffers, where the authors keep them outside the state.
"""

from typing import Literal, Unpack, get_args

from zoo.errors import ConfigError, nearest
from zoo.layers.spd._charts import CongruenceChart, FlatChart
from zoo.layers.spd.batch_norm import NormOptions, SPDBatchNorm

#: affine-invariant, log-Euclidean, log-Cholesky
GyroMetric = Literal["AIM", "LEM", "LCM"]


class GyroBatchNorm(SPDBatchNorm):
    """GyroBN under one of three metrics.

    Args:
        size: n of the matrices.
        metric: of the gyrovector space.
        theta: power of the deformation of AIM and LCM, not zero.
        **options: see `SPDBatchNorm`.

    Raises:
        ConfigError: for an unknown metric, or a power that is zero or without effect.
    """

    def __init__(
        self,
        size: int,
        *,
        metric: GyroMetric = "AIM",
        theta: float = 1.0,
        **options: Unpack[NormOptions],
    ) -> None:
        if metric not in get_args(GyroMetric):
            offer = nearest(str(metric), get_args(GyroMetric))
            raise ConfigError(f"GyroBatchNorm has no metric {metric!r}: {offer}")
        if theta == 0 or (metric == "LEM" and theta != 1.0):
            raise ConfigError(
                f"theta={theta}: the power of GyroBatchNorm must not be 0, and LEM has none"
            )
        self.metric = metric
        chart = (
            CongruenceChart("symmetric", theta)
            if metric == "AIM"
            else FlatChart(metric == "LCM", theta)
        )
        super().__init__(size, chart=chart, **options)
