"""Heads that predict rotations, and losses between rotations."""

from zoo.layers.rotations._modules import (
    ChordalLoss,
    GeodesicLoss,
    RepresentationName,
    RotationHead,
    RotationLossName,
    rotation_loss,
)

__all__ = [
    "ChordalLoss",
    "GeodesicLoss",
    "RepresentationName",
    "RotationHead",
    "RotationLossName",
    "rotation_loss",
]
