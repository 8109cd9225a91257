"""Tables behind the Wigner matrices: polynomials in cos(beta), positions, generators.

In the complex basis, with the quaternion as the pair a = w + i y, b = x + i z (polar axis y),

    D_{m'm} = sqrt((l+m')! (l-m')! / ((l+m)! (l-m)!))
              sum_j C(l+m, j) C(l-m, l+m'-j) a^j b^(l+m-j) (-b*)^(l+m'-j) (a*)^(j-m-m')

(Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum). Each term
is a^(m+m') b^(m-m'), a negative power meaning the conjugate, times a polynomial in |a|^2 and
|b|^2 = 1 - |a|^2. So D_{m'm} = a^(m+m') b^(m-m') P(c) with c = |a|^2 - |b|^2, the cosine of the
polar angle: no division and no angle, hence no pole. P is kept in Chebyshev's polynomials,
whose coefficients are small, from exact integers.
"""

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Complex = NDArray[np.complex128]


@functools.cache
def _times(plus: int, minus: int) -> tuple[int, ...]:
    """Coefficients of (1 + c)^plus (1 - c)^minus in powers of c."""
    out = [1]
    for sign in [1] * plus + [-1] * minus:
        out = [p + sign * q for p, q in zip([*out, 0], [0, *out], strict=True)]
    return tuple(out)


