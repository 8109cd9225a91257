"""The hyperboloid: geometry against its laws and geoopt, precision, derivatives, refusals."""

import math

import geoopt
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import lorentz

CURVATURES = (0.5, 1.0, 2.0)


def points(count=20, *, c=1.0, scale=1.0, seed=0, dtype=torch.float64, size=4):
    generator = torch.Generator().manual_seed(seed)
    return lorentz.random((count, size), c=c, scale=scale, generator=generator, dtype=dtype)


def directions(count, size=3, seed=0):
    v = torch.randn(count, size, generator=torch.Generator().manual_seed(seed)).double()
    return v / v.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("c", CURVATURES)
def test_geoopt_agrees_where_it_is_right(c):
    peer = geoopt.Lorentz(torch.tensor(1 / c, dtype=torch.float64))
    x, y = points(c=c, scale=0.5), points(c=c, scale=0.5, seed=1)
    v = lorentz.log(x, y, c=c)
    assert torch.allclose(lorentz.dist(x, y, c=c), peer.dist(x, y), rtol=1e-12, atol=1e-12)
    assert torch.allclose(v, peer.logmap(x, y), rtol=1e-12, atol=1e-12)
    assert torch.allclose(lorentz.exp(x, v, c=c), peer.expmap(x, v), rtol=1e-12, atol=1e-12)
    w = lorentz.log(x, points(c=c, scale=0.5, seed=2), c=c)
    assert torch.allclose(lorentz.inner(x, v, w, c=c), peer.inner(x, v, w), rtol=1e-12, atol=1e-12)
    moved = lorentz.transport(x, y, w, c=c)
    assert torch.allclose(moved, peer.transp(x, y, w), rtol=1e-11, atol=1e-11)
    padded = torch.cat([torch.zeros_like(w[:, :1]), w[:, 1:]], -1)
    assert torch.allclose(lorentz.exp0(w[:, 1:], c=c), peer.expmap0(padded), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_separations_keep_their_digits(dtype):
    x = lorentz.exp0(2.0 * directions(50).to(dtype))
    v = lorentz.unframe(x, 1e-4 * directions(50, seed=1).to(dtype))
    d = lorentz.dist(x, lorentz.exp(x, v))
    bound = 4e-2 if dtype == torch.float32 else 1e-10  # the coordinates hold no more
    assert float((d / 1e-4 - 1).abs().max()) < bound


def test_distances_are_right_at_twice_the_usual_radius():
    ways = directions(50)
    for radius, bound in ((10.0, 1e-10), (18.0, 1e-6), (30.0, 0.1)):
        d = lorentz.dist(lorentz.exp0(radius * ways), lorentz.exp0((radius + 1) * ways))
        assert float((d - 1).abs().max()) < bound
        opposite = lorentz.dist(lorentz.exp0(radius * ways), lorentz.exp0(-radius * ways))
        assert torch.allclose(opposite, torch.full_like(opposite, 2 * radius), rtol=1e-14)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 3, 4), (2, 1, 3, 4)])
def test_conversion_of_any_curvature_and_shape(c, shape):
    generator = torch.Generator().manual_seed(0)
    x = lorentz.random(shape, c=c, generator=generator, dtype=torch.float64)
    p = lorentz.to_poincare(x, c=c)
    assert p.shape == (*shape[:-1], 3)
    assert torch.allclose(lorentz.from_poincare(p, c=c), x, rtol=1e-12, atol=1e-13)
    ball = geoopt.PoincareBall(torch.tensor(c, dtype=torch.float64))
    q = lorentz.to_poincare(lorentz.random(shape, c=c, generator=generator).double(), c=c)
    other = lorentz.from_poincare(q, c=c)
    assert torch.allclose(lorentz.dist(x, other, c=c), ball.dist(p, q), rtol=1e-11)


def test_conversion_refuses_the_rim():
    with pytest.raises(ManifoldError, match=r"norm 0\.8.*radius 0\.7071"):
        lorentz.from_poincare(torch.tensor([0.1, 0.8]), c=2.0)


