"""Metrics of SPD matrices: agreement with pyriemann, geoopt and spd-learn, and both derivatives."""

from types import ModuleType
from typing import Any

import geoopt
import numpy as np
import pytest
import spd_learn.functional as peer
import torch
from pyriemann.geometry import distance, geodesic, tangentspace
from pyriemann.geometry.mean import gmean
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import spd
from zoo.functional.spd import _checks, _deform

METRICS: dict[str, ModuleType] = {
    "riemann": spd.affine_invariant,
    "logeuclid": spd.log_euclidean,
    "logchol": spd.log_cholesky,
    "wasserstein": spd.bures_wasserstein,
}
DEFORMED: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "affine_invariant": (spd.affine_invariant, {}),
    "affine_invariant 0.5": (spd.affine_invariant, {"theta": 0.5, "alpha": 2.0, "beta": 0.3}),
    "affine_invariant -1": (spd.affine_invariant, {"theta": -1.0}),
    "log_euclidean": (spd.log_euclidean, {"beta": 0.3}),
    "log_cholesky": (spd.log_cholesky, {}),
    "log_cholesky 0.5": (spd.log_cholesky, {"theta": 0.5}),
    "bures_wasserstein": (spd.bures_wasserstein, {}),
    "generalised": (
        spd.generalised_bures_wasserstein,
        {"theta": 0.5, "m": torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]])},
    ),
}
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def _points(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spd.affine_invariant.random(shape, generator=generator, dtype=torch.float64)


def _double(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v.double() if isinstance(v, Tensor) else v for k, v in options.items()}


def _same(found: Tensor, wanted: Any, tolerance: float = 1e-12) -> None:
    wanted = torch.as_tensor(np.asarray(wanted))
    scale = max(1.0, float(wanted.abs().max()))
    assert float((found - wanted).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("name", METRICS)
def test_pyriemann_distance_and_geodesic(name: str) -> None:
    x, y = _points(20, 6, 6), _points(20, 6, 6, seed=1)
    metric = METRICS[name]
    _same(metric.dist(x, y), distance.distance(x.numpy(), y.numpy(), metric=name))
    for t in (0.0, 0.3, 1.0):
        wanted = geodesic.geodesic(x.numpy(), y.numpy(), t, metric=name)
        _same(metric.geodesic(x, y, t), wanted)


@pytest.mark.parametrize("name", METRICS)
def test_pyriemann_logarithm_and_exponential(name: str) -> None:
    x, y = _points(6, 6), _points(20, 6, 6, seed=1)
    metric = METRICS[name]
    options = {"C12": True} if name == "riemann" else {}
    wanted = tangentspace.log_map(y.numpy(), x.numpy(), metric=name, **options)
    point = x.expand(y.shape)
    _same(metric.log(point, y), wanted)
    options = {"Cm12": True} if name == "riemann" else {}
    back = tangentspace.exp_map(wanted, x.numpy(), metric=name, **options)
    _same(metric.exp(point, torch.as_tensor(wanted)), back)


@pytest.mark.parametrize("name", ["riemann", "logeuclid", "logchol"])
def test_pyriemann_transport_and_inner_product(name: str) -> None:
    x, y = _points(6, 6), _points(6, 6, seed=1)
    metric = METRICS[name]
    u, v = (metric.log(x.expand(9, 6, 6), _points(9, 6, 6, seed=k)) for k in (2, 3))
    wanted = tangentspace.transport(v.numpy(), x.numpy(), y.numpy(), metric=name)
    x, y = x.expand(9, 6, 6), y.expand(9, 6, 6)
    _same(metric.transport(x, y, v), wanted)
    wanted = tangentspace.innerproduct(u.numpy(), v.numpy(), x[0].numpy(), metric=name)
    _same(metric.inner(x, u, v), wanted)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("riemann", {"tol": 1e-14, "maxiter": 200}, 1e-11),
        ("logeuclid", {}, 1e-12),
        ("logchol", {}, 1e-12),
        ("wasserstein", {"tol": 1e-14, "maxiter": 500}, 1e-8),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:Convergence not reached")  # to 1e-14, but to 1e-13
def test_pyriemann_means(
    name: str, options: dict[str, Any], tolerance: float, weighted: bool
) -> None:
    x = _points(15, 6, 6)
    weights = torch.linspace(0.1, 1.0, 15, dtype=torch.float64) if weighted else None
    w = None if weights is None else weights.numpy()
    wanted = gmean(x.numpy(), metric=name, sample_weight=w, **options)
    _same(METRICS[name].mean(x, weights, tol=1e-14), wanted, tolerance)


def test_geoopt_where_it_is_right() -> None:
    x, y = _points(20, 6, 6), _points(20, 6, 6, seed=1)
    theirs = geoopt.SymmetricPositiveDefinite()
    v = spd.affine_invariant.log(x, _points(20, 6, 6, seed=2))
    _same(spd.affine_invariant.dist(x, y), theirs.dist(x, y))
    _same(spd.affine_invariant.log(x, y), theirs.logmap(x, y))
    _same(spd.affine_invariant.exp(x, v), theirs.expmap(x, v))
    _same(spd.affine_invariant.transport(x, y, v), theirs.transp(x, y, v))
    _same(spd.affine_invariant.inner(x, v, v), theirs.inner(x, v, v))
    with pytest.warns(UserWarning, match="LEM"):
        lem = geoopt.SymmetricPositiveDefinite(default_metric="LEM")
    _same(spd.log_euclidean.dist(x, y), lem.dist(x, y))


def test_spd_learn() -> None:
    x, y = _points(20, 6, 6), _points(20, 6, 6, seed=1)
    v = spd.affine_invariant.log(x, _points(20, 6, 6, seed=2))
    _same(spd.affine_invariant.dist(x, y), peer.airm_distance(x, y))
    _same(spd.affine_invariant.transport(x, y, v), peer.parallel_transport_airm(v, x, y))
    _same(spd.log_euclidean.dist(x, y), peer.log_euclidean_distance(x, y))
    _same(spd.log_cholesky.dist(x, y), peer.log_cholesky_distance(x, y))
    _same(spd.bures_wasserstein.dist(x, y), peer.bures_wasserstein_distance(x, y))
    wanted = peer.bures_wasserstein_mean(x, max_iter=500, tol=1e-14)
    _same(spd.bures_wasserstein.mean(x, tol=1e-14), wanted, 1e-8)


@pytest.mark.parametrize("name", DEFORMED)
def test_two_derivatives_everywhere(name: str) -> None:
    """Including X = Y = I, where every eigenvalue is repeated."""
    metric, options = DEFORMED[name]
    options = _double(options)
    x = torch.eye(3, dtype=torch.float64)
    y = _points(3, 3, seed=1)
    v = 0.1 * spd.symmetrise(_points(3, 3, seed=2) - _points(3, 3, seed=3))
    functions = {
        "log": lambda a, b: metric.log(sym(a), sym(b), **options),
        "exp": lambda a, b: metric.exp(sym(a), sym(b), **options),
        "inner": lambda a, b: metric.inner(sym(a), sym(b), sym(b), **options),
    }
    sym = spd.symmetrise
    cases = [("log", x, y), ("log", x, x), ("exp", x, v), ("inner", y, v)]
    for key, a, b in cases:
        inputs = (a.clone().requires_grad_(), b.clone().requires_grad_())
        assert gradcheck(functions[key], inputs, fast_mode=True), (name, key)
        assert gradgradcheck(functions[key], inputs, fast_mode=True), (name, key)


@pytest.mark.parametrize("name", DEFORMED)
def test_the_gradient_of_a_distance_at_zero_is_zero(name: str) -> None:
    metric, options = DEFORMED[name]
    x = torch.eye(3, dtype=torch.float64).requires_grad_()
    found = metric.dist(x, x.detach().clone(), **_double(options))
    assert float(found.detach()) <= 1e-7
    (grad,) = torch.autograd.grad(found, x)
    assert bool(grad.isfinite().all())


@pytest.mark.parametrize("theta", [-1.0, 0.3, 2.0])
@pytest.mark.parametrize("name", ["riemann", "logchol", "wasserstein"])
def test_at_the_identity_the_deformation_leaves_the_metric(name: str, theta: float) -> None:
    metric, options = METRICS[name], {"theta": theta}
    identity = torch.eye(4, dtype=torch.float64)
    v = spd.symmetrise(_points(4, 4))
    _same(metric.inner(identity, v, v, **options), metric.inner(identity, v, v))


def test_the_deformed_affine_invariant_metric_tends_to_the_log_euclidean_one() -> None:
    x, y = _points(5, 4, 4), _points(5, 4, 4, seed=1)
    limit = spd.log_euclidean.dist(x, y)
    errors = [
        float((spd.affine_invariant.dist(x, y, theta=t) - limit).abs().max()) for t in (0.2, 0.1)
    ]
    assert errors[1] < 0.3 * errors[0]
    with pytest.raises(ConfigError, match="log-Euclidean"):
        spd.affine_invariant.dist(x, y, theta=0.0)


def test_a_learned_deformation_has_its_gradient() -> None:
    x, y = _points(4, 4), _points(4, 4, seed=1)
    theta = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    for metric in (spd.affine_invariant, spd.log_cholesky, spd.bures_wasserstein):

        def measured(t: Tensor, metric: ModuleType = metric) -> Tensor:
            return metric.dist(x, y, theta=t)

        assert torch.allclose(measured(theta), metric.dist(x, y, theta=0.6), **CLOSE)
        assert gradcheck(measured, theta)


def test_a_learned_metric_matrix_has_its_gradient() -> None:
    x, y, m = _points(3, 3), _points(3, 3, seed=1), _points(3, 3, seed=2).requires_grad_()

    def measured(m: Tensor) -> Tensor:
        return spd.generalised_bures_wasserstein.dist(x, y, m=spd.symmetrise(m))

    assert gradcheck(measured, m)
    identity = torch.eye(3, dtype=torch.float64)
    general = spd.generalised_bures_wasserstein
    _same(general.dist(x, y, m=identity), spd.bures_wasserstein.dist(x, y))
    # the distance as the formula has it
    inverse = torch.linalg.inv(m.detach())
    product = torch.linalg.eigvals(x @ inverse @ y @ inverse).real.sqrt().sum()
    square = (inverse @ x).trace() + (inverse @ y).trace() - 2.0 * product
    _same(general.dist(x, y, m=m.detach()).square(), square, 1e-11)


def test_bures_transport_to_and_from_the_identity() -> None:
    x, v = _points(6, 5, 5), 0.1 * spd.symmetrise(_points(6, 5, 5, seed=1))
    metric = spd.bures_wasserstein
    identity = torch.eye(5, dtype=torch.float64).expand_as(x)
    _same(metric.transport(x, identity, v), metric.to_origin(x, v), 1e-10)
    _same(metric.transport(identity, x, v), metric.from_origin(x, v), 1e-10)
    _same(metric.to_origin(x, metric.from_origin(x, v)), v)
    a, b = x[0].clone().requires_grad_(), v[0].clone().requires_grad_()
    assert gradcheck(lambda p, q: metric.to_origin(p, spd.symmetrise(q)), (a, b))
    assert gradcheck(lambda p, q: metric.from_origin(p, spd.symmetrise(q)), (a, b))


def test_bures_transport_converges() -> None:
    """One piece differs from many by the error of the method, which is small."""
    x, y = _points(4, 4), _points(4, 4, seed=1)
    v = spd.symmetrise(_points(4, 4, seed=2))
    metric = spd.bures_wasserstein
    fine = metric.transport(x, y, v, pieces=40)
    errors = [float((metric.transport(x, y, v, pieces=k) - fine).abs().max()) for k in (1, 2)]
    assert errors[1] < 0.1 * errors[0] or errors[0] < 1e-12
    _same(metric.transport(x, y, v), fine, 1e-10)


def test_means_take_weights_per_batch_entry_and_a_start() -> None:
    points = _points(7, 3, 4, 4)
    weights = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for metric in METRICS.values():
        found = metric.mean(points, weights)
        for k in range(3):
            _same(found[k], metric.mean(points[:, k], weights[:, k]), 1e-11)
        _same(metric.mean(points, weights, init=found), found, 1e-11)
        one = metric.mean(points[:1])
        _same(one, points[0], 1e-11)


def test_steps_are_what_they_say() -> None:
    points = _points(9, 5, 5)
    one = spd.affine_invariant.mean(points, steps=1)
    arithmetic = points.mean(0)
    way = spd.affine_invariant.log(arithmetic.expand_as(points), points).mean(0)
    _same(one, spd.affine_invariant.exp(arithmetic, way))
    two = spd.affine_invariant.mean(points, steps=2)
    _same(two, spd.affine_invariant.mean(points, steps=1, init=one))


def test_means_of_far_points_converge() -> None:
    """Whole steps of Karcher's iteration overshoot here; halved ones arrive."""
    generator = torch.Generator().manual_seed(3)
    q = torch.linalg.qr(torch.randn(8, 3, 3, generator=generator, dtype=torch.float64))[0]
    points = (q * torch.tensor([1e-4, 1.0, 1e4], dtype=torch.float64)) @ q.mT
    found = spd.affine_invariant.mean(points, steps=400, tol=1e-10)
    rest = spd.affine_invariant.log(found.expand_as(points), points).mean(0)
    assert float(spd.affine_invariant.inner(found, rest, rest).sqrt()) < 1e-8


def test_refusals() -> None:
    x = torch.eye(3, dtype=torch.float64)
    bad = torch.diag(torch.tensor([1.0, 1.0, -0.5], dtype=torch.float64))
    for metric in METRICS.values():
        with pytest.raises(ManifoldError, match=r"-0\.5"):
            metric.dist(x, bad)
        with pytest.raises(DeviceError, match="float16"):
            metric.dist(x.half(), x.half())
        with pytest.raises(ConfigError, match="no points"):
            metric.mean(torch.zeros(0, 3, 3, dtype=torch.float64))
        with pytest.raises(ConfigError, match="weights of shape"):
            metric.mean(x[None], torch.ones(1, 1, dtype=torch.float64))
        with pytest.raises(ConfigError, match="sum to 0"):
            metric.mean(x[None], torch.zeros(1, dtype=torch.float64))
        with pytest.raises(ConfigError, match="must not be negative; the smallest is -1"):
            metric.mean(x.expand(2, 3, 3), torch.tensor([3.0, -1.0], dtype=torch.float64))
    with pytest.raises(ManifoldError, match="whether the geodesic exists"):
        spd.bures_wasserstein.exp(x, -3.0 * x)


@pytest.mark.parametrize("name", DEFORMED)
def test_one_point_against_many(name: str) -> None:
    metric, options = DEFORMED[name]
    options = _double(options)
    x, y = _points(3, 3), _points(5, 3, 3, seed=1)
    many = x.expand(5, 3, 3)
    v = 0.1 * spd.symmetrise(_points(3, 3, seed=2))
    vs = 0.1 * spd.symmetrise(_points(5, 3, 3, seed=3))
    pairs = [
        (metric.dist(x, y, **options), metric.dist(many, y, **options)),
        (metric.log(x, y, **options), metric.log(many, y, **options)),
        (metric.log(y, x, **options), metric.log(y, many, **options)),
        (metric.exp(x, vs, **options), metric.exp(many, vs, **options)),
        (metric.exp(y, v, **options), metric.exp(y, v.expand(5, 3, 3), **options)),
        (metric.inner(x, v, vs, **options), metric.inner(many, v.expand(5, 3, 3), vs, **options)),
        (metric.geodesic(x, y, 0.3, **options), metric.geodesic(many, y, 0.3, **options)),
        (metric.transport(x, y, v, **options), metric.transport(many, y, v, **options)),
        (metric.transport(y, x, vs, **options), metric.transport(y, many, vs, **options)),
        (
            metric.transport(x, y[0], vs, **options),
            metric.transport(many, y[0].expand(5, 3, 3), vs, **options),
        ),
    ]
    for found, wanted in pairs:
        assert found.shape == wanted.shape
        _same(found, wanted, 1e-11)


def test_bures_distances_survive_rounding_in_float32() -> None:
    """The product of two conditions of 1e5 is beyond float32, the distance is not."""
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(2, 20, 6, 6, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(-4, 1, 6, dtype=torch.float64)
    x, y = spd.symmetrise((q * values) @ q.mT)
    exact = spd.bures_wasserstein.dist(x, y)
    found = spd.bures_wasserstein.dist(x.float(), y.float())
    assert torch.allclose(found.double(), exact, rtol=1e-2)
    tangent = spd.bures_wasserstein.log(x.float(), y.float())
    assert bool(tangent.isfinite().all())


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("entry", [torch.nan, torch.inf])
def test_entries_that_are_not_finite_are_refused(name: str, entry: float) -> None:
    metric, good = METRICS[name], _points(2, 3, 3)
    bad = good.clone()
    bad[1, 0, 0] = entry
    calls = [
        lambda: metric.dist(good, bad),
        lambda: metric.dist(bad, good),
        lambda: metric.dist(good.clone().requires_grad_(), bad),
        lambda: metric.log(good, bad),
        lambda: metric.geodesic(good, bad, 0.5),
        lambda: metric.transport(good, bad, good),
        lambda: metric.mean(bad),
    ]
    for call in calls:
        with pytest.raises(ManifoldError, match="not finite"):
            call()


def test_refusals_name_the_matrix_that_was_given() -> None:
    """Not one made from it: the first matrix changes its eigenvalues."""
    x = 7.0 * _points(3, 3)
    bad = torch.diag(torch.tensor([1.0, 1.0, -0.5], dtype=torch.float64))
    for metric in METRICS.values():
        for call in (metric.dist, metric.log, lambda x, y, m=metric: m.geodesic(x, y, 0.5)):
            with pytest.raises(ManifoldError, match=r"smallest eigenvalue is -0\.5,"):
                call(x, bad)
    general, m = spd.generalised_bures_wasserstein, _points(3, 3, seed=2)
    for function in (general.dist, general.log):
        for pair, where in (((x, bad), "second"), ((bad, x), "first")):
            with pytest.raises(ManifoldError, match=rf"{where} matrix.* eigenvalue is -0\.5,"):
                function(*pair, m=m)


def test_matrices_that_are_not_square_are_refused() -> None:
    wide = torch.zeros(2, 2, 3)
    for function in (_deform.deform, _checks.eigh):
        with pytest.raises(ManifoldError, match=r"shape \(2, 2, 3\) is not that of square"):
            function(wide, 1.0 if function is _deform.deform else "here")


def test_what_is_read_of_matrices_that_are_not_symmetric() -> None:
    """As the modules say; `check` is what refuses them."""
    x, y = _points(3, 3), _points(3, 3, seed=1)
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[0, 2], skew[2, 0] = 0.1, -0.1
    for function in (spd.log, spd.exp, spd.sqrt, spd.inverse, spd.inv_sqrt):
        _same(function(x + skew), function(x))
    _same(spd.log_euclidean.dist(x + skew, y - skew), spd.log_euclidean.dist(x, y))
    for metric in (spd.affine_invariant, spd.bures_wasserstein):
        _same(metric.log(x, y + skew), metric.log(x, y))
        _same(metric.dist(x.clone().requires_grad_(), y + skew).detach(), metric.dist(x, y))
    triangle = skew.tril()  # read is the upper one
    for metric in (spd.affine_invariant, spd.bures_wasserstein, spd.log_cholesky):
        _same(metric.dist(x + triangle, y), metric.dist(x, y))
    _same(spd.log_cholesky.dist(x, y + triangle), spd.log_cholesky.dist(x, y))
    for metric in METRICS.values():
        with pytest.raises(ManifoldError, match="not symmetric"):
            metric.check(x + skew)
