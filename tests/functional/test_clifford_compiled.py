"""Products, norms and gates of multivectors as C code: the same numbers, derivatives, refusals."""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.functional import _library, clifford
from zoo.functional.clifford import Algebra, _mode, _native, algebra
from zoo.layers.clifford import GeometricProduct, MVLayerNorm, MVNorm, MVSiLU, QuaternionNorm

needs_compiler = pytest.mark.skipif(_library.compiler() is None, reason="no C compiler")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache folder of its own, and nothing loaded."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    loaders: list[Any] = [_library.load, _native._products, _native._gates]
    for function in loaders:
        function.cache_clear()
    yield tmp_path / "native"
    for function in loaders:
        function.cache_clear()


def _random(of: Algebra, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, of.blades, generator=generator, dtype=torch.float64)


def _all(of: Algebra, batch: int = 3) -> list[tuple[Callable[..., Tensor], list[Tensor]]]:
    """Functions, and what they are differentiated by."""
    torch.manual_seed(1)
    x, y = (_random(of, batch, 3, seed=s).requires_grad_() for s in (1, 2))
    weight = torch.randn(3, len(of.paths), dtype=torch.float64).requires_grad_()
    found: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (lambda x, y, w: clifford.weighted_product(x, y, w, of), [x, y, weight])
    ]
    layers: list[nn.Module] = [MVNorm(of, 3), MVSiLU(of, 3), QuaternionNorm(of, 3)]
    layers += [MVLayerNorm(of, 3), MVLayerNorm(of, 3, max_growth=1.5)]
    layers += [GeometricProduct(of, 3), GeometricProduct(of, 3, normalise=False)]
    for layer in layers:
        layer.double()
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.5)
        found.append((functools.partial(_called, layer), [x, *layer.parameters()]))
    return found


def _called(layer: nn.Module, x: Tensor, *_: Tensor) -> Tensor:
    out: Tensor = layer(x)
    return out


def _derivatives(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    out = function(*inputs)
    first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
    plain = torch.autograd.grad(function(*inputs).square().sum(), inputs)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [out, *first, *plain, *second]


def _is_multivector(x: Tensor) -> bool:
    return x.ndim == 3 and not isinstance(x, nn.Parameter)


def _by_blade(x: Tensor) -> Tensor:
    return clifford.channels_first(clifford.blade_major(x.detach())).requires_grad_(x.requires_grad)


@needs_compiler
@pytest.mark.parametrize("signature", [(1, 0, 0), (3, 0, 0), (1, 3, 0), (2, 0, 1)])
@pytest.mark.parametrize("by_blade", [False, True])
@pytest.mark.parametrize("batch", [0, 1, 37])
def test_values_and_two_derivatives_are_those_of_torch(
    signature: tuple[int, int, int], by_blade: bool, batch: int
) -> None:
    """In both layouts, where a vector ends within a sample, and where there are no samples."""
    for function, inputs in _all(algebra(*signature), batch):
        if by_blade:
            inputs = [_by_blade(x) if _is_multivector(x) else x for x in inputs]
        with clifford.compiled_products(False):
            expected = _derivatives(function, inputs)
        with clifford.compiled_products():
            found = _derivatives(function, inputs)
        for a, b in zip(found, expected, strict=True):
            scale = float(b.detach().abs().max()) if b.numel() else 0.0
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * scale)


@needs_compiler
def test_derivatives_are_those_of_finite_differences() -> None:
    with clifford.compiled_products():
        for function, inputs in _all(algebra(1), 2):
            assert torch.autograd.gradcheck(function, inputs)
            assert torch.autograd.gradgradcheck(function, inputs)


@needs_compiler
def test_float32_and_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    of = algebra(3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(_native, "PER_THREAD", 1)
    for function, inputs in _all(of, 700):
        leaves = [t.detach().float().requires_grad_() for t in inputs]
        if isinstance(function, functools.partial):
            function.args[0].float()
            leaves[1:] = function.args[0].parameters()
        with clifford.compiled_products(False):
            expected = _gradients(function, leaves)
        with clifford.compiled_products():
            found = _gradients(function, leaves)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))


def _gradients(function: Callable[..., Tensor], leaves: list[Tensor]) -> list[Tensor]:
    out = function(*leaves)
    return [out, *torch.autograd.grad(out.square().sum(), leaves)]


@needs_compiler
def test_gates_are_exact_where_exponentials_end_and_at_zero() -> None:
    of = algebra(2)
    x = torch.zeros(5, 1, of.blades)
    x[:, 0, 0] = torch.tensor([-1e4, -80.0, 0.0, 80.0, 1e4])
    layer = MVSiLU(of, 1)
    found = []
    for enabled in (True, False):
        leaf = x.clone().requires_grad_()
        with clifford.compiled_products(enabled):
            out = layer(leaf)
            out.sum().backward()
        assert leaf.grad is not None
        found.append((out.detach(), leaf.grad))
    for a, b in zip(*found, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-30)
    with clifford.compiled_products():
        assert layer(torch.full((1, 1, of.blades), torch.nan)).isnan().all()


