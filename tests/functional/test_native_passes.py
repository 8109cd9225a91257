"""What runs as C code agrees with torch, in value and derivatives of every order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.functional import (
    _library,
    _silu_passes,
    _waves,
    angular_messages,
    angular_sums,
    pair_factors,
)
from zoo.functional.activations import silu
from zoo.functional.silu_layers import silu_layers
from zoo.functional.spherical_basis import bessel_roots, legendre, spherical_bessel
from zoo.layers.atomistic import DirectedEdges, Triplets
from zoo.layers.silu import SiLULayers, in_turn

MODULES: Sequence[Any] = (_silu_passes, _waves, pair_factors, angular_sums)
needs_compiler = pytest.mark.skipif(_library.compiler() is None, reason="no C compiler")
Function = Callable[..., Tensor]


@pytest.fixture(params=["compiled", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "compiled" and _library.compiler() is None:
        pytest.skip("no C compiler")
    _always(monkeypatch, request.param == "compiled")
    yield request.param


def _always(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "MANY", 0 if compiled else 10**12)


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _edges(atoms: int = 6, pairs: int = 13) -> DirectedEdges:
    generator = torch.Generator().manual_seed(4)
    source = torch.randint(atoms, (pairs,), generator=generator)
    target = (source + 1 + torch.randint(atoms - 1, (pairs,), generator=generator)) % atoms
    vectors = _random(pairs, 3, seed=5)
    both = torch.cat([vectors, -vectors])
    ends = torch.cat([source, target]), torch.cat([target, source])
    return DirectedEdges(*ends, both, both.norm(dim=1), pairs)


def _triplet_functions(channels: int) -> tuple[Function, Function, Tensor]:
    """Sums, messages and vectors that both depend on."""
    edges = _edges()

    def triplets(vectors: Tensor) -> Triplets:
        both = torch.cat([vectors, -vectors])
        ends = edges.source, edges.target
        return Triplets(DirectedEdges(*ends, both, both.norm(dim=1), edges.pairs), 6, 3)

    def sums(vectors: Tensor, values: Tensor) -> Tensor:
        return triplets(vectors).sum(values)

    def messages(vectors: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        return triplets(vectors).messages(x, radial, weight)

    return sums, messages, edges.vectors[:13]


def _cases(channels: int) -> dict[str, tuple[Function, list[Tensor]]]:
    rows = 26
    sums, messages, vectors = _triplet_functions(channels)
    x = _random(rows, channels, seed=1)
    radial, weight = _random(13, 3, 4, seed=2), _random(3, 4, channels, seed=3) / 2
    layers = [_random(4, channels, seed=6) / 2, _random(channels, 4, seed=7) / 2]
    biases = [_random(4, seed=8), _random(channels, seed=9)]
    waves = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None, None] * bessel_roots(3, 2)
    kept = torch.rand(4, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    return {
        "silu": (silu, [x]),
        "layers": (
            lambda x, a, b, c, d: silu_layers(x, (a, b), (c, d), skip=True),
            [x, layers[0], biases[0], layers[1], biases[1]],
        ),
        "layer without bias": (lambda x, a: silu_layers(x, (a, None)), [x, layers[0]]),
        "factors": (pair_factors.pair_factors, [x, radial, weight]),
        "sums": (sums, [vectors, _random(rows, 3, channels, seed=1)]),
        "messages": (messages, [vectors, x, radial, weight]),
        "waves": (spherical_bessel, [waves]),
        "polynomials": (lambda c: legendre(c.tanh(), 5, kept), [_random(4, 5, seed=2)]),
    }


NAMES = list(_cases(2))


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives(name: str, path: str) -> None:
    function, inputs = _cases(2)[name]
    inputs = [t.clone().requires_grad_() for t in inputs]
    fast = name not in ("silu", "layers")
    assert torch.autograd.gradcheck(function, inputs, fast_mode=fast)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=fast)


def _trained(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """As forces are trained on; then a third derivative, and one by all inputs at once."""
    given = [t.clone().requires_grad_() for t in inputs]
    out = function(*given).square().sum()
    (slope,) = torch.autograd.grad(out, given[0], create_graph=True)
    loss = (slope.square() + slope).sum() + out
    trained = torch.autograd.grad(loss, given, create_graph=True)
    again = sum((t.square().sum() for t in trained), torch.zeros(()))
    plain = torch.autograd.grad(loss, given, retain_graph=True)
    return [slope, *plain, *torch.autograd.grad(again, given)]


@needs_compiler
@pytest.mark.parametrize("channels", [1, 19])
@pytest.mark.parametrize("name", NAMES)
def test_both_ways_agree(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = _cases(channels)[name]
    found = []
    for compiled in (True, False):
        _always(monkeypatch, compiled)
        found.append([function(*inputs), *_trained(function, inputs)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(
            ours, plain, rtol=1e-9, atol=1e-11 * float(plain.detach().abs().max())
        )


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, inputs = _cases(19)[name]
    exact = function(*inputs)
    if name in ("sums", "messages"):
        pytest.skip("their edges are float64; the others show the type")
    _always(monkeypatch, True)
    found = function(*(t.float() for t in inputs))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=2e-6)


@needs_compiler
def test_threads_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _always(monkeypatch, True)
    cases = {name: _cases(19)[name] for name in ("silu", "factors", "messages", "waves")}
    single = {name: _trained(*case) for name, case in cases.items()}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for module in (*MODULES, angular_messages):
        monkeypatch.setattr(module, "PER_THREAD", 1)
    for name, case in cases.items():
        torch.testing.assert_close(_trained(*case), single[name], rtol=1e-9, atol=1e-9)


@needs_compiler
def test_activations_at_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    _always(monkeypatch, True)
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([-1e4, -200.0, -88.0, 0.0, 88.0, 1e4, float("nan")], dtype=dtype)
        value, slope = _silu_passes.value(x), _silu_passes.slope(torch.ones_like(x), x)
        assert value[:3].abs().max() < 1e-30 and value[3] == 0
        assert value[5] == 1e4 and value[6].isnan()
        torch.testing.assert_close(slope[[0, 3, 5]], x.new_tensor([0.0, 0.5, 1.0]))


def test_layers_that_somebody_listens_to_are_run_one_by_one() -> None:
    torch.manual_seed(0)
    parts = [SiLULayers(nn.Linear(3, 4), nn.Linear(4, 3)), SiLULayers(nn.Linear(3, 3))]
    x, heard = torch.randn(2, 5, 3), []
    expected = in_turn(x, *parts, skip=True)
    parts[0][2].register_forward_hook(lambda *_: heard.append(1))
    torch.testing.assert_close(in_turn(x, *parts, skip=True), expected)
    assert heard == [1]
    assert set(parts[0].state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    torch.testing.assert_close(parts[1](x[0, 0]), nn.functional.silu(parts[1][0](x[0, 0])))


def test_layers_under_autocast() -> None:
    x, weight = torch.randn(4, 3), torch.randn(3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert silu_layers(x, (weight, None)).dtype == torch.bfloat16


# --- what a stranger may do with them -------------------------------------------------------------


def _third(function: Function, x: Tensor) -> list[Tensor]:
    """Three derivatives; what comes to the function from above is one number, expanded."""
    x, scale = x.clone().requires_grad_(), torch.ones((), dtype=x.dtype, requires_grad=True)
    first = torch.autograd.grad(function(x).sum() * scale**2, x, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), (x, scale), create_graph=True)
    loss = second[0].square().sum() + second[1] ** 2
    return [*first, *second, *torch.autograd.grad(loss, (x, scale))]


@needs_compiler
@pytest.mark.parametrize("name", ["waves", "polynomials"])
def test_transposed_arguments_have_all_derivatives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)) < 0.7
    functions: dict[str, tuple[Function, Tensor]] = {
        "waves": (lambda x: spherical_bessel(x.transpose(0, 2)), _random(2, 3, 4).abs()),
        "polynomials": (lambda x: legendre(x.T.tanh(), 5, kept), _random(4, 5)),
    }
    found = []
    for compiled in (True, False):
        _always(monkeypatch, compiled)
        found.append(_third(*functions[name]))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["factors", "sums", "messages"])
def test_third_derivatives_where_some_inputs_are_constant(name: str, path: str) -> None:
    function, inputs = _cases(3)[name]
    found = []
    for number in (None, *range(len(inputs))):
        moving = [number in (None, k) for k in range(len(inputs))]
        given = [t.clone().requires_grad_(m) for t, m in zip(inputs, moving, strict=True)]
        x = given[number or 0]
        out = function(*given).square().sum()
        (first,) = torch.autograd.grad(out, x, create_graph=True)
        (second,) = torch.autograd.grad((first**3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad((second**3).sum(), x)[0])
    torch.testing.assert_close(found[1], found[0])
    assert all(bool(f.isfinite().all()) for f in found)


@needs_compiler
def test_sizes_that_do_not_agree_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    _always(monkeypatch, True)
    x, radial, weight = _random(26, 5), _random(13, 3, 4), _random(3, 4, 5)
    given = {"x": x, "radial": radial, "weight": weight}
    triplets = Triplets(_edges(), 6, 3)
    assert pair_factors._runs(x, radial, weight)
    assert angular_sums.runs(x, triplets.matrices, radial, weight)
    for name, wrong in {"x": x[:20], "radial": radial[:10], "weight": weight[..., :4]}.items():
        assert not pair_factors._runs(*(given | {name: wrong}).values())
        with pytest.raises(Exception, match=r"."):
            triplets.messages(*(given | {name: wrong}).values())
    for values in (_random(20, 3, 5), _random(26, 2, 5)):
        with pytest.raises(Exception, match=r"."):
            triplets.sum(values)
    cosine, kept = _random(4, 5).tanh(), torch.ones(4, 5, dtype=torch.bool)
    assert _waves.legendre_runs(cosine, kept, 4)
    assert not _waves.legendre_runs(cosine, kept[:1], 4)
    assert not _waves.legendre_runs(cosine, kept.double(), 4)


@needs_compiler
def test_the_order_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    _always(monkeypatch, True)

    def in_parts(order: Sequence[int]) -> Callable[..., None]:
        def run(call: Callable[[int, int], object], size: int, *_: int) -> None:
            for k in order:
                call(k * size // 3, (k + 1) * size // 3)

        return run

    for name in ("factors", "messages"):
        found = []
        for order in ((0, 1, 2), (2, 0, 1)):
            monkeypatch.setattr(_library, "in_threads", in_parts(order))
            found.append(_trained(*_cases(19)[name]))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_counts_or_records_sees_operations_of_torch() -> None:
    x = torch.randn(4, 3)
    assert _library.plain(x)
    with FlopCounterMode(display=False):
        assert not _library.plain(x)
    assert not torch.vmap(lambda row: row * _library.plain(row))(x).any()


def test_parts_that_somebody_listens_to_are_called() -> None:
    parts = [SiLULayers(nn.Linear(3, 3)) for _ in range(2)]
    x, heard = torch.randn(2, 3), []
    expected = in_turn(x, *parts, skip=True)
    parts[1].register_forward_hook(lambda *_: heard.append(1))
    torch.testing.assert_close(in_turn(x, *parts, skip=True), expected)
    assert heard == [1]
    parts[0][0].forward = torch.zeros_like  # exchanged in one instance
    torch.testing.assert_close(in_turn(x, parts[0]), torch.zeros_like(x))
    on_meta = SiLULayers(nn.Linear(3, 3)).to("meta")
    assert on_meta(torch.empty(2, 3, device="meta")).shape == (2, 3)


def test_parts_of_layers_are_taken_as_from_any_sequence() -> None:
    layers = SiLULayers(nn.Linear(3, 4), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    assert layers[0].out_features == 4 and layers[-2].out_features == 2
    torch.testing.assert_close(layers[2:](layers[:2](x)), layers(x))
