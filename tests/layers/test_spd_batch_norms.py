"""Batch norms of SPD matrices: what they promise, statistics, domains, refusals."""

import copy
import io
from typing import get_args

import pytest
import torch

from zoo.errors import CapabilityError, ConfigError, DataError, DeviceError, ManifoldError
from zoo.functional import spd
from zoo.layers.spd import (
    DomainBatchNorm,
    GBWBatchNorm,
    GyroBatchNorm,
    LieBatchNorm,
    MomentumSchedule,
    RiemannianBatchNorm,
    SPDNorm,
    make_spd_norm,
    refit,
    spd_norms,
)

N = 5
NAMES = get_args(SPDNorm)
METRICS = {
    "lie_lem": spd.log_euclidean,
    "gyro_lem": spd.log_euclidean,
    "lie_lcm": spd.log_cholesky,
    "gyro_lcm": spd.log_cholesky,
    "gbw": spd.generalised_bures_wasserstein,
}
DEFORMED = {"lie_aim", "lie_lcm", "lie_crim", "gyro_aim", "gyro_lcm", "gbw"}


def matrices(count=16, size=N, seed=0, times=20):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, times, generator=generator, dtype=torch.float64)
    return x @ x.mT / times


def stirred(norm, seed=1):
    """The norm in float64 with a bias, scale and metric matrix that are not the first ones."""
    generator = torch.Generator().manual_seed(seed)
    norm = norm.double()
    with torch.no_grad():
        for parameter in norm.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
        if norm.log_scale is not None:
            norm.log_scale.fill_(-0.7)  # so that no geodesic leaves the manifold of "gbw"
    return norm


def group_inverse(x):
    inverse = torch.linalg.inv(torch.linalg.cholesky(x))
    return inverse @ inverse.mT


def geometry(norm, name, theta):
    """The metric of a norm: functions that measure a mean and a distance."""
    metric = METRICS.get(name, spd.affine_invariant)
    options = {} if name not in DEFORMED else {"theta": theta}
    if name == "gbw":
        options["m"] = norm.chart.metric().detach()
    if name == "lie_crim":  # the pull-back of the affine-invariant metric along the inverse

        def mean(x):
            inside = group_inverse(spd.power(x, theta))
            return spd.power(group_inverse(spd.affine_invariant.mean(inside)), 1 / theta)

        def dist(x, y):
            x, y = (group_inverse(spd.power(z, theta)) for z in (x, y))
            return spd.affine_invariant.dist(x, y) / abs(theta)

        return mean, dist
    return (
        lambda x: metric.mean(x, steps=500, **options),
        lambda x, y: metric.dist(x, y, **options),
    )


def residuals(name, steps, theta=1.0):
    """How far mean and variance of a norm's output are from what it promises."""
    options = {"theta": theta} if name in DEFORMED else {}
    norm = stirred(make_spd_norm(name, N, steps=steps, **options))
    mean, dist = geometry(norm, name, theta)
    x = matrices(24)
    with torch.no_grad():
        out = norm(x)
        promised = torch.eye(N, dtype=torch.float64) if norm.bias is None else norm.bias()
        before = dist(mean(x).expand_as(x), x).square().mean()
        after = dist(mean(out).expand_as(x), out).square().mean()
        wanted = before
        if norm.dispersion:
            wanted = norm.scale.square() * before / (before + norm.eps)
        return float(dist(mean(out), promised)), float((after - wanted).abs())


