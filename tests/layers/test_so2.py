"""SO(2) maps and convolutions: the formula, equivariance, and Clebsch-Gordan paths."""

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.functional import (
    channel_irreps,
    from_e3nn,
    order_major_index,
    quaternion_to_matrix,
    so2,
    spherical_harmonics,
    to_e3nn,
    wigner_blocks,
    wigner_matrix,
)
from zoo.functional.clebsch_gordan import clebsch_gordan
from zoo.functional.order_scale import scale_orders
from zoo.functional.so2 import OrderSizes, order_linear
from zoo.functional.so2_paths import (
    convolution_paths,
    from_tensor_product,
    paths_from_so2,
    so2_from_paths,
    to_tensor_product,
)
from zoo.layers.equivariant import EdgeFrames, SO2Convolution, SO2Linear

L, N, E, C, H = 3, 6, 20, 2, 3


@pytest.fixture
def float64():
    """e3nn's tensor products follow the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def graph():
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, N, (2, E), generator=generator)
    vectors = torch.randn(E, 3, generator=generator, dtype=torch.float64)
    x = torch.randn(N, (L + 1) ** 2, C, generator=generator, dtype=torch.float64)
    return vectors, index, x


def convolution(mmax=L, parity=False) -> SO2Convolution:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        parts = {"in_channels": C, "out_channels": H, "parity": parity}
        return SO2Convolution(L, mmax, **parts).double()


# --- the linear map ----------------------------------------------------------------------------


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("extra", [0, 4])
def test_formula(parity, extra):
    layer = SO2Linear(L, 2, C, H, extra_scalars=extra, parity=parity).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, layer.sizes.kept, C, dtype=torch.float64)
    rows = list(x.split([4, 3, 3, 2, 2], dim=1))
    first = rows[0].flatten(1) @ layer.weight[0].T + layer.bias
    parts = [first[:, extra:]]
    for m, n in ((1, 3), (2, 2)):
        plus, minus = (r.flatten(1) for r in rows[2 * m - 1 : 2 * m + 1])
        real = layer.weight[m][: n * H]
        other = torch.zeros_like(real) if parity else layer.weight[m][n * H :]
        assert len(layer.weight[m]) == n * H * (1 if parity else 2)
        parts += [plus @ real.T - minus @ other.T, plus @ other.T + minus @ real.T]
    out = layer(x)
    if extra:
        out, scalars = out
        assert torch.allclose(scalars, first[:, :extra])
    assert torch.allclose(out, torch.cat([p.unflatten(1, (-1, H)) for p in parts], 1), atol=1e-12)


@pytest.mark.parametrize("extra, parity", [(0, False), (2, False), (0, True)])
def test_derivatives_of_the_map(extra, parity):
    layer = SO2Linear(2, 1, 2, 1, extra_scalars=extra, parity=parity).double()
    weights = [w.detach().clone().requires_grad_() for w in layer.weight]
    x = torch.randn(3, 7, 2, dtype=torch.float64, requires_grad=True)

    def call(x, bias, *weights):
        return order_linear(x, weights, bias, layer.sizes)

    assert torch.autograd.gradcheck(call, (x, layer.bias, *weights))
    assert torch.autograd.gradgradcheck(call, (x, layer.bias, *weights))


def test_gradients_by_weights_are_computed_where_they_are_wanted(monkeypatch):
    """Forces need none of them; afterwards the gradient of a loss of forces has them all."""
    calls = []
    outer = so2._outer
    monkeypatch.setattr(so2, "_outer", lambda *args: calls.append(len(args)) or outer(*args))
    layer = SO2Linear(2, 1, 2, 2).double()
    x = torch.randn(3, 7, 2, dtype=torch.float64, requires_grad=True)
    energy = layer(x).pow(3).sum()
    (force,) = torch.autograd.grad(energy, x, create_graph=True)
    assert calls == []
    force.square().sum().backward()
    assert calls
    found = [p.grad.clone() for p in layer.parameters()]

    def loss(*parameters):
        named = dict(zip(dict(layer.named_parameters()), parameters, strict=True))
        y = torch.func.functional_call(layer, named, (x,))
        (slope,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return slope.square().sum()

    parameters = tuple(p.detach().clone().requires_grad_() for p in layer.parameters())
    assert torch.autograd.gradcheck(loss, parameters)
    again = torch.autograd.grad(loss(*parameters), parameters)
    for ours, expected in zip(found, again, strict=True):
        assert torch.allclose(ours, expected)
    # gradients of some inputs, asked for by name
    for which in ("weight.0", "weight.1"):
        (one,) = torch.autograd.grad(layer(x).pow(3).sum(), dict(layer.named_parameters())[which])
        assert one.abs().max() > 0


def test_radial_weights_multiply_the_input():
    layer = SO2Linear(L, 2, C, H).double()
    x = torch.randn(5, layer.sizes.kept, C, dtype=torch.float64)
    weights = torch.randn(5, layer.radial_width, dtype=torch.float64)
    assert layer.radial_width == (4 + 3 + 2) * C
    w = weights.view(5, -1, C)
    every = torch.cat([w[:, :4], w[:, 4:7], w[:, 4:7], w[:, 7:], w[:, 7:]], dim=1)
    assert torch.allclose(layer(x, weights), layer(x * every))
    with pytest.raises(ConfigError, match="17 weights per edge, expected 18"):
        layer(x, weights[:, :17])


def test_features_are_joined_along_the_channels():
    layer = SO2Linear(L, 2, 5, H, bias=False).double()
    parts = tuple(torch.randn(4, layer.sizes.kept, c, dtype=torch.float64) for c in (2, 3))
    weights = torch.randn(4, layer.radial_width, dtype=torch.float64)
    joined = torch.cat(parts, dim=2)
    assert torch.allclose(layer(parts), layer(joined))
    assert torch.allclose(layer(parts, weights), layer(joined, weights))


def test_derivatives_of_the_weighting():
    sizes = OrderSizes(2, 1, 3, 1)
    parts = [torch.randn(2, 7, c, dtype=torch.float64, requires_grad=True) for c in (1, 2)]
    weights = torch.randn(2, 5 * 3, dtype=torch.float64, requires_grad=True)

    def call(weights, *parts):
        return scale_orders(parts, weights, sizes)

    assert torch.autograd.gradcheck(call, (weights, *parts))
    assert torch.autograd.gradgradcheck(call, (weights, *parts))


def test_rotations_about_the_edge_commute():
    """Turning +m and -m by m phi before or after the map is the same."""
    layer = SO2Linear(L, L, C, H, extra_scalars=2).double()
    half = torch.tensor([0.35], dtype=torch.float64)
    zero = torch.zeros_like(half)
    q = torch.stack([half.cos(), zero, half.sin(), zero], dim=-1)
    turn = wigner_matrix(q, L)[0][:, order_major_index(L)]
    x = torch.randn(5, 16, C, dtype=torch.float64)
    (out, scalars), (turned, same) = layer(x), layer(turn @ x)
    assert torch.allclose(turned, turn @ out, atol=1e-13)
    assert torch.allclose(same, scalars, atol=1e-13)


def test_initial_variance_is_that_of_paths_of_equal_variance():
    torch.manual_seed(0)
    layer = SO2Linear(4, 4, 64, 64)
    first, second = layer.weight[0], layer.weight[1]
    ratio = float(
        (first.detach().var() * first.shape[1]) / (second.detach().var() * second.shape[1])
    )
    assert ratio == pytest.approx(2.0, rel=0.05)
    assert layer.bias is not None and not layer.bias.any()


def test_refusals():
    with pytest.raises(ConfigError, match="mmax=3 exceeds lmax=2"):
        SO2Linear(2, 3, 1, 1)
    with pytest.raises(ConfigError, match="of 9 rows and 1 channels, expected 7 and 1"):
        SO2Linear(2, 1, 1, 1)(torch.zeros(5, 9, 1))


# --- the convolution ---------------------------------------------------------------------------


@pytest.mark.parametrize("mmax", [1, L])
@pytest.mark.parametrize("parity", [False, True])
def test_equivariance(mmax, parity):
    """Under rotations; with parity under inversion too, without it not."""
    vectors, index, x = graph()
    layer, frames = convolution(mmax, parity), EdgeFrames(L, mmax)
    q = torch.tensor([[0.1, -0.7, 0.5, 0.5]], dtype=torch.float64)  # a unit quaternion
    turn = torch.block_diag(*(b[0] for b in wigner_blocks(q, L)))
    out = layer(x, frames.rotation(vectors, index, N))
    turned = vectors @ quaternion_to_matrix(q)[0].T
    other = layer(turn @ x, frames.rotation(turned, index, N))
    assert torch.allclose(other, turn @ out, atol=1e-12)
    signs = torch.cat([torch.full((2 * n + 1, 1), (-1.0) ** n) for n in range(L + 1)]).double()
    inverted = layer(signs * x, frames.rotation(-vectors, index, N))
    assert torch.allclose(inverted, signs * out, atol=1e-12) == parity


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("parity", [False, True])
def test_paths_of_e3nn(parity):
    """From our weights to e3nn's tensor product and back, to 1e-12."""
    vectors, index, x = graph()
    layer = convolution(parity=parity)
    irreps_in, irreps_out = (channel_irreps(L, c, parity=parity) for c in (C, H))
    edge = channel_irreps(2 * L, 1, parity=parity)
    product = o3.FullyConnectedTensorProduct(irreps_in, edge, irreps_out)
    weight = to_tensor_product(layer.paths(), product)
    assert weight.numel() == product.weight_numel
    messages = product(to_e3nn(x)[index[0]], spherical_harmonics(vectors, 2 * L), weight)
    summed = torch.zeros(N, messages.shape[1]).index_add(0, index[1], messages)
    out = layer(x, EdgeFrames(L).rotation(vectors, index, N))
    assert torch.allclose(from_e3nn(summed, H), out, atol=1e-12)
    # and e3nn's own weights in our layer
    weight = torch.randn(product.weight_numel)
    layer.set_paths(from_tensor_product(product, weight))
    messages = product(to_e3nn(x)[index[0]], spherical_harmonics(vectors, 2 * L), weight)
    summed = torch.zeros(N, messages.shape[1]).index_add(0, index[1], messages)
    out = layer(x, EdgeFrames(L).rotation(vectors, index, N))
    assert torch.allclose(from_e3nn(summed, H), out, atol=1e-12)
    assert torch.allclose(to_tensor_product(layer.paths(), product), weight, atol=1e-12)


