"""Coupling tensors, Gaunt coefficients, Fourier tables, operators and vector harmonics."""

import math

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ConfigError
from zoo.functional import (
    clebsch_gordan,
    from_fourier,
    gaunt,
    gaunt_coefficient,
    gauss_legendre,
    lebedev,
    matrix_blocks,
    to_fourier,
    vector_harmonics,
    wigner_3j,
    wigner_blocks,
)
from zoo.functional.clebsch_gordan import COUPLING_LIMIT
from zoo.functional.gaunt import hemisphere
from zoo.functional.wigner import edge_quaternion

degrees = st.integers(0, 7)
triples = st.tuples(degrees, degrees, st.integers(0, 14)).filter(
    lambda t: abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]
)


def rotation_blocks(lmax):
    quaternion = edge_quaternion(torch.tensor([[0.3, -1.2, 0.7]], dtype=torch.float64))
    return [block[0] for block in wigner_blocks(quaternion, lmax)]


@given(triples)
@settings(max_examples=60, deadline=None)
def test_coupling_tensors_are_those_of_e3nn(triple):
    assert (wigner_3j(*triple) - o3.wigner_3j(*triple, dtype=torch.float64)).abs().max() < 1e-13


@pytest.mark.parametrize("triple", [(24, 24, 24), (24, 12, 13), (20, 24, 5), (10, 10, 20)])
def test_the_end_of_the_tables(triple):
    assert (wigner_3j(*triple) - o3.wigner_3j(*triple, dtype=torch.float64)).abs().max() < 1e-13


def test_tables_are_copies():
    wigner_3j(1, 1, 1).zero_()
    gaunt(1, 1, 2).zero_()
    to_fourier(1).zero_()
    matrix_blocks(1, -1, 1).zero_()
    assert wigner_3j(1, 1, 1).norm() == pytest.approx(1)
    assert gaunt(1, 1, 2).norm() > 0.1
    assert to_fourier(1).abs().sum() > 0.1 and matrix_blocks(1, -1, 1).norm() > 0.1


@given(triples)
@settings(max_examples=30, deadline=None)
def test_rotations_leave_coupling_tensors_alone(triple):
    blocks = rotation_blocks(max(triple))
    w = wigner_3j(*triple)
    turned = torch.einsum("abc,ai,bj,ck->ijk", w, *(blocks[degree] for degree in triple))
    assert (turned - w).abs().max() < 1e-12


def test_component_normalization():
    block = clebsch_gordan(2, 3, 4)
    assert torch.allclose(block.square().sum((0, 1)), torch.ones(9, dtype=torch.float64))


def three_j_at_zero(l1, l2, l3):
    """(l1 l2 l3; 0 0 0), the closed form."""
    total = l1 + l2 + l3
    if total % 2:
        return 0.0
    g, f = total // 2, math.factorial
    square = f(2 * g - 2 * l1) * f(2 * g - 2 * l2) * f(2 * g - 2 * l3) / f(2 * g + 1)
    return (-1) ** g * math.sqrt(square) * f(g) / (f(g - l1) * f(g - l2) * f(g - l3))


@given(triples)
@settings(max_examples=60, deadline=None)
def test_gaunt_coefficients_are_multiples_of_coupling_tensors(triple):
    l1, l2, l3 = triple
    size = math.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * math.pi))
    expected = size * abs(three_j_at_zero(l1, l2, l3))
    measured = gaunt_coefficient(l1, l2, l3)
    assert abs(abs(measured) - expected) < 1e-12
    assert (gaunt(l1, l2, l3) - measured * wigner_3j(l1, l2, l3)).abs().max() < 1e-12


def test_gaunt_coefficients_vanish_for_odd_sums_only():
    for l1 in range(5):
        for l2 in range(5):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                assert bool(gaunt(l1, l2, l3).any()) == ((l1 + l2 + l3) % 2 == 0)


