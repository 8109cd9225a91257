"""Factorised linear maps: both contractions, storage, compilation, refusals."""

import io
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.layers.tensor_network import FactorizedLinear
from zoo.layers.tensor_network.linear import balanced

FORMATS = {"dense": None, "cp": 3, "tucker": 3, "tt": 4, "tr": 3}


@pytest.mark.parametrize("shapes", [None, ((4, 3, 2), (5, 2, 2))])
@pytest.mark.parametrize("format", FORMATS)
def test_acceptance_5_factorized_is_reconstructed(format: str, shapes) -> None:
    ins, outs = shapes or (None, None)
    layer = FactorizedLinear(
        24, 20, in_shape=ins, out_shape=outs, format=format, rank=FORMATS[format]
    )
    x = torch.randn(3, 5, 24)
    layer.contraction = "factorized"
    factorized = layer(x)
    layer.contraction = "reconstructed"
    assert factorized.shape == (3, 5, 20)
    assert torch.allclose(factorized, layer(x), atol=1e-5)
    assert torch.allclose(
        factorized, nn.functional.linear(x, layer.weight.to_matrix(), layer.bias), atol=1e-5
    )


@pytest.mark.parametrize(("format", "rank"), [("tt", 8), ("tr", 2)])
def test_many_rows_go_through_the_cores_in_blocks(format: str, rank: int) -> None:
    layer = FactorizedLinear(256, 256, format=format, rank=rank, contraction="factorized").double()
    assert layer._block <= 256
    x = torch.randn(4 * layer._block + 3, 256, dtype=torch.float64)
    expected = nn.functional.linear(x, layer.weight.to_matrix(), layer.bias)
    assert torch.allclose(layer(x), expected)


@pytest.mark.parametrize("format", FORMATS)
def test_acceptance_5_storage(format: str) -> None:
    layer = FactorizedLinear(24, 20, format=format, rank=FORMATS[format])
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = FactorizedLinear(24, 20, format=format, rank=FORMATS[format])
    other.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(2, 24)
    assert torch.equal(other(x), layer(x))
    assert other.double()(x.double()).dtype == torch.float64


def test_compiles_in_one_graph() -> None:
    """In a process without the checks of shapes, which can't be traced."""
    code = """
import torch
from zoo.layers.tensor_network import FactorizedConv2d, FactorizedLinear
for format in ("dense", "cp", "tucker", "tt", "tr"):
    for contraction in ("factorized", "reconstructed", "auto"):
        rank = None if format == "dense" else 3
        options = {"format": format, "rank": rank, "contraction": contraction}
        for layer, shape in ((FactorizedLinear(24, 20, **options), (4, 24)),
                             (FactorizedConv2d(4, 6, 3, groups=2, **options), (2, 4, 5, 5))):
            torch._dynamo.reset()
            x = torch.randn(*shape)
            out = torch.compile(layer, backend="eager", fullgraph=True)(x)
            assert torch.allclose(out, layer(x), atol=1e-6), (format, contraction, layer)
"""
    subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("contraction", ["factorized", "reconstructed"])
@pytest.mark.parametrize("format", FORMATS)
def test_gradients_of_gradients(format: str, contraction: str) -> None:
    layer = FactorizedLinear(
        6, 4, format=format, rank=FORMATS[format] and 2, contraction=contraction
    ).double()
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    def apply(x, *values):
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return out.square()

    assert torch.autograd.gradgradcheck(apply, (x, *values))


@pytest.mark.parametrize("format", FORMATS)
def test_a_start_as_wide_as_that_of_torch(format: str) -> None:
    layer = FactorizedLinear(64, 48, format=format, rank=FORMATS[format])
    found = float(layer.weight.to_matrix().detach().square().mean().sqrt())
    assert math.isclose(found, 1 / math.sqrt(3 * 64), rel_tol=0.1)
    assert float(layer.bias.detach().abs().max()) <= 1 / 8


@pytest.mark.parametrize("format", FORMATS)
def test_from_linear_at_full_rank_is_the_layer(format: str) -> None:
    linear = nn.Linear(12, 10).double()
    if format in ("cp", "tucker"):
        rank = 10
    else:
        rank = None if format == "dense" else (1, 30) if format == "tr" else 30
    layer = FactorizedLinear.from_linear(linear, format=format, rank=rank)
    x = torch.randn(3, 12, dtype=torch.float64)
    assert torch.allclose(layer(x), linear(x))
    bare = FactorizedLinear.from_linear(nn.Linear(12, 10, bias=False), format="tt", rank=2)
    assert bare.bias is None and bare(torch.zeros(1, 12)).abs().max() == 0


def test_from_linear_keeps_an_error() -> None:
    linear = nn.Linear(24, 20)
    for format in ("tucker", "tt", "tr", "cp"):
        layer = FactorizedLinear.from_linear(linear, format=format, max_error=0.3)
        difference = (layer.weight.to_matrix() - linear.weight).detach().norm()
        assert 0.01 < float(difference / linear.weight.detach().norm()) <= 0.3


def test_auto_takes_fewer_operations_and_says_how_many() -> None:
    layer = FactorizedLinear(64, 64, format="cp", rank=4)
    assert layer.operations(10, "factorized") == 10 * 4 * (64 + 64) + 64 * 4
    assert layer.operations(10, "reconstructed") == 64 * 4 + 64 * 64 * 4 + 10 * 64 * 64
    assert layer._factorized(1) and layer._factorized(10**6)
    full = FactorizedLinear(64, 64, format="cp", rank=64)
    assert full.operations(10**6) == full.operations(10**6, "reconstructed")
    assert not full._factorized(10**6)


def test_contraction_can_be_changed_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = FactorizedLinear(24, 20, format="tt", rank=2, contraction="factorized")
    monkeypatch.setattr(type(layer.weight), "to_matrix", lambda self: 1 / 0)
    layer(torch.randn(2, 24))
    layer.contraction = "reconstructed"
    with pytest.raises(ZeroDivisionError):
        layer(torch.randn(2, 24))


def test_no_rows_and_one_row() -> None:
    layer = FactorizedLinear(24, 20, format="tt", rank=2)
    assert layer(torch.zeros(0, 24)).shape == (0, 20)
    assert layer(torch.zeros(24)).shape == (20,)


@pytest.mark.parametrize(
    ("size", "parts", "factors"),
    [(64, 2, (8, 8)), (784, 2, (28, 28)), (13, 2, (1, 13)), (64, 3, (4, 4, 4)), (12, 2, (3, 4)),
     (30, 3, (2, 3, 5)), (1, 2, (1, 1))],
)  # fmt: skip
def test_balanced_factors(size: int, parts: int, factors: tuple[int, ...]) -> None:
    assert balanced(size, parts) == factors


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="has the product 20, not in_features=24"):
        FactorizedLinear(24, 20, in_shape=(4, 5))
    with pytest.raises(ConfigError, match="in_shape=\\(\\) has the product 1, not in_features=1"):
        FactorizedLinear(1, 20, in_shape=(), format="cp")
    with pytest.raises(ConfigError, match="did you mean 'factorized'"):
        FactorizedLinear(24, 20, contraction="factorised")
    with pytest.raises(ConfigError, match="out_features=0"):
        FactorizedLinear(24, 0)
    layer = FactorizedLinear(24, 20)
    with pytest.raises(UnsupportedInputError, match=r"takes \(\.\.\., 24\), not \(3, 20\)"):
        layer(torch.zeros(3, 20))
    with pytest.raises(DeviceError, match="float16"):
        layer(torch.zeros(3, 24, dtype=torch.float16))
