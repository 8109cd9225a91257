"""A perceptron that predicts rotations, in any of their representations.

Zhou, Barnes, Lu, Yang, Li, On the Continuity of Rotation Representations in Neural Networks, CVPR
2019, arXiv:1812.07035. The network of its sanity test maps the nine entries of a rotation matrix
through 9-128-128-128-k with leaky ReLUs to a representation of k numbers, from which the matrix is
to come back. Representations and losses: `zoo.functional.rotations`, `zoo.layers.rotations`.
"""

from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.layers.rotations import RepresentationName, RotationHead
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

#: entries of a rotation matrix
ENTRIES = 9


@register("rotation_mlp")
class RotationMLP(SampleModel):
    """Predicts rotations from vectors.

    Args:
        in_channels: length of the vectors.
        out_channels: entries of the predicted matrices, row by row: 9 per rotation.
        hidden_channels: of every hidden layer.
        num_layers: hidden layers.
        representation: what the last layer gives: "6d", "5d", "svd9d", "quaternion", "axis_angle",
            "euler", or "matrix" (nine numbers, in evaluation taken to the nearest rotation).
    """

    domain = "vector"

    def __init__(
        self,
        *,
        in_channels: int = ENTRIES,
        out_channels: int = ENTRIES,
        hidden_channels: int = 128,
        num_layers: int = 3,
        representation: RepresentationName = "6d",
    ) -> None:
        super().__init__(sample_shape=(in_channels,), outputs=("prediction",))
        if num_layers < 1:
            raise ConfigError(f"num_layers={num_layers}: one hidden layer at least is needed")
        self.hidden_channels = hidden_channels
        self.representation: RepresentationName = representation
        sizes = [in_channels] + [hidden_channels] * num_layers
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.LeakyReLU())
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.head = self.make_head(out_channels)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """`prediction` (samples, out_channels): the rows of the matrices, one after the other."""
        x = batch["x"]
        for layer in self.layers:
            x = layer(x)
        return {"prediction": self.head(x).flatten(1)}

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear map to a representation, and the rotations.

        Raises:
            ConfigError: unless `out_channels` is 9 per rotation.
        """
        if out_channels < ENTRIES or out_channels % ENTRIES:
            raise ConfigError(
                f"out_channels={out_channels}: a rotation has {ENTRIES} entries; take a multiple"
            )
        return RotationHead(
            self.hidden_channels,
            representation=self.representation,
            rotations=out_channels // ENTRIES,
        )

    def blocks(self) -> list[nn.Module]:
        """The hidden layers, and the head."""
        return [*self.layers, self.head]
