"""Grids as the authors use them, and activations that become equivariant as the grid grows."""

import pytest
import torch
from e3nn.o3 import FromS2Grid, ToS2Grid
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional import edge_quaternion, order_major_index, wigner_matrix
from zoo.layers.equivariant import (
    S2Activation,
    SeparableS2Activation,
    SphereGrid,
    escn_resolution,
)


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def rotation(lmax: int) -> Tensor:
    """The Wigner matrix of one rotation, degree-major on both sides."""
    matrix = wigner_matrix(edge_quaternion(draw(1, 3)), lmax)[0]
    return matrix[order_major_index(lmax).argsort()]


@pytest.mark.parametrize(("lmax", "mmax"), [(4, 2), (3, 3), (6, 2)])
def test_matrices_are_those_of_e3nn(lmax: int, mmax: int) -> None:
    for normalization, resolution in (
        ("integral", escn_resolution(lmax, mmax)),
        ("component", (18, 18)),
    ):
        grid = SphereGrid(
            lmax, mmax, resolution=resolution, layout="order", normalization=normalization
        ).double()
        kept = order_major_index(lmax, mmax)
        there = ToS2Grid(lmax, resolution, normalization=normalization, dtype=torch.float64)
        back = FromS2Grid(resolution, lmax, normalization=normalization, dtype=torch.float64)
        expected = torch.einsum("mbi,am->bai", there.shb, there.sha).flatten(0, 1)[:, kept]
        torch.testing.assert_close(grid.to_matrix, expected, rtol=0, atol=1e-12)
        expected = torch.einsum("am,mbi->bai", back.sha, back.shb).flatten(0, 1)[:, kept].T
        # e3nn rounds its quadrature weights to float32
        torch.testing.assert_close(grid.from_matrix, expected, rtol=0, atol=3e-7)


def test_escn_resolution() -> None:
    assert escn_resolution(6, 2) == (14, 5) and escn_resolution(3, 3) == (8, 9)


@pytest.mark.parametrize("rule", ["e3nn", "gauss_legendre"])
def test_there_and_back_is_the_identity_and_coarse_grids_are_refused(rule: str) -> None:
    lat = 5 if rule == "gauss_legendre" else 10
    grid = SphereGrid(4, resolution=(lat, 9), rule=rule).double()  # type: ignore[arg-type]
    x = draw(3, 25, 2)
    torch.testing.assert_close(grid.from_grid(grid.to_grid(x)), x, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match=r"too coarse for lmax=4, mmax=4.*changes coefficients"):
        SphereGrid(4, resolution=(lat, 8), rule=rule)  # type: ignore[arg-type]
    SphereGrid(4, resolution=(lat, 8), rule=rule, allow_aliasing=True)  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="rule='lebedev'"):
        SphereGrid(2, resolution=(6, 7), rule="lebedev")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mmax=3 exceeds lmax=2"):
        SphereGrid(2, 3, resolution=(6, 7))


def test_constants_are_exact_in_float64() -> None:
    grid = SphereGrid(2, resolution=(6, 7))
    assert grid.to_matrix.dtype == torch.float32
    product = grid.double().from_matrix @ grid.to_matrix
    assert float((product - torch.eye(9, dtype=torch.float64)).abs().max()) < 1e-14


def test_rescaling_makes_up_for_missing_orders() -> None:
    plain = SphereGrid(3, 1, resolution=(8, 9), layout="order")
    scaled = SphereGrid(3, 1, resolution=(8, 9), layout="order", rescale=True)
    ratio = scaled.to_matrix.norm(dim=0) / plain.to_matrix.norm(dim=0)
    degrees = torch.tensor([0, 1, 2, 3, 1, 2, 3, 1, 2, 3])
    expected = torch.where(degrees > 1, ((2 * degrees + 1) / 3).sqrt(), 1.0)
    torch.testing.assert_close(ratio, expected)


def error(resolution: tuple[int, int]) -> float:
    act = S2Activation(SphereGrid(3, resolution=resolution, rule="gauss_legendre")).double()
    x, turn = 3.0 * draw(4, 16, 2), rotation(3)
    difference = turn @ act(x) - act(turn @ x)
    return float(difference.abs().max() / act(x).abs().max())


def test_equivariance_error_falls_as_the_grid_grows() -> None:
    errors = [error((n, 2 * n + 1)) for n in (4, 8, 16)]
    assert errors[0] > 1e-3
    assert errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5


def test_a_linear_activation_changes_nothing() -> None:
    grid = SphereGrid(2, resolution=(6, 7)).double()
    x = draw(2, 9, 3)
    torch.testing.assert_close(S2Activation(grid, lambda v: 2.0 * v)(x), 2.0 * x)


def test_separable_activation_takes_degree_zero_from_the_scalars() -> None:
    grid = SphereGrid(2, 1, resolution=(6, 7), layout="order").double()
    x, scalars = draw(2, 7, 3), draw(2, 3)
    out = SeparableS2Activation(grid)(scalars, x)
    torch.testing.assert_close(out[:, 0], torch.nn.functional.silu(scalars))
    torch.testing.assert_close(out[:, 1:], S2Activation(grid)(x)[:, 1:])


def test_second_derivatives() -> None:
    act = S2Activation(SphereGrid(1, resolution=(4, 5))).double()
    x = draw(1, 4, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(act, (x,))
