"""Lorentz layers: the papers' formulas, isometries, batch norm's promise, limits and refusals."""

import math

import geoopt
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import ConfigError, DeviceError
from zoo.functional import lorentz
from zoo.layers.hyperbolic import (
    LorentzAggregation,
    LorentzAttention,
    LorentzBatchNorm,
    LorentzConv2d,
    LorentzConvTranspose2d,
    LorentzDistanceHead,
    LorentzEmbedding,
    LorentzFullyConnected,
    LorentzGlobalPool,
    LorentzLinear,
    LorentzMLR,
    LorentzMultiHeadAttention,
    LorentzTransformerBlock,
)

C = 0.7


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def points(*shape, scale=0.6, c=C):
    return lorentz.random(shape, scale=scale, c=c, dtype=torch.float64)


def on_hyperboloid(x, c=C):
    lorentz.check(x, where="test", c=c, tolerance=1e-12)
    return True


def isometry(size, seed=1, reflect=False):
    """A boost times an orthogonal map of space: an element of O+(1, n)."""
    generator = torch.Generator().manual_seed(seed)
    y = lorentz.random((size,), scale=0.5, generator=generator, dtype=torch.float64)
    boost = torch.eye(size, dtype=torch.float64)
    boost[0], boost[:, 0] = y, y
    boost[1:, 1:] += y[1:, None] * y[None, 1:] / (1 + y[0])
    turn = torch.linalg.qr(torch.randn(size - 1, size - 1, generator=generator).double()).Q
    if reflect:
        turn[0] = -turn[0]
    return boost @ torch.block_diag(torch.ones(1, 1, dtype=torch.float64), turn)


# --- HyboNet ----------------------------------------------------------------------------------


def test_linear_is_the_papers_formula():
    layer = LorentzLinear(4, 3, c=C, activation=torch.relu).double()
    layer.bias.data.normal_()
    x, residual = points(6, 5), points(6, 4)
    y = layer(x, residual)
    assert on_hyperboloid(y)
    u = torch.relu(x) @ layer.weight.T + layer.bias + residual
    time = torch.sigmoid(u[:, 0]) * 10.0 + 1.1 / math.sqrt(C)
    assert torch.allclose(y[:, 0], time, rtol=1e-6)
    space = u[:, 1:] * (torch.sqrt(time**2 - 1 / C) / u[:, 1:].norm(dim=1))[:, None]
    assert torch.allclose(y[:, 1:], space, rtol=1e-6)


def test_times_of_every_head_start_without_weight():
    layer = LorentzLinear(4, 3, in_heads=2, out_heads=3)
    assert layer.weight.shape == (12, 10)
    assert bool((layer.weight[:, [0, 5]] == 0).all()) and bool((layer.weight[:, 1] != 0).all())
    assert layer(points(7, 5, c=1.0).float().repeat(1, 2)).shape == (7, 3, 4)


def test_linear_absorbs_isometries():
    """W -> W L^-1 undoes x -> L x, and rotated rows of W rotate the output's space."""
    layer = LorentzLinear(4, 3, c=C).double()
    x, y = points(6, 5), layer(points(6, 5))
    boost = isometry(5)
    y = layer(x)
    moved = LorentzLinear(4, 3, c=C).double()
    moved.load_state_dict(layer.state_dict())
    moved.weight.data = layer.weight @ torch.linalg.inv(boost)
    assert torch.allclose(moved(x @ boost.T), y, rtol=1e-10)
    assert not torch.allclose(layer(x @ boost.T), y, rtol=1e-2)
    turn = isometry(4)[1:, 1:]
    turn = torch.linalg.qr(turn).Q
    whole = torch.block_diag(torch.ones(1, 1, dtype=torch.float64), turn)
    moved.weight.data, moved.bias.data = whole @ layer.weight, whole @ layer.bias
    assert torch.allclose(moved(x), y @ whole.T, rtol=1e-10)


@pytest.mark.parametrize("reflect", [False, True])
def test_attention_is_equivariant_under_all_isometries(reflect):
    layer = LorentzAttention(4, c=1.0).double()
    q, k, v = points(3, 5, c=1.0), points(6, 5, c=1.0), points(6, 5, c=1.0)
    boost = isometry(5, reflect=reflect)
    moved = [t @ boost.T for t in (q, k, v)]
    mask = torch.rand(3, 6) > 0.3
    mask[:, 0] = True
    assert torch.allclose(
        layer.weights(*moved[:2], mask), layer.weights(q, k, mask), rtol=1e-9, atol=1e-12
    )
    assert torch.allclose(layer(*moved, mask), layer(q, k, v, mask) @ boost.T, rtol=1e-9)


