"""Grassmann manifolds: against independent formulas in numpy, at limits, and refusals.

The laws that all manifolds share are in test_manifold_laws.py.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import grassmann
from zoo.functional.grassmann import projector

N, P = 7, 3


def bases(count: int, seed: int = 0, n: int = N, p: int = P) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return grassmann.random((count, n, p), generator=generator, dtype=torch.float64)


def tangents(x: Tensor, size: float = 1.0, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return size * grassmann.tangent(x, drawn)


def turned(x: Tensor, seed: int = 5) -> Tensor:
    """The same subspaces in other bases."""
    return x @ bases(len(x), seed, n=x.shape[-1], p=x.shape[-1])


def numpy_exp(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Edelman, Arias, Smith (1998), eq. 2.65, by an SVD of the tangent vector."""
    q, s, rt = np.linalg.svd(v, full_matrices=False)
    return np.asarray(x @ rt.T @ np.diag(np.cos(s)) @ rt + q @ np.diag(np.sin(s)) @ rt)


def numpy_log(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bendokat et al. (2020), Algorithm 5.3."""
    q, _, rt = np.linalg.svd(y.T @ x)
    aligned = y @ (q @ rt)
    a, s, bt = np.linalg.svd(aligned - x @ (x.T @ aligned), full_matrices=False)
    return np.asarray(a @ np.diag(np.arcsin(np.minimum(s, 1))) @ bt)


def test_exp_log_and_dist_agree_with_singular_values() -> None:
    x, y = bases(5), bases(5, 1)
    v = tangents(x)
    for a, b, w in zip(x, y, v, strict=True):
        expected = numpy_exp(a.numpy(), w.numpy())
        assert np.abs(grassmann.exp(a, w).numpy() - expected).max() < 1e-12
        log = numpy_log(a.numpy(), b.numpy())
        assert np.abs(grassmann.log(a, b).numpy() - log).max() < 1e-12
        cosines = np.linalg.svd(a.numpy().T @ b.numpy(), compute_uv=False)
        angles = np.linalg.norm(np.arccos(np.minimum(cosines, 1)))
        assert abs(float(grassmann.dist(a, b)) - angles) < 1e-12


def test_transport_agrees_with_the_closed_form() -> None:
    x = bases(1)[0]
    v, w = tangents(x, 0.2), tangents(x, seed=2)
    q, s, rt = np.linalg.svd(v.numpy(), full_matrices=False)
    # Edelman, Arias, Smith (1998), theorem 2.4
    moved = (q @ np.diag(np.cos(s)) - x.numpy() @ rt.T @ np.diag(np.sin(s))) @ q.T @ w.numpy()
    moved = moved + w.numpy() - q @ (q.T @ w.numpy())
    y = grassmann.exp(x, v)
    assert np.abs(grassmann.transport(x, y, w).numpy() - moved).max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_distances_keep_their_digits(dtype: torch.dtype) -> None:
    x = bases(4)
    v = tangents(x)
    for size in (1e-1, 1e-3, 1e-5):
        y = grassmann.exp(x, size * v).to(dtype)
        wanted = size * v.square().sum((-2, -1)).sqrt()
        error = (grassmann.dist(x.to(dtype), y) / wanted - 1).abs().max()
        assert error < 20 * torch.finfo(dtype).eps / size


def test_everything_depends_on_subspaces_alone() -> None:
    x, y = bases(4), bases(4, 1)
    v = tangents(x)
    xo, yo = turned(x), turned(y, 6)
    o = x.mT @ xo
    assert (grassmann.dist(x, y) - grassmann.dist(xo, yo)).abs().max() < 1e-13
    assert (grassmann.log(xo, yo) - grassmann.log(x, y) @ o).abs().max() < 1e-12
    moved = grassmann.transport(xo, yo, v @ o)
    assert (moved - grassmann.transport(x, y, v) @ (y.mT @ yo)).abs().max() < 1e-12
    span = projector.from_basis
    assert (span(grassmann.mean(x)) - span(grassmann.mean(xo))).abs().max() < 1e-12


def test_derivatives_at_zero_small_and_repeated_angles() -> None:
    x = bases(1)[0]
    equal = torch.zeros(N, P, dtype=torch.float64)
    q = grassmann.random((N, N), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    repeated = 0.7 * grassmann.tangent(x, q[:, :P])

    def log(a: Tensor, b: Tensor) -> Tensor:
        return grassmann.log(grassmann.project(a), grassmann.project(b))

    def exp(a: Tensor, v: Tensor) -> Tensor:
        base = grassmann.project(a)
        return grassmann.exp(base, grassmann.tangent(base, v))

    for v in (equal, 1e-4 * tangents(x), repeated):
        y = grassmann.exp(x, v)
        points = x.clone().requires_grad_(), y.clone().requires_grad_()
        assert gradcheck(log, points) and gradgradcheck(log, points)
        steps = x.clone().requires_grad_(), v.clone().requires_grad_()
        assert gradcheck(exp, steps) and gradgradcheck(exp, steps)


def test_gradients_of_distances_are_finite_everywhere() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    x = eye[:, :2].clone().requires_grad_()
    # equal, partly equal, orthogonal: the last lies on the cut locus
    for y in (eye[:, :2], eye[:, 1:3], eye[:, 2:4]):
        (grad,) = torch.autograd.grad(grassmann.dist(x, y), x)
        assert torch.isfinite(grad).all()
    assert grassmann.dist(eye[:, :2], eye[:, 2:4]) == pytest.approx(np.pi / np.sqrt(2))
    (at_zero,) = torch.autograd.grad(grassmann.dist(x, x), x)
    assert (at_zero == 0).all()


def test_the_mean_is_stationary_and_differentiable() -> None:
    center = bases(1)
    points = grassmann.exp(center.expand(12, N, P), tangents(center.expand(12, N, P), 0.2))
    weights = torch.linspace(0.5, 2, 12, dtype=torch.float64)
    mean = grassmann.mean(points, weights)
    log = grassmann.log(mean.expand_as(points), points)
    assert (weights[:, None, None] * log).sum(0).abs().max() < 1e-13

    def short(x: Tensor) -> Tensor:
        return projector.from_basis(grassmann.mean(grassmann.project(x), steps=2))

    few = points[:3].clone().requires_grad_()
    assert gradcheck(short, (few,))


def test_projectors_are_the_same_manifold() -> None:
    x, y = bases(4), bases(4, 1)
    p, q = projector.from_basis(x), projector.from_basis(y)
    v = tangents(x)
    lifted = v @ x.mT + x @ v.mT
    assert (
        projector.exp(p, lifted) - projector.from_basis(grassmann.exp(x, v))
    ).abs().max() < 1e-12
    assert (projector.dist(p, q) - grassmann.dist(x, y)).abs().max() < 1e-12
    assert (projector.inner(p, lifted, lifted) - grassmann.inner(x, v, v)).abs().max() < 1e-12
    log = projector.log(p, q)
    assert (projector.tangent(p, log) - log).abs().max() < 1e-12
    # exp(w) P exp(-w) with w = [log, P]: Bendokat et al., proposition 3.2
    w = log @ p - p @ log
    assert (torch.matrix_exp(w) @ p @ torch.matrix_exp(-w) - q).abs().max() < 1e-12


def test_derivatives_of_projectors() -> None:
    p, q = projector.from_basis(bases(2)).unbind(0)

    def log(a: Tensor) -> Tensor:
        return projector.log(projector.project(a, rank=P), q)

    points = (p.clone().requires_grad_(),)
    assert gradcheck(log, points) and gradgradcheck(log, points)


def test_gyro_laws_hold_with_exp() -> None:
    u, v, w = bases(3), bases(3, 1), bases(3, 2)
    base = grassmann.origin((3, N, P), dtype=torch.float64)
    near = [grassmann.gyro_scale(0.4, x) for x in (u, v, w)]
    left = grassmann.gyro_add(grassmann.gyro_inverse(u), u)
    assert grassmann.dist(left, base).max() < 1e-12
    back = grassmann.gyro_add(grassmann.gyro_inverse(u), grassmann.gyro_add(u, v))
    assert grassmann.dist(back, v).max() < 1e-11  # left cancellation
    twice = grassmann.gyro_scale(2.0, near[0])
    assert grassmann.dist(grassmann.gyro_add(near[0], near[0]), twice).max() < 1e-12
    assert grassmann.dist(grassmann.gyro_scale(1.0, u), u).max() < 1e-12
    moved = [grassmann.gyro_add(u, x) for x in (v, w)]
    assert (grassmann.dist(*moved) - grassmann.dist(v, w)).abs().max() < 1e-12


def test_maps_are_what_they_are_called() -> None:
    x = bases(2)
    v, z = tangents(x), bases(2, 4)
    w, eye = grassmann.to_skew(x, v), torch.eye(N, dtype=torch.float64)
    expected = {
        "exp": torch.matrix_exp(w),
        "cayley": torch.linalg.solve(eye - w / 2, eye + w / 2),
        "legacy": (eye - w) @ torch.linalg.inv(eye + w),
    }
    for method in grassmann.METHODS:
        assert (grassmann.turn(x, v, z, method=method) - expected[method] @ z).abs().max() < 1e-12
    with pytest.raises(ConfigError, match="cayley"):
        grassmann.turn(x, v, z, method="caylee")  # type: ignore[arg-type]


def test_the_published_cayley_map_does_not_undo() -> None:
    """Its sign and factor are wrong: what (-) V (+) V leaves is of the order of V itself."""
    base = grassmann.origin((4, N, P), dtype=torch.float64)
    v = grassmann.gyro_scale(0.3, bases(4))
    left = {}
    for method in grassmann.METHODS:
        back = grassmann.gyro_add(grassmann.gyro_inverse(v, method=method), v, method=method)
        left[method] = float((grassmann.dist(back, base) / grassmann.dist(v, base)).max())
    assert left["exp"] < 1e-12 < left["cayley"] < 0.1 < left["legacy"]


def test_refusals_name_what_is_wrong() -> None:
    good = bases(3)
    low = good.clone()
    low[1, :, 2] = low[1, :, 0]
    with pytest.raises(ManifoldError, match=r"layer: matrix \[1\] has rank 2 instead of 3"):
        grassmann.check(low, where="layer")
    with pytest.raises(ManifoldError, match="rank 2"):
        grassmann.project(low)
    with pytest.raises(ManifoldError, match=r"matrix \[2\].*not orthonormal.*0\.44"):
        grassmann.check(
            good * torch.tensor([1.0, 1.0, 1.2], dtype=torch.float64)[:, None, None], where="x"
        )
    with pytest.raises(ManifoldError, match="not finite"):
        grassmann.check(good * float("nan"), where="x")
    with pytest.raises(ManifoldError, match="transpose"):
        grassmann.check(good.mT, where="x")
    for call in (grassmann.exp, grassmann.log):
        with pytest.raises(DeviceError, match="float16"):
            call(good.half(), good.half())
    with pytest.raises(ConfigError, match="no points"):
        grassmann.mean(good[:0])
    grassmann.check(good, where="x")


def test_refusals_of_projectors() -> None:
    p = projector.from_basis(bases(2))
    projector.check(p, where="x")
    with pytest.raises(ManifoldError, match="not idempotent"):
        projector.check(2 * p, where="x")
    with pytest.raises(ManifoldError, match="not symmetric"):
        projector.check(p + torch.ones(N, N, dtype=torch.float64).triu(1), where="x")
    with pytest.raises(ManifoldError, match="one rank"):
        projector.to_basis(p * torch.tensor([1.0, 2.0], dtype=torch.float64)[:, None, None])


def test_one_point_against_many() -> None:
    x, y = bases(1)[0], bases(5, 1)
    for geometry, one, many in (
        (grassmann, x, y),
        (projector, projector.from_basis(x), projector.from_basis(y)),
    ):
        v = geometry.log(one, many)
        singly = torch.stack([geometry.log(one, point) for point in many])
        assert (v - singly).abs().max() < 1e-12
        assert geometry.dist(one, many).shape == (5,)
        assert geometry.exp(one, v).shape == many.shape
        assert geometry.transport(one, many, v[0]).shape == many.shape
        assert geometry.geodesic(one, many, torch.linspace(0, 1, 5).double()).shape == many.shape
