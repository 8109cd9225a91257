"""Adapters: nothing changes at first, merging is exact, symmetry stays, constants stay out."""

import copy
from typing import Any

import geoopt
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

import zoo
from zoo import registry
from zoo.errors import ConfigError, StateMismatchError
from zoo.layers import adapters
from zoo.layers.adapters import AdapterConfig, LoraAdapter, TuckerAdapter
from zoo.layers.tensor_network import FactorizedTensor
from zoo.testing import domain_of, plan, run_check, subject_of, unsettled

KINDS = ("tucker", "lora")
SYMMETRIES = ("rotation", "reflection", "permutation", "congruence", "basis", "isometry")
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(12, 10), (4, 12)),
    "convolution 1d": (nn.Conv1d(6, 8, 3), (2, 6, 7)),
    "convolution 2d": (nn.Conv2d(6, 8, 3), (2, 6, 5, 5)),
    "grouped convolution 1d": (nn.Conv1d(12, 9, 3, groups=3), (2, 12, 7)),
    "grouped convolution 2d": (nn.Conv2d(12, 9, 3, groups=3), (2, 12, 5, 5)),
    "convolution 3d": (nn.Conv3d(6, 8, 3), (2, 6, 4, 4, 4)),
    "transposed convolution": (nn.ConvTranspose2d(6, 8, 3), (2, 6, 4, 4)),
}


