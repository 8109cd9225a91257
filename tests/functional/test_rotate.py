"""Gathering into frames and summing out of them, against dense products per edge."""

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional import EdgeRotation, edge_quaternion, wigner_entries
from zoo.layers.equivariant import EdgeFrames

L, M, N, E, C = 3, 2, 7, 30, 4


def case(dtype=torch.float64, edges=E):
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(edges, 3, generator=generator, dtype=dtype)
    index = torch.randint(0, N - 1, (2, edges), generator=generator)  # the last node has no edge
    x = torch.randn(N, (L + 1) ** 2, C, generator=generator, dtype=dtype)
    return vectors, index, x


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_as_dense_products(end, dtype):
    vectors, index, x = case(dtype)
    frames = EdgeFrames(L, M)
    matrix = frames(vectors)
    rotation = frames.rotation(vectors, index, N)
    assert torch.equal(rotation.matrix, matrix)
    y = rotation.gather(x, end)
    tolerance = {"atol": 1e-5} if dtype == torch.float32 else {"atol": 1e-14}
    assert torch.allclose(y, matrix @ x[index[end]], **tolerance)
    expected = torch.zeros_like(x).index_add(0, index[end], matrix.mT @ y)
    assert torch.allclose(rotation.scatter(y, end), expected, **tolerance)
    assert rotation.scatter(y, end)[-1].abs().max() == 0


@pytest.mark.parametrize("fused", [True, False])
def test_source_and_target_side_by_side(fused, monkeypatch):
    """Values, first and second derivatives are those of gathering each end."""
    monkeypatch.setattr("zoo.functional.rotate._is_fused", lambda x: fused)
    vectors, index, x = case()
    frames = EdgeFrames(L, M)
    found = []
    for joined in (True, False):
        v, f = vectors.clone().requires_grad_(), x.clone().requires_grad_()
        rotation = frames.rotation(v, index, N)
        each = (rotation.gather(f, 0), rotation.gather(f, 1))
        y = rotation.gather_both(f) if joined else torch.cat(each, dim=2)
        z = rotation.scatter(y * y[:, :, :1].tanh(), 1)
        first = torch.autograd.grad(z.square().sum(), (v, f), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + first[1].sum(), (v, f))
        found.append((y, *first, *second))
    for ours, expected in zip(*found, strict=True):
        size = float(expected.detach().abs().max())
        assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-10 * size)


def test_dense_products_of_other_devices(monkeypatch):
    """The way that other devices take, on this one."""
    vectors, index, x = case()
    vectors.requires_grad_()
    frames = EdgeFrames(L, M)
    found = []
    for fused in (True, False):
        monkeypatch.setattr("zoo.functional.rotate._is_fused", lambda x, fused=fused: fused)
        rotation = frames.rotation(vectors, index, N)
        out = rotation.scatter(rotation.gather(x, 1).square(), 0)
        (slope,) = torch.autograd.grad(out.square().sum(), vectors)
        found.append((out, slope))
    for ours, expected in zip(*found, strict=True):
        assert torch.allclose(ours, expected, atol=1e-11)


def test_derivatives_of_every_kind():
    vectors, index, x = case(edges=3)
    x = x[:, :4, :1].contiguous().requires_grad_()
    vectors.requires_grad_()
    frames = EdgeFrames(1, 1)

    def both(v, x):
        rotation = frames.rotation(v, index, N)
        return rotation.scatter(rotation.gather(x, 0).square(), 1)

    assert torch.autograd.gradcheck(both, (vectors, x))
    assert torch.autograd.gradgradcheck(both, (vectors, x))


def test_derivatives_are_those_of_dense_products():
    """First and second derivatives by features and by vectors, with several degrees."""
    vectors, index, x = case()
    frames = EdgeFrames(L, M)
    found = []
    for dense in (False, True):
        v, f = vectors.clone().requires_grad_(), x.clone().requires_grad_()
        rotation = frames.rotation(v, index, N)
        y = rotation.matrix @ f[index[0]] if dense else rotation.gather(f, 0)
        y = y * y.square().sum((1, 2), keepdim=True)
        z = rotation.matrix.mT @ y
        z = torch.zeros_like(x).index_add(0, index[1], z) if dense else rotation.scatter(y, 1)
        first = torch.autograd.grad(z.square().sum(), (v, f), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + first[1].sum(), (v, f))
        found.append((*first, *second))
    for ours, expected in zip(*found, strict=True):
        size = float(expected.detach().abs().max())
        assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-10 * size)


def test_fewer_orders():
    vectors, index, x = case()
    frames = EdgeFrames(L, M)
    narrow = frames.rotation(vectors, index, N).narrow(0)
    assert torch.allclose(narrow.matrix, EdgeFrames(L, 0)(vectors))
    y = narrow.gather(x)
    assert torch.allclose(y, EdgeFrames(L, 0)(vectors) @ x[index[0]], atol=1e-14)
    expected = torch.zeros_like(x).index_add(0, index[1], narrow.matrix.mT @ y)
    assert torch.allclose(narrow.scatter(y), expected, atol=1e-14)
    with pytest.raises(ConfigError, match="mmax=3 exceeds lmax=2"):
        frames.rotation(vectors, index, N).narrow(3)


def test_no_edges():
    _, _, x = case()
    none = torch.zeros(2, 0, dtype=torch.long)
    rotation = EdgeFrames(L, M).rotation(torch.zeros(0, 3).double(), none, N)
    y = rotation.gather(x)
    assert y.shape == (0, 14, C) and rotation.gather_both(x).shape == (0, 14, 2 * C)
    assert torch.equal(rotation.scatter(y), torch.zeros_like(x))


def test_precision_of_the_features_may_differ():
    """Frames in float64 serve features in float32."""
    vectors, index, x = case()
    rotation = EdgeFrames(L, M).rotation(vectors, index, N)
    y = rotation.gather(x.float(), 1)
    assert y.dtype == torch.float32
    assert torch.allclose(y, rotation.gather(x, 1).float(), atol=1e-5)


def test_indices_of_64_bits(monkeypatch):
    vectors, index, x = case()
    expected = EdgeFrames(L, M).rotation(vectors, index, N)
    monkeypatch.setattr("zoo.functional.rotate.INDEX_LIMIT", 1)
    wide = EdgeFrames(L, M).rotation(vectors, index, N)
    assert wide._ends[0].into[0].dtype == torch.int64
    assert expected._ends[0].into[0].dtype == torch.int32
    assert torch.equal(wide.scatter(wide.gather(x)), expected.scatter(expected.gather(x)))


def test_wrong_shapes_are_named():
    vectors, index, x = case()
    rotation = EdgeFrames(L, M).rotation(vectors, index, N)
    with pytest.raises(ConfigError, match=r"\(7, 9\).*expected \(7, 16\).*lmax=3, mmax=2"):
        rotation.gather(x[:, :9])
    with pytest.raises(ConfigError, match=r"expected \(30, 14\)"):
        rotation.scatter(torch.zeros(E, 16, C).double())


def test_a_rotation_is_made_of_entries():
    vectors, index, x = case()
    entries = wigner_entries(edge_quaternion(vectors), L, M)
    rotation = EdgeRotation(entries, index, N, L, M)
    assert torch.equal(rotation.gather(x), EdgeFrames(L, M).rotation(vectors, index, N).gather(x))
