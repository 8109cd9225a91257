"""Layers of hyperbolic networks."""

from zoo.layers.hyperbolic.hnn import (
    HyperplaneLogits,
    MobiusGRU,
    MobiusLinear,
    MobiusRNN,
    mobius_apply,
)
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