def stir(model: nn.Module, size: float = 0.3) -> None:
    """Adapters as training might leave them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for *_, adapter in adapters.adapters(model):
            for parameter in adapter.parameters():
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_nothing_changes_at_first_and_merging_is_exact(name: str, kind: str) -> None:
    """Acceptance test 7: no difference at the start, merged outputs the same, grouped too."""
    made, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, x = copy.deepcopy(made), torch.randn(shape)
    before, stored = layer(x), layer.weight.detach().clone()
    assert adapters.attach(layer, AdapterConfig(kind=kind, rank=2)) == ["weight"]
    assert torch.equal(layer(x), before)
    stir(layer)
    after = layer(x)
    assert (after - before).abs().max() > 0.05
    layer.train()
    after.square().sum().backward()
    assert layer.parametrizations.weight.original.grad is None
    assert adapters.merge(layer) == 1
    assert type(layer) is type(made) and not parametrize.is_parametrized(layer)
    assert torch.equal(layer(x), after) and not torch.equal(layer.weight, stored)
    assert set(layer.state_dict()) == set(made.state_dict()) and layer.weight.requires_grad


def test_shapes_follow_the_weight() -> None:
    """A grouped convolution has in/groups channels; axes not longer than the rank stay whole."""
    tucker = TuckerAdapter((9, 4, 3, 3), 3)
    assert tuple(tucker.core.shape) == (3, 3, 3, 3)
    assert {k: tuple(v.shape) for k, v in tucker.factors.items()} == {"0": (9, 3), "1": (4, 3)}
    lora = LoraAdapter((9, 4, 3, 3), 3)
    assert tuple(lora.up.shape) == (9, 3) and tuple(lora.down.shape) == (3, 36)
    assert tuple(LoraAdapter((3, 16, 16), 2).up.shape) == (48, 2)  # degrees join the shorter side
    for adapter in (tucker, lora):
        held = sum(p.numel() for p in adapter.parameters())
        assert held == adapter.size(adapter.shape, adapter.rank)


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_is_what_the_formula_says(kind: str) -> None:
    shape = (7, 3, 5)
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    adapters.attach(model, AdapterConfig(kind=kind, rank=3, scale=-0.5))
    stir(model)
    parts = adapters.state(model)["weight"]
    if kind == "tucker":
        left, right = parts["factors.0"], parts["factors.2"]
        expected = torch.einsum("abc,ia,kc->ibk", parts["core"], left, right)
    else:
        expected = (parts["up"] @ parts["down"]).reshape(shape)
    torch.testing.assert_close(model.weight, -0.5 * expected)
    rank = torch.linalg.matrix_rank(model.weight.reshape(7, 15))
    assert rank == 3


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_exist(kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 6).double()
    adapters.attach(layer, AdapterConfig(kind=kind, rank=2))
    stir(layer)
    names, values = zip(*((n, p) for n, p in layer.named_parameters()), strict=True)

    def run(x: Tensor, *parts: Tensor) -> Any:
        return functional_call(layer, dict(zip(names, parts, strict=True)), (x,)).sin()

    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    free = [p.detach().requires_grad_() for p in values]
    assert torch.autograd.gradgradcheck(run, (x, *free))


def test_constrained_and_small_parameters_are_left_out() -> None:
    model = nn.Module()
    model.point = geoopt.ManifoldParameter(torch.eye(8), manifold=geoopt.Stiefel())
    model.raw = nn.Parameter(torch.randn(8, 8))
    model.bias = nn.Parameter(torch.randn(1, 8))
    model.phase = nn.Parameter(torch.randn(8, 8, dtype=torch.complex64))
    model.register_buffer("basis", torch.randn(8, 8))
    model.table = nn.Embedding(8, 8)
    model.thin = nn.Linear(8, 2)
    model.wide = nn.Linear(8, 8)
    model.first, model.second = nn.Linear(8, 8), nn.Linear(8, 8)
    model.second.weight = model.first.weight
    assert adapters.attach(model, AdapterConfig(rank=2)) == ["wide.weight"]
    with pytest.raises(ConfigError, match="values lie on a manifold"):
        adapters.attach(model, AdapterConfig(rank=2, targets=("raw", "point")))
    with pytest.raises(ConfigError, match="several layers share it"):
        adapters.attach(model, AdapterConfig(rank=2, targets=("second.weight",)))
    with pytest.raises(ConfigError, match="rank 4 holds .* numbers, the weight 2 x 8"):
        adapters.attach(model, AdapterConfig(rank=4, targets=("thin.*",)))


def test_weights_that_adapters_save_least_on_are_passed_over_unless_named() -> None:
    model = nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 4))
    assert list(adapters.choose(model, AdapterConfig(rank=2))) == ["1.weight", "2.weight"]
    named = AdapterConfig(rank=2, targets=("*.weight",))
    assert list(adapters.choose(model, named)) == [f"{n}.weight" for n in range(4)]


def test_what_can_not_be_is_refused() -> None:
    layer = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    with pytest.raises(ConfigError, match="did you mean '0.weight'"):
        adapters.attach(layer, AdapterConfig(rank=1, targets=("0.wight",)))
    with pytest.raises(ConfigError, match="nothing can be adapted with lora of rank 9"):
        adapters.attach(layer, AdapterConfig(rank=9))
    with pytest.raises(ConfigError, match="nothing can be adapted .*fewer than two axes"):
        adapters.attach(nn.LayerNorm(4), AdapterConfig(rank=1))
    for wrong in ({"rank": 0}, {"rank": 2.5}, {"scale": 0.0}, {"dropout": 1.0}, {"kind": "tuker"}):
        with pytest.raises(ConfigError):
            AdapterConfig(**wrong)
    adapters.attach(layer, AdapterConfig(rank=1))
    with pytest.raises(ConfigError, match="nothing can be adapted"):  # they carry adapters
        adapters.attach(layer, AdapterConfig(rank=1))
    stored = adapters.state(layer)
    with pytest.raises(StateMismatchError, match="the model has no '2.weight'"):
        adapters.restore(nn.Linear(6, 6), AdapterConfig(rank=1), {"2.weight": stored["0.weight"]})
    with pytest.raises(StateMismatchError, match="the adapter of weight has"):
        adapters.restore(nn.Linear(6, 6), AdapterConfig(rank=2), {"weight": stored["0.weight"]})


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_leaves_a_part_of_the_change_out_while_training(kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 12)
    base = layer.weight.detach().clone()
    adapters.attach(layer, AdapterConfig(kind=kind, rank=4, dropout=0.5))
    stir(layer)
    full = layer.eval().weight.detach() - base
    layer.train()
    changes = torch.stack([layer.weight.detach() - base for _ in range(800)])
    assert not torch.equal(changes[0], changes[1])
    assert (changes.mean(0) - full).abs().max() < 0.25 * full.abs().max()
    adapters.merge(layer)
    torch.testing.assert_close(layer.weight, base + full)


def test_stored_adapters_come_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    other, x = copy.deepcopy(model), torch.randn(2, 6)
    config = AdapterConfig(rank=2, targets=("0.*",))
    adapters.attach(model, config, seed=3)
    stir(model)
    adapters.restore(other, config, adapters.state(model))
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("format", ["cp", "tucker", "tt", "tr"])
def test_cores_keep_their_order_when_some_were_adapted(format: Any) -> None:
    torch.manual_seed(0)
    tensor = FactorizedTensor((6, 6, 6), format=format, rank=6, std=1.0)
    adapters.attach(tensor, AdapterConfig(rank=1, targets=("cores.1",)))
    stir(tensor)
    before = tensor.to_tensor()
    assert adapters.merge(tensor) == 1
    assert torch.allclose(tensor.to_tensor(), before, atol=1e-5)


def test_copies_keep_their_adapters() -> None:
    """Two weights of one module, and a copy of it that is merged later."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    q, k = torch.randn(1, 3, 8), torch.randn(1, 4, 6)
    adapters.attach(attention, AdapterConfig(rank=1))
    stir(attention)
    other, before = copy.deepcopy(attention), attention(q, k, k)[0]
    assert adapters.merge(attention) == 4
    assert type(attention) is nn.MultiheadAttention
    for model in (attention, other):
        torch.testing.assert_close(model(q, k, k)[0], before)
    assert adapters.merge(other) == 4
    torch.testing.assert_close(other(q, k, k)[0], before)


