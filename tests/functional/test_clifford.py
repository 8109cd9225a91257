"""Clifford algebras against the `clifford` package, a dense einsum, and their own laws."""

import inspect
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, DeviceError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, _kernels, algebra

TEN = [
    (1, 0, 0),
    (0, 2, 0),
    (2, 0, 1),
    (3, 0, 0),
    (0, 3, 0),
    (1, 3, 0),
    (3, 0, 1),
    (5, 0, 0),
    (2, 1, 1),
    (4, 1, 0),
]
SOME = [(2, 0, 0), (1, 1, 1), (3, 0, 0), (1, 3, 0), (3, 0, 1)]


def _peer(of: Algebra) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("clifford")
        return package.Cl(sig=list(of.metric), firstIdx=1)[0]


def _random(of: Algebra, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, of.blades, generator=generator, dtype=torch.float64)


def _dense(of: Algebra) -> Tensor:
    table = torch.zeros(of.blades, of.blades, of.blades, dtype=torch.float64)
    for i, k in itertools.product(range(of.blades), repeat=2):
        table[i, of.target[i, k], k] = float(of.signs[i, k])
    return table


def _dense_weights(of: Algebra, weight: Tensor) -> Tensor:
    """(..., paths) as (..., left, output, right)."""
    number = {path: place for place, path in enumerate(of.paths)}
    index = np.zeros((of.blades,) * 3, dtype=np.int64)
    for i, k in np.argwhere(of.signs):
        j = of.target[i, k]
        index[i, j, k] = number[of.grades[i], of.grades[j], of.grades[k]]
    return weight[..., torch.from_numpy(index)]


@pytest.mark.parametrize("signature", TEN)
def test_products_agree_with_the_clifford_package(signature: tuple[int, int, int]) -> None:
    of = algebra(*signature)
    layout = _peer(of)
    x, y = _random(of, seed=1), _random(of, seed=2)
    # the peer's tables, not its compiled functions: those take seconds each to build
    tables = {
        "geometric_product": "gmt",
        "wedge": "omt",
        "inner": "imt",
        "left_contraction": "lcmt",
    }
    for name, table in tables.items():
        dense = torch.as_tensor(getattr(layout, table).todense(), dtype=torch.float64)
        expected = torch.einsum("i,ijk,k->j", x, dense, y)
        ours = getattr(clifford, name)(x, y, of)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_the_rest_agrees_with_the_clifford_package() -> None:
    of = algebra(2, 0, 1)
    layout = _peer(of)
    x, y = _random(of, seed=1), _random(of, seed=2)
    a, b = (layout.MultiVector(value=t.numpy()) for t in (x, y))
    pairs = {
        "regressive": (clifford.regressive(x, y, of), a.vee(b)),
        "reverse": (clifford.reverse(x, of), ~a),
        "involution": (clifford.grade_involution(x, of), a.gradeInvol()),
        "conjugate": (clifford.conjugate(x, of), a.conjugate()),
        "grade": (clifford.project(x, [1], of), a(1)),
    }
    for name, (ours, theirs) in pairs.items():
        expected = torch.as_tensor(np.asarray(theirs.value))
        torch.testing.assert_close(
            ours, expected, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )
    form = clifford.quadratic_form(x, of)
    scalar = clifford.geometric_product(clifford.reverse(x, of), x, of)[0]
    torch.testing.assert_close(form, scalar)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("signature", [*TEN[:-2], (5, 1, 0)])
