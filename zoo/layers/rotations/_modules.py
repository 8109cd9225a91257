"""Heads that predict rotations, and losses between them."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.precision import check_precision
from zoo.functional.rotations import REPRESENTATIONS, representation, so3

RepresentationName = Literal["6d", "5d", "svd9d", "quaternion", "axis_angle", "euler", "matrix"]
RotationLossName = Literal["chordal", "geodesic"]


class RotationHead(nn.Module):
    """A linear map of features to vectors that represent rotations, and the rotations.

    Args:
        in_channels: of the features.
        representation: "6d", "5d", "svd9d", "quaternion", "axis_angle", "euler", or "matrix": nine
            numbers, which are taken to the nearest rotation in evaluation mode and left as they are
            in training.
        rotations: how many per sample.

    Raises:
        ConfigError: for an unknown representation, or no rotations.
    """

    def __init__(
        self, in_channels: int, *, representation: RepresentationName = "6d", rotations: int = 1
    ) -> None:
        super().__init__()
        if rotations < 1:
            raise ConfigError(f"a head for {rotations} rotations predicts nothing; take 1 or more")
        self.representation = _known(representation)
        self.rotations = rotations
        self.linear = nn.Linear(in_channels, rotations * REPRESENTATIONS[representation].size)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch rotations 3 3"]:
        """Rotation matrices (in training, of "matrix", any matrices).

        Raises:
            DeviceError: half precision.
        """
        vectors = self.linear(x).unflatten(-1, (self.rotations, -1))
        check_precision("RotationHead", vectors)
        matrices = REPRESENTATIONS[self.representation].to_matrix(vectors)
        if self.representation == "matrix" and not self.training:
            return so3.project(matrices)
        return matrices

    def extra_repr(self) -> str:
        """The representation."""
        return f"representation={self.representation!r}, rotations={self.rotations}"


def _known(name: str) -> str:
    return representation(name).name


class GeodesicLoss(nn.Module):
    """Mean angle between predicted and true rotations, radians; gradients finite everywhere."""

    def forward(
        self, predicted: Float[Tensor, "... 3 3"], target: Float[Tensor, "... 3 3"]
    ) -> Float[Tensor, ""]:
        """The mean over all rotations."""
        return so3.dist(predicted, target).mean()


class ChordalLoss(nn.Module):
    """Mean squared difference of the nine entries: (8 / 9) sin(angle / 2)^2 for rotations."""

    def forward(
        self, predicted: Float[Tensor, "... 3 3"], target: Float[Tensor, "... 3 3"]
    ) -> Float[Tensor, ""]:
        """The mean over all entries."""
        return torch.mean((predicted - target).square())


def rotation_loss(name: RotationLossName) -> nn.Module:
    """The loss of this name: "chordal" or "geodesic".

    Raises:
        ConfigError: for another name.
    """
    if name not in get_args(RotationLossName):
        offer = nearest(str(name), get_args(RotationLossName))
        raise ConfigError(f"unknown loss between rotations {name!r}: {offer}")
    return GeodesicLoss() if name == "geodesic" else ChordalLoss()
