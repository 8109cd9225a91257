"""GyroSPD: networks of SPD matrices from gyrovector operations.

Nguyen and Yang, "Building neural networks on matrix manifolds: a gyrovector space approach"
(ICML 2023, arXiv:2305.04560), with the batch norms of Chen et al. (arXiv:2403.11261, and "Gyrogroup
batch normalization", ICLR 2025):

    [batch norm of the input], (BiMap, batch norm or gyro translation, ReEig) x layers, gyro MLR.

There is no published code; how the operations are stacked is chosen here, after SPDNet.

With the default input norm, LieBN under the affine-invariant metric, logits are invariant under
X -> T X T^T for every lower triangular T with a positive diagonal that acts on all samples of an
adaptation or training batch alike: the batch's mean M goes to T M T^T, its Cholesky factor L to
T L, and L^-1 X L^-T stays what it was. For a general invertible W the centred matrices change by
one orthogonal Q = L'^-1 W L that all samples share: eigenvalues and distances stay, logits don't.
"""

from typing import cast

from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import spd
from zoo.layers.spd import (
    BiMap,
    FrontEnd,
    GyroMetric,
    GyroMLR,
    GyroTranslation,
    ReEig,
    SPDNorm,
    make_spd_norm,
)
from zoo.models._adaptive import AdaptiveModel, domain_of
from zoo.models._front import optional_front_end
from zoo.models._inputs import SampleBatch
from zoo.registry import register


class GyroBlock(nn.Module):
    """BiMap, then batch norm or gyro translation, then ReEig.

    Args:
        in_channels: rows of the matrices.
        out_channels: rows behind it.
        metric: of the gyro translation.
        batch_norm: which one; None has the translation.
        num_domains: of the norm; None for one set of statistics.
        floor: of the eigenvalues.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        metric: GyroMetric,
        batch_norm: SPDNorm | None,
        num_domains: int | None,
        floor: float,
    ) -> None:
        super().__init__()
        self.bimap = BiMap(in_channels, out_channels)
        self.translation = None
        self.norm = None
        if batch_norm is None:
            self.translation = GyroTranslation(out_channels, metric=metric)
        else:
            self.norm = make_spd_norm(batch_norm, out_channels, num_domains=num_domains)
        self.reeig = ReEig(floor)

    def forward(self, x: Tensor, domain: Tensor | None) -> Tensor:
        """SPD matrices (batch, out_channels, out_channels)."""
        x = self.bimap(x)
        if self.norm is not None:
            x = self.norm(x, domain)
        elif self.translation is not None:
            x = self.translation(x)
        out: Tensor = self.reeig(x)
        return out


@register("gyrospd")
class GyroSPD(AdaptiveModel):
    """Classifies SPD matrices, or signals through a front end.

    Args:
        in_channels: rows of the matrices, or channels of the signals.
        out_channels: classes.
        hidden_channels: rows of the matrices inside; at most those of the input.
        num_layers: blocks of BiMap, norm or translation, and ReEig.
        metric: of gyro translations and of the gyro MLR.
        input_norm: batch norm of the input matrices; None has none.
        batch_norm: batch norm in each block; None has a gyro translation instead.
        num_domains: statistics for so many domains; None for one set of all.
        floor: of the eigenvalues in ReEig.
        front_end: "covariance" or "augmented" takes signals; None takes matrices.
        order: delayed copies of the augmented covariance.
        lag: delay between them, in samples.
        shrinkage: of the front end's covariances towards a multiple of the identity.
    """

    domain = "matrix"
    accepts = ("signal",)

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 16,
        num_layers: int = 1,
        metric: GyroMetric = "LEM",
        input_norm: SPDNorm | None = "lie_aim",
        batch_norm: SPDNorm | None = None,
        num_domains: int | None = None,
        floor: float = 1e-4,
        front_end: FrontEnd | None = None,
        order: int = 4,
        lag: int = 1,
        shrinkage: float = 0.0,
    ) -> None:
        shape = (in_channels, in_channels if front_end is None else None)
        super().__init__(domain="matrix" if front_end is None else "signal", sample_shape=shape)
        if num_layers < 0:
            raise ConfigError(f"num_layers={num_layers} must not be negative")
        self.front = optional_front_end(front_end, order=order, lag=lag, shrinkage=shrinkage)
        size = in_channels if self.front is None else self.front.channels(in_channels)
        self.input_norm = (
            None if input_norm is None else make_spd_norm(input_norm, size, num_domains=num_domains)
        )
        self.layers = nn.ModuleList()
        self.metric: GyroMetric = metric
        for _ in range(num_layers):
            block = GyroBlock(
                size,
                min(size, hidden_channels),
                metric=metric,
                batch_norm=batch_norm,
                num_domains=num_domains,
                floor=floor,
            )
            self.layers.append(block)
            size = min(size, hidden_channels)
        self.size = size
        self.head = self.make_head(out_channels)

    @property
    def symmetry(self) -> str:
        """The group under which adapted logits are invariant."""
        hparams = self.hparams
        shrunk = self.front is not None and hparams["shrinkage"] > 0  # towards one identity for all
        return "T+(n)" if hparams["input_norm"] == "lie_aim" and not shrunk else "none"

    def make_head(self, out_channels: int) -> nn.Module:
        """A gyro MLR."""
        return GyroMLR(self.size, out_channels, metric=self.metric)

    def blocks(self) -> list[nn.Module]:
        """Front end, input norm, blocks, head."""
        first = [part for part in (self.front, self.input_norm) if part is not None]
        return [*first, *self.layers, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses matrices that are not symmetric positive definite."""
        if self.front is None:
            spd.check(cast(dict[str, Tensor], batch)["x"], where="GyroSPD: x")

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, n, n), or (batch, channels, times) with a front end; `domain`
                (batch,) where domains are told apart.

        Returns:
            `logits` (batch, classes).

        Raises:
            ManifoldError: for matrices that are not positive definite.
            DataError: for signals too short for their covariances.
        """
        x = cast(dict[str, Tensor], batch)["x"]
        domain = domain_of(batch)
        if self.front is not None:
            x = self.front(x)
        if self.input_norm is not None:
            x = self.input_norm(x, domain)
        for layer in self.layers:
            x = layer(x, domain)
        return {"logits": self.head(x)}
