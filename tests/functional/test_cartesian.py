"""Matrices in irreducible components: an orthonormal basis, closed under what is done to it."""

import pytest
import torch

from zoo.functional import direction_components, from_matrix, matrix_product, to_matrix
from zoo.functional.cartesian import SIZES, component_table

DOUBLE = torch.float64
GROUPS = [slice(0, 1), slice(1, 4), slice(4, sum(SIZES))]


def random_matrices(count, seed=0):
    return torch.randn(3, 3, count, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(seed=0):
    q, r = torch.linalg.qr(random_matrices(1, seed)[..., 0])
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def test_basis_is_orthonormal():
    table = component_table()
    assert torch.allclose(table @ table.T, torch.eye(9, dtype=DOUBLE), atol=1e-15)


def test_round_trip_and_norm():
    m = random_matrices(5)
    c = from_matrix(m)
    assert torch.allclose(to_matrix(c), m)
    assert torch.allclose(c.square().sum(0), m.square().sum((0, 1)))


def test_groups_are_trace_antisymmetric_symmetric():
    c = from_matrix(random_matrices(4))
    parts = []
    for group in GROUPS:
        only = torch.zeros_like(c)
        only[group] = c[group]
        parts.append(to_matrix(only).permute(2, 0, 1))
    trace, anti, sym = parts
    assert torch.allclose(trace, trace[:, :1, :1] * torch.eye(3, dtype=DOUBLE))
    assert torch.allclose(anti, -anti.mT)
    assert torch.allclose(sym, sym.mT)
    assert torch.allclose(sym.diagonal(dim1=1, dim2=2).sum(-1), torch.zeros(4, dtype=DOUBLE))


def test_rotation_does_not_mix_groups():
    r = rotation()
    c = from_matrix(random_matrices(4))
    for group in GROUPS:
        only = torch.zeros_like(c)
        only[group] = c[group]
        turned = torch.einsum("xa,abn,yb->xyn", r, to_matrix(only), r)
        mixed = from_matrix(turned)
        mixed[group] = 0
        assert mixed.abs().max() < 1e-14


def test_direction_components_are_those_of_the_matrices():
    u = torch.nn.functional.normalize(random_matrices(3)[0].T, dim=-1)
    for row in u:
        x, y, z = row.tolist()
        cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=DOUBLE)
        matrix = torch.eye(3, dtype=DOUBLE) + cross + torch.outer(row, row)
        matrix = matrix - torch.eye(3, dtype=DOUBLE) / 3
        expected = from_matrix(matrix[..., None])[:, 0]
        assert torch.allclose(direction_components(row[None])[0], expected, atol=1e-15)


@pytest.mark.parametrize("symmetric", [False, True])
def test_matrix_product_and_its_derivatives(symmetric):
    a, b = random_matrices(2, 1).requires_grad_(), random_matrices(2, 2).requires_grad_()
    expected = torch.einsum("xyn,yzn->xzn", a, b)
    if symmetric:
        expected = expected + torch.einsum("xyn,yzn->xzn", b, a)

    def product(x, y):
        return matrix_product(x, y, symmetric=symmetric)

    assert torch.allclose(product(a, b), expected)
    assert torch.autograd.gradcheck(product, (a, b))
    assert torch.autograd.gradgradcheck(product, (a, b))