def test_fourier_series_give_gaunt_coefficients():
    l1, l2 = 3, 2
    band = l1 + l2
    product = torch.zeros(2 * band + 1, 2 * band + 1, 16, 9, dtype=torch.complex128)
    first, second = to_fourier(l1), to_fourier(l2)
    for u in range(-l1, l1 + 1):  # the convolution, term by term, negative v by conjugation
        for v in range(-l1, l1 + 1):
            a = first[u + l1, v] if v >= 0 else first[l1 - u, -v].conj()
            for s in range(-l2, l2 + 1):
                for t in range(-l2, l2 + 1):
                    b = second[s + l2, t] if t >= 0 else second[l2 - s, -t].conj()
                    product[u + s + band, v + t + band] += a[:, None] * b
    half = product[:, band:]
    table = torch.einsum("kuv,uvij->ijk", from_fourier(band, band), half).real
    for a in range(l1 + 1):
        for b in range(l2 + 1):
            for c in range(band + 1):
                block = table[a * a : (a + 1) ** 2, b * b : (b + 1) ** 2, c * c : (c + 1) ** 2]
                exact = gaunt(a, b, c) if abs(a - b) <= c <= a + b else torch.zeros(1)
                assert (block - exact).abs().max() < 1e-12


def test_half_a_symmetric_grid():
    for points, weights in (lebedev(11), gauss_legendre(4, 6), gauss_legendre(5, 8)):
        half = hemisphere(points, weights)
        assert half is not None
        assert 2 * len(half[0]) == len(points)
        assert half[1].sum() == pytest.approx(4 * math.pi)
        even = points[:, 0] ** 2 * points[:, 1] * points[:, 2] + points[:, 1] ** 4
        kept = half[0][:, 0] ** 2 * half[0][:, 1] * half[0][:, 2] + half[0][:, 1] ** 4
        assert float(even @ weights) == pytest.approx(float(kept @ half[1]))
    assert hemisphere(*gauss_legendre(4, 7)) is None


def test_operators_transform_like_their_irrep():
    blocks = rotation_blocks(3)
    space = torch.block_diag(*blocks[:3])
    for degree, parity in ((0, 1), (1, -1), (1, 1), (2, 1), (2, -1), (3, -1), (3, 1)):
        operators = matrix_blocks(degree, parity, 2)
        turned = space @ operators @ space.T
        assert (torch.einsum("mi,mab->iab", blocks[degree], operators)).shape == turned.shape
        assert (turned - torch.einsum("mi,mab->iab", blocks[degree], operators)).abs().max() < 1e-12
        flipped = torch.tensor([(-1.0) ** a for a in range(3) for _ in range(2 * a + 1)])
        mirrored = operators * flipped[:, None] * flipped
        assert (mirrored - parity * operators).abs().max() == 0


def test_vector_harmonics_are_orthonormal():
    points, weights = gauss_legendre(7, 14)
    kinds = [(j, n) for j in range(4) for n in range(max(j - 1, 0), j + 2) if (j, n) != (0, 0)]
    fields = torch.cat([vector_harmonics(j, n, points) for j, n in kinds], dim=-1)
    product = torch.einsum("pki,pkj,p->ij", fields, fields, weights)
    assert (product - torch.eye(len(product), dtype=torch.float64)).abs().max() < 1e-12


def test_the_first_vector_harmonics():
    points, _ = gauss_legendre(4, 7)
    radial = vector_harmonics(0, 1, points)[..., 0]
    sign = float((radial * points).sum(-1)[0].sign())
    assert (sign * math.sqrt(4 * math.pi) * radial - points).abs().max() < 1e-13
    constant = vector_harmonics(1, 0, points) * math.sqrt(4 * math.pi)
    assert (constant[0].abs() - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wigner_3j(1, 2, 4), r"\(1, 2, 4\) don't couple: 1 and 2 give 1 to 3"),
        (lambda: gaunt(0, 2, 1), "don't couple"),
        (lambda: wigner_3j(COUPLING_LIMIT + 1, 0, COUPLING_LIMIT + 1), "hold 0 to 24"),
        (lambda: gaunt_coefficient(-1, 0, 1), "outside the tables"),
        (lambda: to_fourier(30), "30.*24"),
        (lambda: from_fourier(-1, 2), "negative"),
        (lambda: matrix_blocks(5, 1, 2), "hold up to 4"),
        (lambda: matrix_blocks(2, 1, 30), "end at 24"),
        (lambda: vector_harmonics(2, 5, torch.eye(3).double()), r"one of \[1, 2, 3\]"),
        (lambda: vector_harmonics(0, 0, torch.eye(3).double()), r"one of \[1\]"),
    ],
)
def test_refusals_name_the_limits(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
