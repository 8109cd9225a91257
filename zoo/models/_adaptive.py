"""Models whose batch norms adapt to new domains (sessions, subjects) without labels."""

from typing import Any

import torch
from torch import Tensor

from zoo.errors import CapabilityError
from zoo.layers.spd import MomentumSchedule, refit, spd_norms
from zoo.models._inputs import Raw
from zoo.models._sample import SampleModel


class AdaptiveModel(SampleModel):
    """A sample model with batch norms of SPD matrices.

    Args:
        **options: see `SampleModel`.

    Attributes:
        schedule: how the weights of a batch in the norms' statistics change while training; None
            leaves them.
    """

    schedule: MomentumSchedule | None = None

    def adapt(self, inputs: Raw) -> None:
        """Refits the statistics of every batch norm on unlabelled samples of the target.

        Weights stay as they are. Norms behind one another are refit in one pass, each on what the
        ones before it, refit already, hand over. Samples that name their `domain` set the
        statistics of that domain alone, which may be a new one; without it the statistics of all
        domains are replaced by those of the samples.

        Args:
            inputs: a batch, or raw samples; all that there are, since one call takes the place of
                what was known.

        Raises:
            CapabilityError: if the model has no such batch norm.
        """
        norms = spd_norms(self)
        if not norms:
            raise CapabilityError(
                f"{type(self).__name__} has no batch norm of SPD matrices here, so nothing adapts; "
                "create it with batch_norm="
            )
        was = self.training
        self.eval()
        try:
            with torch.no_grad():
                refit(self, lambda: self(inputs))
        finally:
            self.train(was)
        if any(norm.domain_specific for norm in norms):
            self.hparams["num_domains"] = max(norm.num_domains for norm in norms)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Sets what changes from epoch to epoch while training.

        Args:
            epoch: counted from 1.
            epochs: how many there will be.
        """
        if self.schedule is not None:
            self.schedule.apply(self, epoch)


def domain_of(batch: dict[str, Tensor] | Any) -> Tensor | None:
    """The number of each sample's domain, None where the batch does not say."""
    value = batch.get("domain")
    return value if isinstance(value, Tensor) else None
