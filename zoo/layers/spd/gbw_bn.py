r"""GBWBN: batch norm of SPD matrices under the generalised Bures-Wasserstein metric.

Wang et al., "Learning to normalize on the SPD manifold under Bures-Wasserstein geometry"
(CVPR 2025, arXiv:2504.00660). With a learnable metric matrix M and K K^T = M, on Y = X^theta:

    Y~ = K^-1 Y K^-T, G~ their Bures-Wasserstein mean,
    V  = transport from G~ to I of log_G~(Y~),
    V' = s V / sqrt(v^2 + eps), v^2 = mean |V|^2 / (4 theta^2),
    out = (K exp_B~(transport from I to B~ of V') K^T)^(1/theta), B~ = K^-1 B^theta K^-T.

Transport to and from the identity has a closed form. exp_B~(W) exists where I + L_B~[W] is positive
definite; scaling may leave that domain, and there its eigenvalues are lifted to `floor`: the mean
and variance are those promised as long as nothing is lifted.

Deviations from the authors' code: the running mean is kept before M is applied, so that it does not
drift while M is learned; the running variance is a buffer, not a parameter; the bias starts at the
identity, whose repeated eigenvalues need no perturbation here; M is held as exp of a symmetric
matrix.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import spd
from zoo.functional.spd import bures_wasserstein as bures
from zoo.functional.spd import generalised_bures_wasserstein as generalised
from zoo.layers.spd.batch_norm import NormOptions, SPDBatchNorm
from zoo.layers.spd.parameter import Parametrization, SPDParameter


class GBWChart(nn.Module):
    """Matrices X^theta; centred points are tangent vectors at the identity.

    Args:
        size: n of the matrices.
        theta: power of the deformation.
        learn_metric: whether M is learned; else it is the identity.
        floor: of the eigenvalues of I + L_B[W].
        parametrization: of M.
    """

    def __init__(
        self,
        size: int,
        *,
        theta: float,
        learn_metric: bool,
        floor: float,
        parametrization: Parametrization,
    ) -> None:
        super().__init__()
        self.theta, self.floor = theta, floor
        parameter = SPDParameter(size, parametrization=parametrization)
        self.metric = parameter if learn_metric else None

    def lift(self, x: Tensor) -> Tensor:
        """X^theta."""
        return spd.power(x, self.theta)

    def lower(self, y: Tensor) -> Tensor:
        """Y^(1/theta)."""
        return spd.power(y, 1.0 / self.theta)

    def origin(self, size: int) -> Tensor:
        """The identity."""
        return torch.eye(size)

    def mean(self, y: Tensor, steps: int) -> Tensor:
        """The fixed-point iteration of the barycentre, from the arithmetic mean."""
        m = None if self.metric is None else self.metric()
        return generalised.mean(y, steps=steps, m=m)

    def centre(self, y: Tensor, mean: Tensor) -> "CentredTangents":
        """Logarithms at the mean, carried to the identity."""
        root = self._root(-0.5)
        y, mean = (_congruence(root, z) for z in (y, mean))
        mean = mean.expand_as(y)
        return CentredTangents(self, bures.to_origin(mean, bures.log(mean, y)))

    def shift(self, z: Tensor, bias: SPDParameter | None) -> Tensor:
        """Carried to the bias and mapped onto the manifold."""
        if bias is None:
            target = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        else:
            target = bias.power(self.theta)
        target = _congruence(self._root(-0.5), target).expand_as(z)
        way = spd.lyapunov(target, bures.from_origin(target, z))
        eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        factor = spd.clamp(eye + way, self.floor)
        return _congruence(self._root(0.5), spd.symmetrise(factor @ target @ factor.mT))

    def blend(self, old: Tensor, new: Tensor, weight: float) -> Tensor:
        """A geodesic."""
        m = None if self.metric is None else self.metric()
        return generalised.geodesic(old, new, weight, m=m)

    def _root(self, exponent: float) -> Tensor | None:
        return None if self.metric is None else self.metric.power(exponent)

    def extra_repr(self) -> str:
        """Its options."""
        return f"theta={self.theta}, floor={self.floor}"


class CentredTangents:
    """Tangent vectors at the identity."""

    def __init__(self, chart: GBWChart, vectors: Tensor) -> None:
        self.chart = chart
        self.vectors = vectors

    def square(self) -> Float[Tensor, " batch"]:
        """|V|^2 / (4 theta^2)."""
        return self.vectors.square().sum((-2, -1)) / (4.0 * self.chart.theta**2)

    def scaled(self, factor: Tensor | None) -> Tensor:
        """factor V."""
        return self.vectors if factor is None else factor * self.vectors


class GBWBatchNorm(SPDBatchNorm):
    """Batch norm under the generalised Bures-Wasserstein metric.

    First derivatives exist by everything. Second ones exist by the matrices and the scale: in
    evaluation, and in training with statistics held constant (`detach=True`, the default). By the
    bias, the metric matrix, and by matrices through statistics (`detach=False`), they are refused
    with a CapabilityError.

    Args:
        size: n of the matrices.
        theta: power of the deformation, not zero.
        learn_metric: whether the metric matrix M is learned; else it is the identity.
        floor: to which eigenvalues of I + L_B[W] are lifted where they lie below it.
        **options: see `SPDBatchNorm`.

    Raises:
        ConfigError: for parameters out of range.
    """

    def __init__(
        self,
        size: int,
        *,
        theta: float = 1.0,
        learn_metric: bool = True,
        floor: float = 1e-2,
        **options: Unpack[NormOptions],
    ) -> None:
        if theta == 0 or not 0 < floor < 1:
            raise ConfigError(
                f"theta={theta}, floor={floor}: GBWBatchNorm needs theta other than 0 and a floor "
                "between 0 and 1"
            )
        chart = GBWChart(
            size,
            theta=theta,
            learn_metric=learn_metric,
            floor=floor,
            parametrization=options.get("parametrization", "exp"),
        )
        super().__init__(size, chart=chart, **options)


def _congruence(root: Tensor | None, x: Tensor) -> Tensor:
    return x if root is None else root @ x @ root.mT
