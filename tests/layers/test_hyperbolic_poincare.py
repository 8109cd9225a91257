"""Layers on the Poincaré ball: against hypll and geoopt, flat limits, refusals."""

import math

import geoopt
import pytest
import torch

from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import poincare
from zoo.layers.hyperbolic.hnn import HyperplaneLogits, MobiusGRU, MobiusLinear, MobiusRNN
from zoo.layers.hyperbolic.poincare_attention import PoincareAttention, PoincareGLU
from zoo.layers.hyperbolic.poincare_graph import (
    FermiDirac,
    HGCNActivation,
    HGCNAggregation,
    HGCNLinear,
)
from zoo.layers.hyperbolic.poincare_linear import (
    PoincareConv1d,
    PoincareConv2d,
    PoincareLinear,
    PoincareLogits,
)
from zoo.layers.hyperbolic.poincare_space import BallPoints, FlatSpace, PoincareSpace, make_space

DOUBLE = torch.float64
C = 0.7


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(*shape, seed=0, c=C):
    return poincare.random(shape, c=c, dtype=DOUBLE, generator=generator(seed))


def settled(layer, seed=0):
    """In float64, with every parameter random."""
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            draw = torch.randn(parameter.shape, generator=generator(seed), dtype=DOUBLE)
            parameter.copy_(0.3 * draw)
    return layer


def hypll_ball(c):
    from hypll.manifolds.poincare_ball import Curvature, PoincareBall

    curvature = Curvature(value=c, constraining_strategy=lambda x: x)
    curvature.double()
    with torch.no_grad():
        curvature.value.fill_(c)  # stored through float32
    return PoincareBall(c=curvature)


