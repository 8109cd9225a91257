"""Vector spherical harmonics, orthonormal vector fields on the sphere that carry one irrep each.

    Y^{l}_{JM}(r) = sqrt(2 J + 1) sum_mk w^{l 1 J}_mkM Y_lm(r) e_k,      l = J - 1, J, J + 1

(Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum, section 7.3) with e_k
along x, y, z, which is e3nn's order of degree one. Under inversion a field of polar vectors has
the parity (-1)^(l + 1), one of axial vectors (-1)^l.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import triangle, wigner_3j
from zoo.functional.sphere import to_grid_matrix


def vector_harmonics(
    total: int, degree: int, points: Float[Tensor, "points 3"]
) -> Float[Tensor, "points 3 components"]:
    """The fields Y^l_JM at the points, float64, orthonormal over the sphere.

    Args:
        total: J, the irrep they carry.
        degree: l, of the harmonics they are made of.
        points: unit vectors.

    Raises:
        ConfigError: l other than J - 1, J, J + 1 (for J = 0 only 1), or beyond the tables.
    """
    if degree < 0 or not triangle(degree, 1, total):
        known = [n for n in range(max(total - 1, 0), total + 2) if triangle(n, 1, total)]
        raise ConfigError(
            f"no vector harmonics of J={total} are made of l={degree}; l is one of {known}"
        )
    values = to_grid_matrix(degree, points)[:, degree * degree :]
    out = torch.einsum("pm,mkM->pkM", values, wigner_3j(degree, 1, total).to(values.device))
    return math.sqrt(2 * total + 1) * out