@functools.cache
def _chebyshev(degree: int) -> tuple[Fraction, ...]:
    """Coefficients of c^degree in Chebyshev's polynomials."""
    out = [Fraction(0)] * (degree + 1)
    for i in range(degree // 2 + 1):
        j = degree - 2 * i
        out[j] = Fraction(math.comb(degree, i), 2 ** (degree - (j > 0)))
    return tuple(out)


@functools.cache
def polynomial(degree: int, row: int, column: int) -> tuple[float, ...]:
    """P of D_{row, column}, in Chebyshev's polynomials of c; its degree is `degree - max(|m|)`.

    Signs are those of the basis Y~_m = (-1)^m Y_m for m > 0, in which the real harmonics are
    sqrt(2) times the real and the imaginary part of Y~_m.
    """
    total = row + column
    order = degree - max(abs(row), abs(column))
    powers = [0] * (order + 1)
    for j in range(max(0, total), min(degree + column, degree + row) + 1):
        number = math.comb(degree + column, j) * math.comb(degree - column, degree + row - j)
        a = j - max(total, 0)
        sign = -1 if (degree + row - j) % 2 else 1
        for k, c in enumerate(_times(a, order - a)):
            powers[k] += sign * number * c
    out = [Fraction(0)] * (order + 1)
    for k, power in enumerate(powers):
        for j, part in enumerate(_chebyshev(k)):
            out[j] += power * part
    ratio = Fraction(
        math.factorial(degree + row) * math.factorial(degree - row),
        math.factorial(degree + column) * math.factorial(degree - column),
    )
    sign = -1 if (max(row, 0) + max(column, 0)) % 2 else 1
    scale = sign * math.sqrt(ratio) / 2**order
    return tuple(scale * float(c) for c in out)


def kept_rows(lmax: int, mmax: int) -> list[tuple[int, int]]:
    """(degree, order) of the kept coefficients in order-major layout.

    m = 0 for l = 0 to lmax; then for each m = 1 to mmax, +m for l = m to lmax, then -m.
    """
    rows = [(degree, 0) for degree in range(lmax + 1)]
    for m in range(1, mmax + 1):
        for sign in (1, -1):
            rows += [(degree, sign * m) for degree in range(m, lmax + 1)]
    return rows


Term = tuple[int, int, int, float]  # part (0 real, 1 imaginary), row, column, factor


def _terms(row: int, column: int) -> list[Term]:
    """An entry of the real matrix as a sum over parts of D_{m'm} and D_{m', -m}, m', m >= 0.

    From Y_{+m} = sqrt(2) Re Y~_m and Y_{-m} = sqrt(2) Im Y~_m.
    """
    m, n = abs(row), abs(column)
    if m == 0 or n == 0:
        factor = 1.0 if m == n else math.sqrt(2.0)
        part = int(row < 0 or column < 0)
        return [(part, m, n, -factor if column < 0 else factor)]
    if row > 0:
        signs, part = ((1.0, 1.0), 0) if column > 0 else ((-1.0, 1.0), 1)
    else:
        signs, part = ((1.0, 1.0), 1) if column > 0 else ((1.0, -1.0), 0)
    return [(part, m, n, signs[0]), (part, m, -n, signs[1])]


@functools.cache
def entries(lmax: int, mmax: int) -> tuple[Tensor, Tensor, Tensor]:
    """How the nonzero entries are made, row after row in order-major layout.

    Entry e is sum_t phase[index[t, e]] * (table[t, e] @ chebyshev), where the phases are the real
    parts, then the imaginary parts, of a^(m+m') b^(m-m') for m' = 0..mmax, m = -lmax..lmax.

    Returns:
        index (2, entries); table (2, entries, lmax + 1) in float64; positions of the entries in
        the flattened matrix (entries,).
    """
    phases = (mmax + 1) * (2 * lmax + 1)
    index: list[list[int]] = []
    table: list[Tensor] = []
    positions: list[int] = []
    for r, (degree, row) in enumerate(kept_rows(lmax, mmax)):
        for column in range(-degree, degree + 1):
            place = torch.zeros(2, lmax + 1, dtype=torch.float64)
            found = [0, 0]
            for t, (part, m, n, factor) in enumerate(_terms(row, column)):
                values = polynomial(degree, m, n)
                place[t, : len(values)] = factor * torch.tensor(values, dtype=torch.float64)
                found[t] = part * phases + m * (2 * lmax + 1) + n + lmax
            index.append(found)
            table.append(place)
            positions.append(r * (lmax + 1) ** 2 + degree * degree + column + degree)
    return torch.tensor(index).T.contiguous(), torch.stack(table, dim=1), torch.tensor(positions)


class Pattern(NamedTuple):
    """Rows and columns of the nonzero entries, and how they lie when sorted by column."""

    row: Tensor
    column: Tensor
    height: Tensor  # entries in the column of each entry
    below: Tensor  # entries in the columns before its column
    within: Tensor  # entries of its column before it
    row_begins: Tensor  # (kept,)
    column_begins: Tensor  # (coefficients,)


@functools.cache
def pattern(lmax: int, mmax: int) -> Pattern:
    """The places of the nonzero entries, integers, (entries,) but for the last two."""
    positions = entries(lmax, mmax)[2]
    row, column = positions // (lmax + 1) ** 2, positions % (lmax + 1) ** 2
    lengths, heights = torch.bincount(row), torch.bincount(column)
    row_begins, column_begins = lengths.cumsum(0) - lengths, heights.cumsum(0) - heights
    by_column = torch.argsort(column, stable=True)
    within = torch.empty_like(column)
    within[by_column] = torch.arange(len(column)) - column_begins[column[by_column]]
    height, below = heights[column], column_begins[column]
    return Pattern(row, column, height, below, within, row_begins, column_begins)


@functools.cache
def degree_blocks(lmax: int, mmax: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """The order that puts the entries degree by degree, and (rows, 2l + 1) of each degree."""
    rows = kept_rows(lmax, mmax)
    of_row = torch.tensor([degree for degree, _ in rows])
    order = torch.argsort(of_row[pattern(lmax, mmax).row], stable=True)
    return order, [(2 * min(n, mmax) + 1, 2 * n + 1) for n in range(lmax + 1)]


@functools.cache
def generators(degree: int) -> Tensor:
    """dD/d(omega) at the identity for rotations about x, y, z: (3, 2l+1, 2l+1), float64.

    With a = 1 + i omega_y / 2 and b = (omega_x + i omega_z) / 2, to first order.
    """
    size = 2 * degree + 1
    out = np.zeros((3, size, size), dtype=complex)
    for m in range(-degree, degree + 1):
        i = m + degree
        out[1, i, i] = 1j * m
        if m < degree:
            root = math.sqrt((degree - m) * (degree + m + 1)) / 2
            out[0, i, i + 1], out[2, i, i + 1] = root, 1j * root  # D_{m, m+1} is linear in b
            out[0, i + 1, i], out[2, i + 1, i] = -root, 1j * root  # and D_{m+1, m} in -b*
    basis = _real_basis(degree)
    return torch.from_numpy((basis @ out @ basis.conj().T).real.copy())


def _real_basis(degree: int) -> Complex:
    """The real harmonics in terms of the complex ones with the phase of Condon and Shortley."""
    out = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    out[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign = (-1) ** m * math.sqrt(0.5)
        out[degree + m, degree + m], out[degree + m, degree - m] = sign, math.sqrt(0.5)
        out[degree - m, degree + m], out[degree - m, degree - m] = -1j * sign, 1j * math.sqrt(0.5)
    return out
