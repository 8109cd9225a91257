"""A multilayer perceptron on the entries of symmetric matrices: what SPD networks are held against.

    upper triangle (off-diagonal times sqrt 2), standardised, (linear, ReLU) x layers, linear.

No paper: the Euclidean baseline, whose width is chosen to have as many parameters as the network
that it is compared with. Signals go through the same front ends.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from zoo.errors import ConfigError
from zoo.functional import spd
from zoo.layers.spd import FrontEnd, SymmetricVector
from zoo.models._front import optional_front_end
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


class Standardise(nn.Module):
    """Features less their mean, over their standard deviation; without parameters.

    While training of the batch, where it has two samples or more; else of the running averages.

    Args:
        size: number of features.
        momentum: weight of a batch in the averages.
    """

    def __init__(self, size: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised features (batch, size)."""
        of_batch = self.training and len(x) > 1
        return batch_norm(
            x, self.running_mean, self.running_var, training=of_batch, momentum=self.momentum
        )


@register("matrix_mlp")
class MatrixMLP(SampleModel):
    """Classifies symmetric matrices, or signals through a front end, by their entries.

    Args:
        in_channels: rows of the matrices, or channels of the signals.
        out_channels: classes.
        hidden_channels: width of the layers in between.
        num_layers: how many of those.
        dropout: probability that one of their outputs is left out while training.
        front_end: "covariance" or "augmented" takes signals; None takes matrices.
        order: delayed copies of the augmented covariance.
        lag: delay between them, in samples.
        shrinkage: of the front end's covariances towards a multiple of the identity.
        logarithm: whether the matrices enter by their logarithms.
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
        dropout: float = 0.0,
        front_end: FrontEnd | None = None,
        order: int = 4,
        lag: int = 1,
        shrinkage: float = 0.0,
        logarithm: bool = False,
    ) -> None:
        shape = (in_channels, in_channels if front_end is None else None)
        super().__init__(domain="matrix" if front_end is None else "signal", sample_shape=shape)
        if num_layers < 0 or hidden_channels < 1 or not 0.0 <= dropout < 1.0:
            raise ConfigError(
                f"num_layers={num_layers}, hidden_channels={hidden_channels}, dropout={dropout}: "
                "layers can't be negative, a layer needs a channel, dropout lies in [0, 1)"
            )
        self.front = optional_front_end(front_end, order=order, lag=lag, shrinkage=shrinkage)
        self.logarithm = logarithm
        self.vector = SymmetricVector()
        size = in_channels if self.front is None else self.front.channels(in_channels)
        self.width = self.vector.length(size)
        self.standardise = Standardise(self.width)
        self.layers = nn.ModuleList()
        for _ in range(num_layers):
            linear = nn.Linear(self.width, hidden_channels)
            self.layers.append(nn.Sequential(linear, nn.ReLU(), nn.Dropout(dropout)))
            self.width = hidden_channels
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear layer."""
        return nn.Linear(self.width, out_channels)

    def blocks(self) -> list[nn.Module]:
        """Front end, hidden layers, head."""
        first = [] if self.front is None else [self.front]
        return [*first, *self.layers, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, n, n), or (batch, channels, times) with a front end.

        Returns:
            `logits` (batch, classes).

        Raises:
            ManifoldError: with `logarithm`, for matrices that are not positive definite.
            DataError: for signals too short for their covariances.
        """
        x = cast(dict[str, Tensor], batch)["x"]
        if self.front is not None:
            x = self.front(x)
        x = spd.log(x) if self.logarithm else spd.symmetrise(x)
        x = self.standardise(self.vector(x))
        for layer in self.layers:
            x = layer(x)
        return {"logits": self.head(x)}
