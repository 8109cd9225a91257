"""Layers of hyperbolic networks."""

from zoo.layers.hyperbolic.hnn import (
    HyperplaneLogits,
    MobiusGRU,
    MobiusLinear,
    MobiusRNN,
    mobius_apply,
)
from zoo.layers.hyperbolic.lorentz_attention import (
    LorentzAggregation,
    LorentzAttention,
    LorentzMultiHeadAttention,
    LorentzTransformerBlock,
)
from zoo.layers.hyperbolic.lorentz_image import (
    LorentzConv2d,
    LorentzConvTranspose2d,
    LorentzFullyConnected,
    LorentzGlobalPool,
)
from zoo.layers.hyperbolic.lorentz_linear import (
    LorentzDistanceHead,
    LorentzEmbedding,
    LorentzLinear,
    LorentzMLR,
)
from zoo.layers.hyperbolic.lorentz_norm import LorentzBatchNorm
from zoo.layers.hyperbolic.poincare_attention import PoincareAttention, PoincareGLU
from zoo.layers.hyperbolic.poincare_graph import (
    FermiDirac,
    HGCNActivation,
    HGCNAggregation,
    HGCNLinear,
)
from zoo.layers.hyperbolic.poincare_linear import (
    PoincareConv1d,
    PoincareConv2d,
    PoincareLinear,
    PoincareLogits,
)
from zoo.layers.hyperbolic.poincare_space import BallPoints, FlatSpace, PoincareSpace, make_space

__all__ = [
    "BallPoints",
    "FermiDirac",
    "FlatSpace",
    "HGCNActivation",
    "HGCNAggregation",
    "HGCNLinear",
    "HyperplaneLogits",
    "LorentzAggregation",
    "LorentzAttention",
    "LorentzBatchNorm",
    "LorentzConv2d",
    "LorentzConvTranspose2d",
    "LorentzDistanceHead",
    "LorentzEmbedding",
    "LorentzFullyConnected",
    "LorentzGlobalPool",
    "LorentzLinear",
    "LorentzMLR",
    "LorentzMultiHeadAttention",
    "LorentzTransformerBlock",
    "MobiusGRU",
    "MobiusLinear",
    "MobiusRNN",
    "PoincareAttention",
    "PoincareConv1d",
    "PoincareConv2d",
    "PoincareGLU",
    "PoincareLinear",
    "PoincareLogits",
    "PoincareSpace",
    "make_space",
    "mobius_apply",
]
