"""Frames and Wigner matrices: e3nn's conventions, no singularity, precision, refusals."""

import math

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import (
    edge_quaternion,
    order_major_index,
    quaternion_to_matrix,
    spherical_harmonics,
    wigner_blocks,
    wigner_matrix,
)
from zoo.layers.equivariant import EdgeFrames

DTYPES = [torch.float32, torch.float64]


@pytest.fixture
def float64():
    """e3nn's Wigner matrices follow the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def quaternions(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return q / q.norm(dim=-1, keepdim=True)


def directions(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64)


def near_axes(dtype: torch.dtype) -> torch.Tensor:
    """Every axis, exactly and within 1e-12 in both other directions, at several lengths."""
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).to(dtype)
    nudges = [0.0, 1e-12, -1e-12, 1e-13]
    points = []
    for axis in axes:
        others = [e for e in torch.eye(3, dtype=dtype) if float(e @ axis) == 0]
        points += [axis + a * others[0] + b * others[1] for a in nudges for b in nudges]
    return torch.cat([torch.stack(points), 1.7 * torch.stack(points)])


@pytest.mark.usefixtures("float64")
def test_matrices_are_those_of_e3nn():
    q = quaternions(20)
    for degree, block in enumerate(wigner_blocks(q, 10)):
        expected = o3.Irrep(degree, 1).D_from_quaternion(q)
        assert (block - expected).abs().max() < 1e-12, degree


def test_degree_one_is_the_rotation():
    q = quaternions(20)
    assert torch.allclose(wigner_blocks(q, 1)[1], quaternion_to_matrix(q), atol=1e-14)


def test_composition():
    a, b = quaternions(20, 1), quaternions(20, 2)
    for first, second, both in zip(
        wigner_blocks(a, 12),
        wigner_blocks(b, 12),
        wigner_blocks(o3.compose_quaternion(a, b), 12),
        strict=True,
    ):
        assert torch.allclose(first @ second, both, atol=1e-12)


def test_harmonics_turn_with_their_argument():
    q, r = quaternions(20), directions(20)
    turned = (quaternion_to_matrix(q) @ r[:, :, None])[:, :, 0]
    index = order_major_index(8, 5)
    expected = spherical_harmonics(turned, 8)[:, index]
    found = wigner_matrix(q, 8, 5) @ spherical_harmonics(r, 8)[:, :, None]
    assert torch.allclose(found[:, :, 0], expected, atol=1e-12)


def test_rows_are_those_of_the_whole_matrix():
    q = quaternions(5)
    whole = wigner_matrix(q, 6)
    place = {int(p): row for row, p in enumerate(order_major_index(6))}
    rows = [place[int(p)] for p in order_major_index(6, 2)]
    assert torch.equal(wigner_matrix(q, 6, 2), whole[:, rows])
    assert wigner_matrix(q, 6, 2).shape == (5, 7 + 2 * 6 + 2 * 5, 49)


def test_a_multiple_of_a_quaternion_is_the_same_rotation():
    q = quaternions(5)
    assert torch.allclose(wigner_matrix(3.7 * q, 4), wigner_matrix(q, 4), atol=1e-14)
    assert torch.allclose(wigner_matrix(-q, 4), wigner_matrix(q, 4), atol=1e-14)


def test_frames_take_edges_to_the_polar_axis():
    r = torch.cat([directions(5000), near_axes(torch.float64)])
    rotation = quaternion_to_matrix(edge_quaternion(r))
    unit = r / r.norm(dim=-1, keepdim=True)
    polar = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert ((rotation @ unit[:, :, None])[:, :, 0] - polar).abs().max() < 1e-15 * 10
    assert (rotation.mT @ rotation - torch.eye(3).double()).abs().max() < 1e-15 * 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_singularity_on_the_axes(dtype):
    """Values, first and second derivatives, of frames and matrices, are finite and moderate."""
    r = near_axes(dtype).requires_grad_()
    frames = EdgeFrames(4, 2)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(frames(r).shape[1:], generator=generator).to(dtype)
    value = (frames(r) * weight).sum((1, 2))
    (first,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    seconds = [torch.autograd.grad(first[:, i].sum(), r, retain_graph=True)[0] for i in range(3)]
    for tensor, bound in ((value, 1e2), (first, 1e3), *((s, 1e5) for s in seconds)):
        assert torch.isfinite(tensor).all()
        assert tensor.abs().max() < bound


def test_derivatives_are_bounded_on_the_whole_sphere():
    """At a pole of angles or of one chart the derivative grows as 1 / distance, without bound."""
    r = directions(200_000, 3).requires_grad_()
    q = edge_quaternion(r / r.norm(dim=-1, keepdim=True).detach())
    largest = torch.zeros(())
    for i in range(4):
        (first,) = torch.autograd.grad(q[:, i].sum(), r, retain_graph=True)
        largest = torch.maximum(largest, first.norm(dim=-1).mul(r.norm(dim=-1)).max())
    assert 1.0 < largest < 10.0


@pytest.mark.parametrize("sign", [1, -1])
def test_one_chart_alone_is_singular(sign):
    """What the blend is for: the rotation by the shortest way diverges at the opposite pole."""
    near = torch.tensor([[1e-6, sign * 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    x, y, z = (near / near.norm()).unbind(-1)
    charts = {1: [1 + y, -z, 0 * x, x], -1: [-z, 1 - y, x, 0 * x]}
    for which, parts in charts.items():
        q = torch.stack(parts, -1)
        q = q / q.norm(dim=-1, keepdim=True)
        slopes = [torch.autograd.grad(v, near, retain_graph=True)[0].norm() for v in q[0]]
        assert (max(slopes) > 1e5) == (which != sign)
    slopes = [torch.autograd.grad(v, near, retain_graph=True)[0] for v in edge_quaternion(near)[0]]
    assert max(s.norm() for s in slopes) < 10


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_derivatives_on_the_axes(axis):
    """Against finite differences; second ones too, in float64."""
    for sign in (1.0, -1.0):
        r = torch.zeros(1, 3, dtype=torch.float64)
        r[0, axis] = sign * 1.3
        r.requires_grad_()

        def matrices(v):
            return wigner_matrix(edge_quaternion(v), 2, 1)

        assert torch.autograd.gradcheck(matrices, r)
        assert torch.autograd.gradgradcheck(matrices, r)


def test_derivatives_in_the_ring_between_the_charts():
    angle = math.acos(-0.85)
    r = torch.tensor([[math.sin(angle), math.cos(angle), 0.1]], dtype=torch.float64)
    r.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: wigner_matrix(edge_quaternion(v), 2, 1), r)
    assert torch.autograd.gradgradcheck(lambda v: wigner_matrix(edge_quaternion(v), 2, 1), r)


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_orthogonality(dtype, bound):
    r = torch.cat([directions(300), near_axes(torch.float64)]).to(dtype)
    matrix = EdgeFrames(10)(r)
    assert matrix.dtype == dtype
    assert (matrix @ matrix.mT - torch.eye(121, dtype=dtype)).abs().max() < bound
    truncated = EdgeFrames(10, 2)(r)
    assert (truncated @ truncated.mT - torch.eye(49, dtype=dtype)).abs().max() < bound


def test_frames_are_deterministic():
    r = directions(50).float()
    assert torch.equal(EdgeFrames(4, 2)(r), EdgeFrames(4, 2)(r))


def test_edges_without_direction_are_named():
    r = torch.ones(5, 3)
    r[1], r[4] = 0.0, math.nan
    with pytest.raises(UnsupportedInputError, match="2 of 5 edges .* edges 1, 4;"):
        edge_quaternion(r)
    assert edge_quaternion(torch.zeros(0, 3)).shape == (0, 4)
    assert wigner_matrix(torch.zeros(0, 4), 2, 1).shape == (0, 7, 9)


def test_limits():
    q = quaternions(1)
    with pytest.raises(ConfigError, match="lmax=25 is beyond the tables, which end at 24"):
        wigner_matrix(q, 25, 0)
    with pytest.raises(ConfigError, match="mmax=3 exceeds lmax=2"):
        EdgeFrames(2, 3)
    with pytest.raises(ConfigError, match="lmax=-1"):
        EdgeFrames(-1)
    assert wigner_matrix(q, 24, 0).square().sum((1, 2)).item() == pytest.approx(25, rel=1e-12)


def test_the_roll_jumps_only_across_two_arcs():
    """No frame is continuous on all of the sphere; ours is but for the arcs its module names."""
    r = directions(400_000, 5)
    r = r / r.norm(dim=-1, keepdim=True)
    step = 2e-3 * directions(400_000, 6)
    a, b = edge_quaternion(r), edge_quaternion(r + step)
    apart = torch.minimum((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    jumps = r[apart > 0.1]
    assert 3 < len(jumps) < 100
    assert jumps[:, 1].min() > -0.96 and jumps[:, 1].max() < -0.74
    azimuth = torch.atan2(jumps[:, 0], jumps[:, 2])
    from_arc = (azimuth - 0.4).cos().abs()  # zero at 0.4 +- pi / 2
    assert from_arc.max() < 0.02