def test_aggregation_is_equivariant_under_all_isometries():
    layer = LorentzAggregation(4, c=1.0)
    x, boost = points(5, 5, c=1.0), isometry(5)
    edges = torch.tensor([[0, 1, 2, 2], [1, 0, 1, 3]])
    out = layer(x, edges)
    assert torch.allclose(layer(x @ boost.T, edges), out @ boost.T, rtol=1e-10)
    assert torch.allclose(out[4], x[4]) and on_hyperboloid(out, 1.0)
    assert torch.allclose(out[1], lorentz.centroid(x[[0, 1, 2]]))


def test_distance_head_moves_with_its_centres():
    head = LorentzDistanceHead(4, 3, c=1.0).double()
    x, boost = points(6, 5, c=1.0), isometry(5)
    logits = head(x)
    centres = lorentz.exp0(head.centres)
    assert torch.allclose(logits, 2 + 2 * lorentz.product(x[:, None], centres) + head.bias)
    head.centres.data = lorentz.log0(centres @ boost.T)
    assert torch.allclose(head(x @ boost.T), logits, rtol=1e-9)


def test_attention_formula_and_masks():
    layer = LorentzAttention(4, c=C).double()
    q, k = points(3, 5), points(4, 5)
    square = lorentz.product(q[:, None] - k, q[:, None] - k)  # squared Lorentz distance
    wanted = torch.softmax(-square / 2.0, dim=-1)  # scale sqrt(4)
    assert torch.allclose(layer.weights(q, k), wanted, rtol=1e-10)
    none = torch.zeros(3, 4, dtype=torch.bool)
    out = layer(q, k, points(4, 5), none)
    assert torch.equal(out, lorentz.origin((5,), c=C, dtype=torch.float64).expand(3, 5))


@pytest.mark.parametrize("heads", [1, 2])
def test_transformer_block(heads):
    block = LorentzTransformerBlock(4, heads, c=C).double()
    x = points(2, 6, 5)
    y = block(x)
    assert y.shape == x.shape and on_hyperboloid(y)
    order = torch.randperm(6)
    assert torch.allclose(block(x[:, order]), y[:, order], rtol=1e-10)
    causal = torch.ones(6, 6).tril().bool()
    first = block(x, mask=causal)
    other = x.clone()
    other[:, 3:] = points(2, 3, 5)
    assert torch.allclose(block(other, mask=causal)[:, :3], first[:, :3], rtol=1e-10)
    assert not torch.allclose(block(other, mask=causal)[:, 3:], first[:, 3:])
    attention = LorentzMultiHeadAttention(4, heads, c=C).double()
    assert attention(x, points(2, 3, 5)).shape == x.shape


def test_derivatives_of_second_order():
    block = LorentzTransformerBlock(2, 2, hidden=3, c=C).double()
    x = (0.3 * torch.randn(3, 2, dtype=torch.float64)).requires_grad_()
    embed = LorentzEmbedding(c=C)
    assert gradcheck(lambda v: block(embed(v)), (x,))
    assert gradgradcheck(lambda v: block(embed(v)), (x,))


def test_zero_space_is_the_origin_with_finite_gradients():
    layer = LorentzLinear(3, 3, c=C).double()
    layer.weight.data.zero_()
    x = points(2, 4).requires_grad_()
    y = layer(x)
    assert torch.allclose(y, lorentz.origin((4,), c=C, dtype=torch.float64).expand(2, 4))
    y.sum().backward()
    assert bool(x.grad.isfinite().all()) and bool(layer.weight.grad.isfinite().all())


# --- HCNN -------------------------------------------------------------------------------------


