"""Equivariant layers: frames of edges, SO(2) convolutions, tensor products, activations, norms."""

from zoo.layers.equivariant.frames import EdgeFrames
from zoo.layers.equivariant.s2_activation import S2Activation, SeparableS2Activation
from zoo.layers.equivariant.sphere_grid import SphereGrid, escn_resolution

__all__ = [
    "EdgeFrames",
    "S2Activation",
    "SeparableS2Activation",
    "SphereGrid",
    "escn_resolution",
]