@needs_compiler
def test_gradients_that_nobody_asks_for_are_not_returned() -> None:
    of = algebra(2)
    x, y = _random(of, 3, 2, seed=1), _random(of, 3, 2, seed=2).requires_grad_()
    w = torch.ones(2, len(of.paths), dtype=torch.float64)
    with clifford.compiled_products():
        out = clifford.weighted_product(x, y, w, of)
        (gradient,) = torch.autograd.grad(out.sum(), [y])
        strided = clifford.weighted_product(x.flip(0), y[::2].repeat(2, 1, 1)[:3], w, of)
    assert torch.isfinite(gradient).all()
    expected = clifford.weighted_product(x.flip(0), y[[0, 2, 0]], w, of)
    torch.testing.assert_close(strided, expected)


@needs_compiler
def test_what_runs_as_compiled_code() -> None:
    of = algebra(2)
    few, many = _random(of, 3, 2), torch.zeros(5000, 2, of.blades)
    assert not _mode.compiles(few, of)
    assert _mode.compiles(many, of)
    with clifford.compiled_products():
        assert _mode.compiles(few, of)
        assert not _mode.compiles(torch.zeros(2, 2, 64), algebra(6))
        assert not _mode.compiles(few.to("meta"), of)
        with clifford.compiled_products(enabled=False):
            assert not _mode.compiles(many, of)
        assert _mode.compiles(few, of)
    assert not _mode.compiles(few, of)


@needs_compiler
def test_parts_that_were_replaced_or_are_watched_are_called() -> None:
    of = algebra(2)
    layer = GeometricProduct(of, 3).double()
    x, seen = _random(of, 4, 3), []
    expected = layer(x)
    handle = layer.linear_left.register_forward_hook(lambda *_: seen.append(1))
    with clifford.compiled_products():
        torch.testing.assert_close(layer(x), expected)
        assert seen == [1]
        handle.remove()
        torch.testing.assert_close(layer(x), expected)
        layer.linear_right = nn.Sequential(layer.linear_right)  # type: ignore[assignment]
        torch.testing.assert_close(layer(x), expected)
    assert seen == [1]


@needs_compiler
def test_programs_are_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, dtype = algebra(1), torch.float64
    assert _native._products(of, dtype) is not None
    (kept,) = fresh.iterdir()
    assert kept.suffix == ".so"
    _library.load.cache_clear()
    monkeypatch.setattr(_library, "_compile", lambda *_: pytest.fail("compiled again"))
    assert _library.load(_native.product_source(of, dtype)) is not None
    monkeypatch.undo()


@needs_compiler
def test_damaged_and_foreign_programs_are_made_anew(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _native.product_source(algebra(1), torch.float64)
    kept = fresh / f"{_library._digest(source, _library.compiler() or '')}.so"
    kept.parent.mkdir()
    kept.write_bytes(b"no program")
    assert _library.load(source) is not None
    assert kept.stat().st_size > 1000
    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4096] + bytes(len(whole) - 4096)):
        kept.unlink()  # it may be mapped
        kept.write_bytes(damaged)
        _library.load.cache_clear()
        assert _library.load(source) is not None
        assert _library._whole(kept)
    _library.load.cache_clear()
    calls = []
    compile_ = _library._compile
    monkeypatch.setattr(_library, "_compile", lambda *a: calls.append(a) or compile_(*a))
    monkeypatch.setattr(os, "getuid", lambda: kept.stat().st_uid + 1)
    assert _library.load(source) is not None
    assert len(calls) == 1


@needs_compiler
def test_a_cache_that_cannot_be_written(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.parent.joinpath("file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(fresh.parent / "file"))
    assert _library.load(_native.product_source(algebra(1), torch.float32)) is not None


@needs_compiler
def test_a_compiler_that_fails_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    of = algebra(2, 1)
    monkeypatch.setattr(_library, "FLAGS", ("--no-such-flag",))
    x, w = _random(of, 3, 2), torch.ones(2, len(of.paths), dtype=torch.float64)
    with clifford.compiled_products(), caplog.at_level(logging.WARNING):
        found = [clifford.weighted_product(x, x, w, of) for _ in range(2)]
    assert caplog.text.count("run uncompiled") == 1
    torch.testing.assert_close(found[1], clifford.weighted_product(x, x, w, of))
    assert not fresh.exists()


@pytest.mark.usefixtures("fresh")
def test_what_cannot_be_run_or_loaded_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    program = tmp_path / "compiler"
    program.write_bytes(b"\x7fELF and no more")
    program.chmod(0o755)
    monkeypatch.setenv("CC", str(program))
    with caplog.at_level(logging.WARNING):
        assert _library.load("int f(void) { return 1; }") is None
    assert "run uncompiled" in caplog.text


@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_all_is_as_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    assert not clifford.has_compiler()
    of = algebra(2)
    assert not _mode.compiles(torch.zeros(5000, 2, of.blades), of)
    with pytest.warns(UserWarning, match="no C compiler"), clifford.compiled_products():
        assert not _mode.compiles(_random(of, 3, 2), of)
