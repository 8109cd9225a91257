"""Layers on tensor powers of R^n, equivariant to permutations, rotations or any matrix group."""

from zoo.layers.tensor_power._activation import check_pointwise_activation
from zoo.layers.tensor_power._linear import Implementation, Normalize, TensorPowerLinear

__all__ = ["Implementation", "Normalize", "TensorPowerLinear", "check_pointwise_activation"]
