"""Layers whose weights are multivectors: against the authors' package, by hand, limits."""

from typing import Any

import numpy as np
import pytest
import torch
from cliffordlayers.nn.modules import batchnorm as peer_norms
from cliffordlayers.nn.modules import cliffordconv as peer_convs
from cliffordlayers.nn.modules import cliffordfourier as peer_fourier
from cliffordlayers.nn.modules.cliffordlinear import CliffordLinear as PeerLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra
from zoo.layers.clifford import (
    CliffordBatchNorm,
    CliffordConv1d,
    CliffordConv2d,
    CliffordConv3d,
    CliffordGroupNorm,
    CliffordLinear,
    CliffordSpectralConv2d,
    CliffordSpectralConv3d,
)

SIGNATURES = [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)]
CONVS = {1: CliffordConv1d, 2: CliffordConv2d, 3: CliffordConv3d}
signatures = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)).filter(
    lambda s: 1 <= sum(s) <= 4
)


def _metric(p: int, q: int) -> list[int]:
    return [1] * p + [-1] * q


def _randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).detach().abs().max()) <= tolerance * float(
        expected.detach().abs().max()
    )


@pytest.mark.parametrize("signature", SIGNATURES)
def test_linear_and_convolution_are_the_authors(signature: tuple[int, int]) -> None:
    torch.manual_seed(0)
    of, metric = algebra(*signature), _metric(*signature)
    ours, theirs = CliffordLinear(of, 3, 2).double(), PeerLinear(metric, 3, 2).double()
    assert isinstance(ours.bias, nn.Parameter)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
        ours.bias.copy_(theirs.bias)
    x = _randn(5, 3, of.blades)
    _close(ours(x), theirs(x))
    dims = of.dimension
    options: dict[str, Any] = {"stride": 2, "padding": 1, "dilation": 1}
    peer = getattr(peer_convs, f"CliffordConv{dims}d")(metric, 3, 2, 3, **options).double()
    conv = CONVS[dims](of, 3, 2, 3, **options).double()
    assert isinstance(conv.bias, nn.Parameter)
    with torch.no_grad():
        conv.weight.copy_(torch.stack(list(peer.weight)))
        conv.bias.copy_(peer.bias)
    x = _randn(2, 3, *[5] * dims, of.blades)
    _close(conv(x), peer(x))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_published_fourier_layer_is_the_authors(
    dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "float", torch.float64)  # their buffer is float32 whatever comes in
    torch.manual_seed(0)
    modes = (2, 3, 2)[:dims]
    peer = getattr(peer_fourier, f"CliffordSpectralConv{dims}d")([1] * dims, 3, 2, *modes).double()
    layer = CliffordSpectralConv2d if dims == 2 else CliffordSpectralConv3d
    ours = layer(algebra(dims), 3, 2, modes).double()
    assert ours.weight.shape == peer.weights.shape
    with torch.no_grad():
        if dims == 3:  # a slip in a slice of theirs copies the first of these corners to the second
            peer.weights[:, :, :, :2, :3, -2:] = 0
            peer.weights[:, :, :, -2:, :3, -2:] = 0
        ours.weight.copy_(peer.weights)
    x = _randn(2, 3, *(8, 9, 7)[:dims], 2**dims)
    _close(ours(x), peer(x))