def paper_conv(layer, x, c):
    """With time coordinates, window by window (sections 4.1.1 and 4.1.2)."""
    size, pad, stride = layer.kernel_size, layer.padding, layer.stride
    padded = torch.nn.functional.pad(x, (pad, pad, pad, pad))
    time = torch.sqrt(1 / c + padded.square().sum(1))
    rows, columns = ((n + 2 * pad - size) // stride + 1 for n in x.shape[2:])
    out = x.new_empty(len(x), layer.weight.shape[0], rows, columns)
    for i in range(rows):
        for j in range(columns):
            window = (slice(stride * i, stride * i + size), slice(stride * j, stride * j + size))
            times = time[:, *window].flatten(1)
            joint = torch.sqrt(times.square().sum(1) - (times.shape[1] - 1) / c)
            space = padded[:, :, *window].flatten(1)
            out[:, :, i, j] = space @ layer.weight.flatten(1).T + joint[:, None] * layer.time
    return out + layer.bias[:, None, None]


@pytest.mark.parametrize("c", [0.5, 2.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_is_the_papers_formula(c, stride):
    layer = LorentzConv2d(3, 4, 3, stride=stride, padding=1, c=c).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    assert torch.allclose(layer(x), paper_conv(layer, x, c), rtol=1e-12)
    one = LorentzFullyConnected(3, 4, c=c).double()
    pixel = LorentzConv2d(3, 4, 1, c=c).double()
    pixel.weight.data = one.weight.data[:, :, None, None]
    pixel.time, pixel.bias = one.time, one.bias
    assert torch.allclose(pixel(x).movedim(1, -1), one(x.movedim(1, -1)))


@pytest.mark.parametrize(("stride", "padding", "more"), [(1, 0, 0), (2, 1, 1), (3, 2, 2)])
def test_transposed_convolution(stride, padding, more):
    layer = LorentzConvTranspose2d(
        2, 3, 3, stride=stride, padding=padding, output_padding=more, c=C
    ).double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    layer.time.data.zero_()  # then it is the ordinary one, with flipped kernels
    plain = torch.nn.functional.conv_transpose2d(
        x,
        layer.weight.data.transpose(0, 1).flip(2, 3),
        layer.bias,
        stride=stride,
        padding=padding,
        output_padding=more,
    )
    assert torch.allclose(layer(x), plain, rtol=1e-12)


def test_pooling_is_equivariant_under_all_isometries():
    pool, boost = LorentzGlobalPool(c=1.0), isometry(4)
    x = points(2, 3, 3, 4, c=1.0)

    def pooled(t):
        return lorentz.lift(pool(t.movedim(-1, 1)[:, 1:]))

    assert torch.allclose(pooled(x @ boost.T), pooled(x) @ boost.T, rtol=1e-10)


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_mlr_is_the_papers_formula(c):
    layer = LorentzMLR(4, 3, c=c).double()
    x = points(6, 5, c=c)
    root, z, a = math.sqrt(c), layer.normal, layer.offset
    time = torch.sinh(root * a) * z.norm(dim=1)
    space = torch.cosh(root * a)[:, None] * z
    beta = torch.sqrt(space.square().sum(1) - time.square())
    alpha = x[:, 1:] @ space.T - x[:, :1] * time
    wanted = alpha.sign() * beta / root * torch.asinh(root * alpha / beta).abs()
    assert torch.allclose(layer(x), wanted, rtol=1e-9)


def test_mlr_measures_distances_to_hyperplanes():
    layer = LorentzMLR(2, 1, c=C).double()
    layer.normal.data = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    layer.offset.data = torch.tensor([0.4], dtype=torch.float64)
    tangent = torch.tensor([[0.0, 1.3]], dtype=torch.float64)  # along the normal, 0.9 beyond
    assert float(layer(lorentz.exp0(tangent, c=C)).detach()) == pytest.approx(2 * 0.9, rel=1e-12)
    layer.normal.data.zero_()
    out = layer(points(3, 3))
    out.sum().backward()
    assert bool((out == 0).all()) and bool(layer.normal.grad.isfinite().all())


def stats(x, c):
    """The Fréchet mean of points of any shape, and distances to it."""
    flat = lorentz.lift(x.movedim(1, -1).flatten(0, -2), c=c)
    centre = lorentz.mean(flat, steps=500, c=c)
    return centre, lorentz.dist(flat, centre, c=c)


@pytest.mark.parametrize("c", [0.5, 1.0])
@pytest.mark.parametrize("shape", [(40, 3), (6, 3, 4, 5)])
@pytest.mark.parametrize("dispersion", ["distance", "variance"])
def test_batch_norm_keeps_its_promise(c, shape, dispersion):
    norm = LorentzBatchNorm(3, c=c, mean="frechet", dispersion=dispersion, steps=500, eps=0.0)
    norm.double()
    norm.beta.data = torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64)
    norm.gamma.data = torch.tensor(0.8, dtype=torch.float64)
    out = norm(torch.randn(shape, dtype=torch.float64) + 0.5)
    centre, distances = stats(out, c)
    wanted = lorentz.exp0(norm.beta, c=c)
    assert float(lorentz.dist(centre, wanted, c=c).detach()) < 1e-6
    spread = distances.mean() if dispersion == "distance" else distances.square().mean().sqrt()
    assert float(spread.detach()) == pytest.approx(0.8, rel=1e-6)


@pytest.mark.parametrize(("mean", "residual"), [("two_stage", 0.2), ("centroid", 0.2)])
def test_what_the_authors_means_leave(mean, residual):
    norm = LorentzBatchNorm(3, c=1.0, mean=mean).double()
    out = norm(torch.randn(6, 3, 4, 5, dtype=torch.float64) + 0.5)
    centre, distances = stats(out, 1.0)
    left = float(lorentz.dist0(centre).detach())
    assert 1e-6 < left < residual
    assert float(distances.mean().detach()) == pytest.approx(1.0, abs=residual)


def test_running_statistics_are_stored(tmp_path):
    norm = LorentzBatchNorm(3, c=C).double()
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64) + 0.5
    for _ in range(200):
        norm(x)
    norm.eval()
    file = tmp_path / "norm.pt"
    torch.save(norm.state_dict(), file)
    again = LorentzBatchNorm(3, c=C).double().eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(x), norm(x))
    trained = LorentzBatchNorm(3, c=C).double()
    assert torch.allclose(trained(x), norm(x), atol=1e-6)  # the average has converged