@pytest.mark.parametrize("theta", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_mean_and_variance_are_those_promised(name, theta):
    if theta != 1.0 and name not in DEFORMED:
        theta = 1.0
    centre, spread = residuals(name, 300, theta)
    assert centre < 1e-6
    assert spread < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_one_step_leaves_a_residual_only_where_the_mean_is_iterated(name):
    centre, spread = residuals(name, 1)
    closed = name in ("lie_lem", "gyro_lem", "lie_lcm", "gyro_lcm")
    assert (centre < 1e-12) is closed
    assert centre < 0.02
    assert spread < 1e-3


def test_metrics_with_alpha_and_beta():
    for metric, module in (("AIM", spd.affine_invariant), ("LEM", spd.log_euclidean)):
        norm = stirred(LieBatchNorm(N, metric=metric, alpha=2.0, beta=0.5, steps=200))
        out = norm(matrices(24)).detach()
        bias = norm.bias().detach()
        square = module.dist(out, bias.expand_as(out), alpha=2.0, beta=0.5).square().mean()
        assert abs(float(square) - float(norm.scale.detach().square())) < 1e-4
        assert float(module.dist(module.mean(out), bias)) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_survives_saving_exactly(name):
    norm = stirred(make_spd_norm(name, N))
    for seed in range(3):
        norm(matrices(seed=seed))
    file = io.BytesIO()
    torch.save(norm.state_dict(), file)
    file.seek(0)
    other = make_spd_norm(name, N).double()
    other.load_state_dict(torch.load(file, weights_only=True))
    x = matrices(seed=9)
    assert torch.equal(norm.eval()(x), other.eval()(x))
    assert not torch.equal(norm(x), make_spd_norm(name, N).double().eval()(x))


@pytest.mark.parametrize("name", NAMES)
def test_running_statistics_reach_those_of_a_steady_stream(name):
    norm = stirred(make_spd_norm(name, N, momentum=0.5, steps=50))
    x = matrices(20)
    for _ in range(34):
        trained = norm(x)
    assert torch.allclose(norm.eval()(x), trained, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_at_the_start_and_at_equal_matrices(name):
    norm = make_spd_norm(name, N, num_domains=None).double()
    for x in (matrices(6), torch.eye(N, dtype=torch.float64).repeat(6, 1, 1)):
        x.requires_grad_()
        norm(x).sin().sum().backward()
        assert bool(x.grad.isfinite().all())
        for parameter in norm.parameters():
            assert bool(parameter.grad.isfinite().all())


@pytest.mark.parametrize(
    ("name", "detach"),
    [
        ("riemannian", True),
        ("riemannian", False),
        ("lie_aim", True),
        ("lie_lem", True),
        ("lie_lcm", False),
        ("lie_crim", True),
        ("gbw", True),
    ],
)
def test_gradients(name, detach):
    norm = stirred(make_spd_norm(name, 3, detach=detach))
    norm = norm.eval() if detach else norm  # a detached mean moves under finite differences
    start = matrices(4, 3, times=9)
    parameters = [p for p in norm.parameters()]

    def call(x, *values):
        local = copy.deepcopy(norm)
        names = [n for n, _ in norm.named_parameters()]
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(local, state, (0.5 * (x + x.mT),))

    inputs = (start.requires_grad_(), *(p.detach().clone().requires_grad_() for p in parameters))
    assert torch.autograd.gradcheck(call, inputs)


def test_second_derivatives():
    norm = stirred(LieBatchNorm(2)).eval()
    x = matrices(2, 2, times=9).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z: norm(0.5 * (z + z.mT)), (x,))


@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_second_derivatives_of_bures_norms(theta):
    """By matrices and scale; by bias and metric matrix there is one."""
    norm = stirred(GBWBatchNorm(2, theta=theta, momentum=1.0))
    start = matrices(3, 2, times=9)

    def call(name, value):
        local = copy.deepcopy(norm)
        state = {} if name == "x" else {name: value}
        x = value if name == "x" else start
        return torch.func.functional_call(local, state, (0.5 * (x + x.mT),))

    def held(name):
        value = start if name == "x" else norm.get_parameter(name)
        return value.detach().clone().requires_grad_()

    def second(name):
        value = held(name)
        (grad,) = torch.autograd.grad(call(name, value).sin().sum(), value, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), value)[0]

    training = second("x")
    norm(start)  # momentum 1: the running statistics are those of this batch
    norm.eval()
    assert torch.allclose(training, second("x"), rtol=1e-9, atol=1e-9)
    for name in ("x", "log_scale"):
        for mode in (False, name != "x"):  # in training statistics move under finite differences
            norm.train(mode)
            assert torch.autograd.gradgradcheck(lambda v, n=name: call(n, v), held(name))
    for mode in (True, False):
        norm.train(mode)
        for name in ("bias.raw", "chart.metric.raw"):
            with pytest.raises(CapabilityError, match="ask for one derivative"):
                second(name)
    norm.detach = False
    with pytest.raises(CapabilityError, match="ask for one derivative"):
        norm.train()
        second("x")


