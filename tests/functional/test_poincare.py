"""The Poincaré ball against geoopt and hypll where they are right, and at its limits."""

import math

import geoopt
import pytest
import torch

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import poincare

DOUBLE = torch.float64
CURVATURES = (1.0, 0.3, 2.5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(*shape, c=1.0, seed=0, std=1.5):
    return poincare.random(shape, c=c, scale=std * c**-0.5, dtype=DOUBLE, generator=generator(seed))


def vectors(*shape, seed=9):
    return torch.randn(*shape, dtype=DOUBLE, generator=generator(seed))


def geoopt_ball(c):
    return geoopt.PoincareBall(c=torch.tensor(c, dtype=DOUBLE))


@pytest.mark.parametrize("c", CURVATURES)
def test_agrees_with_geoopt(c):
    ball = geoopt_ball(c)
    x, y, z = (points(40, 5, c=c, seed=s) for s in range(3))
    v = 0.1 * vectors(40, 5)
    m = vectors(4, 5)
    pairs = {
        "add": (poincare.mobius_add(x, y, c=c), ball.mobius_add(x, y)),
        "dist": (poincare.dist(x, y, c=c), ball.dist(x, y)),
        "dist0": (poincare.dist0(x, c=c), ball.dist0(x)),
        "exp": (poincare.exp(x, v, c=c), ball.expmap(x, v)),
        "log": (poincare.log(x, y, c=c), ball.logmap(x, y)),
        "exp0": (poincare.exp0(v, c=c), ball.expmap0(v)),
        "log0": (poincare.log0(x, c=c), ball.logmap0(x)),
        "transport": (poincare.transport(x, y, v, c=c), ball.transp(x, y, v)),
        "transport0": (poincare.transport0(x, v, c=c), ball.transp0(x, v)),
        "gyration": (poincare.gyration(x, y, z, c=c), ball.gyration(x, y, z)),
        "scalar": (
            poincare.mobius_scalar(0.7, x, c=c),
            ball.mobius_scalar_mul(torch.tensor(0.7, dtype=DOUBLE), x),
        ),
        "matvec": (poincare.mobius_matvec(m, x, c=c), ball.mobius_matvec(m, x)),
        "inner": (poincare.inner(x, v, v, c=c), ball.inner(x, v, v, keepdim=True)[:, 0]),
        "gradient": (poincare.riemannian_gradient(x, v, c=c), ball.egrad2rgrad(x, v)),
        "geodesic": (
            poincare.geodesic(x, y, 0.3, c=c),
            ball.geodesic(torch.tensor(0.3, dtype=DOUBLE), x, y),
        ),
        "midpoint": (
            poincare.midpoint(x, c=c),
            ball.weighted_midpoint(x, reducedim=[0]),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        assert (ours - theirs).abs().max() < 1e-12 * max(1, theirs.abs().max()), name


def test_agrees_with_hypll():
    from hypll.manifolds.poincare_ball.math import linalg, stats

    for c in CURVATURES:
        curvature = torch.tensor(c, dtype=DOUBLE)
        x, z, r = points(40, 5, c=c), vectors(5, 3), 0.2 * vectors(3, seed=4)
        ours = poincare.fully_connected(x, z, r, c=c)
        assert (ours - linalg.poincare_fully_connected(x, z, r, curvature)).abs().max() < 1e-12
        ours = poincare.fully_connected(x, z, c=c)
        assert (ours - linalg.poincare_fully_connected(x, z, None, curvature)).abs().max() < 1e-12
        ours = poincare.unidirectional_logits(x, z, r, c=c)
        theirs = linalg.poincare_hyperplane_dists(x, z, r, curvature)
        assert (ours - theirs).abs().max() < 1e-12
        weights = torch.rand(40, dtype=DOUBLE, generator=generator())
        theirs = stats.midpoint(x, curvature, man_dim=-1, batch_dim=0, w=weights[:, None])
        assert (poincare.midpoint(x, weights, c=c) - theirs).abs().max() < 1e-12


def test_hyperplanes_of_hnn():
    """Against the formula as it stands in the paper, with a Möbius sum per pair."""
    for c in CURVATURES:
        x, p, a = points(7, 4, c=c), points(3, 4, c=c, seed=1), vectors(3, 4)
        m = geoopt_ball(c).mobius_add(-p, x[:, None])
        size = a.norm(dim=-1)
        over = 2 * math.sqrt(c) * (m * a).sum(-1)
        under = (1 - c * m.square().sum(-1)) * size
        factor = 2 / (1 - c * p.square().sum(-1)) * size / math.sqrt(c)
        expected = factor * torch.asinh(over / under)
        assert (poincare.hyperplane_logits(x, p, a, c=c) - expected).abs().max() < 1e-12


FUNCTIONS = {
    "add": lambda x, y, v, c: poincare.mobius_add(x, y, c=c),
    "square_dist": lambda x, y, v, c: poincare.square_dist(x, y, c=c),
    "exp": lambda x, y, v, c: poincare.exp(x, v, c=c),
    "log": lambda x, y, v, c: poincare.log(x, y, c=c),
    "exp0": lambda x, y, v, c: poincare.exp0(v, c=c),
    "log0": lambda x, y, v, c: poincare.log0(x, c=c),
    "transport": lambda x, y, v, c: poincare.transport(x, y, v, c=c),
    "scalar": lambda x, y, v, c: poincare.mobius_scalar(v[..., 0], x, c=c),
    "matvec": lambda x, y, v, c: poincare.mobius_matvec(v[:2], x, c=c),
    "midpoint": lambda x, y, v, c: poincare.midpoint(torch.stack([x, y, -x]), c=c),
    "mean": lambda x, y, v, c: poincare.mean(torch.stack([x, y, 0 * x]), steps=3, tol=0.0, c=c),
    "mixed": lambda x, y, v, c: poincare.mixed(x, v @ v.T, c=c),
    "hnn": lambda x, y, v, c: poincare.hyperplane_logits(x, y, v, c=c),
    "hnnpp": lambda x, y, v, c: poincare.unidirectional_logits(x, v.T, v[:, 0], c=c),
    "linear": lambda x, y, v, c: poincare.fully_connected(x, v.T, v[:, 0], c=c),
    "concat": lambda x, y, v, c: poincare.beta_concat([x, y], c=c),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_both_orders(name):
    x, y = points(3, 3, c=0.7).requires_grad_(), points(3, 3, c=0.7, seed=1).requires_grad_()
    v = (0.3 * vectors(3, 3)).requires_grad_()
    c = torch.tensor(0.7, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(FUNCTIONS[name], (x, y, v, c))
    assert torch.autograd.gradgradcheck(FUNCTIONS[name], (x, y, v, c))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("name", [*FUNCTIONS, "dist"])
@pytest.mark.parametrize("place", ["origin", "together", "boundary", "opposite"])
def test_derivatives_are_finite_at_the_limits(name, place, dtype):
    function = FUNCTIONS.get(name, lambda x, y, v, c: poincare.dist(x, y, c=c))
    x = points(3, 3).to(dtype)
    edge = poincare.project(1e3 * x, c=1.0)
    pair = {
        "origin": (0 * x, 0 * x, 0 * x),
        "together": (x, x, 0 * x),
        "boundary": (edge, edge.flip(0), x),
        "opposite": (edge, -edge, 1e3 * x),
    }[place]
    x, y, v = (t.clone().requires_grad_() for t in pair)
    out = function(x, y, v, 1.0)
    assert out.isfinite().all()
    grads = torch.autograd.grad(
        out.sum(), (x, y, v), create_graph=True, allow_unused=True, materialize_grads=True
    )
    assert all(g.isfinite().all() for g in grads)
    if not all(g.requires_grad for g in grads):
        grads = tuple(g for g in grads if g.requires_grad)
    total = sum((g * g.detach().sign()).sum() for g in grads)
    if place in ("origin", "together") and grads:
        seconds = torch.autograd.grad(total, (x, y, v), allow_unused=True, materialize_grads=True)
        assert all(g.isfinite().all() for g in seconds)


def test_gradient_at_the_origin_is_the_identity():
    v = torch.zeros(3, dtype=DOUBLE, requires_grad=True)
    for function in (poincare.exp0, poincare.log0):
        jacobian = torch.autograd.functional.jacobian(function, v)
        assert torch.equal(jacobian, torch.eye(3, dtype=DOUBLE))


@pytest.mark.parametrize("dtype, radius", [(torch.float32, 15.5), (DOUBLE, 35.5)])
def test_points_far_out_keep_their_distance(dtype, radius):
    v = torch.zeros(1, 3, dtype=dtype)
    v[0, 0] = radius / 2
    x = poincare.exp0(v)
    assert x.norm() < 1
    assert poincare.dist0(x).item() == pytest.approx(radius, abs=0.5)
    assert (poincare.exp0(100 * v).norm(dim=-1) < 1).all()
    assert poincare.dist0(poincare.exp0(100 * v)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_close_points_keep_their_digits(dtype):
    x = points(20, 4).to(dtype)
    y = x + 1e-5 * vectors(20, 4).to(dtype)
    step = (y.double() - x.double()).norm(dim=-1)
    expected = 2 / (1 - x.double().square().sum(-1)) * step
    relative = (poincare.dist(x, y).double() / expected - 1).abs().max()
    assert relative < 1e-3  # the curvature's own share; geoopt's float32 loses it all at 1e-7


def test_the_mean_of_far_points():
    x = points(6, 3, std=12.0)
    centre = poincare.mean(x)
    pull = poincare.log(centre.expand_as(x), x).mean(0)
    assert poincare.norm(centre, pull) < 1e-8  # eps / (1 - |x|^2) of the points
    assert (poincare.mean(x[:1]) - x[0]).abs().max() < 1e-14


def test_the_mean_is_differentiated_through_its_iteration():
    x = points(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: poincare.mean(x), (x,), atol=1e-6)


def test_beta_split_inverts_beta_concat():
    parts = [points(4, n, seed=n) for n in (2, 3, 5)]
    back = poincare.beta_split(poincare.beta_concat(parts), [2, 3, 5])
    assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(parts, back, strict=True))


def test_points_outside_are_refused_and_repaired():
    x = torch.tensor([[0.1, 0.2], [3.0, 4.0]], dtype=DOUBLE)
    with pytest.raises(ManifoldError, match=r"MLP: a point of norm 5 .* radius .* = 2.*project"):
        poincare.check(x, where="MLP", c=0.25)
    repaired = poincare.check(x, where="MLP", c=0.25, project=True)
    assert torch.equal(repaired[0], x[0])
    assert repaired[1].norm().item() == pytest.approx(2, abs=1e-12)
    poincare.check(repaired, c=0.25)
    for function in (poincare.dist, poincare.log, poincare.mobius_add):
        with pytest.raises(ManifoldError, match="norm 5"):
            function(x, 0 * x, c=0.25)
    with pytest.raises(ManifoldError, match="infinite"):
        poincare.check(x * math.nan)


def test_half_precision_is_refused():
    x = points(2, 3).half()
    for function in (poincare.exp0, poincare.log0, poincare.check, poincare.midpoint):
        with pytest.raises(DeviceError, match="float16"):
            function(x)
    with pytest.raises(DeviceError, match="float16"):
        poincare.dist(x, x)


def test_other_refusals():
    x = points(2, 4)
    for c in (0.0, -1.0, math.nan, torch.tensor(0.0), torch.tensor(-1.0), torch.tensor(math.nan)):
        for call in (
            lambda c: poincare.exp0(x, c=c),
            lambda c: poincare.log0(x, c=c),
            lambda c: poincare.dist(x, x, c=c),
            lambda c: poincare.mean(x, c=c),
            lambda c: poincare.project(x, c=c),
            lambda c: poincare.check(x, c=c),
        ):
            with pytest.raises(ConfigError, match=rf"c={float(c):g}: .*c > 0"):
                call(c)
    with pytest.raises(ConfigError, match="add up to 4"):
        poincare.beta_split(x, [1, 2])
    with pytest.raises(ConfigError, match="at least one"):
        poincare.beta_concat([])
