"""Products of multivectors as compiled loops: the same numbers, derivatives and refusals."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.functional import clifford
from zoo.functional.clifford import Algebra, _compiled, _kernels, _native, algebra
from zoo.layers.clifford import MVLayerNorm, MVNorm, MVSiLU


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What would be compiled runs as it is, which takes no time; `has_compiler` says yes."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(_compiled, "has_compiler", lambda: True)
    monkeypatch.setattr(_kernels, "SMALL", 0)
    _compiled._compiled.cache_clear()
    yield
    _compiled._compiled.cache_clear()


def _random(of: Algebra, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, of.blades, generator=generator, dtype=torch.float64)


def _all(of: Algebra) -> list[tuple[Callable[..., Tensor], list[Tensor]]]:
    torch.manual_seed(1)
    x, y = (_random(of, 3, 2, seed=s).requires_grad_() for s in (1, 2))
    weight = torch.randn(2, len(of.paths), dtype=torch.float64).requires_grad_()
    found: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (lambda x, y, w: clifford.weighted_product(x, y, w, of), [x, y, weight])
    ]
    for layer in (MVNorm(of, 2), MVSiLU(of, 2), MVLayerNorm(of, 2)):
        layer.double()
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        found.append((_Called(layer), [x, *layer.parameters()]))
    return found


class _Called:
    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, x: Tensor, *parameters: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("signature", [(2, 0, 0), (1, 2, 0), (1, 0, 1)])
def test_values_and_two_derivatives_are_those_outside(signature: tuple[int, int, int]) -> None:
    of = algebra(*signature)
    for function, inputs in _all(of):
        expected = _derivatives(function, inputs)
        with clifford.compiled_products():
            assert _compiled.wanted(clifford.blade_major(inputs[0]))
            found = _derivatives(function, inputs)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def _derivatives(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    out = function(*inputs)
    first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
    plain = torch.autograd.grad(function(*inputs).square().sum(), inputs)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out, *first, *plain, *second]


@pytest.mark.usefixtures("traced")
def test_gradients_that_nobody_asks_for_are_not_returned() -> None:
    of = algebra(2)
    x, y = _random(of, 3, 2, seed=1), _random(of, 3, 2, seed=2).requires_grad_()
    w = torch.ones(2, len(of.paths), dtype=torch.float64)
    with clifford.compiled_products():
        out = clifford.weighted_product(x, y, w, of)
        (gradient,) = torch.autograd.grad(out.sum(), [y])
        assert out.requires_grad
        lone = clifford.weighted_product(x[:1], y[:1], w, of)  # one multivector isn't compiled
    torch.testing.assert_close(lone, out[:1])
    assert torch.isfinite(gradient).all()


needs_compiler = pytest.mark.skipif(_native.compiler() is None, reason="no C compiler")


@needs_compiler
@pytest.mark.parametrize("signature", [(1, 0, 0), (3, 0, 0), (1, 3, 0), (2, 0, 1)])
@pytest.mark.parametrize("by_blade", [False, True])
@pytest.mark.parametrize("batch", [0, 1, 37])
def test_compiled_products_are_the_products(
    signature: tuple[int, int, int], by_blade: bool, batch: int
) -> None:
    """In both layouts, where a vector ends within a sample, and where there are no samples."""
    of = algebra(*signature)
    x, y = (_random(of, batch, 3, seed=s) for s in (1, 2))
    if by_blade:
        x, y = (clifford.channels_first(clifford.blade_major(t)) for t in (x, y))
    w = torch.linspace(-1, 1, 3 * len(of.paths), dtype=torch.float64).reshape(3, -1)
    leaves = [t.requires_grad_() for t in (x, y, w)]
    expected = _derivatives(lambda x, y, w: clifford.weighted_product(x, y, w, of), leaves)
    with clifford.compiled_products():
        found = _derivatives(lambda x, y, w: clifford.weighted_product(x, y, w, of), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@needs_compiler
def test_compiled_products_in_float32_and_in_several_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = algebra(3)
    x, y = (_random(of, 700, 5, seed=s).float().requires_grad_() for s in (1, 2))
    w = torch.linspace(-1, 1, 5 * len(of.paths)).reshape(5, -1).requires_grad_()
    expected = _gradients(lambda: clifford.weighted_product(x, y, w, of), [x, y, w])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(_native, "PER_THREAD", 1)
    with clifford.compiled_products():
        found = _gradients(lambda: clifford.weighted_product(x, y, w, of), [x, y, w])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))


def _gradients(function: Callable[[], Tensor], leaves: list[Tensor]) -> list[Tensor]:
    out = function()
    return [out, *torch.autograd.grad(out.square().sum(), leaves)]


@needs_compiler
def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    of = algebra(2, 1)
    monkeypatch.setattr(_native, "FLAGS", ("--no-such-flag",))
    _native._library.cache_clear()
    x, w = _random(of, 3, 2), torch.ones(2, len(of.paths), dtype=torch.float64)
    with (
        clifford.compiled_products(),
        pytest.warns(UserWarning, match="are not compiled: .* failed"),
    ):
        found = clifford.weighted_product(x, x, w, of)
    _native._library.cache_clear()
    torch.testing.assert_close(found, clifford.weighted_product(x, x, w, of))


def test_without_a_compiler_all_is_as_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert not clifford.has_compiler()
    of = algebra(2)
    x = _random(of, 3, 2)
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"), clifford.compiled_products():
        assert not _compiled.wanted(clifford.blade_major(x))


@pytest.mark.usefixtures("traced")
def test_blocks_nest_and_large_algebras_stay_as_they_are() -> None:
    x: Any = _random(algebra(2), 3, 2)
    major = clifford.blade_major(x)
    assert not _compiled.wanted(major)
    with clifford.compiled_products():
        assert _compiled.wanted(major)
        with clifford.compiled_products(enabled=False):
            assert not _compiled.wanted(major)
        assert _compiled.wanted(major)
        assert not _compiled.wanted(torch.zeros(32, 3, 2))
    assert not _compiled.wanted(major)
