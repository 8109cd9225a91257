"""Layers of group actions: the equation, geometry, gates, norms, convolutions by rotors."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra
from zoo.layers.clifford import (
    ConjugateLinear,
    G3Conv2d,
    G3ConvTranspose2d,
    MultivectorGate,
    MultivectorGroupNorm,
    embed_points,
    read_points,
)
from zoo.layers.clifford.conjugation import ORIGIN, POINT, even

PGA = algebra(3, 0, 1)
signatures = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)).filter(
    lambda s: 2 <= sum(s) <= 4
)


def _randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _conjugated(k: Tensor, x: Tensor, of: Algebra) -> Tensor:
    """k x reverse(k), k given on the even blades."""
    full = torch.zeros(*k.shape[:-1], of.blades, dtype=k.dtype)
    full[..., list(even(of))] = k
    turned = clifford.geometric_product(full, x, of)
    return clifford.geometric_product(turned, clifford.reverse(full, of), of)


@settings(deadline=None, max_examples=15)
@given(signature=signatures, seed=st.integers(0, 99))
def test_the_equation_term_by_term(signature: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    of = algebra(*signature)
    layer = ConjugateLinear(of, 3, 2).double()
    nn.init.normal_(layer.action)  # also what is no versor
    x = _randn(4, 3, of.blades)
    expected = torch.zeros(4, 2, of.blades, dtype=torch.float64)
    for o in range(2):
        for i in range(3):
            expected[:, o] += layer.weight[o, i] * _conjugated(layer.action[o, i], x[:, i], of)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_points_with_a_learnt_weight_of_the_origin() -> None:
    torch.manual_seed(0)
    layer = ConjugateLinear(PGA, 3, 2, blades=POINT, constant=ORIGIN).double()
    nn.init.normal_(layer.action)
    assert layer.constant is not None
    nn.init.normal_(layer.constant)
    x = _randn(4, 3, 3)
    full = torch.zeros(4, 3, 16, dtype=torch.float64)
    full[..., list(POINT)] = x
    full[..., ORIGIN] = layer.constant.detach()
    expected = torch.zeros(4, 2, 16, dtype=torch.float64)
    for o in range(2):
        for i in range(3):
            expected[:, o] += layer.weight[o, i] * _conjugated(layer.action[o, i], full[:, i], PGA)
    found = layer(x)
    torch.testing.assert_close(found, expected[..., list(POINT)], rtol=1e-12, atol=1e-12)
    assert float(expected[..., :ORIGIN].detach().abs().max()) < 1e-12  # grades stay


def test_a_motor_moves_points_as_rotations_and_translations_do() -> None:
    """A rotation about the third axis by a quarter, and a step along the first."""
    layer = ConjugateLinear(PGA, 1, 1, blades=POINT, constant=ORIGIN).double()
    names = [PGA.names()[b] for b in even(PGA)]
    pos = torch.tensor([[[1.0, 2, 3]], [[0, 0, 0]]], dtype=torch.float64)
    cases: list[tuple[dict[str, float], list[list[float]]]] = [
        ({"1": 0.5**0.5, "e12": -(0.5**0.5)}, [[-2, 1, 3], [0, 0, 0]]),
        ({"1": 1.0, "e14": 0.25}, [[1 + 0.5, 2, 3], [0.5, 0, 0]]),
        ({"1": 1.0, "e34": 0.25}, [[1, 2, 3 + 0.5], [0, 0, 0.5]]),
    ]
    for motor, expected in cases:
        with torch.no_grad():
            layer.weight.fill_(1)
            layer.action.zero_()
            for name, value in motor.items():
                layer.action[0, 0, names.index(name)] = value
        found = read_points(layer(embed_points(pos)))[:, 0]
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_starts_as_rotations_and_translations_learn() -> None:
    torch.manual_seed(0)
    layer = ConjugateLinear(PGA, 4, 3, blades=POINT, constant=ORIGIN)
    x = torch.randn(5, 4, 3)
    square = [PGA.squares[b] for b in even(PGA)]
    assert torch.allclose(layer.action.square().sum(-1), torch.ones(3, 4))
    assert not layer.action[..., [k for k, s in enumerate(square) if s == 0]].any()
    layer(x).square().sum().backward()
    grad = layer.action.grad
    assert grad is not None and all(bool(grad[..., k].any()) for k, s in enumerate(square[:-1]))
    published = ConjugateLinear(PGA, 4, 3, blades=POINT, constant=ORIGIN, start=0.0)
    published(x).square().sum().backward()
    grad, constant = published.action.grad, published.constant
    assert grad is not None and constant is not None and constant.grad is not None
    assert not grad[..., [k for k, s in enumerate(square) if s == 0]].any()
    assert not constant.grad.any()


def test_the_layer_turns_along_with_its_rotors_and_not_without() -> None:
    torch.manual_seed(0)
    of = algebra(3)
    layer = ConjugateLinear(of, 2, 2).double()
    v = clifford.versor(functional.normalize(_randn(2, 3), dim=-1), of)
    x = _randn(4, 2, of.blades)
    turned = clifford.act(v, layer(x), of)
    alone = layer(clifford.act(v, x, of)).detach()
    with torch.no_grad():
        full = torch.zeros(2, 2, 8, dtype=torch.float64)
        full[..., list(even(of))] = layer.action
        layer.action.copy_(clifford.act(v, full, of)[..., list(even(of))])
    torch.testing.assert_close(layer(clifford.act(v, x, of)), turned)
    assert float((alone - turned).detach().abs().max()) > 0.1


def test_gates() -> None:
    torch.manual_seed(0)
    x = _randn(3, 2, 5, 4)
    for kind, number in (("sum", x.sum(-1)), ("mean", x.mean(-1))):
        gate = MultivectorGate(2, 4, kind=kind)  # type: ignore[arg-type]
        torch.testing.assert_close(gate(x), x * torch.sigmoid(number)[..., None])
    linear = MultivectorGate(2, 4).double()
    assert linear.weight is not None and linear.bias is not None
    for channel in range(2):
        number = x[:, channel] @ linear.weight[channel] + linear.bias[channel]
        expected = x[:, channel] * torch.sigmoid(number)[..., None]
        torch.testing.assert_close(linear(x)[:, channel], expected)


def test_group_norm() -> None:
    torch.manual_seed(0)
    x = _randn(3, 4, 6, 3) * 7 + 2
    norm = MultivectorGroupNorm(4, 3, groups=2, eps=1e-12).double()
    rows = norm(x).detach().reshape(3, 2, 12, 3)
    assert float(rows.mean(2).abs().max()) < 1e-12
    torch.testing.assert_close(rows.norm(dim=-1).mean(2), torch.ones(3, 2, dtype=torch.float64))
    plain = MultivectorGroupNorm(4, 3, scale=False).double()
    torch.testing.assert_close(plain(x), x - x.mean((1, 2), keepdim=True))
    lengths = MultivectorGroupNorm(4, 3, center=False, eps=1e-12).double()
    mean = x.norm(dim=-1).mean((1, 2))
    torch.testing.assert_close(lengths(x), x / mean[:, None, None, None])


def test_rotor_convolution_place_by_place() -> None:
    torch.manual_seed(0)
    conv = G3Conv2d(2, 3, 3, padding=1, bias=True, padding_mode="circular").double()
    nn.init.normal_(conv.rotor)
    x = _randn(2, 2, 4, 5, 3)
    of = algebra(3)
    expected = torch.zeros(2, 3, 4, 5, 3, dtype=torch.float64)
    rotor = conv.rotor / (conv.rotor.square().sum(0) + 1e-4).sqrt()
    for row in range(3):
        for column in range(3):
            moved = clifford.embed(x.roll((1 - row, 1 - column), (2, 3)), 1, of)
            for o in range(3):
                for i in range(2):
                    turned = _conjugated(rotor[:, o, i, row, column], moved[:, i], of)
                    expected[:, o] += conv.size[o, i, row, column] * turned[..., 1:4]
    assert conv.bias is not None
    expected += conv.bias.T[:, None, None]
    torch.testing.assert_close(conv(x), expected, rtol=1e-10, atol=1e-10)
    matrices = conv.matrices().detach()
    length = (matrices @ matrices.mT).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(
        length, conv.size.detach().square()[..., None] * torch.ones(3), rtol=1e-2, atol=1e-3
    )


def test_transposed_convolution_is_the_adjoint() -> None:
    torch.manual_seed(0)
    up = G3ConvTranspose2d(2, 3, 4, stride=2, padding=1).double()
    down = G3Conv2d(3, 2, 4, stride=2, padding=1).double()
    with torch.no_grad():  # the same kernels, turned back
        down.rotor.copy_(up.rotor.transpose(1, 2))
        down.rotor[1:] *= -1
        down.size.copy_(up.size.transpose(0, 1))
    x, y = _randn(2, 2, 3, 4, 3), _randn(2, 3, 6, 8, 3)
    assert up(x).shape == y.shape
    torch.testing.assert_close((up(x) * y).sum(), (x * down(y)).sum())


def _layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    return {
        "points": (ConjugateLinear(PGA, 2, 2, blades=POINT, constant=ORIGIN), (3, 2, 3)),
        "all blades": (ConjugateLinear(algebra(2, 0, 1), 2, 1), (2, 2, 8)),
        "gate": (MultivectorGate(2, 3), (2, 2, 3)),
        "norm": (MultivectorGroupNorm(2, 3), (2, 2, 2, 3)),
        "convolution": (G3Conv2d(1, 2, 2, bias=True), (1, 1, 3, 3, 3)),
        "transposed": (G3ConvTranspose2d(2, 1, 2, stride=2), (1, 2, 2, 2, 3)),
    }


@pytest.mark.parametrize("name", _layers())
def test_derivatives_and_zeros(name: str) -> None:
    torch.manual_seed(0)
    layer, shape = _layers()[name]
    layer.double()
    x = _randn(*shape).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square(), (x,))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    out = layer(torch.zeros_like(x))
    grads = torch.autograd.grad(out.sum(), list(layer.parameters()))
    assert all(bool(torch.isfinite(g).all()) for g in (out, *grads))


@pytest.mark.parametrize("name", _layers())
def test_wrong_inputs_and_half_precision_are_refused(name: str) -> None:
    layer, shape = _layers()[name]
    with pytest.raises(UnsupportedInputError, match=str(shape[-1])):
        layer(torch.zeros(*shape[:-1], shape[-1] + 1))
    with pytest.raises(UnsupportedInputError, match=str(shape[-1])):
        layer(torch.zeros(shape[0], shape[1] + 1, *shape[2:]))
    with pytest.raises(DeviceError, match="float16"):
        layer(torch.zeros(shape, dtype=torch.float16))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConjugateLinear(PGA, 1, 1, blades=(0,)), "e1234"),
        (lambda: ConjugateLinear(PGA, 1, 1, blades=(1, 2)), "e3"),
        (lambda: ConjugateLinear(PGA, 1, 1, blades=(16,)), "0..15"),
        (lambda: ConjugateLinear(PGA, 0, 1), "channels"),
        (lambda: MultivectorGate(2, 3, kind="max"), "linear, sum, mean"),
        (lambda: MultivectorGroupNorm(4, 3, groups=3), "a divisor of 4"),
        (lambda: G3Conv2d(1, 1, 0), "expected numbers >= 1"),
    ],
)
def test_impossible_layers_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
