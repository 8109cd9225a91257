"""Irreps as matrices, whose product couples them (the "fused tensor" of e3x, arXiv:2401.07595).

The space H of degrees 0..n, each once with the parity of its spherical harmonic, has (n + 1)^2
dimensions. Operators on H decompose into irreps; x of degree l becomes the operator with blocks

    X_ab = sqrt((2 a + 1) (2 b + 1)) w^{abl}_ijm x_m        for a, b = 0..n,

restricted to (-1)^(a + b) = p, the parity of x: so an inversion acts on operators as on x. The
product of two operators is read out by the same tensors, z_m = sum_ab w^{abl}_ijm Z_ai,bj
sqrt((2 a + 1) (2 b + 1)).
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import COUPLING_LIMIT, triangle, wigner_3j


def matrix_blocks(degree: int, parity: int, size: int) -> Float[Tensor, "components rows columns"]:
    """The operators of the components of one irrep, float64, a fresh copy.

    Args:
        degree: l.
        parity: 1 or -1.
        size: n, the highest degree of the space the operators act on.

    Returns:
        (2 l + 1, (n + 1)^2, (n + 1)^2).

    Raises:
        ConfigError: a degree above 2 n, which no operator on the space has, or beyond the tables.
    """
    if max(degree, size) > COUPLING_LIMIT:
        raise ConfigError(
            f"degree {degree} in matrices of degree {size}: the tables end at {COUPLING_LIMIT}"
        )
    if degree > 2 * size:
        raise ConfigError(
            f"degree {degree} doesn't fit matrices of degree {size}, which hold up to {2 * size}"
        )
    return _blocks(degree, parity, size).clone()


@functools.lru_cache(maxsize=128)
def _blocks(degree: int, parity: int, size: int) -> Tensor:
    dim = (size + 1) ** 2
    out = torch.zeros(2 * degree + 1, dim, dim, dtype=torch.float64)
    for a in range(size + 1):
        for b in range(size + 1):
            if triangle(a, b, degree) and (-1) ** (a + b) == parity:
                block = wigner_3j(a, b, degree).permute(2, 0, 1)
                scale = math.sqrt((2 * a + 1) * (2 * b + 1))
                out[:, a * a : (a + 1) ** 2, b * b : (b + 1) ** 2] = scale * block
    return out
