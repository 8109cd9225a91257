r"""LieBN: batch norm of SPD matrices by the translations of a Lie group.

Chen et al., "A Lie group approach to Riemannian batch normalization" (ICLR 2024,
arXiv:2403.11261), Algorithm 1 and Table 2. With X^theta = L L^T:

    AIM   mean by Karcher's iteration; centring L_M^-1 X L_M^-T, bias L_B X L_B^T, scaling X^f;
          d^2(X, I) = (alpha |log X|^2 + beta (log det X)^2) / theta^2
    LEM   the same of log X as a vector: minus, plus, times
    LCM   the same of strict(L) + log diag(L)
    CRIM  the right-invariant counterpart of AIM: AIM of L^-1 L^-T, the inverse in the group

Deviations from the authors' code: the running means of LEM and LCM start at the origin of the
logarithmic domain, where the authors start them at the identity matrix, which is not the origin
there; the scale is held as its logarithm and the bias as exp of a symmetric matrix, so that any
optimiser trains them; all statistics are buffers.
"""

from typing import Literal, Unpack, get_args

from zoo.errors import ConfigError, nearest
from zoo.layers.spd._charts import Chart, CongruenceChart, FlatChart
from zoo.layers.spd.batch_norm import NormOptions, SPDBatchNorm

#: affine-invariant, log-Euclidean, log-Cholesky, right-invariant on Cholesky factors
LieMetric = Literal["AIM", "LEM", "LCM", "CRIM"]


class LieBatchNorm(SPDBatchNorm):
    """LieBN under one of four metrics, deformed.

    Args:
        size: n of the matrices.
        metric: of the group.
        theta: power of the deformation, not zero; may be negative. LEM has none.
        alpha: of the metric, positive; LCM has none.
        beta: of the metric, above -alpha / n; LCM has none.
        **options: see `SPDBatchNorm`.

    Raises:
        ConfigError: for an unknown metric, or parameters out of range or without effect.
    """

    def __init__(
        self,
        size: int,
        *,
        metric: LieMetric = "AIM",
        theta: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.0,
        **options: Unpack[NormOptions],
    ) -> None:
        if metric not in get_args(LieMetric):
            offer = nearest(str(metric), get_args(LieMetric))
            raise ConfigError(f"LieBatchNorm has no metric {metric!r}: {offer}")
        if theta == 0 or alpha <= 0 or beta <= -alpha / size:
            raise ConfigError(
                f"theta={theta}, alpha={alpha}, beta={beta}: LieBatchNorm needs theta other than "
                f"0, alpha > 0 and beta > -alpha / n = {-alpha / size:g}"
            )
        idle = {"LEM": theta != 1.0, "LCM": (alpha, beta) != (1.0, 0.0)}.get(metric, False)
        if idle:
            what = "theta" if metric == "LEM" else "alpha and beta"
            raise ConfigError(f"the metric {metric} has no {what}; leave them at their defaults")
        self.metric = metric
        super().__init__(size, chart=_chart(metric, theta, alpha, beta), **options)


def _chart(metric: LieMetric, theta: float, alpha: float, beta: float) -> Chart:
    if metric in ("AIM", "CRIM"):
        return CongruenceChart("cholesky", theta, alpha, beta, inverted=metric == "CRIM")
    return FlatChart(metric == "LCM", theta, alpha, beta)
