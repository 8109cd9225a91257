"""The laws of Riemannian geometry over all manifolds, from one generator of points."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ConfigError, ManifoldError, UnknownNameError
from zoo.functional import grassmann, lorentz, poincare, spd
from zoo.functional.manifolds import MANIFOLDS, manifold

DOUBLE = torch.float64
N, P, COUNT = 4, 2, 5
M = torch.diag(torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=DOUBLE)) + 0.1


@dataclass(frozen=True)
class Case:
    """A geometry and how to draw its points.

    Attributes:
        name, params: for `manifold`.
        point: the shape of a point.
        reach: a distance between points within which exp and log are inverse.
    """

    name: str
    point: tuple[int, ...]
    params: dict[str, Any] = field(default_factory=dict)
    reach: float = 1.0

    @property
    def geometry(self):
        return manifold(self.name, **self.params)


CASES = [
    Case("poincare", (3,), reach=2.0),
    Case("poincare", (3,), {"c": 0.3}, reach=2.0),
    Case("lorentz", (4,), reach=2.0),
    Case("lorentz", (4,), {"c": 2.5}),
    Case("affine_invariant", (N, N)),
    Case("affine_invariant", (N, N), {"theta": -0.5, "alpha": 2.0, "beta": 0.1}),
    Case("log_euclidean", (N, N)),
    Case("log_euclidean", (N, N), {"alpha": 2.0, "beta": 0.1}),
    Case("log_cholesky", (N, N)),
    Case("bures_wasserstein", (N, N), reach=0.3),
    Case("generalised_bures_wasserstein", (N, N), {"m": M}, reach=0.3),
    Case("power_affine_invariant", (N, N)),
    Case("power_log_cholesky", (N, N)),
    Case("power_bures_wasserstein", (N, N), reach=0.3),
    Case("grassmann", (N, P)),
    Case("projector", (N, N)),
    Case("so3", (3, 3)),
    Case("son", (N, N)),
]
PLACES = ("anywhere", "origin", "edge")


def name_of(case):
    return "-".join([case.name, *(f"{k}" for k in case.params)])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(case, seed, place="anywhere"):
    """Points of the manifold: random, or at its special places.

    "origin" is the origin, where all eigenvalues of an SPD matrix and all singular values of a
    basis are equal; "edge" is close to a boundary: far out in hyperbolic space, pairs of equal
    eigenvalues at a condition number of 1e4, half turns for rotations.
    """
    geometry, shape = case.geometry, (COUNT, *case.point)
    if case.name == "projector":
        inside = Case("grassmann", (N, P))
        return grassmann.projector.from_basis(draw(inside, seed, place))
    points = geometry.random(shape, generator=generator(seed), dtype=DOUBLE)
    if place == "anywhere":
        return points
    base = origin(case)
    if place == "origin":
        return base
    if case.name in ("poincare", "lorentz"):
        radius = 4.0 if case.name == "lorentz" else 8.0  # keeps eps exp(2 radius) below 1e-10
        scale = radius / geometry.dist(base, points)
        return geometry.exp(base, scale[:, None] * geometry.log(base, points))
    if len(case.point) == 2 and case.name not in ("grassmann", "so3", "son"):
        q = manifold("son").random(shape, generator=generator(seed), dtype=DOUBLE)
        values = torch.tensor([1e-2, 1e-2, 1e2, 1e2], dtype=DOUBLE)
        return q * values @ q.mT
    half = torch.eye(case.point[0], dtype=DOUBLE)
    half[0, 0] = half[1, 1] = -1.0
    return half @ points


def origin(case):
    return case.geometry.origin((COUNT, *case.point), dtype=DOUBLE)


def near(case, x, seed, share=1.0):
    """Points at the distance reach * share of x, in random directions."""
    geometry = case.geometry
    y = draw(case, seed)
    v = geometry.log(x, y)
    length = geometry.inner(x, v, v).sqrt()
    scale = share * case.reach / length.reshape(COUNT, *(1,) * len(case.point))
    if case.name.endswith("bures_wasserstein"):  # geodesics end: as long as the matrix allows
        size = geometry.inner(x, x, x).sqrt()
        scale = scale * size.reshape(scale.shape)
    return geometry.exp(x, scale * v)


def size(case, x, v):
    return case.geometry.inner(x, v, v).clamp(min=0).sqrt()


def tolerance(place):
    return 1e-10 if place != "edge" else 1e-7


def close(a, b, place, scale=1.0):
    return (a - b).abs().max() <= tolerance(place) * max(1.0, scale, b.abs().max().item())


every_case = pytest.mark.parametrize("case", CASES, ids=name_of)
every_place = pytest.mark.parametrize("place", PLACES)


def test_every_manifold_has_a_case():
    assert {case.name for case in CASES} == set(MANIFOLDS)


@every_case
@every_place
def test_exp_and_log_are_inverse(case, place):
    geometry, x = case.geometry, draw(case, 0, place)
    y = near(case, x, 1)
    v = geometry.log(x, y)
    back = geometry.exp(x, v)
    assert geometry.dist(back, y).max() < tolerance(place) ** 0.5 * 1e-1
    assert close(back, y, place)
    again = geometry.log(x, back)
    assert size(case, x, again - v).max() < tolerance(place) * 10


@every_case
@every_place
def test_the_length_of_log_is_the_distance(case, place):
    geometry, x = case.geometry, draw(case, 0, place)
    y = near(case, x, 1)
    d = geometry.dist(x, y)
    assert close(size(case, x, geometry.log(x, y)), d, place)
    assert close(geometry.dist(y, x), d, place)
    assert (geometry.dist(x, x) < 1e-7).all()
    assert (d > 1e-3).all()


@every_case
@every_place
def test_transport_is_an_isometry_and_undone_by_the_way_back(case, place):
    geometry, x = case.geometry, draw(case, 0, place)
    y = near(case, x, 1)
    u, v = (geometry.log(x, near(case, x, seed)) for seed in (2, 3))
    moved_u, moved_v = geometry.transport(x, y, u), geometry.transport(x, y, v)
    before = geometry.inner(x, u, v)
    assert close(geometry.inner(y, moved_u, moved_v), before, place)
    back = geometry.transport(y, x, moved_u)
    assert size(case, x, back - u).max() < 10 * tolerance(place)


@every_case
def test_transport_carries_the_velocity_of_the_geodesic(case):
    geometry, x = case.geometry, draw(case, 0)
    y = near(case, x, 1)
    arriving = geometry.transport(x, y, geometry.log(x, y))
    assert size(case, y, arriving + geometry.log(y, x)).max() < 1e-9


@every_case
@every_place
def test_geodesics(case, place):
    geometry, x = case.geometry, draw(case, 0, place)
    y = near(case, x, 1)
    scale = y.abs().max().item()
    assert close(geometry.geodesic(x, y, 0.0), x, place, scale)
    assert close(geometry.geodesic(x, y, 1.0), y, place, scale)
    part = geometry.geodesic(x, y, 0.3)
    d = geometry.dist(x, y)
    assert close(geometry.dist(x, part), 0.3 * d, place)
    assert close(geometry.dist(part, y), 0.7 * d, place)


@every_case
def test_the_gradient_of_the_squared_distance_is_twice_log(case):
    """d/ds dist(exp_x(s u), y)^2 = -2 <u, log_x y> at s = 0: metric, exp, log and dist agree."""
    geometry, x = case.geometry, draw(case, 0)
    y, u = near(case, x, 1), geometry.log(x, near(case, x, 2))
    step = torch.zeros(COUNT, dtype=DOUBLE, requires_grad=True)
    start = geometry.exp(x, step.reshape(COUNT, *(1,) * len(case.point)) * u)
    (found,) = torch.autograd.grad(geometry.dist(start, y).square().sum(), step)
    expected = -2 * geometry.inner(x, u, geometry.log(x, y))
    assert (found - expected).abs().max() < 1e-8


@every_case
def test_the_mean_is_a_stationary_point(case):
    geometry, x = case.geometry, draw(case, 0)
    points = torch.stack([near(case, x, seed, share=0.5) for seed in range(1, 5)])
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DOUBLE)[:, None].expand(4, COUNT)
    for given_weights in (None, weights):
        centre = geometry.mean(points, given_weights, steps=500, tol=1e-14)
        pull = torch.stack([geometry.log(centre, p) for p in points])
        share = torch.full_like(weights, 0.25) if given_weights is None else weights
        total = (share.reshape(4, COUNT, *(1,) * len(case.point)) * pull).sum(0)
        assert size(case, centre, total).max() < 1e-8
    alone = geometry.mean(points[:1])
    assert geometry.dist(alone, points[0]).max() < 1e-6


@every_case
def test_impossible_weights_of_a_mean_are_refused(case):
    geometry, points = case.geometry, draw(case, 0)
    with pytest.raises(ConfigError, match="weights"):
        geometry.mean(points, torch.zeros(COUNT, dtype=DOUBLE))
    with pytest.raises(ConfigError, match="no points"):
        geometry.mean(points[:0])


@every_case
@every_place
def test_points_pass_the_check_and_stay_where_they_are_when_projected(case, place):
    geometry, x = case.geometry, draw(case, 0, place)
    assert geometry.check(x, where="test") is x
    assert close(geometry.project(x), x, place)
    geometry.check(near(case, x, 1), where="test")


@every_case
def test_what_is_off_the_manifold_is_named_and_repaired(case):
    geometry, x = case.geometry, draw(case, 0)
    off = -x - 1.0 if case.point == (N, N) else 3.0 * x + 5.0
    with pytest.raises(ManifoldError, match="test"):
        geometry.check(off, where="test")
    if case.name in ("poincare", "lorentz"):
        geometry.check(geometry.project(off), where="test")


@every_case
def test_a_check_repairs_what_it_is_told_to(case):
    geometry, x = case.geometry, draw(case, 0)
    noise = torch.randn(x.shape, generator=generator(1), dtype=DOUBLE)
    off = 1.5 * x + 0.05 * noise
    with pytest.raises(ManifoldError, match="project"):
        geometry.check(off + (case.name == "poincare"), where="test")
    repaired = geometry.check(off, where="test", project=True)
    geometry.check(repaired, where="test")
    with pytest.raises(ManifoldError, match="test"):
        geometry.check(off * math.nan, where="test", project=True)


@every_case
def test_derivatives_of_distances_are_finite_where_points_meet(case):
    geometry = case.geometry
    for place in PLACES[:2]:
        x = draw(case, 0, place).clone().requires_grad_()
        y = x.detach().clone().requires_grad_()
        grads = torch.autograd.grad(geometry.dist(x, y).sum(), (x, y))
        assert all(g.isfinite().all() for g in grads)


# --- groups --------------------------------------------------------------------------------


def rotation(n, seed):
    return manifold("son").random((n, n), generator=generator(seed), dtype=DOUBLE)


def boost(a, c):
    """The Lorentz transformation without rotation that takes the origin to the point a."""
    a = a * math.sqrt(c)
    space = torch.eye(len(a) - 1, dtype=DOUBLE) + torch.outer(a[1:], a[1:]) / (1 + a[0])
    return torch.cat([a[None], torch.cat([a[1:, None], space], 1)])


def triangle(seed):
    lower = torch.randn(N, N, dtype=DOUBLE, generator=generator(seed)).tril(-1)
    return lower + torch.diag(torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=DOUBLE))


def act(case, seed):
    """An isometry of the geometry, drawn from its group."""
    name, c = case.name, case.params.get("c", 1.0)
    if name == "poincare":
        a, turn = (
            poincare.random((3,), c=c, generator=generator(seed), dtype=DOUBLE),
            rotation(3, seed),
        )
        return lambda x: poincare.mobius_add(a, x, c=c) @ turn.mT
    if name == "lorentz":
        a = lorentz.random((4,), c=c, generator=generator(seed), dtype=DOUBLE)
        turn = torch.block_diag(torch.eye(1, dtype=DOUBLE), rotation(3, seed))
        return lambda x: x @ (turn @ boost(a, c)).mT
    if name == "affine_invariant" and "theta" not in case.params:
        w = torch.randn(N, N, dtype=DOUBLE, generator=generator(seed))
        return lambda x: w @ x @ w.mT
    if name.endswith("log_cholesky"):
        to, back = spd.log_cholesky.to_triangle, spd.log_cholesky.from_triangle
        factor, theta = to(triangle(seed) @ triangle(seed).mT), 0.5 if "power" in name else 1.0
        return lambda x: spd.power(back(to(spd.power(x, theta)) + factor), 1 / theta)
    if name == "generalised_bures_wasserstein":
        root = spd.sqrt(M)
        w = root @ rotation(N, seed) @ spd.inv_sqrt(M)
        return lambda x: w @ x @ w.mT
    q = rotation(case.point[0], seed)
    if name == "grassmann":
        basis = rotation(P, seed + 1)
        return lambda x: q @ x @ basis
    if name in ("so3", "son"):
        right = rotation(case.point[0], seed + 1)
        return lambda x: q @ x @ right
    return lambda x: q @ x @ q.mT


@every_case
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_distances_are_invariant_under_the_group(case, seed):
    geometry, group = case.geometry, act(case, seed)
    x = draw(case, seed)
    y = near(case, x, seed + 1)
    expected = geometry.dist(x, y)
    assert (geometry.dist(group(x), group(y)) - expected).abs().max() < 1e-9


@every_case
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_distances_keep_the_triangle_inequality(case, seed):
    x, y, z = (draw(case, seed + k) for k in range(3))
    dist = case.geometry.dist
    assert (dist(x, z) <= dist(x, y) + dist(y, z) + 1e-9).all()


# --- gyrogroups ------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), c=st.floats(0.05, 5.0), std=st.floats(0.0, 4.0))
def test_gyro_laws_of_the_ball(seed, c, std):
    scale = std / math.sqrt(c)
    u, v, w = (
        poincare.random((COUNT, 3), c=c, scale=scale, generator=generator(seed + k), dtype=DOUBLE)
        for k in range(3)
    )

    def add(x, y):
        return poincare.mobius_add(x, y, c=c)

    def gyr(x):
        return poincare.gyration(u, v, x, c=c)

    assert (add(-u, add(u, v)) - v).abs().max() < 1e-9  # left cancellation
    assert (add(u, add(v, w)) - add(add(u, v), gyr(w))).abs().max() < 1e-9  # gyroassociativity
    assert (add(u, v) - gyr(add(v, u))).abs().max() < 1e-9  # gyrocommutativity
    assert (gyr(w).norm(dim=-1) - w.norm(dim=-1)).abs().max() < 1e-9  # gyrations are rotations
    loop = poincare.gyration(add(u, v), v, w, c=c)
    assert (loop - gyr(w)).abs().max() < 1e-8  # the loop property
    whole = add(poincare.mobius_scalar(0.3, u, c=c), poincare.mobius_scalar(0.7, u, c=c))
    assert (whole - u).abs().max() < 1e-9  # scalars distribute


@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_gyro_laws_of_subspaces(seed):
    case = Case("grassmann", (N, P))
    u, v = (near(case, origin(case), seed + k) for k in range(2))
    back = grassmann.gyro_add(grassmann.gyro_inverse(u), grassmann.gyro_add(u, v))
    assert grassmann.dist(back, v).max() < 1e-7
    assert grassmann.dist(grassmann.gyro_scale(1.0, u), u).max() < 1e-7


def test_names_and_parameters_are_checked():
    with pytest.raises(UnknownNameError, match="poincare"):
        manifold("poincar")
    with pytest.raises(ConfigError, match="'curvature'.*known: c"):
        manifold("poincare", curvature=1.0)
    assert manifold("power_affine_invariant").params == {"theta": 0.5}
    assert manifold("power_affine_invariant", theta=0.25).params == {"theta": 0.25}