def test_weighted_products_are_the_dense_einsum(
    signature: tuple[int, int, int], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(_kernels, "SMALL", 0)
    of = algebra(*signature)
    x, y = _random(of, 3, 2, seed=1), _random(of, 3, 2, seed=2)
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(2, len(of.paths), generator=generator, dtype=torch.float64)
    v = torch.randn(4, 2, len(of.paths), generator=generator, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (x, y, w, v)]
    table = _dense(of)
    ours = (
        clifford.geometric_product(x, y, of),
        clifford.weighted_product(x, y, w, of),
        clifford.connected_product(x, y, v, of),
    )
    theirs = (
        torch.einsum("bni,ijk,bnk->bnj", x, table, y),
        torch.einsum("bni,nijk,bnk->bnj", x, table * _dense_weights(of, w), y),
        torch.einsum("bni,mnijk,bnk->bmj", x, table * _dense_weights(of, v), y),
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-11)
        g = torch.randn(a.shape, generator=generator, dtype=torch.float64)
        found = torch.autograd.grad(a, leaves, g, allow_unused=True)
        wanted = torch.autograd.grad(b, leaves, g, allow_unused=True)
        for f, e in zip(found, wanted, strict=True):
            torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-10)


def test_a_batch_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernels, "SMALL", 0)
    of = algebra(2, 1)
    x, y = _random(of, 7, 2, seed=1), _random(of, 7, 2, seed=2)
    w = torch.arange(2.0 * len(of.paths), dtype=torch.float64).reshape(2, -1)
    leaves = [t.requires_grad_() for t in (x, y, w)]
    whole = clifford.weighted_product(x, y, w, of)
    gradients = torch.autograd.grad(whole.square().sum(), leaves)
    monkeypatch.setattr(_kernels, "CHUNK", 6)
    parts = clifford.weighted_product(x, y, w, of)
    torch.testing.assert_close(whole, parts)
    again = torch.autograd.grad(parts.square().sum(), leaves)
    torch.testing.assert_close(gradients, again)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("signature", [(2, 0, 0), (1, 1, 0), (1, 0, 1)])