def test_batch_norm_matches_geoopt_on_the_authors_recipe():
    """Centroids, log, transport and exp, composed of geoopt's operations."""
    manifold = geoopt.Lorentz(torch.tensor(1 / C, dtype=torch.float64))
    norm = LorentzBatchNorm(3, c=C).double()
    norm.beta.data = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    x = 0.5 * torch.randn(4, 3, 2, 2, dtype=torch.float64)
    flat = lorentz.lift(x.movedim(1, -1), c=C)
    centre = lorentz.centroid(lorentz.centroid(flat.flatten(1, 2).transpose(0, 1), c=C), c=C)
    zero = lorentz.origin((4,), c=C, dtype=torch.float64)
    v = manifold.transp(centre, zero, manifold.logmap(centre, flat))
    v = v / (v[..., 1:].norm(dim=-1).mean() + 1e-5)
    beta = lorentz.exp0(norm.beta, c=C)
    wanted = manifold.expmap(beta, manifold.transp(zero, beta, v))
    assert torch.allclose(norm(x), wanted[..., 1:].movedim(-1, 1), rtol=1e-9, atol=1e-10)


def test_one_value_for_all_is_no_trouble():
    for mean in ("two_stage", "centroid", "frechet"):
        for dispersion in ("distance", "variance"):
            norm = LorentzBatchNorm(3, mean=mean, dispersion=dispersion)
            x = torch.zeros(4, 3, 2, 2, requires_grad=True)
            out = norm(x)
            out.sum().backward()
            assert bool(out.isfinite().all()) and bool(x.grad.isfinite().all())


# --- refusals ---------------------------------------------------------------------------------


def test_half_precision_is_refused():
    with pytest.raises(DeviceError, match="float16"):
        LorentzEmbedding()(torch.zeros(2, 3, dtype=torch.float16))
    x, image = points(4, 4).half(), torch.zeros(1, 3, 4, 4, dtype=torch.float16)
    edges = torch.zeros(2, 1, dtype=torch.int64)
    calls = [
        lambda: LorentzLinear(3, 3).half()(x),
        lambda: LorentzMLR(3, 2).half()(x),
        lambda: LorentzAttention(3).half()(x, x, x),
        lambda: LorentzAggregation(3).half()(x, edges),
        lambda: LorentzTransformerBlock(3, 1).half()(x),
        lambda: LorentzFullyConnected(3, 2).half()(x[:, 1:]),
        lambda: LorentzConv2d(3, 2, 3).half()(image),
        lambda: LorentzGlobalPool().half()(image),
        lambda: LorentzBatchNorm(3).half()(x[:, 1:]),
    ]
    for call in calls:
        with pytest.raises(DeviceError, match="float16"):
            call()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(DeviceError, match="bfloat16"):
        LorentzLinear(3, 3)(points(4, 4).float())


@pytest.mark.parametrize(
    "make",
    [
        lambda: LorentzLinear(0, 3),
        lambda: LorentzLinear(2, 3, floor=1.0),
        lambda: LorentzLinear(2, 3, c=-1.0),
        lambda: LorentzMultiHeadAttention(5, 2),
        lambda: LorentzConv2d(2, 2, 0),
        lambda: LorentzConvTranspose2d(2, 2, 3, padding=3),
        lambda: LorentzConvTranspose2d(2, 2, 3, stride=2, output_padding=2),
        lambda: LorentzBatchNorm(3, mean="median"),
        lambda: LorentzBatchNorm(3, dispersion="range"),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ConfigError):
        make()