def test_paths_of_our_coupling_coefficients():
    vectors, index, x = graph()
    layer = convolution()
    y = spherical_harmonics(vectors, 2 * L)
    blocks = [slice(n * n, (n + 1) ** 2) for n in range(2 * L + 1)]
    out = torch.zeros(N, 16, H, dtype=torch.float64)
    for (l1, l2, l3), weight in layer.paths().items():
        parts = (x[index[0], blocks[l1]], y[:, blocks[l2]], clebsch_gordan(l1, l2, l3), weight)
        message = torch.einsum("eic,ej,ijk,cd->ekd", *parts)
        out[:, blocks[l3]] += torch.zeros_like(out[:, blocks[l3]]).index_add(0, index[1], message)
    found = layer(x, EdgeFrames(L).rotation(vectors, index, N))
    assert torch.allclose(found, out, atol=1e-12)


@pytest.mark.parametrize("parity", [False, True])
def test_the_map_of_weights_is_exact_both_ways(parity):
    sizes = OrderSizes(6, 6, 2, 3)
    generator = torch.Generator().manual_seed(0)
    paths = {
        path: torch.randn(2, 3, generator=generator, dtype=torch.float64)
        for path in convolution_paths(6, parity=parity)
    }
    weights = so2_from_paths(paths, sizes, parity=parity)
    assert sum(w.numel() for w in weights) == 6 * len(paths)  # as many numbers
    back = paths_from_so2(weights, sizes, parity=parity)
    assert set(back) == set(paths)
    for path, weight in paths.items():
        assert (back[path] - weight).abs().max() < 1e-12
    for ours, again in zip(weights, so2_from_paths(back, sizes, parity=parity), strict=True):
        assert (ours - again).abs().max() < 1e-12


def test_dropping_orders_drops_their_weights():
    layer, narrow = convolution(), convolution(1)
    narrow.set_paths(layer.paths())
    for mine, theirs in zip(narrow.linear.weight, layer.linear.weight, strict=False):
        assert torch.allclose(mine, theirs, atol=1e-12)
    with pytest.raises(ConfigError, match="mmax=1, lmax=3"):
        narrow.paths()


def test_missing_paths_are_named():
    layer = convolution()
    paths = layer.paths()
    del paths[(1, 2, 3)]
    with pytest.raises(ConfigError, match=r"missing: \[\(1, 2, 3\)\]"):
        layer.set_paths(paths)


def test_number_of_paths():
    """2 min(l1, l3) + 1 of each pair, and min + 1 of definite parity."""
    assert [len(convolution_paths(n)) for n in (1, 2, 3)] == [6, 19, 44]
    assert [len(convolution_paths(n, parity=True)) for n in (1, 2, 3)] == [5, 14, 30]
