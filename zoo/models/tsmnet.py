"""TSMNet: from multichannel signals to the tangent space of their covariances.

Kobler, Hirayama, Zhao, Kawanabe, "SPD domain-specific batch normalization to crack interpretable
unsupervised domain adaptation in EEG" (NeurIPS 2022, arXiv:2206.01323), section 3.4:

    temporal convolution, spatial convolution, covariance over time, BiMap, ReEig,
    domain-specific momentum batch norm, LogEig, linear.

Signals of a session or subject that the network has never seen are classified after `adapt`, which
refits the batch norm on them without labels.

Deviations: everything runs in the model's precision, where the authors take float64 behind the
covariance; the momentum for the evaluation statistics is that of the paper (see
`zoo.layers.spd.MomentumSchedule`); BiMap's columns are drawn uniformly among orthonormal ones.
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.covariance import covariance
from zoo.layers.spd import (
    BiMap,
    LogEig,
    MomentumSchedule,
    ReEig,
    SPDNorm,
    SymmetricVector,
    make_spd_norm,
)
from zoo.models._adaptive import AdaptiveModel, domain_of
from zoo.models._inputs import SampleBatch
from zoo.registry import register


class SignalFilters(nn.Module):
    """Convolutions along time, then across all channels (ShallowConvNet's first two layers).

    Args:
        in_channels: of the signals.
        temporal_filters: filters along time.
        temporal_kernel: their length, in samples.
        spatial_filters: filters across channels and temporal filters.
    """

    def __init__(
        self, in_channels: int, temporal_filters: int, temporal_kernel: int, spatial_filters: int
    ) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(
            1,
            temporal_filters,
            (1, temporal_kernel),
            padding="same",
            padding_mode="reflect",
        )
        self.spatial = nn.Conv2d(temporal_filters, spatial_filters, (in_channels, 1))

    def forward(
        self, x: Float[Tensor, "batch channels times"]
    ) -> Float[Tensor, "batch filters times"]:
        """Filtered signals."""
        filtered: Tensor = self.spatial(self.temporal(x[:, None]))
        return filtered.squeeze(2)  # (batch, spatial_filters, times)


@register("tsmnet")
class TSMNet(AdaptiveModel):
    """Classifies multichannel signals of several domains.

    Args:
        in_channels: channels of the signals.
        out_channels: classes.
        temporal_filters: filters along time.
        temporal_kernel: their length, in samples.
        spatial_filters: filters across channels: rows of the covariances.
        bimap_channels: rows of the matrices behind BiMap.
        floor: of the eigenvalues in ReEig.
        batch_norm: which batch norm; "domain" is the paper's, None has none.
        num_domains: for how many domains (the batch's `domain`) statistics are kept.
        domain_batch: samples of one domain in a training batch, which the momentum schedule needs.
        reference_batch: the batch size at which no averaging over batches is needed.
        tau: decay of the statistics for evaluation.
        schedule_epochs: epochs over which the weights of a batch change; 0 has no schedule.
    """

    domain = "signal"

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        out_channels: int,
        temporal_filters: int = 4,
        temporal_kernel: int = 25,
        spatial_filters: int = 40,
        bimap_channels: int = 20,
        floor: float = 1e-4,
        batch_norm: SPDNorm | None = "domain",
        num_domains: int = 1,
        domain_batch: float = 10.0,
        reference_batch: float = 50.0,
        tau: float = 0.85,
        schedule_epochs: int = 40,
    ) -> None:
        super().__init__(sample_shape=(in_channels, None))
        sizes = (in_channels, temporal_filters, temporal_kernel, spatial_filters)
        if min(sizes) < 1:
            raise ConfigError(
                f"in_channels, temporal_filters, temporal_kernel, spatial_filters are {sizes}; "
                "TSMNet needs all of at least 1"
            )
        self.kernel = temporal_kernel
        self.filters = SignalFilters(*sizes)
        self.bimap = BiMap(spatial_filters, bimap_channels)
        self.reeig = ReEig(floor)
        self.norm = (
            None
            if batch_norm is None
            else make_spd_norm(batch_norm, bimap_channels, num_domains=num_domains)
        )
        self.logeig = LogEig()
        self.vector = SymmetricVector()
        self.head = self.make_head(out_channels)
        if batch_norm == "domain" and schedule_epochs > 0:
            self.schedule = MomentumSchedule(
                max(schedule_epochs, 2), domain_batch, reference_batch, tau
            )

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear layer on the tangent space."""
        return nn.Linear(self.vector.length(self.bimap.out_features), out_channels)

    def blocks(self) -> list[nn.Module]:
        """Filters, BiMap, norm, head."""
        norm = [] if self.norm is None else [self.norm]
        return [self.filters, self.bimap, *norm, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses signals that are shorter than the filters or give covariances of low rank."""
        times = cast(dict[str, Tensor], batch)["x"].shape[-1]
        least = max(self.kernel // 2, self.bimap.out_features) + 1
        if times < least:
            raise UnsupportedInputError(
                f"signals of {times} samples in time are too short: TSMNet with a kernel of "
                f"{self.kernel} and bimap_channels={self.bimap.out_features} needs {least}; take "
                "longer signals, or a smaller temporal_kernel or bimap_channels"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, channels, times); `domain` (batch,) where domains are told apart.

        Returns:
            `logits` (batch, classes).
        """
        x = cast(dict[str, Tensor], batch)["x"]
        x = self.bimap(covariance(self.filters(x)))
        if self.norm is None:
            return {"logits": self.head(self.vector(LogEig(self.reeig.floor)(x)))}
        x = self.norm(self.reeig(x), domain_of(batch))
        return {"logits": self.head(self.vector(self.logeig(x)))}
