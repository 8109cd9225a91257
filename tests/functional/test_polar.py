"""Sylvester solves, polar factors and leading subspaces, and their derivatives."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError
from zoo.functional.polar import leading_subspace, orthonormalize, polar, sylvester


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) / 2


def spanned(x: Tensor, rank: int) -> Tensor:
    basis = leading_subspace(x, rank)
    return basis @ basis.mT


def test_sylvester_solves_its_equation() -> None:
    a, b, c = symmetric(normal(2, 4, 4)), symmetric(normal(3, 3, seed=1)), normal(2, 4, 3, seed=2)
    y = sylvester(a, b, c)
    assert (a @ y - y @ b - c).abs().max() < 1e-13


def test_sylvester_is_differentiable_twice() -> None:
    inputs = tuple(
        x.requires_grad_() for x in (normal(2, 3, 3), normal(2, 2, seed=1), normal(2, 3, 2, seed=2))
    )

    def solve(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return sylvester(symmetric(a), symmetric(b), c)

    assert gradcheck(solve, inputs) and gradgradcheck(solve, inputs)


def test_a_shared_eigenvalue_drops_a_component() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    c = normal(2, 2)
    assert torch.equal(sylvester(eye, eye, c), torch.zeros_like(c))


@pytest.mark.parametrize("shape", [(2, 5, 3), (4, 4), (3, 1)])
def test_polar_factor(shape: tuple[int, ...]) -> None:
    x = normal(*shape).requires_grad_()
    out = polar(x)
    u, _, vh = torch.linalg.svd(x.detach(), full_matrices=False)
    assert (out - u @ vh).abs().max() < 1e-13
    assert gradcheck(polar, (x,)) and gradgradcheck(polar, (x,))


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_special_polar_factor_is_a_rotation(flip: float) -> None:
    x = normal(3, 3)
    x = x * x.det().sign() * flip  # of either determinant
    x.requires_grad_()

    def rotation(x: Tensor) -> Tensor:
        return polar(x, special=True)

    assert float(torch.linalg.det(rotation(x.detach()))) == pytest.approx(1.0)
    assert gradcheck(rotation, (x,)) and gradgradcheck(rotation, (x,))


def test_singular_square_matrices_have_finite_derivatives() -> None:
    x = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad((polar(x) * normal(3, 3)).sum(), x)
    assert torch.isfinite(grad).all()


def test_leading_subspace_at_distinct_and_repeated_eigenvalues() -> None:
    basis = orthonormalize(normal(5, 2))
    for x in (symmetric(normal(5, 5)), basis @ basis.mT):
        x = x.clone().requires_grad_()
        assert gradcheck(lambda y: spanned(symmetric(y), 2), (x,))
        assert gradgradcheck(lambda y: spanned(symmetric(y), 2), (x,))


def test_plain_eigenvectors_would_give_nan_there() -> None:
    basis = orthonormalize(normal(5, 2))
    x = (basis @ basis.mT).requires_grad_()
    weights = normal(5, 5, seed=3)
    vectors = torch.linalg.eigh(x)[1][:, -2:]
    (plain,) = torch.autograd.grad((vectors @ vectors.mT * weights).sum(), x)
    (ours,) = torch.autograd.grad((spanned(x, 2) * weights).sum(), x)
    # the derivative of a projector: P S (1 - P) + (1 - P) S P
    span, other = x.detach(), torch.eye(5, dtype=torch.float64) - x.detach()
    expected = span @ symmetric(weights) @ other
    assert (ours - expected - expected.mT).abs().max() < 1e-13
    assert not torch.allclose(plain, ours, atol=1e-6) or not torch.isfinite(plain).all()


def test_the_whole_space_and_equal_eigenvalues_across_the_cut() -> None:
    x = torch.eye(3, dtype=torch.float64, requires_grad=True)
    for rank in (1, 3):
        (grad,) = torch.autograd.grad((spanned(x, rank) * normal(3, 3)).sum(), x)
        assert torch.isfinite(grad).all()


def test_orthonormalize_has_one_answer() -> None:
    x = normal(2, 5, 3).requires_grad_()
    q = orthonormalize(x)
    r = q.mT @ x
    assert (r.diagonal(dim1=-2, dim2=-1) > 0).all() and (r.tril(-1).abs() < 1e-13).all()
    assert gradcheck(orthonormalize, (x,)) and gradgradcheck(orthonormalize, (x,))


def test_refusals() -> None:
    wide = normal(2, 3)
    for refused in (lambda: polar(wide), lambda: orthonormalize(wide)):
        with pytest.raises(ConfigError):
            refused()
    with pytest.raises(ConfigError, match="square"):
        polar(normal(3, 2), special=True)
    with pytest.raises(ConfigError, match="1 to 3 dimensions, not 4"):
        leading_subspace(symmetric(normal(3, 3)), 4)
    half = normal(3, 3).half()
    for refused in (lambda: polar(half), lambda: orthonormalize(half)):
        with pytest.raises(DeviceError, match="float16"):
            refused()
