"""A residual network for small pictures: features of one vector per picture.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385: basic blocks
of two 3 x 3 convolutions; a stem of one 3 x 3 convolution without pooling, as usual for pictures of
up to 64 pixels; stages after the first begin with a stride of two.
"""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError

#: makes a convolution without bias: channels in and out, size of the kernel, stride
Conv = Callable[[int, int, int, int], nn.Module]


def plain_conv(in_channels: int, out_channels: int, size: int, stride: int) -> nn.Module:
    """The ordinary convolution; places added so that a stride of one keeps the picture's size."""
    return nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two convolutions around which the input is led, projected where sizes change.

    Args:
        in_channels: of the picture that comes in.
        out_channels: of the one that leaves.
        stride: of the first convolution.
        conv: makes the convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, conv: Conv = plain_conv
    ) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            conv(in_channels, out_channels, 3, stride),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            conv(out_channels, out_channels, 3, 1),
            nn.BatchNorm2d(out_channels),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            self.shortcut = nn.Sequential(
                conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels)
            )
        self.activation = nn.ReLU()

    def forward(
        self, x: Float[Tensor, "batch in_channels h w"]
    ) -> Float[Tensor, "batch out_channels h2 w2"]:
        """The picture behind the block."""
        out: Tensor = self.activation(self.inner(x) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Stem, stages of basic blocks, mean over the picture.

    Args:
        in_channels: of the pictures.
        hidden_channels: of each stage; the last is the length of the feature vector.
        num_blocks: per stage.
        conv: makes the convolutions.

    Raises:
        ConfigError: without stages or blocks.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: Sequence[int],
        num_blocks: int,
        conv: Conv = plain_conv,
    ) -> None:
        super().__init__()
        if not hidden_channels or num_blocks < 1:
            raise ConfigError(
                "a residual network needs a stage (hidden_channels) and a block per stage; found "
                f"{list(hidden_channels)} and {num_blocks}"
            )
        first = hidden_channels[0]
        self.stem = nn.Sequential(conv(in_channels, first, 3, 1), nn.BatchNorm2d(first), nn.ReLU())
        self.stages = nn.ModuleList()
        size = first
        for index, channels in enumerate(hidden_channels):
            blocks = [BasicBlock(size, channels, stride=1 if index == 0 else 2, conv=conv)]
            blocks += [BasicBlock(channels, channels, conv=conv) for _ in range(num_blocks - 1)]
            self.stages.append(nn.Sequential(*blocks))
            size = channels

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """One vector per picture."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x.mean((-2, -1))