def test_cholesky_root_is_invariant_where_the_symmetric_one_turns():
    x = matrices(12)
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(N, N, generator=generator, dtype=torch.float64)
    lower = w.tril(-1) + torch.diag_embed(w.diagonal().exp())
    lie = LieBatchNorm(N).double()
    assert torch.allclose(lie(lower @ x @ lower.mT), lie(x), atol=1e-10)
    for norm in (lie, RiemannianBatchNorm(N, dispersion=True).double()):
        a, b = norm(x), norm(w @ x @ w.mT)
        assert not torch.allclose(a, b, atol=1e-3)
        # one orthogonal matrix for all samples: eigenvalues and distances stay
        assert torch.allclose(*(torch.linalg.eigvalsh(z) for z in (a, b)), atol=1e-9)
        apart = [spd.affine_invariant.dist(z[1:], z[:-1]) for z in (a, b)]
        assert torch.allclose(*apart, atol=1e-9)


def test_domains_have_statistics_of_their_own():
    norm = DomainBatchNorm(N, 2).double()
    x = matrices(20)
    w = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64))
    both = torch.cat([x, w @ x @ w])
    domain = torch.arange(40) // 20
    out = norm(both, domain)
    alone = DomainBatchNorm(N).double()
    assert torch.equal(out[:20], alone(x))
    assert torch.equal(out[20:], DomainBatchNorm(N).double()(w @ x @ w))
    order = torch.randperm(40)
    again = DomainBatchNorm(N, 2).double()(both[order], domain[order])
    assert torch.allclose(again, out[order], atol=1e-12)
    assert norm.batches.tolist() == [1, 1]


def test_refitting_makes_a_new_domain_like_the_old_ones():
    norm = DomainBatchNorm(N, 1, momentum=0.5, unseen="refuse").double()
    x = matrices(20)
    for _ in range(50):
        norm(x, torch.zeros(20, dtype=torch.int64))
    norm.eval()
    w = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64))
    shifted, third = w @ x @ w, torch.full((20,), 2)
    with pytest.raises(DataError, match=r"num_domains=3, or call\s+model.adapt"):
        norm(shifted, third)
    refit(norm, lambda: norm(shifted, third))
    assert norm.num_domains == 3
    mean = spd.affine_invariant.mean(norm(shifted, third))
    assert torch.allclose(mean, torch.eye(N, dtype=torch.float64), atol=1e-9)
    with pytest.raises(DataError, match="domain 1 has no statistics"):
        norm(shifted, torch.ones(20, dtype=torch.int64))
    pooled = norm(x)  # the mean of what is known: between the two
    norm.unseen = "pool"
    assert torch.equal(norm(x, torch.ones(20, dtype=torch.int64)), pooled)
    assert not torch.allclose(pooled, norm(x, torch.zeros(20, dtype=torch.int64)))
    assert not any(part.refitting for part in spd_norms(norm))
    refit(norm, lambda: norm(shifted))  # no domain: only the new samples count
    assert norm.batches.tolist()[1:] == [0, 0]
    assert torch.allclose(norm(shifted).det().log().mean(), torch.zeros(()).double(), atol=1e-9)


