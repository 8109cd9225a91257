r"""A multilayer perceptron whose weight matrices are stored in cores of a tensor format.

Novikov, Podoprikhin, Osokin, Vetrov, *Tensorizing neural networks*, NeurIPS 2015
(arXiv:1509.06569): the matrices of fully connected layers are tensor trains over factors of their
inputs and outputs, trained as such. Other formats and ranks by arguments
(`zoo.layers.tensor_network`); `format="dense"` is the ordinary perceptron of the same shape.

    (factorised linear, ReLU, dropout) x layers, linear.

Deviations: the last layer, with one row per class, is an ordinary one, so that it can be replaced.
"""

from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.tensor_network import Rank
from zoo.layers.tensor_network import Contraction, FactorizedLinear, MatrixFormat
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


@register("factorized_mlp")
class FactorizedMLP(SampleModel):
    """Classifies vectors, or images by their values in a row.

    Args:
        in_channels: numbers of a sample.
        out_channels: classes.
        hidden_channels: width of each layer in between.
        format: of their weights: "tt", "tr", "cp", "tucker" or "dense".
        rank: of the bonds: one number, a fraction in (0, 1] of the dense parameters, "same" for
            1.0, or None for 0.1.
        dropout: probability that an output of a hidden layer is left out while training.
        contraction: "auto", "factorized" or "reconstructed"; see `FactorizedLinear`.
        domain: "vector", or "image".

    Raises:
        ConfigError: for no hidden layer, or formats and ranks that don't fit the widths.
    """

    domain = "vector"
    accepts = ("image",)

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: Sequence[int] = (256, 256),
        format: MatrixFormat = "tt",
        rank: int | float | Literal["same"] | None = None,
        dropout: float = 0.0,
        contraction: Contraction = "auto",
        domain: Literal["vector", "image"] = "vector",
    ) -> None:
        shape = (in_channels,) if domain == "vector" else (None, None, None)
        super().__init__(domain=domain, sample_shape=shape)
        if not hidden_channels or not 0.0 <= dropout < 1.0:
            raise ConfigError(
                f"hidden_channels={list(hidden_channels)}, dropout={dropout}: one width or more, "
                "dropout in [0, 1)"
            )
        self.in_channels, self.width = in_channels, in_channels
        kind: Rank = rank
        self.layers = nn.ModuleList()
        for width in hidden_channels:
            linear = FactorizedLinear(
                self.width, width, format=format, rank=kind, contraction=contraction
            )
            self.layers.append(nn.Sequential(linear, nn.ReLU(), nn.Dropout(dropout)))
            self.width = width
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear layer."""
        return nn.Linear(self.width, out_channels)

    def blocks(self) -> list[nn.Module]:
        """Hidden layers, head."""
        return [*self.layers, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses images of another size."""
        x = cast(dict[str, Tensor], batch)["x"].flatten(1)
        if x.shape[1] != self.in_channels:
            raise UnsupportedInputError(
                f"the images have {x.shape[1]} values; {self._title()} takes {self.in_channels}"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, in_channels), or images of so many values.

        Returns:
            `logits` (batch, classes).
        """
        x = cast(dict[str, Tensor], batch)["x"].flatten(1)
        for layer in self.layers:
            x = layer(x)
        return {"logits": self.head(x)}