def _adapted(name: str) -> tuple[nn.Module, nn.Module, list[str]]:
    """A small model of an architecture, and the same with adapters."""
    spec, _ = registry.resolve(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = unsettled(zoo.create(name, **spec.test_config)).double()
    with_adapters = copy.deepcopy(model)
    config = AdapterConfig(rank=1, targets=("*",))
    return model, with_adapters, adapters.attach(with_adapters, config)


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_every_architecture_keeps_its_symmetry(name: str) -> None:
    """The same before the first step, symmetric with any adapters, the same after merging."""
    spec, _ = registry.resolve(name)
    model, with_adapters, adapted = _adapted(name)
    buffers = {key for key, _ in model.named_buffers()}
    assert adapted and not buffers & set(adapted)
    plain = subject_of(model)
    inputs = plain.groups[0]
    before = plain(inputs)
    fresh = plain.rebuilt(with_adapters)(inputs)
    assert all(torch.equal(before[key], fresh[key]) for key in before)
    stir(with_adapters)
    subject = plain.rebuilt(with_adapters)
    known = {check for check, _ in plan(domain=domain_of(model))}
    measured = 0
    for check in filter(known.__contains__, SYMMETRIES):
        result = run_check(check, subject, spec.bounds(exact=subject.exact))
        assert result.passed or result.skipped, result.describe()
        measured += result.passed
        if measured == 2:  # further ones cost more than they would find
            break
    now = subject(inputs)
    assert any(not torch.allclose(before[key], now[key], rtol=1e-3) for key in before)
    assert adapters.merge(with_adapters) == len(adapted)
    assert type(with_adapters) is type(model)
    merged = subject.rebuilt(with_adapters)(inputs)
    assert max(subject.compare(now, merged).values()) < 1e-9


class OnConstant(LoraAdapter):
    """What must never be: an adapter of a buffer, which modules write anew when they are cast."""

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def test_an_adapter_on_a_constant_is_caught() -> None:
    """The same checks fail where a table of the geometry is changed instead of a weight."""
    model, with_adapters, adapted = _adapted("tensornet")
    layer = with_adapters.get_submodule("layers.0.product")
    broken = OnConstant(layer.table.shape, 1)
    parametrize.register_parametrization(layer, "table", broken.double())
    stir(with_adapters)
    spec, _ = registry.resolve("tensornet")
    result = run_check("rotation", subject_of(with_adapters), spec.bounds(exact=True))
    assert not result.passed and not result.skipped
    assert result.error is not None and result.error > 1e-3
