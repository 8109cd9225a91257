"""Parameterised hypercomplex layers: Kronecker sums by hand, quaternions, bias, refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional.clifford import algebra
from zoo.layers.clifford import CliffordConv2d, CliffordLinear
from zoo.layers.hypercomplex import PHConv1d, PHConv2d, PHConv3d, PHLinear, kronecker_sum

CONVS: dict[int, Any] = {1: PHConv1d, 2: PHConv2d, 3: PHConv3d}
PLAIN = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 4), o=st.integers(1, 3), i=st.integers(1, 3), dims=st.integers(0, 3))
def test_the_weight_is_a_sum_of_kronecker_products(n: int, o: int, i: int, dims: int) -> None:
    rng = np.random.default_rng(0)
    rules, parts = rng.normal(size=(n, n, n)), rng.normal(size=(n, o, i, *[2] * dims))
    found = kronecker_sum(torch.tensor(rules), torch.tensor(parts)).numpy()
    assert found.shape == (n * o, n * i, *[2] * dims)
    for place in np.ndindex(*[2] * dims):
        at = (slice(None), slice(None), *place)
        expected = sum(np.kron(rules[k], parts[(k, *at)]) for k in range(n))
        np.testing.assert_allclose(found[at], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("signature", [(0, 1), (0, 2), (2, 0), (3, 0)])
def test_with_the_rules_of_an_algebra_it_is_the_clifford_layer(signature: tuple[int, int]) -> None:
    """Complex numbers, quaternions, and others, whose product is x w."""
    torch.manual_seed(0)
    of = algebra(*signature)
    n = of.blades
    rules = torch.zeros(n, n, n, dtype=torch.float64)
    for i in range(n):
        for k in range(n):
            rules[k, of.target[i, k], i] = float(of.signs[i, k])
    ours, clifford = PHLinear(n, 2 * n, 3 * n).double(), CliffordLinear(of, 2, 3).double()
    conv = PHConv2d(n, 2 * n, 3 * n, 3, padding=1).double()
    other = CliffordConv2d(of, 2, 3, 3, padding=1).double()
    with torch.no_grad():
        for layer, wanted in ((ours, clifford), (conv, other)):
            assert layer.bias is not None and wanted.bias is not None
            layer.rules.copy_(rules)
            layer.weight.copy_(wanted.weight)
            layer.bias.copy_(wanted.bias.flatten())
    x = torch.randn(5, 2, n, dtype=torch.float64)
    found = ours(x.mT.flatten(1)).reshape(5, n, 3).mT
    torch.testing.assert_close(found, clifford(x), rtol=1e-12, atol=1e-12)
    x = torch.randn(2, 2, 4, 5, n, dtype=torch.float64)
    found = conv(x.movedim(-1, 1).flatten(1, 2)).unflatten(1, (n, 3)).movedim(1, -1)
    torch.testing.assert_close(found, other(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_with_the_bias_that_is_forgotten_elsewhere(dims: int) -> None:
    torch.manual_seed(0)
    conv = CONVS[dims](2, 4, 6, 3, stride=2, padding=1, dilation=1).double()
    x = torch.randn(2, 4, *[5] * dims, dtype=torch.float64)
    weight = kronecker_sum(conv.rules, conv.weight)
    plain = PLAIN[dims](x, weight, None, stride=2, padding=1)
    free = (6, *[1] * dims)
    torch.testing.assert_close(conv(x), plain + conv.bias.reshape(free))
    assert float(conv.bias.detach().abs().min()) > 0
    without = CONVS[dims](2, 4, 6, 3, stride=2, padding=1, bias=False).double()
    without.load_state_dict({"rules": conv.rules, "weight": conv.weight})
    torch.testing.assert_close(without(x), plain)


def test_sizes_and_starts() -> None:
    torch.manual_seed(0)
    layer = PHLinear(4, 256, 512)
    assert sum(p.numel() for p in layer.parameters()) == 256 * 512 // 4 + 4**3 + 512
    assert layer.bias is not None
    assert 0.9 / 16 < float(layer.bias.detach().abs().max()) <= 1 / 16
    # Xavier's bounds, as torch counts the axes of three
    for values, fan in ((layer.rules, 16 + 16), (layer.weight, 128 * 64 + 4 * 64)):
        assert 0.8 * (6 / fan) ** 0.5 < float(values.detach().abs().max()) <= (6 / fan) ** 0.5
    assert repr(layer) == "PHLinear(256, 512, n=4)"


@pytest.mark.parametrize("layer", [PHLinear(2, 4, 2), PHConv1d(2, 4, 2, 2), PHConv2d(2, 2, 2, 2)])
def test_second_derivatives(layer: nn.Module) -> None:
    torch.manual_seed(0)
    layer = layer.double()
    shape = {"PHLinear": (3, 4), "PHConv1d": (2, 4, 3), "PHConv2d": (1, 2, 3, 3)}
    x = torch.randn(shape[type(layer).__name__], dtype=torch.float64, requires_grad=True)
    parameters = list(layer.parameters())

    def function(x: Tensor, *_: Tensor) -> Tensor:
        out: Tensor = layer(x)
        return out.square()

    assert torch.autograd.gradcheck(function, (x, *parameters))
    assert torch.autograd.gradgradcheck(function, (x, *parameters))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PHLinear(4, 10, 8), "in_channels=10 is not a multiple of n=4; take 8 or 12"),
        (lambda: PHConv2d(4, 3, 8, 3), r"in_channels=3 .* take 4 .* or n of 1, 3"),
        (lambda: PHConv1d(3, 6, 10, 3), "out_channels=10 is not a multiple of n=3; take 9 or 12"),
        (lambda: PHLinear(0, 4, 4), "n=0"),
        (lambda: PHConv3d(2, 4, 4, (3, 3)), "kernel_size"),
    ],
)
def test_channels_that_n_does_not_divide_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(UnsupportedInputError, match="PHLinear takes"):
        PHLinear(2, 4, 4)(torch.zeros(3, 6))
    with pytest.raises(UnsupportedInputError, match="PHConv2d takes"):
        PHConv2d(2, 4, 4, 3)(torch.zeros(1, 4, 5))
    with pytest.raises(DeviceError, match="bfloat16"):
        PHLinear(2, 4, 4)(torch.zeros(3, 4, dtype=torch.bfloat16))
