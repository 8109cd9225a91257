"""Layers on multivectors, equivariant under the Clifford group."""

from zoo.layers.clifford.linear import MVLayerNorm, MVLinear, MVNorm, MVSiLU, per_blade
from zoo.layers.clifford.product import (
    CEMLP,
    CliffordMessage,
    ConnectedGeometricProduct,
    GeometricProduct,
)

__all__ = [
    "CEMLP",
    "CliffordMessage",
    "ConnectedGeometricProduct",
    "GeometricProduct",
    "MVLayerNorm",
    "MVLinear",
    "MVNorm",
    "MVSiLU",
    "per_blade",
]
