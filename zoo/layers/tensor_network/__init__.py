"""Layers whose weights are networks of small tensors."""

from zoo.layers.tensor_network.mps import MPSChain, MPSHead, MPSLabel, site_features

__all__ = ["MPSChain", "MPSHead", "MPSLabel", "site_features"]