def made_in_float64(make):
    """hypll's layers can't be cast."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(DOUBLE)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)


# --- HNN++ ---------------------------------------------------------------------------------


def test_linear_agrees_with_hypll():
    from hypll.nn import HLinear
    from hypll.tensors import ManifoldTensor

    ball, x = hypll_ball(C), points(20, 6)
    theirs = made_in_float64(lambda: HLinear(6, 4, ball))
    ours = PoincareLinear(6, 4, PoincareSpace(C)).double()
    z = torch.randn(6, 4, dtype=DOUBLE, generator=generator())
    r = 0.1 * torch.randn(4, dtype=DOUBLE, generator=generator(1))
    with torch.no_grad():
        theirs.z.tensor.copy_(z)
        theirs.bias.copy_(r)
    ours.planes.set(z, r)
    expected = theirs(ManifoldTensor(data=x, manifold=ball, man_dim=1)).tensor
    assert (ours(x) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 1)])
def test_convolution_agrees_with_hypll(stride, padding):
    from hypll.nn import HConvolution2d
    from hypll.tensors import ManifoldTensor

    ball = hypll_ball(C)
    x = points(2, 6, 5, 3).movedim(-1, 1)
    theirs = made_in_float64(lambda: HConvolution2d(3, 4, 3, ball, stride=stride, padding=padding))
    ours = PoincareConv2d(3, 4, 3, PoincareSpace(C), stride=stride, padding=padding).double()
    z = 0.3 * torch.randn(27, 4, dtype=DOUBLE, generator=generator())
    r = 0.1 * torch.randn(4, dtype=DOUBLE, generator=generator(1))
    with torch.no_grad():
        theirs.weights.tensor.copy_(z)
        theirs.bias.copy_(r)
    ours.map.linear.planes.set(z, r)
    expected = theirs(ManifoldTensor(data=x, manifold=ball, man_dim=1)).tensor
    assert (ours(x) - expected).abs().max() < 1e-12


def test_convolution_along_sequences_is_concatenation_and_linear():
    space = PoincareSpace(C)
    layer = settled(PoincareConv1d(3, 4, 2, space))
    x = points(2, 5, 3)
    windows = torch.stack([poincare.beta_concat([x[:, t], x[:, t + 1]], c=C) for t in range(4)], 1)
    # torch's order of a window: channels first
    order = torch.arange(6).reshape(2, 3).T.flatten()
    expected = layer.map.linear(windows[..., order])
    assert (layer(x.mT).mT - expected).abs().max() < 1e-12


def test_weight_norm_changes_nothing_but_the_parameters():
    plain = PoincareLinear(5, 3, PoincareSpace(C), weight_norm=False).double()
    normed = PoincareLinear(5, 3, PoincareSpace(C)).double()
    normed.planes.set(plain.planes.vector)
    x = points(4, 5)
    assert torch.allclose(plain(x), normed(x), atol=1e-15)
    assert [name for name, _ in plain.planes.named_parameters()] == ["vector", "offset"]


def test_gated_unit():
    layer = settled(PoincareGLU(6, PoincareSpace(C)))
    x = points(5, 6)
    a, b = (poincare.log0(x, c=C) * poincare.beta_ratio(3, 6)).split(3, -1)
    gated = a * torch.sigmoid(b * math.sqrt(3) * torch.exp(layer.scale))
    assert torch.allclose(layer(x), poincare.exp0(gated, c=C), atol=1e-15)


def test_attention_is_a_midpoint_with_weights_that_fall_with_distance():
    layer = settled(PoincareAttention(6, 1, PoincareSpace(C)))
    x = points(1, 4, 6)
    q, k, v = layer.query(x)[0], layer.key(x)[0], layer.value(x)[0]
    rate = torch.nn.functional.softplus(layer.raw_rate)
    weights = torch.exp(-rate * poincare.dist(q[:, None], k[None], c=C))
    expected = torch.stack([poincare.midpoint(v, row, c=C) for row in weights])
    assert torch.allclose(layer(x)[0], layer.out(expected), atol=1e-12)


def test_attention_ignores_masked_keys_and_the_order_of_keys():
    layer = settled(PoincareAttention(6, 2, PoincareSpace(C)))
    x, memory = points(2, 3, 6), points(2, 5, 6, seed=1)
    mask = torch.tensor([True, True, True, False, False]).expand(2, 1, 5)
    masked = layer(x, memory, mask)
    assert torch.allclose(masked, layer(x, memory[:, :3]), atol=1e-14)
    turned = layer(x, memory.flip(1))
    assert torch.allclose(turned, layer(x, memory), atol=1e-14)


@pytest.mark.parametrize("space", [PoincareSpace(C), FlatSpace()])
def test_a_query_without_keys_sees_the_origin(space):
    layer = settled(PoincareAttention(6, 2, space))
    x = points(2, 3, 6).requires_grad_()
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    mask[1, 2] = False
    out = layer(x, mask=mask)
    nothing = layer.out(torch.zeros(6, dtype=DOUBLE))
    assert torch.allclose(out[1, 2], nothing, atol=1e-14)
    whole = layer(x)
    assert torch.allclose(out[0], whole[0], atol=1e-14)
    assert torch.allclose(out[1, :2], whole[1, :2], atol=1e-14)
    grads = torch.autograd.grad(out.sum(), [x, *layer.parameters()], allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in grads if g is not None)


# --- HNN -----------------------------------------------------------------------------------


def test_mobius_linear_agrees_with_geoopt():
    ball = geoopt.PoincareBall(c=torch.tensor(C, dtype=DOUBLE))
    layer = settled(MobiusLinear(5, 3, PoincareSpace(C), activation="tanh"))
    x = points(6, 5)
    bias = ball.expmap0(layer.bias.raw)
    inner = ball.mobius_add(ball.mobius_matvec(layer.weight, x), bias)
    expected = ball.expmap0(torch.tanh(ball.logmap0(inner)))
    assert (layer(x) - expected).abs().max() < 1e-12


def test_gru_follows_the_paper():
    ball = geoopt.PoincareBall(c=torch.tensor(C, dtype=DOUBLE))
    layer = settled(MobiusGRU(4, 3, PoincareSpace(C)))
    x, h = points(2, 4), points(2, 3, seed=1)

    def gate(part, weight, state):
        total = ball.mobius_add(
            ball.mobius_matvec(weight, state), ball.mobius_matvec(part.input, x)
        )
        return ball.mobius_add(total, ball.expmap0(part.bias.raw))

    r, z = (
        torch.sigmoid(ball.logmap0(gate(part, part.hidden, h)))
        for part in (layer.reset, layer.update)
    )
    new = []
    for n in range(2):  # W diag(r) is another matrix for each sample
        weight = layer.candidate.hidden @ torch.diag(r[n])
        g = gate(layer.candidate, weight, h)[n]
        step = ball.mobius_matvec(torch.diag(z[n]), ball.mobius_add(-h[n], g))
        new.append(ball.mobius_add(h[n], step))
    assert (layer.step(h, layer.read(x[:, None]), 0) - torch.stack(new)).abs().max() < 1e-12


@pytest.mark.parametrize("kind", [MobiusRNN, MobiusGRU])
def test_sequences_end_where_they_say(kind):
    layer = settled(kind(4, 3, PoincareSpace(C)))
    x = points(3, 5, 4)
    lengths = torch.tensor([5, 2, 0])
    out = layer(x, lengths)
    assert torch.allclose(out[0], layer(x[:1])[0], atol=1e-15)
    assert torch.allclose(out[1], layer(x[1:2, :2])[0], atol=1e-15)
    assert torch.equal(out[2], torch.zeros(3, dtype=DOUBLE))


# --- HGCN ----------------------------------------------------------------------------------

EDGES = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 1]])


def adjacency():
    a = torch.eye(4, dtype=DOUBLE)
    a[EDGES[1], EDGES[0]] = 1.0
    return a / a.sum(1, keepdim=True)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("where", ["origin", "local"])
def test_aggregation_agrees_with_the_dense_formula(where, attention):
    space = PoincareSpace(C)
    layer = settled(HGCNAggregation(3, space, attention=attention, where=where))
    x = points(4, 3)
    logs, weights = poincare.log0(x, c=C), adjacency()
    if attention:
        pairs = torch.cat([logs[:, None].expand(4, 4, 3), logs[None].expand(4, 4, 3)], -1)
        weights = weights * torch.sigmoid(layer.attention(pairs))[..., 0]
    if where == "origin":
        expected = poincare.exp0(weights @ logs, c=C)
    else:
        steps = poincare.log(x[:, None].expand(4, 4, 3), x[None].expand(4, 4, 3), c=C)
        expected = poincare.exp(x, (weights[..., None] * steps).sum(1), c=C)
    assert (layer(x, EDGES) - expected).abs().max() < 1e-13


def test_aggregation_without_edges_leaves_points():
    layer = HGCNAggregation(3, PoincareSpace(C)).double()
    x = points(4, 3)
    assert torch.allclose(layer(x, EDGES[:, :0]), x, atol=1e-15)


def test_linear_map_activation_and_decoder():
    first, second = PoincareSpace(C), PoincareSpace(2.0)
    linear = settled(HGCNLinear(3, 3, first))
    x = points(5, 3)
    expected = poincare.mobius_add(
        poincare.mobius_matvec(linear.weight, x, c=C), poincare.exp0(linear.bias, c=C), c=C
    )
    assert torch.allclose(linear(x), expected, atol=1e-15)
    moved = HGCNActivation(first, second)(x)
    assert torch.allclose(poincare.log0(moved, c=2.0), poincare.log0(x, c=C).relu(), atol=1e-14)
    square = torch.tensor([0.0, 2.0, 10.0], dtype=DOUBLE)
    probability = 1 / (torch.exp((square - 2.0) / 0.5) + 1)
    assert torch.allclose(torch.sigmoid(FermiDirac(2.0, 0.5)(square)), probability, atol=1e-15)


def test_curvature_is_learnt_and_stays_positive():
    space = PoincareSpace(0.5, trainable=True)
    assert space.c.item() == pytest.approx(0.5, abs=1e-6)
    layer = HGCNAggregation(3, space)
    layer(points(4, 3, c=0.5).float(), EDGES).sum().backward()
    assert space.raw.grad.isfinite() and space.raw.grad != 0
    with torch.no_grad():
        space.raw.fill_(-20.0)
    assert space.c > 0


# --- every layer -----------------------------------------------------------------------------

LAYERS = {
    "mobius_linear": lambda s: MobiusLinear(4, 3, s, activation="tanh"),
    "hyperplane_logits": lambda s: HyperplaneLogits(4, 3, s),
    "rnn": lambda s: MobiusRNN(4, 3, s),
    "gru": lambda s: MobiusGRU(4, 3, s),
    "linear": lambda s: PoincareLinear(4, 3, s),
    "logits": lambda s: PoincareLogits(4, 3, s),
    "conv1d": lambda s: PoincareConv1d(4, 3, 2, s),
    "glu": lambda s: PoincareGLU(4, s),
    "attention": lambda s: PoincareAttention(4, 2, s),
}
SHAPES = {"rnn": (2, 3, 4), "gru": (2, 3, 4), "attention": (2, 3, 4), "conv1d": (2, 4, 4)}


@pytest.mark.parametrize("name", LAYERS)
def test_the_flat_counterpart_is_the_limit_of_no_curvature(name):
    torch.manual_seed(0)
    curved = settled(LAYERS[name](PoincareSpace(1e-9)))
    flat = settled(LAYERS[name](FlatSpace()))
    flat.load_state_dict(curved.state_dict())
    x = 0.5 * torch.randn(SHAPES.get(name, (5, 4)), dtype=DOUBLE, generator=generator())
    assert (curved(x) - flat(x)).abs().max() < 1e-7
    assert sum(p.numel() for p in curved.parameters()) == sum(p.numel() for p in flat.parameters())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_gradients_are_finite_at_the_origin_and_at_the_boundary(name, dtype):
    torch.manual_seed(0)
    layer = LAYERS[name](PoincareSpace(1.0)).to(dtype)
    shape = SHAPES.get(name, (5, 4))
    edge = torch.randn(shape, generator=generator(), dtype=dtype)
    edge = edge.movedim(1, -1) if name == "conv1d" else edge
    edge = poincare.project(1e4 * edge)
    edge = edge.movedim(-1, 1) if name == "conv1d" else edge
    for x in (torch.zeros(shape, dtype=dtype), edge):
        x.requires_grad_()
        out = layer(x)
        grads = torch.autograd.grad(out.sum(), [x, *layer.parameters()])
        assert out.isfinite().all() and all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_and_points_outside_are_refused(name):
    layer = LAYERS[name](PoincareSpace(1.0))
    shape = SHAPES.get(name, (5, 4))
    with pytest.raises(DeviceError, match="bfloat16"):
        layer.bfloat16()(torch.zeros(shape, dtype=torch.bfloat16))
    with pytest.raises(ManifoldError, match="norm"):
        layer.float()(torch.full(shape, 0.9))


def test_points_of_geoopt_stay_in_the_ball_under_its_optimiser():
    space = PoincareSpace(C)
    layer = HyperplaneLogits(3, 2, space, points="geoopt").double()
    assert isinstance(layer.point.raw, geoopt.ManifoldParameter)
    optimiser = geoopt.optim.RiemannianAdam(layer.parameters(), lr=0.1)
    x = points(8, 3)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), torch.arange(8) % 2).backward()
        optimiser.step()
    poincare.check(layer.point(space), c=C)
    assert (layer.point(space).norm(dim=-1) > 0).all()


def test_the_margin_is_the_same_in_both_precisions():
    space = PoincareSpace(C, margin=4e-3)
    v = 1e3 * torch.randn(5, 3, generator=generator())
    for dtype in (torch.float32, DOUBLE):
        x = space.exp0(v.to(dtype))
        assert (x.norm(dim=-1) * C**0.5 - (1 - 4e-3)).abs().max() < 1e-6
        assert (space.add(x, x).norm(dim=-1) * C**0.5 < 1 - 4e-3 + 1e-6).all()
    small = torch.randn(5, 3, generator=generator())
    assert torch.equal(space.exp0(small), PoincareSpace(C).exp0(small))


def test_refusals():
    with pytest.raises(ConfigError, match="c > 0"):
        PoincareSpace(-1.0)
    with pytest.raises(ConfigError, match="margin=2"):
        PoincareSpace(margin=2.0)
    with pytest.raises(ConfigError, match="'poincare'"):
        make_space("poincar")
    with pytest.raises(ConfigError, match="fixed curvature"):
        BallPoints(torch.zeros(3), PoincareSpace(trainable=True), "geoopt")
    with pytest.raises(ConfigError, match="even number"):
        PoincareGLU(5, PoincareSpace())
    with pytest.raises(ConfigError, match="divide"):
        PoincareAttention(5, 2, PoincareSpace())
    with pytest.raises(ConfigError, match="does not fit"):
        PoincareConv1d(3, 4, 9, PoincareSpace())(torch.zeros(1, 3, 4))
    with pytest.raises(ConfigError, match="at least one class"):
        HyperplaneLogits(3, 0, PoincareSpace())
    with pytest.raises(ConfigError, match="'origin' or 'local'"):
        HGCNAggregation(3, PoincareSpace(), where="nowhere")
    with pytest.raises(ConfigError, match="temperature"):
        FermiDirac(t=0.0)
