"""Spectral convolutions: against Fourier transforms, in every format, and on every grid."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.layers.tensor_network import FactorizedSpectralConv
from zoo.layers.tensor_network.spectral import low_modes

FORMATS = (None, "tucker", "cp", "tt", "tr")
GRIDS = [((5,), (16,)), ((3, 4), (9, 12)), ((2, 3, 2), (8, 7, 6))]


def make(modes: tuple[int, ...], factorization: Any, channels: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    rank = None if factorization is None else 0.6
    return FactorizedSpectralConv(
        channels, channels, modes, factorization=factorization, rank=rank, **options
    ).double()


def by_transform(layer: FactorizedSpectralConv, x: Tensor) -> Tensor:
    """The published formula: transform, multiply the corners of the spectrum, transform back."""
    grid = x.shape[2:]
    axes = tuple(range(-len(grid), 0))
    *others, last = layer.n_modes
    sides = zip(others, grid, strict=False)
    corners = [torch.cat([torch.arange(m), torch.arange(n - m, n)]) for m, n in sides]
    low = torch.meshgrid(*corners, torch.arange(last), indexing="ij")
    weight = layer.weight.to_tensor()
    before = torch.fft.rfftn(x, dim=axes)
    after = before.new_zeros(len(x), layer.out_channels, *before.shape[2:])
    letters = "xyz"[: len(grid)]
    weights, out = ("i", "i") if layer.separable else ("io", "o")
    equation = f"bi{letters},{weights}{letters}->b{out}{letters}"
    after[(..., *low)] = torch.einsum(equation, before[(..., *low)], weight)
    return torch.fft.irfftn(after, s=grid, dim=axes)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("factorization", FORMATS)
@pytest.mark.parametrize(("modes", "grid"), GRIDS, ids=["line", "plane", "space"])
def test_it_is_the_published_formula(
    modes: Any, grid: Any, factorization: Any, separable: bool
) -> None:
    layer = make(modes, factorization, separable=separable)
    x = torch.randn(2, 3, *grid, dtype=torch.float64)
    found, expected = layer(x), by_transform(layer, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    parameters = list(layer.parameters())
    ours = torch.autograd.grad(found.square().sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(expected.square().sum(), parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("factorization", FORMATS[1:])
def test_contractions_agree(factorization: Any) -> None:
    layer = make((3, 4), factorization)
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    found = {}
    for contraction in ("auto", "factorized", "reconstructed"):
        layer.contraction = contraction
        found[contraction] = layer(x)
    torch.testing.assert_close(found["factorized"], found["reconstructed"], rtol=0, atol=1e-13)
    torch.testing.assert_close(found["auto"], found["reconstructed"], rtol=0, atol=1e-13)
    single = layer.float()(x.float())
    torch.testing.assert_close(single.double(), found["auto"], rtol=1e-5, atol=1e-5)


def test_auto_counts_operations() -> None:
    wide = FactorizedSpectralConv(64, 64, (8, 8), factorization="cp", rank=4)
    shape = (4, 16, 8, 64)
    assert wide._factorized("bxyi,ioxy->bxyo", shape)
    full = FactorizedSpectralConv(8, 8, (4, 4), factorization="tucker", rank="same")
    assert not full._factorized("bxyi,ioxy->bxyo", (4, 8, 4, 8))


@pytest.mark.parametrize("factorization", FORMATS)
def test_the_initial_variance(factorization: Any) -> None:
    squares = []
    for seed in range(10):
        torch.manual_seed(seed)
        rank = None if factorization is None else 0.3
        layer = FactorizedSpectralConv(6, 10, (4, 4), factorization=factorization, rank=rank)
        squares.append(layer.weight.to_tensor().detach().abs().square().mean())
    std = math.sqrt(float(torch.stack(squares).mean()))
    assert std == pytest.approx(math.sqrt(2 / 16), rel=0.05)


def smooth(places: Tensor) -> Tensor:
    """A function on a ring of the frequencies 0 to 3, two channels."""
    turn = 2 * math.pi * places
    first = 0.3 + (turn + 0.4).cos() - 0.5 * (3 * turn).sin()
    return torch.stack([first, (2 * turn).cos()])[None]


def test_weights_belong_to_functions_not_to_grids() -> None:
    layer = make((5,), "tt", channels=2)
    coarse, fine = (torch.arange(n, dtype=torch.float64) / n for n in (12, 36))
    torch.testing.assert_close(
        layer(smooth(coarse)), layer(smooth(fine))[..., ::3], rtol=0, atol=1e-13
    )


def test_grids_too_coarse_for_a_frequency() -> None:
    """What a grid can't show is left out: the same as a layer without these weights."""
    layer, small = make((4, 5), None), make((3, 3), None)
    with torch.no_grad():
        weight = layer.weight.cores[0]
        kept = torch.cat([weight[:, :, :3], weight[:, :, -3:]], dim=2)[:, :, :, :3]
        small.weight.cores[0].copy_(kept)
    x = torch.randn(1, 3, 5, 5, dtype=torch.float64)  # frequencies up to 2
    torch.testing.assert_close(layer(x), small(x), rtol=0, atol=1e-13)
    assert bool(torch.isfinite(layer(x[..., :1, :1])).all())


