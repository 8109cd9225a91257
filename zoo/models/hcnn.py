"""HCNN: a ResNet whose every layer lives on the hyperboloid.

Bdeir, Schwethelm, Landwehr, "Fully Hyperbolic Convolutional Neural Networks for Computer Vision",
ICLR 2024, arXiv:2303.15919: convolution, batch norm, activation, residual connection, global
average and multinomial regression of the Lorentz model, in the arrangement of ResNet. Images enter
as the space coordinates of points, pixel by pixel.

Deviations: the time of every point is computed and not stored (see
`zoo.layers.hyperbolic.lorentz_image`; the same function); weights that the authors' code has and
never uses are not made; beta of the batch norm is a tangent vector at the origin instead of a
point, so that any optimiser trains it. The batch norm's mean and dispersion are the authors', and
by option the exact ones.

`geometry="euclidean"` is the same ResNet with ordinary layers. Its batch norms scale each channel
where the Lorentz model has one factor for all, and its convolutions have no weight for time, so
that both have as many parameters, but for one per batch norm.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import lorentz
from zoo.layers.hyperbolic.lorentz_image import LorentzConv2d, LorentzGlobalPool
from zoo.layers.hyperbolic.lorentz_linear import LorentzMLR
from zoo.layers.hyperbolic.lorentz_norm import Dispersion, LorentzBatchNorm, Mean
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Geometry = Literal["lorentz", "euclidean"]


class _Layers:
    """Makes the layers of one geometry."""

    def __init__(self, geometry: Geometry, c: float, mean: Mean, dispersion: Dispersion) -> None:
        self.lorentz, self.c = geometry == "lorentz", c
        self.mean, self.dispersion = mean, dispersion

    def conv(self, inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Module:
        """Convolution with batch norm."""
        if self.lorentz:
            first: nn.Module = LorentzConv2d(
                inputs, outputs, size, stride=stride, padding=size // 2, c=self.c
            )
            norm: nn.Module = LorentzBatchNorm(
                outputs, c=self.c, mean=self.mean, dispersion=self.dispersion
            )
        else:
            first = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)
            norm = nn.BatchNorm2d(outputs)
        return nn.Sequential(first, norm)

    def pool(self) -> nn.Module:
        """Global average."""
        if self.lorentz:
            return LorentzGlobalPool(c=self.c)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class HCNNBlock(nn.Module):
    """Two convolutions and a residual connection, which adds space coordinates.

    Args:
        layers: of one geometry.
        inputs: channels.
        outputs: channels.
        stride: of the first convolution.
    """

    def __init__(self, layers: _Layers, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = layers.conv(inputs, outputs, 3, stride)
        self.second = layers.conv(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else layers.conv(inputs, outputs, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Space coordinates (batch, outputs, rows, columns)."""
        inner = self.second(torch.relu(self.first(x)))
        return torch.relu(inner + self.shortcut(x))


@register("hcnn")
class HCNN(SampleModel):
    """Classifies images.

    Args:
        in_channels: of the images.
        out_channels: classes.
        channels: dimension of the space of each stage.
        layers: residual blocks of each stage; all stages but the first halve the image.
        c: absolute curvature.
        geometry: "lorentz", or "euclidean" for the ordinary ResNet of the same size.
        mean: of the batch norms, see `LorentzBatchNorm`.
        dispersion: of the batch norms.

    Raises:
        ConfigError: stages that don't fit together.
    """

    domain = "image"

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 10,
        channels: Sequence[int] = (64, 128, 256, 512),
        layers: Sequence[int] = (2, 2, 2, 2),
        c: float = 1.0,
        geometry: Geometry = "lorentz",
        mean: Mean = "two_stage",
        dispersion: Dispersion = "distance",
    ) -> None:
        super().__init__(sample_shape=(in_channels, None, None))
        if not channels or len(channels) != len(layers) or min(*channels, *layers) < 1:
            raise ConfigError(
                f"channels={list(channels)}, layers={list(layers)}: one positive number of each "
                "per stage"
            )
        self.geometry, self.c, self.width = geometry, c, channels[-1]
        make = _Layers(geometry, c, mean, dispersion)
        self.stem = make.conv(in_channels, channels[0], 3)
        stages, size = [], channels[0]
        for index, (wide, count) in enumerate(zip(channels, layers, strict=True)):
            stages.append(
                nn.Sequential(
                    *(
                        HCNNBlock(make, wide if k else size, wide, 2 if index and not k else 1)
                        for k in range(count)
                    )
                )
            )
            size = wide
        self.stages = nn.ModuleList(stages)
        self.pool = make.pool()
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """Multinomial regression."""
        if self.geometry == "euclidean":
            return nn.Linear(self.width, out_channels)
        return LorentzMLR(self.width, out_channels, c=self.c)

    def blocks(self) -> list[nn.Module]:
        """The stem, the stages, the head."""
        return [self.stem, *self.stages, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each image.

        Args:
            batch: `x` (batch, channels, height, width).

        Returns:
            `logits` (batch, classes).
        """
        x = torch.relu(self.stem(cast(dict[str, Tensor], batch)["x"]))
        for stage in self.stages:
            x = stage(x)
        x = self.pool(x)
        return {
            "logits": self.head(x if self.geometry == "euclidean" else lorentz.lift(x, c=self.c))
        }
