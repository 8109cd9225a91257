"""Rotations: against scipy, at the angles 0 and pi, representations, and refusals."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import rotations
from zoo.functional.rotations import REPRESENTATIONS, so3, son

EYE = torch.eye(3, dtype=torch.float64)
AXIS = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
AXIS = AXIS / AXIS.norm()


def draw(count: int, seed: int = 0, n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return son.random((count, n, n), generator=generator, dtype=torch.float64)


def near(count: int, size: float) -> Tensor:
    """Rotations around one, for means."""
    drawn = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    return draw(1) @ rotations.axis_angle_to_matrix(size * drawn)


def test_conversions_agree_with_scipy() -> None:
    r = draw(50)
    peer = Rotation.from_matrix(r.numpy())
    assert np.abs(rotations.matrix_to_axis_angle(r).numpy() - peer.as_rotvec()).max() < 1e-12
    q = rotations.matrix_to_quaternion(r)
    expected = peer.as_quat(canonical=True)[:, [3, 0, 1, 2]]
    assert np.abs(q.numpy() - expected).max() < 1e-12
    assert (rotations.quaternion_to_matrix(q * 3.0) - r).abs().max() < 1e-14
    angles = torch.rand(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    euler = Rotation.from_euler("xyz", angles.numpy()).as_matrix()
    assert np.abs(rotations.euler_to_matrix(angles).numpy() - euler).max() < 1e-14
    v = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    made = Rotation.from_rotvec(v.numpy()).as_matrix()
    assert np.abs(rotations.axis_angle_to_matrix(v).numpy() - made).max() < 1e-14
    assert (rotations.vee(rotations.hat(v)) - v).abs().max() == 0


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_logarithms_agree_with_scipy(n: int) -> None:
    x, y = draw(4, 0, n), draw(4, 1, n)
    for a, b, log in zip(x, y, son.log(x, y), strict=True):
        expected = scipy.linalg.logm((a.mT @ b).numpy()).real
        assert np.abs((a.mT @ log).numpy() - expected).max() < 1e-11
    assert (son.exp(x, son.log(x, y)) - y).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("left", [1e-1, 1e-3, 1e-6, 1e-9, 0.0])
def test_angles_near_zero_and_pi(left: float, dtype: torch.dtype) -> None:
    """To rounding: acos of the trace would lose half the digits."""
    eps = torch.finfo(dtype).eps
    for angle in (left, math.pi - left):
        r = rotations.axis_angle_to_matrix(angle * AXIS).to(dtype)
        wanted = rotations.hat(angle * AXIS).to(dtype)
        eye = EYE.to(dtype)
        assert abs(float(so3.dist(eye, r)) - angle) < 20 * eps
        for log in (so3.log(eye, r), son.log(eye, r)):
            # at pi both senses are right; what they stand for is the same rotation
            error = min(float((log - wanted).abs().max()), float((log + wanted).abs().max()))
            assert error < 60 * eps


def test_half_turns_in_two_planes() -> None:
    r = torch.diag(torch.tensor([-1.0, -1, -1, -1, 1], dtype=torch.float64)).requires_grad_()
    eye = torch.eye(5, dtype=torch.float64)
    log = son.log(eye, son.project(r))
    assert (son.exp(eye, log) - r).abs().max() < 1e-12
    (grad,) = torch.autograd.grad(log.square().sum(), r)
    assert torch.isfinite(grad).all() and grad.abs().max() < 100


@pytest.mark.parametrize("angle", [0.0, 1e-5, 1.0, 3.0, math.pi - 1e-4])
def test_derivatives_of_logarithms(angle: float) -> None:
    r = rotations.axis_angle_to_matrix(angle * AXIS).requires_grad_()
    for geometry in (so3, son):

        def log(x: Tensor, geometry: object = geometry) -> Tensor:
            return geometry.log(EYE, son.project(x))  # type: ignore[no-any-return, attr-defined]

        assert gradcheck(log, (r,), eps=1e-7, atol=1e-5)
        assert gradgradcheck(log, (r,), eps=1e-7, atol=1e-4)


def test_derivatives_of_exponentials_at_zero() -> None:
    v = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(rotations.axis_angle_to_matrix, (v,))
    assert gradgradcheck(rotations.axis_angle_to_matrix, (v,))


def test_gradients_of_distances_are_finite() -> None:
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    for r in (EYE, half_turn, rotations.axis_angle_to_matrix(1e-9 * AXIS)):
        x = r.clone().requires_grad_()
        for dist in (so3.dist, so3.chordal_dist, son.dist):
            (grad,) = torch.autograd.grad(dist(x, EYE), x)
            assert torch.isfinite(grad).all() and grad.abs().max() < 3


def test_so3_is_son_in_three_dimensions() -> None:
    x, y = draw(20), draw(20, 1)
    v = son.tangent(x, draw(20, 2))
    assert (so3.dist(x, y) - son.dist(x, y)).abs().max() < 1e-12
    assert (so3.exp(x, v) - son.exp(x, v)).abs().max() < 1e-13
    assert (so3.transport(x, y, v) - son.transport(x, y, v)).abs().max() < 1e-12
    assert (so3.geodesic(x, y, 0.3) - son.geodesic(x, y, 0.3)).abs().max() < 1e-12
    points = near(9, 0.5)
    assert (so3.mean(points) - son.mean(points)).abs().max() < 1e-13


def test_means() -> None:
    points = near(9, 0.4)
    weights = torch.linspace(1, 3, 9, dtype=torch.float64)
    peer = Rotation.from_matrix(points.numpy()).mean(weights.numpy()).as_matrix()
    assert np.abs(so3.chordal_mean(points, weights).numpy() - peer).max() < 1e-12
    mean = so3.mean(points, weights)
    logs = rotations.matrix_to_axis_angle(mean.mT @ points)
    assert (weights[:, None] * logs).sum(0).abs().max() < 1e-13


@pytest.mark.parametrize("n", [3, 4])
def test_haar_measure(n: int) -> None:
    """E tr(R)^2 = 1 for uniform rotations; E R = 0."""
    for geometry in (so3, son) if n == 3 else (son,):
        generator = torch.Generator().manual_seed(7)
        r = geometry.random((20000, n, n), generator=generator, dtype=torch.float64)
        traces = r.diagonal(dim1=-2, dim2=-1).sum(-1)
        assert abs(float(traces.square().mean()) - 1) < 0.05
        assert r.mean(0).abs().max() < 0.02
        geometry.check(r, where="x")


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_representations(name: str) -> None:
    item = rotations.representation(name)
    r = draw(30)
    if item.from_matrix is not None:
        written = item.from_matrix(r)
        assert written.shape == (30, item.size)
        assert (item.to_matrix(written) - r).abs().max() < 1e-13
    a = torch.randn(30, item.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    if name != "matrix":
        so3.check(item.to_matrix(a), where=name)
    assert gradcheck(item.to_matrix, (a[:2].requires_grad_(),))
    zero = torch.zeros(item.size, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(item.to_matrix(zero).sum(), zero)
    assert torch.isfinite(grad).all()


def test_six_dimensions_by_hand() -> None:
    """Zhou et al., eq. 15 and section B, written with numpy for one vector."""
    a = np.array([1.0, 2.0, -0.5, 0.3, -1.0, 2.0])
    x = a[:3] / np.linalg.norm(a[:3])
    z = np.cross(x, a[3:])
    z /= np.linalg.norm(z)
    expected = np.stack([x, np.cross(z, x), z], axis=1)
    assert np.abs(rotations.from_6d(torch.tensor(a)).numpy() - expected).max() < 1e-15
    b = np.array([0.4, -0.2, 0.3, 0.9, -0.6])
    s = b[2:] * [math.sqrt(2) + 1, math.sqrt(2) + 1, math.sqrt(2)]
    point = np.array([s @ s - 1, *(2 * s)]) / (s @ s + 1)
    six = np.concatenate([b[:2], point / np.linalg.norm(point[1:])])
    made = rotations.from_5d(torch.tensor(b)), rotations.from_6d(torch.tensor(six))
    assert (made[0] - made[1]).abs().max() < 1e-15


def test_refusals() -> None:
    with pytest.raises(ManifoldError, match="off the identity by 3"):
        so3.check(2 * draw(2), where="layer")
    with pytest.raises(ManifoldError, match="reflection"):
        so3.check(-draw(2), where="layer")
    with pytest.raises(DeviceError, match="bfloat16"):
        so3.log(EYE.bfloat16(), EYE.bfloat16())
    for name in set(REPRESENTATIONS) - {"matrix"}:  # which computes nothing
        item = REPRESENTATIONS[name]
        with pytest.raises(DeviceError, match="float16"):
            item.to_matrix(torch.ones(item.size, dtype=torch.float16))
    with pytest.raises(ConfigError, match="quaternion"):
        rotations.representation("quaternions")
    with pytest.raises(ConfigError, match="no points"):
        so3.mean(draw(2)[:0])


def test_one_point_against_many() -> None:
    x, y = draw(1)[0], draw(5, 1)
    for geometry in (so3, son):
        v = geometry.log(x, y)
        singly = torch.stack([geometry.log(x, point) for point in y])
        assert (v - singly).abs().max() < 1e-12
        assert geometry.dist(x, y).shape == (5,)
        assert (geometry.exp(x, v) - y).abs().max() < 1e-12
        assert geometry.transport(x, y, v[0]).shape == y.shape
        assert geometry.geodesic(x, y, torch.linspace(0, 1, 5).double()).shape == y.shape
