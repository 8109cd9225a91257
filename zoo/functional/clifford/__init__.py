"""Clifford algebras of any signature: products, involutions, norms, versors.

    of = clifford.algebra(3)  # Cl(3, 0, 0), 8 blades 1, e1, e2, e3, e12, e13, e23, e123
    clifford.geometric_product(x, y, of)

Multivectors are (..., blades); products with weights take (..., channels, blades). Gradients are
exact to any order.
"""

from zoo.functional.clifford._algebra import LIMIT, Algebra, algebra
from zoo.functional.clifford._functions import (
    act,
    blade_major,
    channels_first,
    conjugate,
    connected_product,
    embed,
    geometric_product,
    grade_forms,
    grade_involution,
    grade_norms,
    inner,
    left_contraction,
    norm,
    project,
    quadratic_form,
    regressive,
    reverse,
    smooth_root,
    versor,
    wedge,
    weighted_product,
)
from zoo.functional.clifford._gates import gate, level, normalise
from zoo.functional.clifford._linear import grade_linear
from zoo.functional.clifford._mode import compiled_products, compiles, has_compiler
from zoo.functional.clifford._steerable import steerable_product

__all__ = [
    "LIMIT",
    "Algebra",
    "act",
    "algebra",
    "blade_major",
    "channels_first",
    "compiled_products",
    "compiles",
    "conjugate",
    "connected_product",
    "embed",
    "gate",
    "geometric_product",
    "grade_forms",
    "grade_involution",
    "grade_linear",
    "grade_norms",
    "has_compiler",
    "inner",
    "left_contraction",
    "level",
    "norm",
    "normalise",
    "project",
    "quadratic_form",
    "regressive",
    "reverse",
    "smooth_root",
    "steerable_product",
    "versor",
    "wedge",
    "weighted_product",
]
