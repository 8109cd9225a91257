"""Burgers and Darcy: fields of the right law, solvers that converge, and exact solutions."""

from typing import Any

import numpy as np
import pytest

import zoo.datasets as zd
from zoo.datasets.synthetic import flows
from zoo.datasets.synthetic.flows import burgers_later, darcy_pressure, ring_field, square_field
from zoo.errors import ConfigError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- random fields ----------------------------------------------------------------------------


def test_fields_on_a_ring_have_their_law() -> None:
    """The variance of each sine and cosine is that of 625 (-Laplacian + 25)^-2."""
    fields = ring_field(rng(), 4000, 32)
    np.testing.assert_allclose(fields.mean(axis=1), 0, atol=1e-12)
    modes = np.fft.rfft(fields)[:, 1:9] / 32
    found = 4 * (np.abs(modes) ** 2).mean(axis=0)  # squares of both coefficients
    k = 2 * np.pi * np.arange(1, 9)
    # an eigenfunction of length 1 is sqrt(2) cos, so that cos has twice the eigenvalue
    np.testing.assert_allclose(found, 2 * 2 * 625 / (k**2 + 25) ** 2, rtol=0.08)


def test_fields_on_a_square_have_their_law() -> None:
    """Sums of cosines: against the sum, term by term, and their slope at the boundary is zero."""
    size = 9
    draws = rng(3).standard_normal((size, size))
    places = np.arange(size) / (size - 1)
    expected = np.zeros((size, size))
    for j in range(size):
        for k in range(size):
            if j == k == 0:
                continue
            length = np.sqrt(2) ** ((j > 0) + (k > 0))
            wave = np.outer(np.cos(np.pi * j * places), np.cos(np.pi * k * places))
            expected += draws[j, k] * length * wave / (np.pi**2 * (j**2 + k**2) + 9)
    np.testing.assert_allclose(square_field(rng(3), size), expected, atol=1e-12)


# --- Burgers ----------------------------------------------------------------------------------


def test_steps_and_grids_are_fine_enough() -> None:
    start = ring_field(rng(), 4, 128)
    for viscosity in (0.1, 0.02):
        usual = burgers_later(start, viscosity=viscosity, time=1.0)
        halved = burgers_later(start, viscosity=viscosity, time=1.0, refine=2)
        np.testing.assert_allclose(usual, halved, atol=1e-7 * np.abs(usual).max())
    spectrum = np.pad(np.fft.rfft(start), [(0, 0), (0, 64)])
    finer = burgers_later(2 * np.fft.irfft(spectrum, 256), viscosity=0.1, time=1.0)
    usual = burgers_later(start, viscosity=0.1, time=1.0)
    np.testing.assert_allclose(finer[:, ::2], usual, atol=1e-7 * np.abs(usual).max())


def test_burgers_against_its_exact_solution() -> None:
    """u = -2 nu phi_x / phi with phi = 2 + exp(-4 pi^2 nu t) cos(2 pi x) (Cole and Hopf)."""
    nu, x = 0.05, np.arange(64) / 64

    def exact(time: float) -> np.ndarray:
        decay = np.exp(-4 * np.pi**2 * nu * time)
        slope = -2 * np.pi * decay * np.sin(2 * np.pi * x)
        return -2 * nu * slope / (2 + decay * np.cos(2 * np.pi * x))

    found = burgers_later(exact(0.0), viscosity=nu, time=0.5)
    np.testing.assert_allclose(found, exact(0.5), atol=1e-9)


# --- Darcy ------------------------------------------------------------------------------------


def manufactured(size: int) -> float:
    """Error where u = sin(pi x) sin(2 pi y), a = 2 + x y."""
    x, y = np.meshgrid(*[np.linspace(0, 1, size)] * 2, indexing="ij")
    u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
    slopes = (
        np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y),
        2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y),
    )
    a = 2 + x * y
    source = 5 * np.pi**2 * a * u - y * slopes[0] - x * slopes[1]
    return float(np.abs(darcy_pressure(a, source, tolerance=1e-12) - u).max())


def test_darcy_against_a_manufactured_solution() -> None:
    errors = [manufactured(size) for size in (17, 33, 65)]
    assert errors[-1] < 2e-3
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(rates, 2.0, atol=0.05)


def test_darcy_converges_for_two_materials() -> None:
    """Finer grids of one permeability, and a smaller residual, change little."""
    field = square_field(rng(1), 17)
    a = np.where(field >= 0, 12.0, 3.0)
    usual = darcy_pressure(a)
    np.testing.assert_allclose(usual, darcy_pressure(a, tolerance=1e-13), atol=1e-7 * usual.max())
    assert usual.min() == 0 and (usual[1:-1, 1:-1] > 0).all()
    assert not usual[[0, -1]].any() and not usual[:, [0, -1]].any()
    solutions = []
    for factor in (2, 4, 8):
        finer = np.kron(a[:-1, :-1], np.ones((factor, factor)))
        finer = np.pad(finer, [(0, 1), (0, 1)], mode="edge")
        solutions.append(darcy_pressure(finer)[::factor, ::factor])
    gaps = [np.linalg.norm(s - solutions[-1]) / np.linalg.norm(solutions[-1]) for s in solutions]
    assert gaps[1] < 0.6 * gaps[0] < 0.03


def test_a_constant_permeability_scales_the_pressure() -> None:
    one = darcy_pressure(np.ones((33, 33)))
    np.testing.assert_allclose(darcy_pressure(np.full((33, 33), 3.0)) * 3, one, rtol=1e-9)
    assert one.max() == pytest.approx(0.0736713, rel=2e-3)  # of the Poisson equation


# --- sets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "shape"),
    [
        ("burgers", {"resolution": 16, "fine": 32}, (1, 16)),
        ("darcy", {"resolution": 9, "stride": 2}, (1, 9, 9)),
    ],
)
def test_samples(kind: str, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    made = zd.make(kind, train=3, val=2, test=2, **settings)
    assert len(made) == 7 and made.domain == "field"
    assert made[0]["x"].shape == made[0]["y"].shape == shape
    longer = zd.make(kind, train=5, val=2, test=2, **settings)
    for name, count in (("train", 3), ("val", 2), ("test", 2)):
        for k in range(count):
            assert bool((made.split(name)[k]["y"] == longer.split(name)[k]["y"]).all())
    if kind == "darcy":
        assert set(np.unique(made[0]["x"])) <= {3.0, 12.0}


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("burgers", {"fine": 100}, "multiple of the resolution 256, at most 16384, such as 1024"),
        ("burgers", {"fine": 128}, "fine is 128"),
        ("burgers", {"resolution": 9, "fine": 9}, "must be even, such as 10"),
        ("burgers", {"viscosity": 0.0}, "viscosity is 0.0"),
        ("burgers", {"time": -1.0}, "time is -1.0"),
        ("burgers", {"train": 0}, "train is 0"),
        ("darcy", {"resolution": 4}, "resolution is 4"),
        ("darcy", {"stride": 0}, "stride is 0"),
        ("darcy", {"val": 0}, "val is 0"),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zd.make(kind, **settings)


def test_what_the_card_of_burgers_says() -> None:
    start = ring_field(rng(), 200, 64)
    later = burgers_later(start, viscosity=0.1, time=1.0)
    assert start.std() == pytest.approx(0.57, abs=0.03)
    assert later.std() == pytest.approx(0.01, abs=0.002)
    assert flows._batches(130) == [64, 64, 2]
