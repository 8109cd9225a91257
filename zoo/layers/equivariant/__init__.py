"""Equivariant layers: frames of edges, SO(2) convolutions, tensor products, activations, norms."""

from zoo.layers.equivariant.attention import (
    AttentionSizes,
    GraphAttention,
    attention_weights,
    radial_width,
    smooth_leaky_relu,
)
from zoo.layers.equivariant.cp_product import (
    CPMode,
    CPTensorProduct,
    SharedCoupling,
    apply_matrices,
)
from zoo.layers.equivariant.edge_features import (
    BackScale,
    EdgeBatch,
    ElementTables,
    RadialNetwork,
    element_tables,
    table_weights,
)
from zoo.layers.equivariant.feature_activation import (
    ActivationKind,
    DegreeGate,
    FeatureActivation,
    feature_grid,
)
from zoo.layers.equivariant.frames import EdgeFrames
from zoo.layers.equivariant.gate import Gate, NormActivation
from zoo.layers.equivariant.linear import Linear
from zoo.layers.equivariant.norms import EquivariantLayerNorm, NormKind
from zoo.layers.equivariant.s2_activation import S2Activation, SeparableS2Activation
from zoo.layers.equivariant.so2 import SO2Convolution, SO2Linear
from zoo.layers.equivariant.so3_linear import SO3Linear
from zoo.layers.equivariant.sphere_grid import SphereGrid, escn_resolution
from zoo.layers.equivariant.steerable import SteerableLinear
from zoo.layers.equivariant.tensor_product import Coupling, TensorProduct, reachable

__all__ = [
    "ActivationKind",
    "AttentionSizes",
    "BackScale",
    "CPMode",
    "CPTensorProduct",
    "Coupling",
    "DegreeGate",
    "EdgeBatch",
    "EdgeFrames",
    "ElementTables",
    "EquivariantLayerNorm",
    "FeatureActivation",
    "Gate",
    "GraphAttention",
    "Linear",
    "NormActivation",
    "NormKind",
    "RadialNetwork",
    "S2Activation",
    "SO2Convolution",
    "SO2Linear",
    "SO3Linear",
    "SeparableS2Activation",
    "SharedCoupling",
    "SphereGrid",
    "SteerableLinear",
    "TensorProduct",
    "apply_matrices",
    "attention_weights",
    "element_tables",
    "escn_resolution",
    "feature_grid",
    "radial_width",
    "reachable",
    "smooth_leaky_relu",
    "table_weights",
]
