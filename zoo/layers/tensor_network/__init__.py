"""Layers whose weights are networks of small tensors."""

from zoo.layers.tensor_network.mps import MPSChain, MPSHead, MPSLabel, site_features
from zoo.layers.tensor_network.weight import FactorizedTensor, MatrixFormat, TensorizedMatrix

__all__ = [
    "FactorizedTensor",
    "MatrixFormat",
    "TensorizedMatrix",
    "MPSChain",
    "MPSHead",
    "MPSLabel",
    "site_features",
]
