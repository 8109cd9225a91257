"""GyroBN on subspaces: what it promises, the authors' variant, statistics, storage."""

import copy

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.autograd import gradcheck

from zoo.errors import ConfigError, DeviceError
from zoo.functional import grassmann
from zoo.layers.grassmann import GyroBatchNorm

N, P, C = 7, 2, 3


def near(count: int = 16, size: float = 0.25, seed: int = 0) -> Tensor:
    """Samples scattered around one subspace per channel, (count, C, N, P)."""
    generator = torch.Generator().manual_seed(seed)
    center = grassmann.random((1, C, N, P), generator=generator, dtype=torch.float64)
    drawn = torch.randn(count, C, N, P, generator=generator, dtype=torch.float64)
    center = center.expand_as(drawn)
    return grassmann.exp(center, size * grassmann.tangent(center, drawn))


def norm(**options: object) -> GyroBatchNorm:
    made = GyroBatchNorm(N, P, channels=C, **options).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        made.bias.normal_(std=0.2, generator=generator)
        made.scale.copy_(torch.tensor([0.3, 0.4, 0.5]))
    return made


def promised(layer: GyroBatchNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """The Fréchet mean and variance that the formula promises."""
    mean = grassmann.mean(x)
    var = grassmann.dist(mean.expand_as(x), x).square().mean(0)
    bias = grassmann.from_coordinates(layer.bias.detach())
    base = grassmann.origin(bias.shape, dtype=bias.dtype)
    return grassmann.exp(base, bias), layer.scale.detach().square() * var / (var + layer.eps)


def test_mean_and_variance_are_what_is_promised() -> None:
    """With the mean iterated to convergence; at the authors' single step the residual is 1e-3."""
    x = near()
    errors = {}
    for steps in (1, 100):
        layer = norm(mean_steps=steps)
        out = layer(x).detach()
        mean = grassmann.mean(out)
        wanted, var = promised(layer, x)
        spread = grassmann.dist(mean.expand_as(out), out).square().mean(0)
        errors[steps] = (
            float(grassmann.dist(mean, wanted).max()),
            float((spread - var).abs().max()),
        )
    assert max(errors[100]) < 1e-6
    assert max(errors[1]) < 1e-2


def test_the_authors_map_does_not_centre() -> None:
    x = near()
    errors = {}
    for method in grassmann.METHODS:
        layer = norm(method=method, mean_steps=100)
        out = layer(x).detach()
        mean = grassmann.mean(out)
        errors[method] = float(grassmann.dist(mean, promised(layer, x)[0]).max())
    assert errors["exp"] < 1e-10
    assert errors["exp"] < errors["cayley"] < errors["legacy"]
    assert errors["legacy"] > 0.5


def numpy_gyro_bn(x: np.ndarray, b: np.ndarray, s: float, eps: float, start: int) -> np.ndarray:
    """Algorithm 1 with n x n exponentials and SVD logarithms; one step for the mean."""
    n, p = x.shape[1:]
    base = np.eye(n, p)

    def log(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        q, _, rt = np.linalg.svd(v.T @ u)
        w = v @ (q @ rt)
        left, sines, right = np.linalg.svd(w - u @ (u.T @ w), full_matrices=False)
        return np.asarray(left @ np.diag(np.arcsin(np.minimum(sines, 1))) @ right)

    def turn(u: np.ndarray, v: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.asarray(scipy.linalg.expm(v @ u.T - u @ v.T) @ z)

    mean = x[start]
    mean = turn(mean, np.mean([log(mean, y) for y in x], axis=0), mean)
    centred = [turn(base, -log(base, mean), y) for y in x]
    var = np.mean([np.sum(log(mean, y) ** 2) for y in x])
    factor = s / np.sqrt(var + eps)
    scaled = [turn(base, factor * log(base, y), base) for y in centred]
    v = np.concatenate([np.zeros((p, p)), b])
    return np.stack([turn(base, v, y) for y in scaled])


def test_forward_agrees_with_numpy() -> None:
    x = near()
    layer = norm()
    x0 = x[0].clone()
    layer._mean = lambda points: grassmann.mean(points, steps=1, start=x0)  # type: ignore[method-assign]
    out = layer(x).detach()
    for channel in range(C):
        expected = numpy_gyro_bn(
            x[:, channel].numpy(),
            layer.bias[channel].detach().numpy(),
            float(layer.scale[channel].detach()),
            layer.eps,
            start=0,
        )
        spans = out[:, channel] @ out[:, channel].mT
        assert np.abs(spans.numpy() - expected @ expected.transpose(0, 2, 1)).max() < 1e-12


def test_legacy_is_the_authors_recipe() -> None:
    """One Karcher step from the first sample, (1 - w)(1 + w)^-1, cumulative variance."""
    x = near()
    layer = norm(legacy=True)
    out = layer(x).detach()
    mean = grassmann.mean(x, steps=1, start=x[0])
    eye, base = torch.eye(N, dtype=torch.float64), torch.eye(N, P, dtype=torch.float64)

    def cayley(v: Tensor) -> Tensor:
        w = grassmann.to_skew(base, v)
        return (eye - w) @ torch.linalg.inv(eye + w)

    def log(u: Tensor) -> Tensor:
        return grassmann.log(base.expand_as(u), u)

    back = cayley(-log(mean)) @ base
    centred = cayley(log(back)) @ x
    var = grassmann.dist(mean.expand_as(x), x).square().mean(0)
    factor = (layer.scale.detach() / torch.sqrt(var + layer.eps))[:, None, None]
    expected = (
        cayley(grassmann.from_coordinates(layer.bias.detach()))
        @ cayley(factor * log(centred))
        @ base
    )
    assert grassmann.dist(out, expected).max() < 1e-11
    first = layer.running_var.clone()
    layer(near(seed=1))
    second = grassmann.mean(near(seed=1), steps=1, start=near(seed=1)[0])
    other = grassmann.dist(second.expand_as(near(seed=1)), near(seed=1)).square().mean(0)
    assert torch.allclose(layer.running_var, (first + other) / 2, rtol=1e-12)


def test_bases_do_not_matter() -> None:
    x = near()
    turned = x @ grassmann.random((16, C, P, P), dtype=torch.float64)
    layer = norm(mean_steps=3)
    other = copy.deepcopy(layer)
    a, b = layer(x), other(turned)
    assert (a @ a.mT - b @ b.mT).abs().max() < 1e-12


def test_evaluation_uses_running_statistics_that_are_stored() -> None:
    layer = norm()
    for seed in range(3):
        layer(near(seed=seed))
    assert int(layer.num_batches_tracked) == 3
    fresh = norm()
    fresh.load_state_dict(layer.state_dict())
    x = near(4, seed=5)
    assert torch.equal(layer.eval()(x), fresh.eval()(x))
    alone = torch.cat([layer(sample[None]) for sample in x])
    assert (alone - layer(x)).abs().max() < 1e-13
    assert int(layer.num_batches_tracked) == 3


def test_a_constant_batch_has_finite_gradients() -> None:
    x = near(1).expand(5, C, N, P).clone().requires_grad_()
    layer = norm(mean_steps=2)
    out = layer(x)
    grads = torch.autograd.grad((out @ out.mT).square().sum(), [x, *layer.parameters()])
    assert all(torch.isfinite(g).all() for g in grads)


def test_gradients() -> None:
    layer = GyroBatchNorm(5, 2).double()
    generator = torch.Generator().manual_seed(0)
    x = grassmann.random((3, 1, 5, 2), generator=generator, dtype=torch.float64).requires_grad_()

    def spans(y: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        named = {"bias": bias, "scale": scale}
        out = torch.func.functional_call(layer, named, (grassmann.project(y),))
        return (out @ out.mT)[..., :2]

    bias = torch.full((1, 3, 2), 0.1, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    assert gradcheck(spans, (x, bias, scale))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="mean_steps >= 0"):
        GyroBatchNorm(N, P, mean_steps=-1)
    with pytest.raises(ConfigError, match="1 to 6 dimensions, not 7"):
        GyroBatchNorm(N, N)
    with pytest.raises(ConfigError, match="cayley"):
        GyroBatchNorm(N, P, method="caley")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="bfloat16"):
        GyroBatchNorm(N, P, channels=C).bfloat16()(near().bfloat16())