SPACE = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.5], [1e-9, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("same", [True, False])
def test_derivatives_of_both_orders(same):
    """At the origin and at coincident points too; points are given by their tangents."""
    other = SPACE if same else SPACE.flip(0) + 0.1
    c = torch.tensor(0.8, dtype=torch.float64)

    def functions(u, w, c):
        x, y = lorentz.exp0(u, c=c), lorentz.exp0(w, c=c)
        v = lorentz.log(x, y, c=c)
        back = lorentz.log0(lorentz.exp(x, 0.5 * v, c=c), c=c)
        return lorentz.square_dist(x, y, c=c), v, back, lorentz.transport(x, y, v, c=c)

    inputs = tuple(t.clone().requires_grad_() for t in (SPACE, other, c))
    assert gradcheck(functions, inputs)
    assert gradgradcheck(functions, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_finite_at_every_radius(dtype):
    """The Euclidean parametrisation passes all limits of the other two without NaN."""
    radii = torch.tensor([0.0, 1e-30, 1e-8, 1.0, 8.7, 17.4, 18.8, 37.5, 90.0, 1e3], dtype=dtype)
    u = (radii[:, None] * torch.tensor([0.6, 0.8], dtype=dtype)).requires_grad_()
    x = lorentz.exp0(u)
    pairs = x[:, None], x[None]
    values = [lorentz.dist(*pairs), lorentz.square_dist(*pairs), lorentz.log0(x), lorentz.dist0(x)]
    values += [lorentz.log(*pairs), lorentz.exp(x, lorentz.unframe(x, u)), lorentz.centroid(x)]
    for value in values:
        assert bool(value.isfinite().all())
        (first,) = torch.autograd.grad(value.sum(), u, create_graph=True)
        assert bool(first.isfinite().all())
    (first,) = torch.autograd.grad(lorentz.square_dist(*pairs).sum(), u, create_graph=True)
    near = first[:6].square().sum()  # beyond, second derivatives overflow in float32
    (second,) = torch.autograd.grad(near, u)
    assert bool(second[:6].isfinite().all())


def test_lengths_of_far_tangents():
    x = lorentz.exp0(15.0 * directions(20))
    a = 0.7 * directions(20, seed=1)
    v = lorentz.unframe(x, a)
    assert torch.allclose(lorentz.frame(x, v).norm(dim=-1), a.norm(dim=-1), rtol=1e-8)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("scale", [0.3, 1.5])
def test_the_mean_is_stationary(c, scale):
    x = points(30, c=c, scale=scale).unflatten(0, (10, 3))
    weights = torch.rand(10, 3, generator=torch.Generator().manual_seed(0)).double()
    m = lorentz.mean(x, weights, c=c, steps=500)
    slope = lorentz.frame(m, (weights[..., None] * lorentz.log(m, x, c=c)).sum(0), c=c)
    assert float(slope.abs().max()) < 1e-7
    two = lorentz.mean(x[:2], c=c, steps=500)
    assert torch.allclose(two, lorentz.geodesic(x[0], x[1], 0.5, c=c), rtol=1e-6)


def test_mean_and_centroid_are_equivariant():
    x, y = points(12, scale=0.5), points(1, seed=1)[0]
    boost = isometry(y)
    for function in (lorentz.centroid, lambda p: lorentz.mean(p, steps=300)):
        assert torch.allclose(function(x @ boost.T), function(x) @ boost.T, rtol=1e-10)


def isometry(y):
    """A boost that takes the origin to y, after a rotation of space."""
    scale = y[1:, None] * y[None, 1:] / (1 + y[0])
    boost = torch.eye(len(y), dtype=y.dtype)
    boost[0, 0], boost[0, 1:], boost[1:, 0] = y[0], y[1:], y[1:]
    boost[1:, 1:] += scale
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)).double())
    rotation = torch.block_diag(torch.ones(1, 1).double(), turned.Q)
    return boost @ rotation


def test_the_empty_sum_is_the_origin():
    none = lorentz.normalize(torch.zeros(2, 4, dtype=torch.float64), c=4.0)
    assert torch.equal(none, lorentz.origin((4,), c=4.0, dtype=torch.float64).expand(2, 4))


