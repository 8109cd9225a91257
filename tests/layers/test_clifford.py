"""Layers on multivectors: equivariance under Pin groups, limits, refusals."""

import math

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra
from zoo.layers.clifford import (
    CEMLP,
    CliffordMessage,
    ConnectedGeometricProduct,
    GeometricProduct,
    MVLayerNorm,
    MVLinear,
    MVNorm,
    MVSiLU,
    QuaternionMLP,
)

SIGNATURES = [(2, 0, 0), (3, 0, 0), (1, 2, 0), (2, 0, 1), (2, 1, 1)]
EDGES = torch.tensor([[0, 0, 1, 2, 3, 2], [1, 2, 0, 0, 1, 3]])


class _OnGraph(nn.Module):
    def __init__(self, of: Algebra) -> None:
        super().__init__()
        self.layer = CliffordMessage(of, 2, edge_channels=1, node_channels=1)

    def forward(self, x: Tensor) -> Tensor:
        edges = x[EDGES[0], :1] + x[EDGES[1], 1:]
        out: Tensor = self.layer(x, EDGES, edges, x[:, :1])
        return out


def _layers(of: Algebra) -> dict[str, nn.Module]:
    return {
        "linear": MVLinear(of, 2, 3),
        "linear, one weight": MVLinear(of, 2, 3, by_grade=False, bias=False),
        "norm": MVNorm(of, 2),
        "silu": MVSiLU(of, 2),
        "layer norm": MVLayerNorm(of, 2),
        "product": GeometricProduct(of, 2),
        "plain product": GeometricProduct(of, 2, normalise=False),
        "connected": ConnectedGeometricProduct(of, 2, 3),
        "cemlp": CEMLP(of, 2, 3, 2),
        "message": _OnGraph(of),
    }


def _random(of: Algebra, *shape: int) -> Tensor:
    return torch.randn(*shape, of.blades, dtype=torch.float64)


def _versor(of: Algebra, count: int) -> Tensor:
    """A product of vectors whose squares are 1 or -1, not too far from each other."""
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
            x, v = _random(of, 4, 2), _versor(of, count)
            first = clifford.act(v, layer(x), of)
            second = layer(clifford.act(v, x, of))
            error = (first - second).abs().max() / first.abs().max()
            assert error < 1e-8, (name, count, float(error))
            assert not torch.allclose(layer(x), second), name  # the action does something


def test_layers_are_finite_at_zero_and_trainable() -> None:
    of = algebra(1, 3)
    for name, layer in _layers(of).items():
        x = torch.zeros(4, 2, of.blades, requires_grad=True)
        layer(x).square().sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all(), name
        layer.zero_grad()
        layer(torch.randn(4, 2, of.blades)).square().sum().backward()
        for key, parameter in layer.named_parameters():
            assert parameter.grad is not None, (name, key)
            assert torch.isfinite(parameter.grad).all(), (name, key)
            assert parameter.grad.abs().max() > 0, (name, key)


def test_layers_take_any_memory_layout_and_leading_axes() -> None:
    of = algebra(3)
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, of.blades)
    for name, layer in list(_layers(of).items())[:-1]:
        whole = layer(x)
        assert whole.shape[:2] == (2, 3), name
        strided = x.movedim(-1, 0).contiguous().movedim(0, -1)
        torch.testing.assert_close(layer(strided), whole)
        torch.testing.assert_close(layer(x[1]), whole[1])


def test_messages_go_from_row_0_to_row_1() -> None:
    torch.manual_seed(0)
    layer, edges = CliffordMessage(algebra(2), 1), torch.tensor([[0], [1]])
    h = torch.randn(3, 1, 4)
    changed = h.clone()
    changed[0] += 1
    different = (layer(h, edges) - layer(changed, edges)).detach().abs().amax((1, 2)) > 0
    assert different.tolist() == [True, True, False]
    changed = h.clone()
    changed[1] += 1
    different = (layer(h, edges) - layer(changed, edges)).detach().abs().amax((1, 2)) > 0
    assert different.tolist() == [False, True, False]


@pytest.mark.parametrize("mlp", [CEMLP, QuaternionMLP])
@pytest.mark.parametrize("given", [0, 2])
def test_the_first_map_of_nodes_is_that_of_their_differences(mlp: type[CEMLP], given: int) -> None:
    torch.manual_seed(0)
    of = algebra(3)
    layer = mlp(of, 3 + given, 4, 3).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    h, about = _random(of, 4, 3), _random(of, EDGES.shape[1], given)
    i, j = EDGES
    expected = layer(torch.cat([h[i] - h[j], about], dim=1))
    more = [clifford.blade_major(about)] if given else []
    found = layer.of_differences(clifford.blade_major(h), i, j, *more)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    seen: list[torch.Size] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    torch.testing.assert_close(layer.of_differences(clifford.blade_major(h), i, j, *more), expected)
    assert seen == [(EDGES.shape[1], 3 + given, of.blades)]
    with pytest.raises(UnsupportedInputError, match=rf"takes \(\.\.\., {3 + given}, 8\)"):
        layer.of_differences(clifford.blade_major(_random(of, 4, 7)), i, j, *more)


def test_no_samples_at_all() -> None:
    of = algebra(3)
    for name, layer in list(_layers(of).items())[:-1]:
        assert layer(torch.zeros(0, 2, of.blades)).shape[::2] == (0, of.blades), name


def test_light_like_vectors_grow_by_no_more_than_the_limit() -> None:
    of = algebra(1, 3)
    light = clifford.embed(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), 1, of)
    layer = MVNorm(of, 1)
    nn.init.constant_(layer.a, 10.0)
    assert float(layer(light).detach().abs().max()) <= 10.0
    free = MVNorm(of, 1, max_growth=1e9)
    nn.init.constant_(free.a, 10.0)
    assert float(free(light).detach().abs().max()) > 1000  # what the limit is there for
    torch.testing.assert_close(MVLayerNorm(of, 1, max_growth=2.0)(light), 2 * light)


def test_refusals() -> None:
    of = algebra(2)
    with pytest.raises(ConfigError, match="channels are"):
        MVLinear(of, 0, 1)
    with pytest.raises(ConfigError, match="max_growth is 0.5"):
        MVNorm(of, 1, max_growth=0.5)
    with pytest.raises(ConfigError, match="max_growth is 0"):
        MVLayerNorm(of, 1, max_growth=0)
    for layer in (MVLinear(of, 2, 1), MVNorm(of, 2), MVSiLU(of, 2), MVLayerNorm(of, 2)):
        for shape in ((5, 3, 4), (5, 1, 4), (5, 2, 8)):
            with pytest.raises(UnsupportedInputError, match=r"takes \(\.\.\., 2, 4\)"):
                layer(torch.ones(shape))
        with pytest.raises(DeviceError, match="float16"):
            layer(torch.ones(5, 2, 4, dtype=torch.float16))