@settings(deadline=None, max_examples=15)
@given(signature=signatures, side=st.sampled_from(["left", "right"]), seed=st.integers(0, 99))
def test_linear_is_the_sum_of_products(
    signature: tuple[int, int, int], side: Any, seed: int
) -> None:
    torch.manual_seed(seed)
    of = algebra(*signature)
    layer = CliffordLinear(of, 2, 3, side=side, bias=False).double()
    x = _randn(4, 2, of.blades)
    weight = layer.weight.permute(1, 2, 0)
    pairs = (x[:, None], weight) if side == "right" else (weight, x[:, None])
    _close(layer(x), clifford.geometric_product(*pairs, of).sum(2), 1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_place_by_place_with_groups_on_a_ring(dims: int) -> None:
    torch.manual_seed(1)
    of = algebra(1, 0, 1)
    conv = CONVS[dims](of, 4, 2, 3, padding=1, groups=2, padding_mode="circular").double()
    x = _randn(2, 4, *[4] * dims, of.blades)
    expected = torch.zeros(2, 2, *[4] * dims, of.blades, dtype=torch.float64)
    for place in np.ndindex(*[3] * dims):
        shifts = [1 - p for p in place]
        moved = x.roll(shifts, dims=tuple(range(2, 2 + dims)))
        weight = conv.weight[(slice(None), slice(None), slice(None), *place)].permute(1, 2, 0)
        for group in range(2):
            part = moved[:, 2 * group : 2 * group + 2]
            w = weight[group].reshape(1, 2, *[1] * dims, of.blades)
            expected[:, group] += clifford.geometric_product(part, w, of).sum(1)
    bias = conv.bias
    assert bias is not None
    expected += bias.T.reshape(1, 2, *[1] * dims, of.blades)
    _close(conv(x), expected, 1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_only_the_equivariant_fourier_layer_moves_with_the_grid(dims: int) -> None:
    torch.manual_seed(0)
    layer = CliffordSpectralConv2d if dims == 2 else CliffordSpectralConv3d
    x = _randn(2, 2, *(8, 6, 6)[:dims], 2**dims)
    axes, steps = tuple(range(2, 2 + dims)), (3, 1, 2)[:dims]
    errors = {}
    for form in ("equivariant", "published"):
        made = layer(algebra(dims), 2, 3, 2, form=form).double()  # type: ignore[arg-type]
        nn.init.normal_(made.weight)
        out = made(x)
        difference = (made(x.roll(steps, axes)) - out.roll(steps, axes)).detach()
        errors[form] = float(difference.abs().max() / out.detach().abs().max())
    assert errors["equivariant"] < 1e-12
    assert errors["published"] > 1e-2


@pytest.mark.parametrize("signature", [(2, 0), (0, 2), (3, 0)])
def test_fourier_layer_with_equal_real_weights_is_a_low_pass(signature: tuple[int, int]) -> None:
    """With the scalar 1 at every frequency of an even grid, nothing is lost."""
    of = algebra(*signature)
    layer = CliffordSpectralConv2d if of.dimension == 2 else CliffordSpectralConv3d
    made = layer(of, 1, 1, 2).double()
    with torch.no_grad():
        made.weight.zero_()
        made.weight[0] = 1
    x = _randn(2, 1, *[4] * of.dimension, of.blades)
    _close(made(x), x, 1e-12)
    smooth = made(torch.cat([x, x], dim=2))
    assert smooth.shape[2] == 8


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_batch_norm_as_the_authors(dims: int) -> None:
    torch.manual_seed(0)
    of = algebra(2)
    peer = getattr(peer_norms, f"CliffordBatchNorm{dims}d")([1, 1], 3).double()
    ours = CliffordBatchNorm(of, 3, whitening="authors").double()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        state = {k: v for k, v in peer.state_dict().items() if k != "num_batches_tracked"}
        # theirs reads the bias (blades, channels) as (channels, blades)
        state["bias"] = state["bias"].reshape(3, 4).T
        ours.load_state_dict(state)
    for training in (True, True, False):
        peer.train(training)
        ours.train(training)
        x = _randn(4, 3, *[3] * dims, of.blades) * 2 + 1
        _close(ours(x), peer(x))


def _covariance(x: Tensor) -> Tensor:
    rows = x.movedim(1, 0).flatten(1, -2)
    rows = rows - rows.mean(1, keepdim=True)
    return rows.mT @ rows / rows.shape[1]


def _correlated(of: Algebra, *shape: int) -> Tensor:
    return _randn(*shape, of.blades) @ _randn(of.blades, of.blades) + 3


def test_batch_norm_whitens_and_the_authors_does_not() -> None:
    torch.manual_seed(0)
    of = algebra(3)
    x = _correlated(of, 6, 2, 5, 4)
    eye = torch.eye(of.blades, dtype=torch.float64)
    norm = CliffordBatchNorm(of, 2, eps=1e-9, momentum=1.0).double()
    out = norm(x)
    assert float(out.mean((0, 2, 3)).detach().abs().max()) < 1e-9
    assert float((_covariance(out) - eye).detach().abs().max()) < 1e-4
    _close(norm.eval()(x), out, 1e-9)  # with momentum 1 the running statistics are those of x
    theirs = CliffordBatchNorm(of, 2, eps=1e-9, whitening="authors").double()
    assert float((_covariance(theirs(x)) - eye).detach().abs().max()) > 0.1
    groups = CliffordGroupNorm(of, 4, groups=2, eps=1e-9).double()
    out = groups(_correlated(of, 3, 4, 20)).unflatten(1, (2, 2))
    for sample in range(3):
        for group in range(2):
            part = out[sample, group].reshape(1, 1, -1, of.blades)
            assert float((_covariance(part) - eye).detach().abs().max()) < 1e-4


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4, 1e8])
def test_norms_stand_features_of_any_size_without_variance(size: float) -> None:
    """Components that depend on each other, in float32, where an absolute eps is lost."""
    torch.manual_seed(0)
    of = algebra(2)
    x = (torch.randn(16, 2, 1) * torch.ones(of.blades) * size).requires_grad_()
    for norm in (CliffordBatchNorm(of, 2), CliffordGroupNorm(of, 2, groups=2)):
        y = x.unsqueeze(2).expand(-1, -1, 5, -1)
        out = norm(y)
        (grad,) = torch.autograd.grad(out.square().sum() + out.sum(), x)
        assert bool(torch.isfinite(out).all() & torch.isfinite(grad).all())
    if size == 1e4:
        with pytest.raises(torch.linalg.LinAlgError):
            CliffordBatchNorm(of, 2, whitening="authors")(torch.round(x))


