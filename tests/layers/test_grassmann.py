"""Layers on subspaces: formulas, gradients, causality, parameters, refusals."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError
from zoo.functional import grassmann
from zoo.layers.grassmann import (
    FRMap,
    GyroMLR,
    GyroTranslation,
    OrthMap,
    PluckerMixing,
    ProjectorLinear,
    ProjectorMLR,
    ProjMap,
    ProjPool,
    ReOrth,
    SubspaceHead,
    SubspaceParameter,
    pluecker,
)

N, P = 8, 2


def bases(*lead: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return grassmann.random((*lead, N, P), generator=generator, dtype=torch.float64)


def turned(x: Tensor, seed: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (*x.shape[:-2], P, P)
    return x @ grassmann.random(shape, generator=generator, dtype=torch.float64)


def grnet_block() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(
        FRMap(N, 6, out_channels=2), ReOrth(), ProjMap(), ProjPool(), OrthMap(P), ProjMap()
    )
    return block.double()


def test_grnet_block_agrees_with_numpy() -> None:
    block, x = grnet_block(), bases(3, 1)
    out = block(x).detach().numpy()
    weights = block[0].weight.detach().numpy()
    for sample in range(3):
        for filter_ in range(2):
            q, _ = np.linalg.qr(weights[filter_] @ x[sample, 0].numpy())
            projector = q @ q.T
            pooled = projector.reshape(3, 2, 3, 2).mean((1, 3))
            vectors = np.linalg.eigh(pooled)[1][:, -P:]
            expected = vectors @ vectors.T
            assert np.abs(out[sample, filter_] - expected).max() < 1e-12


def test_grnet_block_gradients_and_basis_invariance() -> None:
    block, x = grnet_block(), bases(2, 1)
    assert (block(x) - block(turned(x))).abs().max() < 1e-12
    inputs = (x.clone().requires_grad_(),)
    assert gradcheck(block, inputs) and gradgradcheck(block, inputs)
    assert torch.allclose(block[0].weight @ block[0].weight.mT, torch.eye(6).double(), atol=1e-6)


def test_pooling_passes_the_gradient_to_every_entry() -> None:
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    ProjPool()(x).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.full_like(x, 0.25))


def test_orth_map_at_degenerate_projectors() -> None:
    x = bases(2, 1)
    layer = nn.Sequential(ProjMap(), OrthMap(P), ProjMap())
    inputs = (x.clone().requires_grad_(),)
    assert gradcheck(layer, inputs)
    (grad,) = torch.autograd.grad((layer(inputs[0]) * torch.randn(N, N).double()).sum(), inputs)
    assert torch.isfinite(grad).all()


def test_projector_linear() -> None:
    layer = ProjectorLinear(N, channels=2, out_channels=3).double()
    x = ProjMap()(bases(4, 2))
    expected = torch.einsum("kcij,bcij->bk", layer.weight, x) + layer.bias
    assert torch.allclose(layer(x), expected)


def test_gyro_translation() -> None:
    layer = GyroTranslation(N, P, in_channels=2, out_channels=4).double()
    x = bases(3, 2)
    out = layer(x)
    v = grassmann.from_coordinates(layer.weight.detach())
    base = torch.eye(N, P, dtype=torch.float64)
    for channel in range(4):
        turn = torch.matrix_exp(grassmann.to_skew(base, v[channel]))
        assert (out[:, channel] - turn @ x[:, channel // 2]).abs().max() < 1e-12
    near = grassmann.exp(base, v)
    added = grassmann.gyro_add(near, x.repeat_interleave(2, dim=1))
    assert grassmann.dist(added, out).max() < 1e-11
    assert grassmann.dist(layer(turned(x)), out).max() < 1e-12


@pytest.mark.parametrize("kind", [GyroMLR, ProjectorMLR])
def test_logits_see_subspaces_alone(kind: type[GyroMLR] | type[ProjectorMLR]) -> None:
    torch.manual_seed(0)
    layer = kind(N, P, channels=2, out_channels=3).double()
    x = bases(4, 2)
    logits = layer(x)
    assert logits.shape == (4, 3)
    assert (logits - layer(turned(x))).abs().max() < 1e-11
    # at its own points a hyperplane gives zero
    base = grassmann.origin((3, 2, N, P), dtype=torch.float64)
    points = grassmann.exp(base, grassmann.from_coordinates(layer.points))
    assert layer(points).diagonal().abs().max() < 1e-11
    assert gradcheck(lambda y: layer(grassmann.project(y)), (x[:2].clone().requires_grad_(),))


def test_gyro_logits_by_hand() -> None:
    layer = GyroMLR(N, P, out_channels=2).double()
    with torch.no_grad():
        layer.points.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    x = bases(3, 1)
    base = grassmann.origin((N, P), dtype=torch.float64)
    for k in range(2):
        point = grassmann.exp(base, grassmann.from_coordinates(layer.points[k, 0].detach()))
        moved = grassmann.gyro_add(grassmann.gyro_inverse(point).expand_as(x), x)
        log = grassmann.log(base.expand_as(moved), moved)[..., P:, :]
        expected = (log * layer.normals[k]).sum((-3, -2, -1))
        assert (layer(x)[:, k] - expected).abs().max() < 1e-11


@pytest.mark.parametrize("parametrization", ["qr", "exp", "geoopt"])
def test_subspace_head(parametrization: str) -> None:
    torch.manual_seed(0)
    head = SubspaceHead(6, 4, subspace_dim=2, parametrization=parametrization).double()  # type: ignore[arg-type]
    with torch.no_grad():
        if parametrization != "geoopt":
            head.subspaces.raw.add_(0.3 * torch.randn_like(head.subspaces.raw))
    x = torch.randn(5, 6, dtype=torch.float64)
    s, logits = head.subspaces().detach(), head(x).detach()
    grassmann.check(s, where="head")
    for sample in range(5):
        for c in range(4):
            part = s[c].mT @ x[sample] / x[sample].norm()
            assert float(logits[sample, c]) == pytest.approx(25 * float(part.norm()), abs=1e-6)
    assert (head(3.0 * x) - logits).abs().max() < 1e-12
    zero = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    head(zero).sum().backward()
    assert zero.grad is not None and torch.isfinite(zero.grad).all()


def test_setting_subspaces() -> None:
    x = bases(3)
    for parametrization in ("qr", "exp", "geoopt"):
        held = SubspaceParameter(3, N, P, parametrization=parametrization).double()  # type: ignore[arg-type]
        held.set_(x)
        assert (held() - x).abs().max() < 1e-13
    with pytest.raises(ConfigError, match="geoopt"):
        SubspaceParameter(N, P, parametrization="geopt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="1 to 3 dimensions, not 4"):
        SubspaceParameter(3, 4)


def test_pluecker_coordinates() -> None:
    a, b = torch.randn(2, 5, 4, dtype=torch.float64).unbind(0)
    p = pluecker(a, b)
    expected = [a[:, i] * b[:, j] - a[:, j] * b[:, i] for i in range(4) for j in range(i + 1, 4)]
    assert torch.equal(p, torch.stack(expected, dim=-1))
    # the plane, not the vectors: another basis scales them by its determinant
    assert torch.allclose(pluecker(2 * a + b, a + 3 * b), 5 * p)
    # and they obey the Plücker relation p01 p23 - p02 p13 + p03 p12 = 0
    p01, p02, p03, p12, p13, p23 = p.unbind(-1)
    assert (p01 * p23 - p02 * p13 + p03 * p12).abs().max() < 1e-13


def test_mixing_agrees_with_loops() -> None:
    torch.manual_seed(0)
    layer = PluckerMixing(5, reduced_channels=3, offsets=(1, 3, 20)).double()
    h = torch.randn(2, 6, 5, dtype=torch.float64)
    z = layer.reduce(h)
    for t in range(6):
        planes = []
        for offset in (1, 3, 20):
            if t >= offset:
                p = pluecker(z[:, t], z[:, t - offset])
                planes.append(layer.expand(p / torch.sqrt(p.square().sum(-1, keepdim=True) + 1e-8)))
        g = sum(planes) / len(planes) if planes else torch.zeros(2, 5, dtype=torch.float64)
        a = torch.sigmoid(layer.gate(torch.cat([h[:, t], g], dim=-1)))
        assert (layer(h)[:, t] - (a * h[:, t] + (1 - a) * g)).abs().max() < 1e-12


def test_mixing_is_strictly_causal() -> None:
    torch.manual_seed(0)
    layer = PluckerMixing(5, reduced_channels=3).double()
    h = torch.randn(1, 24, 5, dtype=torch.float64)
    out = layer(h)
    for t in (0, 1, 7, 16, 23):
        changed = h.clone()
        changed[:, t:] += torch.randn(1, 24 - t, 5, dtype=torch.float64)
        assert torch.equal(layer(changed)[:, :t], out[:, :t])
        assert not torch.equal(layer(changed)[:, t], out[:, t])
        assert torch.allclose(layer(h[:, : t + 1]), out[:, : t + 1], atol=1e-14)


def test_parallel_vectors_have_finite_gradients() -> None:
    layer = PluckerMixing(4, reduced_channels=2)
    h = torch.ones(1, 5, 4, requires_grad=True)
    layer(h).sum().backward()
    assert h.grad is not None and torch.isfinite(h.grad).all()
    assert math.isfinite(float(h.grad.abs().max()))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no full row rank"):
        FRMap(4, 5)
    with pytest.raises(ConfigError, match="multiple of the 2 input channels, not 3"):
        FRMap(4, 3, in_channels=2, out_channels=3)
    with pytest.raises(ConfigError, match="0 rows"):
        ProjPool(0)
    with pytest.raises(ConfigError, match="no plane"):
        PluckerMixing(4, reduced_channels=1)
    with pytest.raises(DeviceError, match="bfloat16"):
        PluckerMixing(4).bfloat16()(torch.zeros(1, 3, 4, dtype=torch.bfloat16))
    x = grassmann.random((1, 1, N, P)).half()
    square = x @ x.mT
    for call in (
        lambda: FRMap(N, N).half()(x),
        lambda: ReOrth()(x),
        lambda: ProjMap()(x),
        lambda: ProjPool(2)(square),
        lambda: OrthMap(P)(square),
        lambda: ProjectorLinear(N, out_channels=2).half()(square),
        lambda: GyroTranslation(N, P).half()(x),
        lambda: GyroTranslation(N, P, method="cayley").half()(x),
        lambda: GyroMLR(N, P, out_channels=2).half()(x),
        lambda: ProjectorMLR(N, P, out_channels=2).half()(x),
    ):
        with pytest.raises(DeviceError, match="float16"):
            call()
    for offsets in ((), (0, 1), (2, 2)):
        with pytest.raises(ConfigError, match="offsets"):
            PluckerMixing(4, offsets=offsets)
