"""Gyro layers of SPD matrices and positive definite parameters."""

import math

import pytest
import torch

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import spd
from zoo.layers.spd import GyroMLR, GyroScaling, GyroTranslation, SPDParameter

N = 4
METRICS = ["AIM", "LEM", "LCM"]
MODULES = {"AIM": spd.affine_invariant, "LEM": spd.log_euclidean, "LCM": spd.log_cholesky}


def matrices(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spd.affine_invariant.random((count, N, N), generator=generator, dtype=torch.float64)


def translation(metric, seed=1):
    layer = GyroTranslation(N, metric=metric).double()
    layer.bias.set_(matrices(1, seed)[0])
    return layer


@pytest.mark.parametrize("metric", METRICS)
def test_translations_start_as_the_identity_and_keep_distances(metric):
    x, dist = matrices(), MODULES[metric].dist
    assert torch.allclose(GyroTranslation(N, metric=metric).double()(x), x, atol=1e-12)
    moved = translation(metric)(x)
    assert torch.allclose(dist(moved[1:], moved[:-1]), dist(x[1:], x[:-1]), atol=1e-11)
    origin = torch.eye(N, dtype=torch.float64)[None]
    assert torch.allclose(translation(metric)(origin)[0], translation(metric).bias(), atol=1e-12)


def test_translations_are_the_gyro_additions():
    x, b = matrices(), translation("AIM").bias()
    root = spd.sqrt(b)
    assert torch.allclose(translation("AIM")(x), root @ x @ root, atol=1e-12)
    summed = spd.exp(spd.log(b) + spd.log(x))
    assert torch.allclose(translation("LEM")(x), summed, atol=1e-12)
    lb, lx = torch.linalg.cholesky(b), torch.linalg.cholesky(x)
    diagonal = lb.diagonal() * lx.diagonal(dim1=1, dim2=2)
    factor = lb.tril(-1) + lx.tril(-1) + torch.diag_embed(diagonal)
    assert torch.allclose(translation("LCM")(x), factor @ factor.mT, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_scalings_multiply_distances_from_the_identity(metric):
    layer, x = GyroScaling(metric=metric).double(), matrices()
    assert torch.allclose(layer(x), x, atol=1e-12)
    with torch.no_grad():
        layer.log_scale.fill_(0.4)
    origin = torch.eye(N, dtype=torch.float64).expand_as(x)
    dist = MODULES[metric].dist
    assert torch.allclose(
        dist(layer(x), origin), torch.tensor(0.4).double().exp() * dist(x, origin), atol=1e-11
    )


def plus(metric, b, x):
    """B (+) X by the layer."""
    layer = GyroTranslation(N, metric=metric).double()
    layer.bias.set_(b)
    return layer(x[None])[0]


def times(metric, t, x):
    """t (x) X by the layer."""
    layer = GyroScaling(metric=metric).double()
    with torch.no_grad():
        layer.log_scale.fill_(math.log(t))
    return layer(x[None])[0]


def minus(metric, x):
    """(-) X."""
    if metric == "LCM":
        return spd.log_cholesky.from_triangle(-spd.log_cholesky.to_triangle(x))
    return torch.linalg.inv(x)


def gyration(metric, a, b, x):
    """gyr[A, B] X: the rotation (A^1/2 B A^1/2)^-1/2 A^1/2 B^1/2; none in the flat spaces."""
    if metric != "AIM":
        return x
    half = spd.sqrt(a)
    turn = spd.inv_sqrt(spd.symmetrise(half @ b @ half)) @ half @ spd.sqrt(b)
    return turn @ x @ turn.mT


@pytest.mark.parametrize("metric", METRICS)
def test_gyrogroup_laws(metric):
    a, b, x = matrices(3)
    close = {"rtol": 1e-10, "atol": 1e-10}
    origin = torch.eye(N, dtype=torch.float64)
    assert torch.allclose(plus(metric, origin, x), x, **close)
    assert torch.allclose(plus(metric, minus(metric, x), x), origin, **close)
    summed = plus(metric, a, b)
    nested = plus(metric, a, plus(metric, b, x))
    assert torch.allclose(plus(metric, minus(metric, a), summed), b, **close)
    turned = gyration(metric, a, b, x)
    assert torch.allclose(nested, plus(metric, summed, turned), **close)
    assert torch.allclose(turned, gyration(metric, summed, b, x), **close)  # left loop
    swapped = gyration(metric, a, b, plus(metric, b, a))
    assert torch.allclose(summed, swapped, **close)
    # only the curved space needs the gyration
    associative = torch.allclose(nested, plus(metric, summed, x), rtol=1e-3, atol=1e-3)
    assert associative == (metric != "AIM")


@pytest.mark.parametrize("metric", METRICS)
def test_scalar_laws(metric):
    x, close = matrices(1)[0], {"rtol": 1e-10, "atol": 1e-10}
    one, two = times(metric, 0.6, x), times(metric, 1.7, x)
    assert torch.allclose(plus(metric, one, two), times(metric, 2.3, x), **close)
    assert torch.allclose(times(metric, 1.7, one), times(metric, 1.02, x), **close)


def stirred(metric, classes=3):
    torch.manual_seed(0)
    layer = GyroMLR(N, classes, metric=metric).double()
    with torch.no_grad():
        layer.points.normal_(std=0.3)
    return layer


@pytest.mark.parametrize("metric", METRICS)
def test_logits_are_signed_distances_to_hyperplanes(metric):
    layer, x = stirred(metric), matrices()
    logits = layer(x)
    points = spd.exp(0.5 * (layer.points + layer.points.mT))
    for k, point in enumerate(points):
        assert torch.allclose(layer(point[None])[0, k], torch.zeros(()).double(), atol=1e-12)
        if metric == "AIM":
            root = spd.inv_sqrt(point)
            way = spd.to_vector(spd.log(root @ x @ root))
        elif metric == "LEM":
            way = spd.to_vector(spd.log(x) - spd.log(point))
        else:
            row, column = torch.tril_indices(N, N)
            triangle = spd.log_cholesky.to_triangle
            way = (triangle(x) - triangle(point))[:, row, column]
        assert torch.allclose(logits[:, k], way @ layer.directions[k], atol=1e-12)
        # the distance is at most that to the point, and reached along the direction
        length = layer.directions[k].norm()
        distance = MODULES[metric].dist(x, point.expand_as(x))
        assert bool((logits[:, k].abs() / length <= distance + 1e-12).all())


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(metric):
    layer = stirred(metric, 2)
    x = matrices(2).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def call(z, *given):
        state = dict(zip(names, given, strict=True))
        return torch.func.functional_call(layer, state, (0.5 * (z + z.mT),))

    assert torch.autograd.gradcheck(call, (x, *values))
    start = GyroMLR(N, 2, metric=metric).double()
    start(torch.eye(N, dtype=torch.float64).repeat(2, 1, 1)).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in start.parameters())


@pytest.mark.parametrize("parametrization", ["exp", "geoopt"])
def test_positive_definite_parameters(parametrization):
    parameter = SPDParameter(N, parametrization=parametrization).double()
    assert torch.allclose(parameter(), torch.eye(N, dtype=torch.float64))
    x = matrices(1)[0]
    parameter.set_(x)
    assert torch.allclose(parameter(), x, atol=1e-12)
    assert torch.allclose(parameter.log(), spd.log(x), atol=1e-12)
    assert torch.allclose(parameter.power(-0.5), spd.inv_sqrt(x), atol=1e-12)
    assert parametrization in repr(parameter)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: GyroTranslation(N, metric="AI"), ConfigError, "AIM"),
        (lambda: GyroScaling(metric="CRIM"), ConfigError, "GyroScaling"),
        (lambda: GyroMLR(N, 0), ConfigError, "at least one class"),
        (lambda: SPDParameter(0), ConfigError, "at least one row"),
        (lambda: SPDParameter(N, parametrization="log"), ConfigError, "exp"),
        (lambda: SPDParameter(N).double().set_(-matrices(1)[0]), ManifoldError, "eigenvalue"),
        (lambda: GyroMLR(N, 2)(-matrices().float()), ManifoldError, "eigenvalue"),
        (lambda: GyroMLR(N, 2)(matrices().half()), DeviceError, "float16"),
        (lambda: GyroScaling()(matrices().half()), DeviceError, "float16"),
        (lambda: GyroTranslation(N)(matrices().half()), DeviceError, "float16"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
