"""theta / sin(theta) from cos(theta), for numbers and symmetric matrices.

arccos(c) / sqrt(1 - c^2) is analytic around 0 <= c <= 1, the angle 0 included; its closed form is
0 / 0 there. The Chebyshev series on [0, 1] has no such point: values are right to rounding, and
derivatives of every order are finite.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

#: the series falls by (3 + sqrt 8) a term: 26 leave 1e-19
TERMS = 26


def angle_over_sine(cosine: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """theta / sin(theta) of the angles 0 <= theta <= pi / 2 with these cosines.

    Args:
        cosine: between 0 and 1; rounding beyond either does no harm.
    """
    t = 2 * cosine - 1  # [0, 1] -> [-1, 1]
    series = _series()
    before, last = torch.zeros_like(t), torch.zeros_like(t)
    for coefficient in reversed(series[1:]):  # Clenshaw's recurrence
        before, last = last, coefficient + 2 * t * last - before
    return series[0] + t * last - before


def angle_over_sine_matrix(cosines: Float[Tensor, "... p p"]) -> Float[Tensor, "... p p"]:
    """arccos(M) (1 - M^2)^{-1/2} of a symmetric M with eigenvalues in [0, 1]."""
    eye = torch.eye(cosines.shape[-1], dtype=cosines.dtype, device=cosines.device)
    t = 2 * cosines - eye
    series = _series()
    before, last = torch.zeros_like(t), torch.zeros_like(t)
    for coefficient in reversed(series[1:]):
        before, last = last, coefficient * eye + 2 * (t @ last) - before
    return series[0] * eye + t @ last - before


@functools.cache
def _series() -> tuple[float, ...]:
    """Chebyshev coefficients of theta / sin(theta) in 2 cos(theta) - 1, 0 <= theta <= pi / 2."""
    nodes = [math.pi * (k + 0.5) / TERMS for k in range(TERMS)]
    # cos(theta) = (1 + cos(node)) / 2, so sin(theta / 2) = sin(node / 2) / sqrt 2
    angles = [2 * math.asin(math.sin(node / 2) / math.sqrt(2)) for node in nodes]
    values = [angle / math.sin(angle) for angle in angles]
    terms = [
        2 / TERMS * math.fsum(v * math.cos(j * a) for v, a in zip(values, nodes, strict=True))
        for j in range(TERMS)
    ]
    return (terms[0] / 2, *terms[1:])
