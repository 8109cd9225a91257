"""Layers on matrices over R^3 in irreducible components (1 + 3 + 5), component-major.

Two users: TensorNet's embedding and its interactions.
"""

from zoo.layers.cartesian._linear import ComponentLinear
from zoo.layers.cartesian._product import MatrixProduct

__all__ = ["ComponentLinear", "MatrixProduct"]
