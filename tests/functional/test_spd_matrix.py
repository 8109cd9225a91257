"""Functions of symmetric matrices: values, derivatives of two orders, refusals."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from zoo.errors import CapabilityError, ConfigError, DeviceError, ManifoldError
from zoo.functional import spd

Function = Callable[[Tensor], Tensor]
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "log": (spd.log, torch.log),
    "exp": (spd.exp, torch.exp),
    "sqrt": (spd.sqrt, torch.sqrt),
    "inv_sqrt": (spd.inv_sqrt, torch.rsqrt),
    "inverse": (spd.inverse, torch.reciprocal),
    "power": (lambda x: spd.power(x, 0.3), lambda s: s**0.3),
    "negative power": (lambda x: spd.power(x, -1.7), lambda s: s**-1.7),
    "clamp": (lambda x: spd.clamp(x, 0.9), lambda s: s.clamp(min=0.9)),
    "clamp then log": (
        lambda x: spd.eigen(x).clamp(0.9).log().matrix(),
        lambda s: s.clamp(min=0.9).log(),
    ),
    "power then exp": (
        lambda x: spd.eigen(x).power(0.7).exp().matrix(),
        lambda s: s.pow(0.7).exp(),
    ),
}
SPECTRA = {
    "spread": [0.2, 0.7, 1.4, 6.0],
    "repeated": [0.5, 0.5, 2.0, 2.0],
    "identity": [1.0, 1.0, 1.0, 1.0],
    "nearly repeated": [0.7, 0.7 + 1e-9, 2.0, 2.0 + 1e-13],
    "far apart": [1e-3, 0.6, 5.0, 30.0],
}


def _matrix(spectrum: list[float], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    n = len(spectrum)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    return (q * torch.tensor(spectrum, dtype=torch.float64)) @ q.T


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_the_eigenvalues(name: str, spectrum: list[float]) -> None:
    function, of_number = FUNCTIONS[name]
    wanted = of_number(torch.tensor(spectrum, dtype=torch.float64)).tolist()
    got = function(_matrix(spectrum))
    assert torch.allclose(got, _matrix(wanted), rtol=1e-12, atol=1e-12 * max(1.0, *wanted))


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_derivatives(name: str, spectrum: list[float]) -> None:
    if name == "power then exp" and max(spectrum) > 10:
        spectrum = [0.3 * s for s in spectrum]
    function, _ = FUNCTIONS[name]
    x = _matrix(spectrum).requires_grad_()
    assert gradcheck(function, x, rtol=1e-4, atol=1e-6)
    scale = float(torch.linalg.matrix_norm(x.detach().inverse())) ** 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the directions; finite differences lose digits in some of them
        assert gradgradcheck(function, x, rtol=1e-4, atol=1e-6 * max(1.0, scale), fast_mode=True)


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-6, 1e-2, 0.2, 0.3, 1.0])
@pytest.mark.parametrize("name", ["log", "exp", "power", "inv_sqrt", "sqrt", "clamp then log"])
def test_divided_differences_keep_their_digits(name: str, gap: float) -> None:
    """f[a, b, c] at any spread agrees with 100 digits of mpmath."""
    mpmath = pytest.importorskip("mpmath")
    from zoo.functional.spd import _functions as f

    cases = {
        "log": (f.Log(), mpmath.log),
        "exp": (f.Exp(), mpmath.exp),
        "power": (f.Power(0.3), lambda s: s ** mpmath.mpf(0.3)),
        "inv_sqrt": (f.InvSqrt(), lambda s: 1 / mpmath.sqrt(s)),
        "sqrt": (f.Sqrt(), mpmath.sqrt),
        "clamp then log": (f.Chain(f.Clamp(1e-3), f.Log()), mpmath.log),
    }
    scalar, exact = cases[name]
    numbers = [1.3, 1.3 + 0.4 * gap, 1.3 + gap]
    a, b, c = (torch.tensor(s, dtype=torch.float64) for s in numbers)
    with mpmath.workdps(100):
        shift = mpmath.mpf(10) ** -18  # coinciding arguments: their limit, to 18 digits
        p, q, r = (mpmath.mpf(s) + k * shift for k, s in enumerate(numbers))
        first = (exact(p) - exact(r)) / (p - r)
        second = ((exact(p) - exact(q)) / (p - q) - (exact(q) - exact(r)) / (q - r)) / (p - r)
        assert float(abs(scalar.first(a, c).item() / first - 1)) < 4e-15
        assert float(abs(scalar.second(a, b, c).item() / second - 1)) < 4e-14
        s = mpmath.mpf(1.3 + 0.7 * gap) + 3 * shift
        d = torch.tensor(1.3 + 0.7 * gap, dtype=torch.float64)
        last = ((exact(q) - exact(r)) / (q - r) - (exact(r) - exact(s)) / (r - s)) / (q - s)
        third = (second - last) / (p - s)
        assert float(abs(scalar.third(a, b, c, d).item() / third - 1)) < 1e-11


def test_a_chain_takes_one_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    true = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda x: (calls.append(1), true(x))[1])
    x = _matrix(SPECTRA["far apart"]).requires_grad_()
    spd.eigen(x).clamp(1e-2).log().matrix().square().sum().backward()
    assert len(calls) == 1
    assert x.grad is not None
    twice = spd.log(spd.clamp(x, 1e-2))
    (grad,) = torch.autograd.grad(twice.square().sum(), x)
    assert torch.allclose(grad, x.grad, rtol=1e-12)


def test_lyapunov_solves_and_differentiates() -> None:
    x, v = _matrix(SPECTRA["repeated"]), spd.symmetrise(_matrix([1.0, -2.0, 0.3, 5.0], seed=1))
    y = spd.lyapunov(x, v)
    assert torch.allclose(x @ y + y @ x, v, atol=1e-14)

    def solve(a: Tensor, b: Tensor) -> Tensor:
        return spd.lyapunov(spd.symmetrise(a), spd.symmetrise(b))

    x.requires_grad_()
    v.requires_grad_()
    assert gradcheck(solve, (x, v))
    assert gradgradcheck(solve, (x, v))


def test_the_differential_is_the_limit_of_quotients() -> None:
    x, v = _matrix(SPECTRA["repeated"]), spd.symmetrise(_matrix([1.0, -2.0, 0.3, 5.0], seed=1))
    h = 1e-5
    for function, differential in (
        (spd.log, spd.differential_log),
        (spd.exp, spd.differential_exp),
        (lambda a: spd.power(a, 0.4), lambda a, b: spd.differential_power(a, b, 0.4)),
    ):
        quotient = (function(x + h * v) - function(x - h * v)) / (2 * h)
        assert torch.allclose(differential(x, v), quotient, atol=1e-8)


def test_a_tensor_exponent_has_its_gradient() -> None:
    x = _matrix(SPECTRA["repeated"])
    p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(spd.power(x, p), spd.power(x, 0.7), atol=1e-13)
    assert gradcheck(lambda q: spd.power(x, q), p)
    v = spd.symmetrise(_matrix([1.0, -2.0, 0.3, 5.0], seed=1))
    wanted = spd.differential_power(x, v, 0.7)
    assert torch.allclose(spd.differential_power(x, v, p), wanted, atol=1e-13)


def test_vectors_keep_inner_products() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = spd.symmetrise(torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64))
    inside = (spd.to_vector(x) * spd.to_vector(y)).sum(-1)
    assert torch.allclose(inside, (x * y).sum((-2, -1)))
    assert torch.equal(spd.from_vector(spd.to_vector(x)), x) or torch.allclose(
        spd.from_vector(spd.to_vector(x)), x, rtol=1e-15
    )
    with pytest.raises(ConfigError, match="triangle"):
        spd.from_vector(torch.zeros(4))


def test_refusals_name_the_worst() -> None:
    x = torch.stack([_matrix([1.0, 2.0, 3.0]), _matrix([-0.25, 2.0, 3.0])])
    with pytest.raises(ManifoldError, match=r"\[1\] is not positive definite.* -0.25"):
        spd.check(x)
    with pytest.raises(ManifoldError, match=r"-0.25.*project=True"):
        spd.log(x)
    with pytest.raises(ManifoldError, match=r"-0.25"):
        spd.cholesky(x)
    y = _matrix([1.0, 2.0, 3.0])
    y[0, 1] += 0.5
    with pytest.raises(ManifoldError, match=r"not symmetric.* 0.5 "):
        spd.check(y)
    with pytest.raises(ManifoldError, match="square"):
        spd.check(torch.zeros(2, 3))
    with pytest.raises(ManifoldError, match="finite"):
        spd.log(torch.full((2, 2), torch.nan))
    for function in (spd.check, spd.log, spd.cholesky, spd.project):
        with pytest.raises(DeviceError, match="float16"):
            function(torch.eye(2, dtype=torch.float16))
    assert torch.equal(spd.check(x[0]), x[0])


def test_projection_repairs() -> None:
    x = _matrix([-0.25, 2.0, 3.0])
    x[0, 1] += 1e-3
    fixed = spd.check(spd.project(x))
    assert float(torch.linalg.eigvalsh(fixed)[0]) > 0
    assert torch.equal(spd.check(x, project=True), fixed)
    lifted = torch.linalg.eigvalsh(spd.project(x, floor=0.5))
    assert float(lifted[0]) == pytest.approx(0.5)
    good = _matrix([1.0, 2.0, 3.0])
    good = spd.symmetrise(good)
    assert torch.equal(spd.project(good), good)
    assert torch.equal(spd.project(torch.zeros(2, 2)), torch.eye(2) * 2.0**-11.5)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("name", ["log", "exp", "sqrt", "inverse", "clamp then log"])
def test_the_third_derivative(name: str, spectrum: list[float]) -> None:
    """Of the function by second derivatives of its differential."""
    from zoo.functional.spd import _functions as f

    scalar = {
        "log": f.Log(),
        "exp": f.Exp(),
        "sqrt": f.Sqrt(),
        "inverse": f.Inverse(),
        "clamp then log": f.Chain(f.Clamp(0.9), f.Log()),
    }[name]
    v = spd.symmetrise(_matrix([1.0, -2.0, 0.3, 0.4], seed=1))
    x = _matrix([max(s, 0.1) for s in spectrum]).requires_grad_()
    assert gradgradcheck(
        lambda y: spd.differential(scalar, y, v), x, rtol=1e-3, atol=1e-5, fast_mode=True
    )


def test_a_fourth_derivative_is_refused() -> None:
    x = _matrix(SPECTRA["spread"]).requires_grad_()
    out = spd.log(x).pow(3).sum()
    for _ in range(3):
        (out,) = torch.autograd.grad(out, x, create_graph=True)
        out = out.pow(2).sum()
    with pytest.raises(CapabilityError, match="three"):
        out.backward()


def test_float32_gradients_are_finite_where_conditions_are_bad() -> None:
    x = _matrix([1e-4, 1e-4, 1.0, 1e4]).float().requires_grad_()
    for function in (spd.log, spd.sqrt):
        (grad,) = torch.autograd.grad(function(spd.clamp(x, 1e-3)).sum(), x)
        assert bool(grad.isfinite().all())


def test_empty_batches_and_single_numbers() -> None:
    assert spd.log(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
    assert torch.allclose(spd.log(torch.tensor([[4.0]])), torch.tensor([[4.0]]).log())


def test_a_repaired_matrix_has_its_gradient() -> None:
    """At repeated eigenvalues too, where eigenvectors have none."""
    x = torch.diag(torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=torch.float64)).requires_grad_()
    assert gradcheck(lambda y: spd.project(y, floor=0.5), x)
