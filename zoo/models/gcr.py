"""A classifier of pictures whose classes are subspaces of the feature space.

Wang et al., Get the Best of Both Worlds: Improving Accuracy and Transferability by Grassmann Class
Representation, NeurIPS 2023, arXiv:2308.01547 (see `zoo.layers.grassmann.heads`). The paper puts
the head on ResNet-50-D and other networks for ImageNet; here it stands on a residual network for
small pictures, with `classifier="linear"` as its counterpart of one vector per class. Deviation:
subspaces are the Q of a QR decomposition of free matrices, which any optimiser trains;
`parametrization="geoopt"` with `riemannian_sgd` is the paper's geodesic descent.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from zoo.layers.grassmann import Parametrization, SubspaceHead
from zoo.models._inputs import SampleBatch
from zoo.models._resnet import ResNet
from zoo.models._sample import SampleModel
from zoo.registry import register


@register("gcr")
class GCR(SampleModel):
    """Classifies pictures.

    Args:
        in_channels: of the pictures.
        out_channels: classes.
        hidden_channels: of each stage of the residual network.
        num_blocks: basic blocks per stage.
        classifier: "subspace", or "linear" for one vector and a bias per class.
        subspace_dim: dimension k of each class.
        scale: gamma, the largest logit of "subspace".
        parametrization: how the subspaces are held: "qr", "exp" or "geoopt".
    """

    domain = "image"

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: Sequence[int] = (64, 128, 256, 512),
        num_blocks: int = 2,
        classifier: Literal["subspace", "linear"] = "subspace",
        subspace_dim: int = 8,
        scale: float = 25.0,
        parametrization: Parametrization = "qr",
    ) -> None:
        super().__init__(sample_shape=(in_channels, None, None))
        self.classifier = classifier
        self.subspace_dim, self.scale = subspace_dim, scale
        self.parametrization: Parametrization = parametrization
        self.features = ResNet(in_channels, hidden_channels=hidden_channels, num_blocks=num_blocks)
        self.size = hidden_channels[-1]
        self.head = self.make_head(out_channels)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """`logits` (samples, classes)."""
        return {"logits": self.head(self.features(batch["x"]))}

    def make_head(self, out_channels: int) -> nn.Module:
        """Subspaces, or vectors."""
        if self.classifier == "linear":
            return nn.Linear(self.size, out_channels)
        return SubspaceHead(
            self.size,
            out_channels,
            subspace_dim=self.subspace_dim,
            scale=self.scale,
            parametrization=self.parametrization,
        )

    def blocks(self) -> list[nn.Module]:
        """Stem, stages, head."""
        return [self.features.stem, *self.features.stages, self.head]
