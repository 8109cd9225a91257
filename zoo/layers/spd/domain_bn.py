r"""Domain-specific momentum batch norm of SPD matrices, as in TSMNet.

Kobler et al., "SPD domain-specific batch normalization to crack interpretable unsupervised domain
adaptation in EEG" (NeurIPS 2022), Algorithm 1, with the momentum schedule of Yong et al.,
"Momentum batch normalization for deep learning with small batch size" (ECCV 2020).
Each domain (session, subject) is normalised by statistics of its own, to the same mean (the
identity) and the same learned scale; those of a new domain are refit on its unlabelled samples.

Deviation: the momentum of the statistics for evaluation is 1 - tau as the paper has it; the
authors' scheduler hands its complement to the layers.
"""

from dataclasses import dataclass
from typing import Unpack

from torch import nn

from zoo.errors import ConfigError
from zoo.layers.spd.batch_norm import RiemannianBatchNorm, SPDBatchNorm, StatisticsOptions


class DomainBatchNorm(RiemannianBatchNorm):
    """Riemannian batch norm with mean and dispersion, one set of statistics per domain, no bias.

    Args:
        size: n of the matrices.
        num_domains: how many domains there are; `grow` and refitting add more.
        **options: see `SPDBatchNorm`. As published the bias stays at the identity and statistics
            carry gradients.
    """

    def __init__(
        self, size: int, num_domains: int = 1, **options: Unpack[StatisticsOptions]
    ) -> None:
        options.setdefault("learn_bias", False)
        options.setdefault("detach", False)
        super().__init__(size, dispersion=True, num_domains=num_domains, **options)


@dataclass(frozen=True)
class MomentumSchedule:
    """How the weights of a batch in the statistics change from epoch to epoch.

    In epoch k of the first K: w = (K - k) / (K - 1), r = batch / reference,

        training     1 - (r^w - r), which falls from 1, the batch alone, to r;
        evaluation   1 - tau^(r (1 - w) + w).

    Args:
        epochs: K, over which they change; constant after it.
        batch: samples of one domain in a batch.
        reference: a batch size at which no averaging is needed.
        tau: decay of the averages for evaluation at the reference size.

    Raises:
        ConfigError: for numbers out of range.
    """

    epochs: int
    batch: float
    reference: float = 50.0
    tau: float = 0.85

    def __post_init__(self) -> None:
        if self.epochs < 2 or not 0 < self.batch <= self.reference or not 0 <= self.tau < 1:
            raise ConfigError(
                f"epochs={self.epochs}, batch={self.batch}, reference={self.reference}, "
                f"tau={self.tau}: expected at least 2 epochs, 0 < batch <= reference, 0 <= tau < 1"
            )

    def at(self, epoch: int) -> tuple[float, float]:
        """Weights of a batch in the statistics of training and of evaluation.

        Args:
            epoch: counted from 1.
        """
        w = max(self.epochs - epoch, 0) / (self.epochs - 1)
        ratio = self.batch / self.reference
        training = 1.0 - (ratio**w - ratio)
        evaluation = 1.0 - self.tau ** (ratio * (1.0 - w) + w)
        return training, evaluation

    def apply(self, module: nn.Module, epoch: int) -> None:
        """Sets the weights in every batch norm of SPD matrices inside a module."""
        for part in module.modules():
            if isinstance(part, SPDBatchNorm):
                part.batch_weight, part.momentum = self.at(epoch)
