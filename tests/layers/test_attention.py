"""Norms, linear maps and attention of spherical features."""

import math

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.layers.equivariant import (
    BackScale,
    DegreeGate,
    EquivariantLayerNorm,
    SO3Linear,
    attention_weights,
    smooth_leaky_relu,
)
from zoo.layers.equivariant.norms import NORM_KINDS

LMAX, CHANNELS = 3, 5


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, (LMAX + 1) ** 2, CHANNELS, generator=generator, dtype=torch.float64)


def rotation():
    q = o3.rand_matrix(dtype=torch.float64)
    degrees = o3.Irreps([(1, (degree, 1)) for degree in range(LMAX + 1)])
    return degrees.D_from_matrix(q)


def randomised(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    return module.double()


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_norms_commute_with_rotations(features, kind):
    norm = randomised(EquivariantLayerNorm(LMAX, CHANNELS, kind))
    turn = rotation()
    assert torch.allclose(norm(turn @ features), turn @ norm(features), atol=1e-10)


@pytest.mark.parametrize("kind", NORM_KINDS)
def test_norms_give_each_scale_a_mean_square_of_one(features, kind):
    norm = EquivariantLayerNorm(LMAX, CHANNELS, kind, eps=0.0).double()
    blocks = norm(7.0 * features).split([2 * degree + 1 for degree in range(LMAX + 1)], dim=1)
    squares = torch.stack([block.square().mean((1, 2)) for block in blocks])
    groups = {
        "layer_norm": [[0], [1], [2], [3]],
        "layer_norm_sh": [[0], [1, 2, 3]],
        "rms_norm_sh": [[0, 1, 2, 3]],
    }
    for group in groups[kind]:
        assert torch.allclose(squares[group].mean(0), torch.ones(6, dtype=torch.float64))
    assert blocks[0].mean(2).abs().max() < 1e-12


def test_degree_zero_of_the_separable_norm_is_a_layer_norm(features):
    norm = randomised(EquivariantLayerNorm(LMAX, CHANNELS, "layer_norm_sh"))
    plain = torch.nn.functional.layer_norm(
        features[:, 0], (CHANNELS,), norm.weight[0], norm.bias, norm.eps
    )
    assert torch.allclose(norm(features)[:, 0], plain)


def test_norms_are_finite_at_zero():
    x = torch.zeros(2, (LMAX + 1) ** 2, CHANNELS, requires_grad=True)
    out = EquivariantLayerNorm(LMAX, CHANNELS)(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), x, allow_unused=True)
    assert torch.isfinite(slope).all() and (second is None or torch.isfinite(second).all())


def test_an_unknown_norm_is_named():
    with pytest.raises(ConfigError, match="layer_nrm"):
        EquivariantLayerNorm(LMAX, CHANNELS, "layer_nrm")


def test_linear_maps_commute_with_rotations_and_degrees_stand_alone(features):
    linear = randomised(SO3Linear(LMAX, CHANNELS, 4))
    turn = rotation()
    out = linear(features)
    assert out.shape == (6, 16, 4)
    assert torch.allclose(linear(turn @ features), turn @ out, atol=1e-10)
    for degree in range(LMAX + 1):
        rows = slice(degree**2, (degree + 1) ** 2)
        assert torch.allclose(linear.degree(features[:, rows], degree), out[:, rows])


def test_gates_commute_with_rotations(features):
    gate = DegreeGate(LMAX, LMAX, layout="degree")
    gates = torch.randn(6, LMAX * CHANNELS, dtype=torch.float64)
    turn = rotation()
    out = gate(gates, features)
    assert torch.allclose(gate(gates, turn @ features), turn @ out, atol=1e-10)
    assert torch.allclose(out[:, 0], torch.nn.functional.silu(features[:, 0]))
    expected = features[:, 1:4] * torch.sigmoid(gates[:, None, :CHANNELS])
    assert torch.allclose(out[:, 1:4], expected)


def test_scale_on_the_way_back():
    scale = BackScale(2, 1).double().factor
    expected = [1.0] * 4 + [math.sqrt(5 / 3)] * 5
    assert torch.allclose(scale, torch.tensor(expected, dtype=torch.float64))
    x = torch.randn(1, 9, 2)
    assert BackScale(2, 2)(x) is x


def test_smooth_leaky_relu_has_its_slopes():
    x = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_leaky_relu(x).sum(), x)
    assert torch.allclose(slope, torch.tensor([0.2, 0.6, 1.0]))


TARGET = torch.tensor([0, 0, 2, 2, 2])


def test_weights_without_envelope_are_a_softmax():
    logits = torch.tensor([[1.0], [2.0], [300.0], [-300.0], [299.0]], dtype=torch.float64)
    found = attention_weights(logits, TARGET, 3)
    for rows in (slice(0, 2), slice(2, 5)):
        assert torch.allclose(found[rows], torch.softmax(logits[rows], dim=0))


@pytest.mark.parametrize("shift", [-200.0, -20.0, 0.0, 3.0, 20.0])
def test_weights_with_envelope_are_their_definition(shift):
    logits = torch.randn(5, 2, dtype=torch.float64) + shift
    u = torch.tensor([1.0, 0.3, 1e-9, 0.0, 0.5], dtype=torch.float64)
    top = (u[:, None] * logits.exp()).double()
    total = torch.zeros(3, 2, dtype=torch.float64).index_add(0, TARGET, top) + 1e-6
    expected = top * u[:, None] / total[TARGET]
    assert torch.allclose(attention_weights(logits, TARGET, 3, u), expected, rtol=1e-10, atol=0)


def test_derivatives_of_weights_with_envelope():
    logits = torch.randn(5, 1, dtype=torch.float64, requires_grad=True)
    u = torch.rand(5, dtype=torch.float64, requires_grad=True)

    def weights(logits, u):
        return attention_weights(logits, TARGET, 3, u)

    assert torch.autograd.gradcheck(weights, (logits, u))
    assert torch.autograd.gradgradcheck(weights, (logits, u))


def test_weights_without_any_envelope_left_are_zero():
    for shift in (-200.0, 0.0, 200.0):
        logits = torch.full((5, 1), shift)
        assert torch.equal(attention_weights(logits, TARGET, 3, torch.zeros(5)), 0 * logits)