def test_second_derivatives(
    signature: tuple[int, int, int], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(_kernels, "SMALL", 0)
    of = algebra(*signature)
    x, y = (_random(of, 2, 2, seed=s).requires_grad_() for s in (1, 2))
    paths = len(of.paths)
    w = torch.linspace(-1, 1, 2 * paths, dtype=torch.float64).reshape(2, paths).requires_grad_()
    v = torch.linspace(-1, 1, 6 * paths, dtype=torch.float64).reshape(3, 2, paths).requires_grad_()
    products: list[tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = [
        (lambda a, b: clifford.geometric_product(a, b, of), (x, y)),
        (lambda a, b, c: clifford.weighted_product(a, b, c, of), (x, y, w)),
        (lambda a, b, c: clifford.connected_product(a, b, c, of), (x, y, v)),
    ]
    for product, inputs in products:
        assert torch.autograd.gradcheck(product, inputs)
        assert torch.autograd.gradgradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(lambda a: clifford.norm(a, of), (x,))


def test_paths_of_grades() -> None:
    assert [len(algebra(n).paths) for n in (3, 4, 5)] == [20, 35, 56]
    assert algebra(3).names() == ["1", "e1", "e2", "e3", "e12", "e13", "e23", "e123"]
    assert algebra(2, 1) is algebra(2, 1)


@pytest.mark.parametrize("signature", [(5, 1, 0), (4, 2, 2)])
def test_large_signatures_are_associative(signature: tuple[int, int, int]) -> None:
    of = algebra(*signature)
    x, y, z = (_random(of, seed=s).requires_grad_() for s in range(3))
    gp = clifford.geometric_product
    left, right = gp(gp(x, y, of), z, of), gp(x, gp(y, z, of), of)
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-8)
    first = torch.autograd.grad(left.sum(), y)[0]
    torch.testing.assert_close(first, torch.autograd.grad(right.sum(), y)[0], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("signature", SOME)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_versors_act_as_automorphisms(signature: tuple[int, int, int], count: int) -> None:
    of = algebra(*signature)
    generator = torch.Generator().manual_seed(count)
    n = of.dimension
    vectors = torch.randn(count, n, generator=generator, dtype=torch.float64)
    metric = torch.tensor(of.metric, dtype=torch.float64)
    v = clifford.versor(vectors, of)
    x, y = _random(of, 4, seed=1), _random(of, 4, seed=2)
    gp, act = clifford.geometric_product, clifford.act
    size = {"rtol": 1e-9, "atol": 1e-8 * float(1 + act(v, x, of).abs().max() ** 2)}
    moved = gp(act(v, x, of), act(v, y, of), of)
    torch.testing.assert_close(moved, act(v, gp(x, y, of), of), **size)
    for g in range(n + 1):
        part = act(v, clifford.project(x, [g], of), of)
        torch.testing.assert_close(clifford.project(part, [g], of), part, **size)
    if count == 1:  # a reflection: u - 2 b(u, a) / b(a, a) a
        u, a = torch.randn(n, generator=generator, dtype=torch.float64), vectors[0]
        mirrored = u - 2 * (u * metric * a).sum() / (a * metric * a).sum() * a
        found = act(v, clifford.embed(u, 1, of), of)
        torch.testing.assert_close(found, clifford.embed(mirrored, 1, of), **size)
    form = clifford.quadratic_form(act(v, x, of), of)
    torch.testing.assert_close(form, clifford.quadratic_form(x, of), **size)


def test_norms_are_finite_at_zero_and_on_the_light_cone() -> None:
    of = algebra(1, 3)
    light = clifford.embed(torch.tensor([1.0, 1.0, 0.0, 0.0]), 1, of)
    for x in (torch.zeros(of.blades), light):
        x = x.requires_grad_()
        norm = clifford.norm(x, of)
        torch.testing.assert_close(norm, torch.tensor(1e-4))
        (gradient,) = torch.autograd.grad(norm, x)
        assert torch.isfinite(gradient).all()
    forms = clifford.grade_forms(_random(of, 3), of)
    torch.testing.assert_close(forms.sum(-1), clifford.quadratic_form(_random(of, 3), of))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"p \+ q \+ r = 10 > 8.*16 MiB"):
        algebra(10)
    for wrong in ((0, 0, 0), (-1, 2, 0)):
        with pytest.raises(ConfigError, match="signature"):
            algebra(*wrong)
    of = algebra(2)
    x = torch.ones(3, 4)
    with pytest.raises(UnsupportedInputError, match=r"4 blades.*\(3, 5\)"):
        clifford.geometric_product(torch.ones(3, 5), torch.ones(3, 5), of)
    with pytest.raises(DeviceError, match="float32 or float64"):
        clifford.reverse(x.half(), of)
    with pytest.raises(ConfigError, match="grade 3"):
        clifford.project(x, [3], of)
    with pytest.raises(UnsupportedInputError, match="2 components, not 3"):
        clifford.embed(torch.ones(3), 1, of)
    with pytest.raises(UnsupportedInputError, match="versors"):
        clifford.act(x[0], x, of)
    cone = clifford.versor(torch.tensor([[1.0, 1.0]]), algebra(1, 1))
    with pytest.raises(UnsupportedInputError, match="versors"):
        clifford.act(cone, x, algebra(1, 1))


def test_factors_that_would_be_read_otherwise_are_refused() -> None:
    of = algebra(2)
    x, weight = torch.ones(4, 2, 4), torch.ones(2, len(of.paths))
    plain = inspect.unwrap(clifford.weighted_product)  # without the tests' checker of shapes
    with pytest.raises(UnsupportedInputError, match=r"of one shape, not \(4, 2, 4\) and \(2, 4"):
        plain(x, x.transpose(0, 1), weight, of)
    with pytest.raises(UnsupportedInputError, match=r"the weight is \(4, 10\).*expected \(2, 10\)"):
        plain(x, x, weight.repeat(2, 1), of)
    connected = inspect.unwrap(clifford.connected_product)
    with pytest.raises(UnsupportedInputError, match=r"expected \(3, 2, 10\)"):
        connected(x, x, torch.ones(3, 1, len(of.paths)), of)
    with pytest.raises(UnsupportedInputError, match=r"float32 and torch.float64.*one precision"):
        clifford.geometric_product(x, x.double(), of)