def _layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    plane, space = algebra(2), algebra(3)
    return {
        "linear": (CliffordLinear(plane, 2, 2), (3, 2, 4)),
        "conv": (CliffordConv2d(plane, 2, 2, 2, padding=1), (1, 2, 2, 2, 4)),
        "fourier": (CliffordSpectralConv2d(plane, 1, 2, 1, form="equivariant"), (1, 1, 3, 3, 4)),
        "fourier in space": (CliffordSpectralConv3d(space, 1, 1, 1), (1, 1, 2, 2, 2, 8)),
        "batch norm": (CliffordBatchNorm(plane, 2), (3, 2, 2, 4)),
        "group norm": (CliffordGroupNorm(plane, 2), (2, 2, 3, 4)),
    }


@pytest.mark.parametrize("name", _layers())
def test_second_derivatives(name: str) -> None:
    torch.manual_seed(0)
    layer, shape = _layers()[name]
    layer.double().eval()
    x = _randn(*shape).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square(), (x,))
    layer(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.parameters())


@pytest.mark.parametrize("name", _layers())
def test_wrong_inputs_and_half_precision_are_refused(name: str) -> None:
    layer, shape = _layers()[name]
    with pytest.raises(UnsupportedInputError, match=str(shape[-1])):
        layer(torch.zeros(*shape[:-1], shape[-1] + 1))
    with pytest.raises(UnsupportedInputError):
        layer(torch.zeros(shape[0], shape[1] + 1, *shape[2:]))
    with pytest.raises(DeviceError, match="bfloat16"):
        layer(torch.zeros(shape, dtype=torch.bfloat16))


def test_impossible_layers_are_refused() -> None:
    of = algebra(2)
    with pytest.raises(ConfigError, match="3 and 2 channels don't divide into 2"):
        CliffordConv2d(of, 3, 2, 3, groups=2)
    with pytest.raises(ConfigError, match="kernel_size"):
        CliffordConv2d(of, 2, 2, (3, 3, 3))
    with pytest.raises(ConfigError, match="reflect"):
        CliffordConv2d(of, 2, 2, 3, padding_mode="reflect")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="3 generators"):
        CliffordSpectralConv2d(algebra(3), 1, 1, 2)
    with pytest.raises(ConfigError, match="square -1"):
        CliffordSpectralConv2d(algebra(1, 1), 1, 1, 2, form="equivariant")
    with pytest.raises(UnsupportedInputError, match="modes <= 3"):
        CliffordSpectralConv2d(of, 1, 1, 4)(torch.zeros(1, 1, 6, 9, 4))
    with pytest.raises(ConfigError, match="a divisor of 4"):
        CliffordGroupNorm(of, 4, groups=3)
    with pytest.raises(ConfigError, match="eps"):
        CliffordBatchNorm(of, 4, eps=0)
    with pytest.raises(ConfigError, match="zca"):
        CliffordBatchNorm(of, 4, whitening="zca")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedInputError, match="no covariance"):
        CliffordBatchNorm(of, 1)(torch.zeros(1, 1, 4))
