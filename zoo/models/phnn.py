r"""A residual network of parameterised hypercomplex convolutions.

Grassucci, Zhang, Comminiello, *PHNNs: lightweight neural networks via parameterized hypercomplex
convolutions*, arXiv:2110.04176: in a ResNet, every convolution has the weight sum over n of A_n
kron S_n (`zoo.layers.hypercomplex`), about an n-th of the weights of an ordinary one, with the n by
n matrices A_n learnt in each layer. The last, linear layer is an ordinary one.

Deviations: channels of the input that n does not divide are filled up with zeros; a stem of one
3 x 3 convolution, as usual for small pictures (`zoo.models._resnet`). Convolutions have no bias, as
a batch norm follows each. `n=1` is the ordinary ResNet.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.errors import ConfigError
from zoo.layers.hypercomplex import PHConv2d
from zoo.models._inputs import SampleBatch
from zoo.models._resnet import Conv, ResNet, plain_conv
from zoo.models._sample import SampleModel
from zoo.registry import register


@register("phnn")
class PHNN(SampleModel):
    """Classifies pictures.

    Args:
        in_channels: of the pictures.
        out_channels: classes.
        n: of the algebra in which convolutions multiply; 1 for the ordinary network.
        hidden_channels: of each stage, multiples of n; all stages but the first halve the picture.
        num_blocks: basic blocks per stage.

    Raises:
        ConfigError: for channels that n doesn't divide.
    """

    domain = "image"

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 10,
        n: int = 4,
        hidden_channels: Sequence[int] = (64, 128, 256, 512),
        num_blocks: int = 2,
    ) -> None:
        super().__init__(sample_shape=(in_channels, None, None))
        if n < 1:
            raise ConfigError(f"PHNN: n={n}; expected 1 (the ordinary network) or more")
        self.missing = -in_channels % n
        self.features = ResNet(
            in_channels + self.missing,
            hidden_channels=hidden_channels,
            num_blocks=num_blocks,
            conv=_conv(n),
        )
        self.size = hidden_channels[-1]
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear map."""
        return nn.Linear(self.size, out_channels)

    def blocks(self) -> list[nn.Module]:
        """The stem, the stages, the head."""
        return [self.features.stem, *self.features.stages, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each picture.

        Args:
            batch: `x` (batch, in_channels, height, width).

        Returns:
            `logits` (batch, classes).
        """
        x = pad(cast(dict[str, Tensor], batch)["x"], (0, 0, 0, 0, 0, self.missing))
        return {"logits": self.head(self.features(x))}


def _conv(n: int) -> Conv:
    if n == 1:
        return plain_conv

    def make(in_channels: int, out_channels: int, size: int, stride: int) -> nn.Module:
        return PHConv2d(
            n, in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False
        )

    return make