def test_training_without_domains_forgets_those_of_before():
    norm = DomainBatchNorm(N, 3, momentum=0.5).double()
    norm(matrices(6), torch.arange(6) // 2)
    for _ in range(34):
        trained = norm(5 * matrices(20, seed=2))
    assert torch.allclose(norm.eval()(5 * matrices(20, seed=2)), trained, atol=1e-8)
    assert norm.batches.tolist()[1:] == [0, 0]


def test_refitting_ends_when_the_call_fails():
    norm = RiemannianBatchNorm(N).double()
    with pytest.raises(ConfigError, match="takes"):
        refit(norm, lambda: norm(matrices(size=3)))
    assert not norm.refitting


def test_momentum_schedule():
    schedule = MomentumSchedule(40, batch=10, reference=50)
    training = [schedule.at(epoch)[0] for epoch in range(1, 60)]
    assert training[0] == 1.0
    assert training[39] == pytest.approx(0.2)
    assert training == sorted(training, reverse=True)
    assert schedule.at(1)[1] == pytest.approx(0.15)  # 1 - tau
    assert schedule.at(40)[1] == pytest.approx(1 - 0.85**0.2)
    norm = DomainBatchNorm(N, 2)
    schedule.apply(norm, 40)
    assert norm.batch_weight == pytest.approx(0.2)
    with pytest.raises(ConfigError, match="0 < batch <= reference"):
        MomentumSchedule(40, batch=60, reference=50)


def test_momentum_norm_averages_over_batches():
    norm = RiemannianBatchNorm(N, dispersion=True, batch_weight=0.25, steps=50).double()
    x, y = matrices(20, seed=1), matrices(20, seed=2)
    for _ in range(60):
        norm(x)
    assert torch.allclose(norm.training_mean[0], spd.affine_invariant.mean(x), atol=1e-6)
    norm(y)
    way = spd.affine_invariant.geodesic(
        spd.affine_invariant.mean(x), spd.affine_invariant.mean(y), 0.25
    )
    assert torch.allclose(norm.training_mean[0], way, atol=1e-6)


def test_one_sample_alone_is_centred_and_not_scaled():
    norm = LieBatchNorm(N).double()
    out = norm(matrices(1))
    assert torch.allclose(out, torch.eye(N, dtype=torch.float64), atol=1e-12)
    assert float(norm.running_var) == 1.0


def test_geoopt_parameters_are_points():
    norm = LieBatchNorm(N, parametrization="geoopt").double()
    assert torch.allclose(norm(matrices()), LieBatchNorm(N).double()(matrices()), atol=1e-12)
    norm(matrices()).sum().backward()
    assert bool(norm.bias.raw.grad.isfinite().all())
    assert type(norm.bias.raw).__name__ == "ManifoldParameter"


def test_extra_axes_are_averaged_over():
    x = matrices(12)
    assert torch.equal(
        LieBatchNorm(N).double()(x.reshape(3, 4, N, N)).reshape(12, N, N),
        LieBatchNorm(N).double()(x),
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: make_spd_norm("lie_aym", N), ConfigError, "lie_aim"),
        (lambda: make_spd_norm("brooks", N, theta=2.0), ConfigError, "theta"),
        (lambda: LieBatchNorm(N, metric="XYZ"), ConfigError, "AIM"),
        (lambda: LieBatchNorm(N, theta=0), ConfigError, "other than"),
        (lambda: LieBatchNorm(N, beta=-1.0), ConfigError, "beta > -alpha / n = -0.2"),
        (lambda: LieBatchNorm(N, metric="LEM", theta=2.0), ConfigError, "has no theta"),
        (lambda: LieBatchNorm(N, metric="LCM", beta=1.0), ConfigError, "no alpha and beta"),
        (lambda: GyroBatchNorm(N, metric="CRIM"), ConfigError, "AIM"),
        (lambda: GyroBatchNorm(N, metric="LEM", theta=2.0), ConfigError, "LEM has none"),
        (lambda: GBWBatchNorm(N, floor=0.0), ConfigError, "floor"),
        (lambda: RiemannianBatchNorm(0), ConfigError, "at least 1"),
        (lambda: RiemannianBatchNorm(N, momentum=0.0), ConfigError, "momentum=0.0"),
        (lambda: RiemannianBatchNorm(N, eps=0.0), ConfigError, "eps"),
        (lambda: RiemannianBatchNorm(N)(torch.eye(3)[None]), ConfigError, "of size 5 takes"),
        (lambda: RiemannianBatchNorm(N)(-torch.eye(N)[None]), ManifoldError, "-1"),
        (lambda: LieBatchNorm(N)(-torch.eye(N)[None]), ManifoldError, "-1"),
        (lambda: RiemannianBatchNorm(N)(torch.eye(N).half()[None]), DeviceError, "float16"),
        (
            lambda: DomainBatchNorm(N, 2)(matrices(4).float(), torch.zeros(3).long()),
            DataError,
            r"expected \(4,\)",
        ),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
