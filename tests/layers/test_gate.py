"""Linear maps, gates and norm activations of irreps in e3nn's layout."""

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.functional import edge_quaternion, wigner_blocks
from zoo.layers.equivariant import Gate, Linear, NormActivation
from zoo.layers.equivariant.gate import second_moment

IRREPS = "3x0e+2x0o+2x1o+1x0e+2x2e+1x1e"


def turn(irreps, *, inversion):
    vector = torch.tensor([[0.7, 0.2, -0.9]], dtype=torch.float64)
    blocks = wigner_blocks(edge_quaternion(vector), irreps.lmax)
    parts = [
        blocks[part.ir.l][0] * (part.ir.p if inversion else 1)
        for part in irreps
        for _ in range(part.mul)
    ]
    return torch.block_diag(*parts)


def layers():
    linear = Linear(IRREPS, "2x1o+4x0e+1x0o+1x1o+2x2e")
    norm = NormActivation(IRREPS)
    for layer in (linear, norm):
        torch.nn.init.normal_(layer.bias)
    return [
        (linear, linear.irreps_in, linear.irreps_out),
        (norm, norm.irreps, norm.irreps),
        (gate := Gate(IRREPS), gate.irreps_in, gate.irreps_out),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("inversion", [False, True])
def test_equivariance(which, inversion):
    layer, before, after = layers()[which]
    layer = layer.double()
    x = torch.randn(5, before.dim, dtype=torch.float64)
    turned = layer(x @ turn(before, inversion=inversion).T)
    assert (turned - layer(x) @ turn(after, inversion=inversion).T).abs().max() < 1e-12
    assert (turned - layer(x)).abs().max() > 1e-3


@pytest.mark.parametrize("which", [0, 1, 2])
def test_derivatives(which):
    layer, before, _ = layers()[which]
    layer = layer.double()
    x = torch.randn(2, before.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, (x,), fast_mode=True)


@pytest.mark.parametrize("which", [1, 2])
def test_derivatives_are_finite_at_zero(which):
    layer, before, _ = layers()[which]
    x = torch.zeros(1, before.dim, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert torch.isfinite(first).all() and torch.isfinite(second).all()


def test_linear_is_the_linear_of_e3nn():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        ours = Linear("3x0e+2x1o+2x2e", "4x0e+1x1o+3x2e", bias=False)
        theirs = o3.Linear("3x0e+2x1o+2x2e", "4x0e+1x1o+3x2e")
        weight = torch.cat([w.flatten() for w in ours.weights.values()])
        x = torch.randn(4, ours.irreps_in.dim)
        assert (ours(x) - theirs(x, weight)).abs().max() < 1e-12
    finally:
        torch.set_default_dtype(torch.float32)


def test_linear_keeps_the_variance():
    torch.manual_seed(0)
    layer = Linear("64x0e+64x1o", "64x0e+64x1o")
    variance = float(layer(torch.randn(4000, layer.irreps_in.dim)).detach().var())
    assert variance == pytest.approx(1.0, abs=0.1)


def test_gate_scalars_and_gates():
    gate = Gate("1x0e+1x0o+1x1o", activation=torch.tanh)
    assert str(gate.irreps_in) == "1x0e+1x0e+1x0o+1x1o"
    out = gate(torch.tensor([[0.5, 0.3, -0.2, 1.0, 2.0, 3.0]]))[0]
    tanh, sigmoid = second_moment(torch.tanh), second_moment(torch.sigmoid)
    expected = [tanh * torch.tanh(torch.tensor(v)) for v in (0.3, -0.2)]
    opened = sigmoid * torch.sigmoid(torch.tensor(0.5))
    assert torch.allclose(out, torch.stack([*expected, opened, 2 * opened, 3 * opened]))


def test_second_moments():
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    for function in (torch.nn.functional.silu, torch.tanh, torch.sigmoid):
        scaled = function(z) * second_moment(function)
        assert scaled.square().mean() == pytest.approx(1.0, abs=0.01)


def test_norm_activation_acts_on_norms():
    layer = NormActivation("2x1o", activation=torch.square, bias=False)
    x = torch.randn(3, 6)
    norms = x.view(3, 2, 3).norm(dim=-1, keepdim=True)
    assert torch.allclose(layer(x).view(3, 2, 3), x.view(3, 2, 3) * norms, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Linear("2x0e+1x1o", "1x1e+2x2e"), r"holds 1e, 2e, which no linear map"),
        (lambda: Linear("0e", ""), "irreps_out='' holds no irreps"),
        (lambda: Linear("2x1o", "1o")(torch.zeros(1, 5)), r"5 numbers; 2x1o has 6"),
        (lambda: Gate("1x0e+1x1o")(torch.zeros(1, 4)), r"4 numbers.*1 gates first\), 5 numbers"),
        (lambda: Gate("1o", activation=torch.zeros_like), "second moment 0.0"),
        (lambda: NormActivation("1o")(torch.zeros(1, 4)), "4 numbers; 1x1o has 3"),
        (lambda: NormActivation("1o", epsilon=0.0), "epsilon=0.0 must be positive"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
