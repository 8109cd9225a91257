"""Steerable linear maps: e3nn's fully connected product, order of mixing, refusals."""

import math

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.layers.equivariant import SteerableLinear

CASES = [
    ("3x0e+2x1o", "1x0e+1x1o", "4x0e+3x1o"),
    ("2x0e+3x1o+2x2e", "1x0e+1x1o+1x2e", "3x0e+2x1o+2x1e+1x2e"),
    ("2x1o+1x0e+1x1o", "1x1o", "2x0e+1x1e+2x2e"),
]


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_fully_connected_product(case: tuple[str, str, str]) -> None:
    torch.manual_seed(0)
    layer = SteerableLinear(*case, bias=False).double()
    ins, attr, outs = (o3.Irreps(text) for text in case)
    sources = sorted({(part.ir.l, part.ir.p) for part in ins})
    peer = o3.FullyConnectedTensorProduct(ins, attr, outs).double()
    paths = {}  # (source, attribute, output) -> columns of our weight of that source
    used = dict.fromkeys(sources, 0)
    for source in sources:
        for k, out in enumerate(outs):
            for j, part in enumerate(attr):
                if out.ir in o3.Irrep(*source) * part.ir:
                    paths[source, j, k] = slice(used[source], used[source] + out.mul)
                    used[source] += out.mul
    with torch.no_grad():
        for weight, instruction in zip(peer.weight_views(), peer.instructions, strict=True):
            i, j, k = instruction[:3]
            source = (ins[i].ir.l, ins[i].ir.p)
            whole = layer.linear.weights[str(ins[i].ir)]
            rows = [n for n, part in enumerate(ins) if (part.ir.l, part.ir.p) == source]
            start = sum(ins[n].mul for n in rows if n < i)
            block = whole[start : start + ins[i].mul, paths[source, j, k]]
            into = [p for p in peer.instructions if p[2] == k]
            fan = sum(ins[p[0]].mul for p in into)
            count = sum(1 for key in paths if key[2] == k)
            channels = sum(ins[n].mul for n in rows)
            weight.copy_(block[:, None] * math.sqrt(fan / (channels * count)))
    x = torch.randn(6, ins.dim, dtype=torch.float64)
    a = torch.randn(6, attr.dim, dtype=torch.float64)
    # its coupling tensors went through float32
    torch.testing.assert_close(layer(x, a), peer(x, a), rtol=1e-6, atol=1e-6)


def test_variance_is_kept() -> None:
    torch.manual_seed(0)
    layer = SteerableLinear("32x0e+32x1o", "1x0e+1x1o", "16x0e+16x1o")
    out = layer(torch.randn(2000, 128), torch.randn(2000, 4)).detach()
    assert abs(float(out[:, :16].std()) - 1) < 0.2 and abs(float(out[:, 16:].std()) - 1) < 0.2


def test_mixing_goes_before_pairing() -> None:
    layer = SteerableLinear("3x0e+2x1o", "1x0e+1x1o", "2x0e+2x1o").double()
    x, a = torch.randn(4, 9, dtype=torch.float64), torch.randn(10, 4, dtype=torch.float64)
    to = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1])
    torch.testing.assert_close(layer.couple(layer.mix(x)[to], a), layer(x[to], a))


def test_the_bias_is_added_to_invariants() -> None:
    layer = SteerableLinear("2x1o", "1x0e+1x1o", "2x0e+1x1o").double()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
    out = layer(torch.zeros(1, 6).double(), torch.ones(1, 4).double())
    assert out[0].tolist() == [1.0, 2.0, 0.0, 0.0, 0.0]
    assert SteerableLinear("2x1o", "1x0e", "1x1o").bias is None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (("2x0e", "2x1o", "1x1o"), "one channel of each irrep"),
        (("2x0e", "1x1o+1x1o", "1x1o"), "one channel of each irrep"),
        (("2x0e", "1x0e+1x1o", "1x2e"), "1x2e is on no path"),
        (("2x0z", "1x0e", "1x0e"), "irreps_in"),
    ],
)
def test_refusals(case: tuple[str, str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SteerableLinear(*case)
