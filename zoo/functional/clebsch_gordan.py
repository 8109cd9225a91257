"""Coupling coefficients of three degrees, in e3nn's real basis.

`wigner_3j(l1, l2, l3)` is the tensor w_ijk that rotations leave alone,
w_ijk = w_abc D^l1_ai D^l2_bj D^l3_ck, with sum w_ijk^2 = 1 and e3nn's sign. It exists when the
degrees satisfy the triangle rule |l1 - l2| <= l3 <= l1 + l2, and is unique up to its sign. Every
equivariant bilinear map of degrees l1 and l2 into l3 is a multiple of it.

How it is computed: in the basis of definite orders, J^2 = (J1 + J2)^2 at fixed m is a symmetric
tridiagonal matrix whose eigenvalues are l3 (l3 + 1), well apart, so its eigenvectors are the
Clebsch-Gordan coefficients to the last digits, for every l3 at once. Their signs follow Condon
and Shortley: <l1 l1 l2 (l3 - l1) | l3 l3> > 0, and J_- lowers with a positive factor
(Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum, sections 8.1, 8.6).
"""

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ConfigError

#: highest degree of any of the three
COUPLING_LIMIT = 24

Array = NDArray[np.float64]


def triangle(l1: int, l2: int, l3: int) -> bool:
    """Whether three degrees couple at all."""
    return abs(l1 - l2) <= l3 <= l1 + l2


def wigner_3j(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    """The invariant tensor of three degrees, sum of squares 1, float64, a fresh copy.

    Args:
        l1: first degree.
        l2: second degree.
        l3: third degree.

    Raises:
        ConfigError: degrees that don't couple, or beyond `COUPLING_LIMIT`.
    """
    check_coupling(l1, l2, l3)
    return _wigner_3j(l1, l2, l3).clone()


def clebsch_gordan(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    """sqrt(2 l3 + 1) `wigner_3j`: e3nn's "component" normalisation.

    If the components of both inputs are independent with variance one, so are those of
    z_k = C_ijk x_i y_j.

    Raises:
        ConfigError: as `wigner_3j`.
    """
    return math.sqrt(2 * l3 + 1) * wigner_3j(l1, l2, l3)


def check_coupling(l1: int, l2: int, l3: int) -> None:
    """Refuses degrees without a coupling tensor.

    Raises:
        ConfigError: degrees that don't couple, or beyond `COUPLING_LIMIT`.
    """
    degrees = (l1, l2, l3)
    if min(degrees) < 0 or max(degrees) > COUPLING_LIMIT:
        raise ConfigError(
            f"degrees {degrees} lie outside the tables, which hold 0 to {COUPLING_LIMIT}; lower "
            "lmax"
        )
    if not triangle(l1, l2, l3):
        raise ConfigError(
            f"degrees {degrees} don't couple: {l1} and {l2} give {abs(l1 - l2)} to {l1 + l2}"
        )


@functools.cache
def _wigner_3j(l1: int, l2: int, l3: int) -> Tensor:
    if l1 < l2:  # one eigenproblem serves both orders, up to the sign of the exchange
        sign = -1 if (l1 + l2 + l3) % 2 else 1
        return sign * _wigner_3j(l2, l1, l3).transpose(0, 1)
    q1, q2, q3 = _real_basis(l1), _real_basis(l2), _real_basis(l3)
    coupled = _complex_coefficients(l1, l2)[l3]
    real = np.einsum("abc,ai,bj,ck->ijk", coupled, q1, q2, q3.conj(), optimize=True)
    return torch.from_numpy(real.real.copy()) / math.sqrt(2 * l3 + 1)


@functools.cache
def _real_basis(degree: int) -> NDArray[np.complex128]:
    """Columns: e3nn's real components in terms of states of definite order m = -l..l.

    (-i)^l times: |0>; for m > 0 (|-m> + (-1)^m |m>) / sqrt(2); for m < 0 i / sqrt(2) times
    ((-1)^m |-m| at +|m|> - |m>). The leading phase makes every coupling tensor real.
    """
    q = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=np.complex128)
    q[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        up, down = degree + m, degree - m
        q[down, up], q[up, up] = math.sqrt(0.5), sign * math.sqrt(0.5)
        q[down, down], q[up, down] = -1j * math.sqrt(0.5), 1j * sign * math.sqrt(0.5)
    phase: complex = (-1j) ** degree
    return phase * q


@functools.cache
def _complex_coefficients(l1: int, l2: int) -> dict[int, Array]:
    """<l1 m1 l2 m2 | l3 m3> of every l3, as arrays over m1, m2, m3; needs l1 >= l2."""
    out = {l3: np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1)) for l3 in range(l1 - l2, l1 + l2 + 1)}
    previous: dict[int, Array] = {}
    for m in range(l1 + l2, -(l1 + l2) - 1, -1):
        m1 = np.arange(max(-l1, m - l2), min(l1, m + l2) + 1)
        states = _eigenstates(l1, l2, m, m1)
        lowered = {l3: _lower(v, l1, l2, m + 1) for l3, v in previous.items()}
        previous = {}
        for l3, vector in states.items():
            # the top state is positive at the largest m1; the others follow from lowering
            full = np.zeros(2 * l1 + 1)
            full[m1 + l1] = vector
            along = full @ lowered[l3] if l3 in lowered else vector[-1]
            previous[l3] = math.copysign(1.0, along) * full
            out[l3][m1 + l1, m - m1 + l2, m + l3] = previous[l3][m1 + l1]
    return out


def _eigenstates(l1: int, l2: int, m: int, m1: NDArray[np.int64]) -> dict[int, Array]:
    """Eigenvectors of J^2 at order m over the states |m1, m - m1>, by l3."""
    m2 = m - m1
    square = np.diag((l1 * (l1 + 1) + l2 * (l2 + 1) + 2 * m1 * m2).astype(np.float64))
    raise_1 = np.sqrt((l1 - m1[:-1]) * (l1 + m1[:-1] + 1.0))
    lower_2 = np.sqrt((l2 + m2[:-1]) * (l2 - m2[:-1] + 1.0))
    square += np.diag(raise_1 * lower_2, 1) + np.diag(raise_1 * lower_2, -1)
    vectors = np.linalg.eigh(square).eigenvectors
    return {max(l1 - l2, abs(m)) + i: vectors[:, i] for i in range(len(m1))}


def _lower(vector: Array, l1: int, l2: int, m: int) -> Array:
    """J_- of a state of order m, as amplitudes over m1 at order m - 1, up to its length."""
    m1 = np.arange(-l1, l1 + 1)
    m2 = np.clip(m - m1, -l2, l2)  # where m2 would leave its range the amplitude is zero
    out = np.sqrt((l2 + m2) * (l2 - m2 + 1.0)) * vector
    out[:-1] += (np.sqrt((l1 + m1) * (l1 - m1 + 1.0)) * vector)[1:]
    return out
