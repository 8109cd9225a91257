"""Layers whose weights belong to quaternion types: equivariance, sharing, limits, refusals."""

import math

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra
from zoo.layers.clifford import (
    GeometricProduct,
    MVLinear,
    MVNorm,
    QuaternionLinear,
    QuaternionMLP,
    QuaternionNorm,
    QuaternionProduct,
)

SIGNATURES = [(1, 0, 0), (2, 0, 0), (1, 2, 0), (2, 0, 1), (2, 1, 1), (5, 0, 0), (2, 3, 0)]


def _layers(of: Algebra) -> dict[str, nn.Module]:
    return {
        "linear": QuaternionLinear(of, 2, 3),
        "norm": QuaternionNorm(of, 2),
        "product": QuaternionProduct(of, 2),
        "plain product": QuaternionProduct(of, 2, normalise=False),
        "mlp": QuaternionMLP(of, 2, 3, 2),
    }


def _versor(of: Algebra, count: int) -> Tensor:
    metric = torch.tensor(of.metric, dtype=torch.float64)
    vectors = []
    while len(vectors) < count:
        u = torch.randn(of.dimension, dtype=torch.float64)
        square = float((u * u * metric).sum())
        if abs(square) > 0.5 * float((u * u).sum()):
            vectors.append(u / math.sqrt(abs(square)))
    return clifford.versor(torch.stack(vectors), of)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_every_layer_is_equivariant_under_the_pin_group(signature: tuple[int, int, int]) -> None:
    torch.manual_seed(sum(signature))
    of = algebra(*signature)
    for name, layer in _layers(of).items():
        layer.double()
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        for count in (1, 2):
            x, v = torch.randn(4, 2, of.blades, dtype=torch.float64), _versor(of, count)
            first = clifford.act(v, layer(x), of)
            second = layer(clifford.act(v, x, of))
            error = (first - second).abs().max() / first.abs().max()
            assert error < 1e-8, (name, count, float(error))
            if count < of.dimension:  # in one dimension two reflections do nothing
                assert not torch.allclose(layer(x), second), name


def test_grades_of_one_type_share_their_weights() -> None:
    of = algebra(5)
    layer = QuaternionLinear(of, 2, 3)
    assert layer.weight.shape == (3, 2, 4)
    x = torch.zeros(1, 2, of.blades)
    for grade in (1, 5):
        x[..., of.slice(grade).start] = 1
    out = layer(x)
    torch.testing.assert_close(out[..., 1], out[..., -1])
    # 32 paths of types, of the 56 paths of grades
    assert QuaternionProduct(of, 2).weight.shape == (2, 32) and len(of.paths) == 56


def test_the_product_is_that_of_cgenn_with_shared_weights() -> None:
    torch.manual_seed(0)
    of = algebra(4, 1)
    ours = QuaternionProduct(of, 3, normalise=False).double()
    theirs = GeometricProduct(of, 3, normalise=False).double()
    kinds = torch.tensor([grade % 4 for grade in range(of.dimension + 1)])
    pooled = [tuple(grade % 4 for grade in path) for path in of.paths]
    order = {path: place for place, path in enumerate(sorted(set(pooled)))}
    paths = torch.tensor([order[path] for path in pooled])
    with torch.no_grad():
        theirs.linear_right.weight.copy_(ours.linear_right.weight[..., kinds])
        theirs.linear_left.weight.zero_()
        theirs.weight.copy_(ours.weight[:, paths])
    x = torch.randn(2, 3, of.blades, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x) * math.sqrt(2))


def test_up_to_three_generators_types_are_grades() -> None:
    torch.manual_seed(0)
    of = algebra(2, 1)
    ours, theirs = QuaternionLinear(of, 2, 3), MVLinear(of, 2, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 2, of.blades)
    torch.testing.assert_close(ours(x), theirs(x))
    norm, other = QuaternionNorm(of, 2), MVNorm(of, 2)
    nn.init.normal_(norm.a)
    other.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x), other(x))


def test_layers_are_finite_at_zero_trainable_and_take_any_batch() -> None:
    of = algebra(1, 3)
    for name, layer in _layers(of).items():
        x = torch.zeros(4, 2, of.blades, requires_grad=True)
        layer(x).square().sum().backward()
        assert x.grad is not None and torch.isfinite(x.grad).all(), name
        layer.zero_grad()
        whole = layer(torch.randn(2, 3, 2, of.blades))
        assert whole.shape[:2] == (2, 3)
        whole.square().sum().backward()
        for key, parameter in layer.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, (name, key)
        assert layer(torch.zeros(0, 2, of.blades)).shape[::2] == (0, of.blades), name


def test_second_derivatives() -> None:
    of = algebra(2)
    torch.manual_seed(1)
    layer = QuaternionMLP(of, 2, 2, 1, num_layers=1).double()
    x = torch.randn(2, 2, of.blades, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_light_like_vectors_and_refusals() -> None:
    of = algebra(1, 3)
    light = clifford.embed(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), 1, of)
    layer = QuaternionNorm(of, 1)
    nn.init.constant_(layer.a, 10.0)
    assert float(layer(light).detach().abs().max()) <= 10.0
    with pytest.raises(ConfigError, match="max_growth is 0.5"):
        QuaternionNorm(of, 1, max_growth=0.5)
    with pytest.raises(ConfigError, match="channels are"):
        QuaternionLinear(of, 0, 1)
    for refusing in (QuaternionLinear(of, 2, 1), QuaternionNorm(of, 2)):
        for shape in ((5, 3, 16), (5, 1, 16), (5, 2, 8)):
            with pytest.raises(UnsupportedInputError, match=r"takes \(\.\.\., 2, 16\)"):
                refusing(torch.ones(shape))
