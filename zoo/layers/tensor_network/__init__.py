"""Layers whose weights are networks of small tensors."""

from zoo.layers.tensor_network.conv import (
    FactorizedConv1d,
    FactorizedConv2d,
    FactorizedConv3d,
)
from zoo.layers.tensor_network.linear import Contraction, FactorizedLinear
from zoo.layers.tensor_network.mps import MPSChain, MPSHead, MPSLabel, site_features
from zoo.layers.tensor_network.replace import (
    FACTORIZED,
    Factorized,
    blank,
    describe,
    factorize,
    put,
    replaceable,
)
from zoo.layers.tensor_network.spectral import FactorizedSpectralConv
from zoo.layers.tensor_network.weight import FactorizedTensor, MatrixFormat, TensorizedMatrix

__all__ = [
    "FACTORIZED",
    "Contraction",
    "Factorized",
    "FactorizedConv1d",
    "FactorizedConv2d",
    "FactorizedConv3d",
    "FactorizedLinear",
    "FactorizedSpectralConv",
    "FactorizedTensor",
    "MatrixFormat",
    "TensorizedMatrix",
    "MPSChain",
    "MPSHead",
    "MPSLabel",
    "blank",
    "describe",
    "factorize",
    "put",
    "replaceable",
    "site_features",
]
