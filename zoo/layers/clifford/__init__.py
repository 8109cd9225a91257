"""Layers on multivectors.

Those of `linear`, `product` and `quaternion` are equivariant under the Clifford group. Those whose
weights are multivectors themselves (`Clifford...`, `Conjugate...`, `G3...`) are not, but for
translations of a grid, where they say so.
"""

from zoo.layers.clifford.batch_norm import CliffordBatchNorm, CliffordGroupNorm
from zoo.layers.clifford.conjugation import (
    ConjugateLinear,
    MultivectorGate,
    MultivectorGroupNorm,
    embed_points,
    read_points,
)
from zoo.layers.clifford.convolution import (
    CliffordConv1d,
    CliffordConv2d,
    CliffordConv3d,
    CliffordLinear,
)
from zoo.layers.clifford.fourier import CliffordSpectralConv2d, CliffordSpectralConv3d
from zoo.layers.clifford.g3 import G3Conv2d, G3ConvTranspose2d
from zoo.layers.clifford.linear import MVLayerNorm, MVLinear, MVNorm, MVSiLU, per_blade
from zoo.layers.clifford.product import (
    CEMLP,
    CliffordMessage,
    ConnectedGeometricProduct,
    GeometricProduct,
)
from zoo.layers.clifford.quaternion import (
    QuaternionLinear,
    QuaternionMLP,
    QuaternionNorm,
    QuaternionProduct,
)

__all__ = [
    "CEMLP",
    "CliffordBatchNorm",
    "CliffordConv1d",
    "CliffordConv2d",
    "CliffordConv3d",
    "CliffordGroupNorm",
    "CliffordLinear",
    "CliffordMessage",
    "CliffordSpectralConv2d",
    "CliffordSpectralConv3d",
    "ConjugateLinear",
    "ConnectedGeometricProduct",
    "G3Conv2d",
    "G3ConvTranspose2d",
    "GeometricProduct",
    "MVLayerNorm",
    "MVLinear",
    "MVNorm",
    "MVSiLU",
    "MultivectorGate",
    "MultivectorGroupNorm",
    "QuaternionLinear",
    "QuaternionMLP",
    "QuaternionNorm",
    "QuaternionProduct",
    "embed_points",
    "per_blade",
    "read_points",
]