def test_points_off_the_hyperboloid_are_refused():
    x = points(5, c=2.0)
    lorentz.check(x, where="here", c=2.0)
    bad = x.clone()
    bad[3, 0] += 0.5
    with pytest.raises(ManifoldError, match=r"here: 1 of 5.*point 3.*<x, x>_L = -.*project"):
        lorentz.check(bad, where="here", c=2.0)
    lorentz.check(lorentz.project(bad, c=2.0), where="here", c=2.0)
    with pytest.raises(ManifoldError):
        lorentz.check(-x, where="here", c=2.0)  # the other sheet
    with pytest.raises(ManifoldError):
        lorentz.check(torch.full_like(x, math.nan), where="here")
    with pytest.raises(ManifoldError, match="time"):
        lorentz.check(x[:, :1], where="here")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_points_pass_the_check(dtype):
    for radius in (0.0, 1e-3, 3.0, 15.0):
        x = lorentz.exp0(radius * directions(20).to(dtype), c=0.7)
        lorentz.check(x, where="here", c=0.7)


TAKERS = {
    "dist": lambda x, y, c: lorentz.dist(x, y, c=c),
    "square_dist": lambda x, y, c: lorentz.square_dist(x, y, c=c),
    "half_square": lambda x, y, c: lorentz.half_square(y, x, c=c),
    "dist0": lambda x, y, c: lorentz.dist0(x, c=c),
    "log": lambda x, y, c: lorentz.log(y, x, c=c),
    "log0": lambda x, y, c: lorentz.log0(x, c=c),
    "exp": lambda x, y, c: lorentz.exp(x, torch.zeros_like(x), c=c),
    "inner": lambda x, y, c: lorentz.inner(x, y, y, c=c),
    "transport": lambda x, y, c: lorentz.transport(y, x, torch.zeros_like(x), c=c),
    "geodesic": lambda x, y, c: lorentz.geodesic(y, x, 0.5, c=c),
    "centroid": lambda x, y, c: lorentz.centroid(x, c=c),
    "mean": lambda x, y, c: lorentz.mean(x, c=c),
    "to_poincare": lambda x, y, c: lorentz.to_poincare(x, c=c),
    "project_tangent": lambda x, y, c: lorentz.project_tangent(x, y, c=c),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_refuse_points_off_the_hyperboloid(name, dtype):
    c, call = 0.7, TAKERS[name]
    y = lorentz.exp0(directions(6).to(dtype), c=c)
    for radius in (0.0, 1e-3, 1.0, 5.0, lorentz.RADIUS[dtype]):
        x = lorentz.exp0(radius / c**0.5 * directions(6, seed=1).to(dtype), c=c)
        call(x, y, c)
    x = lorentz.exp0(1.5 * directions(6, seed=1).to(dtype), c=c)
    off = x.clone()
    off[2] *= 1.01
    value = float(lorentz.product(off[2], off[2]))
    with pytest.raises(ManifoldError, match=rf"point 2 has <x, x>_L = {value:.4g}.*project"):
        call(off, y, c)
    with pytest.raises(ManifoldError, match="off the hyperboloid"):
        call(-x, y, c)  # the other sheet
    call(x.float().to(dtype), y, c)  # points that were stored in float32


@pytest.mark.parametrize("c", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_curvatures_that_are_not_positive_are_refused(c, kind):
    x = points(3)
    calls = [lambda c, call=call: call(x, x, c) for call in TAKERS.values()]
    calls += [
        lambda c: lorentz.exp0(x, c=c),
        lambda c: lorentz.lift(x, c=c),
        lambda c: lorentz.project(x, c=c),
        lambda c: lorentz.origin((4,), c=c),
        lambda c: lorentz.random((2, 4), c=c),
        lambda c: lorentz.frame(x, x, c=c),
        lambda c: lorentz.from_poincare(0.1 * x, c=c),
        lambda c: lorentz.check(x, where="here", c=c),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=rf"c={c:g}: .*c > 0"):
            call(kind(c))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    x = points(3).to(dtype)
    for call in (lambda: lorentz.dist(x, x), lambda: lorentz.exp(x, x), lambda: lorentz.exp0(x)):
        with pytest.raises(DeviceError, match="float32"):
            call()
