"""Factorised convolutions: both contractions of every kind, groups, conversion, refusals."""

import pytest
import torch
from torch import nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.tensor_network import FactorizedConv1d, FactorizedConv2d, FactorizedConv3d

CONVS = {1: FactorizedConv1d, 2: FactorizedConv2d, 3: FactorizedConv3d}
FORMATS = ("cp", "tucker", "tt", "tr", "dense")


def rank_of(format: str):
    return None if format == "dense" else 3


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_acceptance_5_factorized_is_reconstructed(dims: int, groups: int, format: str) -> None:
    conv = CONVS[dims](
        4, 6, (3, 2, 3)[:dims], stride=(2, 1, 1)[:dims], padding=(1, 2, 0)[:dims],
        dilation=(1, 2, 1)[:dims], groups=groups, format=format, rank=rank_of(format),
    )  # fmt: skip
    x = torch.randn(2, 4, *(7, 6, 5)[:dims])
    conv.contraction = "factorized"
    factorized = conv(x)
    conv.contraction = "reconstructed"
    assert torch.allclose(factorized, conv(x), atol=1e-5)
    plain = conv.plain(
        4, 6, (3, 2, 3)[:dims], stride=(2, 1, 1)[:dims], padding=(1, 2, 0)[:dims],
        dilation=(1, 2, 1)[:dims], groups=groups,
    )  # fmt: skip
    plain.load_state_dict({"weight": conv.weight.to_tensor(), "bias": conv.bias})
    assert torch.allclose(plain(x), factorized, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("rank", "merged"), [((1, 2, 6), True), ((2, 3, 1), False)])
def test_rings_multiply_cores_beforehand_where_it_takes_less(rank, merged, groups: int) -> None:
    conv = FactorizedConv1d(6, 4, 3, padding=1, groups=groups, format="tr", rank=rank)
    conv.contraction = "factorized"
    x = torch.randn(2, 6, 5)
    (s, r, t), inputs = rank, 6 // groups
    once = r * s * t * inputs * 3 if merged else 0
    inner = r * s * inputs * 3 if merged else r * t * inputs + r * s * t * 3
    steps = once + 10 * (groups * inner + 4 * r * s)
    assert conv.operations(2, (5,), "factorized") == steps
    factorized = conv(x)
    conv.contraction = "reconstructed"
    assert torch.allclose(factorized, conv(x), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, "same", "valid"])
@pytest.mark.parametrize("size", [3, 2])
def test_from_conv_at_full_rank_is_the_layer(mode: str, padding, size: int) -> None:
    plain = nn.Conv2d(4, 6, size, padding=padding, padding_mode=mode, groups=2).double()
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    for format in ("tucker", "tt"):
        conv = FactorizedConv2d.from_conv(plain, format=format, rank=1000)
        for contraction in ("factorized", "reconstructed"):
            conv.contraction = contraction
            assert torch.allclose(conv(x), plain(x))


@pytest.mark.parametrize("contraction", ["auto", "factorized", "reconstructed"])
@pytest.mark.parametrize("format", FORMATS)
def test_no_samples(format: str, contraction: str) -> None:
    conv = FactorizedConv2d(
        4, 6, 3, groups=2, format=format, rank=rank_of(format), contraction=contraction
    )
    assert conv(torch.zeros(0, 4, 5, 7)).shape == (0, 6, 3, 5)


def test_from_conv_keeps_an_error_and_what_else_there_was() -> None:
    plain = nn.Conv2d(8, 6, 3, bias=False).eval()
    conv = FactorizedConv2d.from_conv(plain, max_error=0.8)
    assert conv.bias is None and not conv.training
    weight = plain.weight.detach()
    error = (conv.weight.to_tensor().detach() - weight).norm() / weight.norm()
    assert 0.05 < float(error) <= 0.8


@pytest.mark.parametrize("format", FORMATS)
def test_operations_are_those_of_the_steps(format: str) -> None:
    conv = FactorizedConv2d(8, 6, 3, padding=1, groups=2, format=format, rank=rank_of(format))
    dense = conv.weight.operations + 2 * 25 * 6 * 4 * 9
    assert conv.operations(2, (5, 5), "reconstructed") == dense
    if format == "tucker":
        steps = 50 * (2 * 3 * 4 + 2 * 3 * 3 * 9 + 6 * 3)
        assert conv.operations(2, (5, 5), "factorized") == steps < dense
        assert not conv._factorized(2, (5, 5))  # as it isn't below half
        assert conv.operations(2, (5, 5), "auto") == dense
        thin = FactorizedConv2d(8, 6, 3, padding=1, rank=1)
        assert thin._factorized(2, (5, 5))
    if format == "cp":
        assert conv.operations(2, (5, 5), "factorized") == 50 * (2 * 3 * 4 + 2 * 3 * 9 + 6 * 3)


@pytest.mark.parametrize("format", FORMATS)
def test_cast_and_twice_differentiated(format: str) -> None:
    conv = FactorizedConv2d(2, 2, 2, format=format, rank=None if format == "dense" else 1).double()
    conv.contraction = "factorized"
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: conv(x).square(), (x,))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="in 3 groups"):
        FactorizedConv1d(4, 6, 3, groups=3)
    with pytest.raises(ConfigError, match="padding_mode='mirror'"):
        FactorizedConv1d(4, 6, 3, rank=1, padding_mode="mirror")
    with pytest.raises(ConfigError, match="is for matrices"):
        FactorizedConv2d(4, 6, 3, format="block_tt", rank=2)
    with pytest.raises(ConfigError, match="place of a Conv1d, not of a Conv2d"):
        FactorizedConv1d.from_conv(nn.Conv2d(2, 2, 1), rank=1)
    conv = FactorizedConv2d(4, 6, 3, rank=2)
    with pytest.raises(UnsupportedInputError, match=r"\(batch, 4, h, w\), not \(1, 3, 5, 5\)"):
        conv(torch.zeros(1, 3, 5, 5))
    with pytest.raises(UnsupportedInputError, match="smaller than the kernel"):
        conv(torch.zeros(1, 4, 5, 2))