@pytest.mark.parametrize("grid", [(16,), (15,)])
def test_it_moves_along(grid: tuple[int, ...]) -> None:
    layer = make((5,), None)
    x = torch.randn(2, 3, *grid, dtype=torch.float64)
    torch.testing.assert_close(layer(x.roll(4, 2)), layer(x).roll(4, 2), rtol=0, atol=1e-13)


def test_modes_have_the_size_of_the_function() -> None:
    x = torch.ones(1, 7, 9, 1, dtype=torch.float64)
    modes = low_modes(x, (2, 3))
    expected = torch.zeros_like(modes)
    expected[0, 0, 0, 0] = 1
    torch.testing.assert_close(modes, expected, rtol=0, atol=1e-15)


def test_storage_and_precision() -> None:
    layer = make((3, 4), "tucker")
    assert all(not p.is_complex() for p in layer.parameters())
    other = FactorizedSpectralConv(3, 3, (3, 4), factorization="tucker", rank=0.6).double()
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    assert torch.equal(other(x), layer(x))
    with torch.inference_mode():  # what is kept of it must serve training afterwards
        layer(torch.randn(1, 3, 11, 11, dtype=torch.float64))
    layer(torch.randn(1, 3, 11, 11, dtype=torch.float64)).sum().backward()


def test_second_derivatives() -> None:
    layer = make((2, 2), "cp", channels=2)
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square(), (x,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_channels": 0}, "in_channels=0"),
        ({"n_modes": (0,)}, r"n_modes=\[0\]"),
        ({"n_modes": (2, 2, 2, 2)}, "one, two or three axes"),
        ({"factorization": "svd"}, "tucker"),
        ({"rank": 3}, "rank=3 without a factorization"),
        ({"contraction": "fast"}, "contraction"),
        ({"contraction": "factorized"}, "without a factorization"),
        ({"separable": True}, "separable keeps the channels"),
        ({"factorization": "tt", "rank": (1, 2)}, "rank"),
    ],
)
def test_impossible_layers(changes: dict[str, Any], words: str) -> None:
    options = {"in_channels": 2, "out_channels": 3, "n_modes": (2, 2)} | changes
    with pytest.raises(ConfigError, match=words):
        FactorizedSpectralConv(**options)


def test_unfit_fields() -> None:
    layer = FactorizedSpectralConv(2, 2, (2, 2))
    with pytest.raises(UnsupportedInputError, match="1 axes and 2 channels"):
        layer(torch.zeros(1, 2, 8))
    with pytest.raises(UnsupportedInputError, match="2 axes and 3 channels"):
        layer(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnsupportedInputError, match="is empty"):
        layer(torch.zeros(0, 2, 8, 8))
    with pytest.raises(DeviceError, match="float16"):
        layer.half()(torch.zeros(1, 2, 8, 8, dtype=torch.float16))
