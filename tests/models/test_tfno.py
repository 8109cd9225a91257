"""Tensorised Fourier neural operators: the contract, grids, translations, and that they learn."""

import itertools
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.testing import SampleContract, check_contract


class TestPlane(SampleContract):
    architecture = "tfno"


class TestLine(SampleContract):
    architecture = "tfno"
    config = {
        "n_modes": [3],
        "hidden_channels": 4,
        "num_layers": 2,
        "projection_channels": 5,
        "factorization": "tt",
        "rank": 0.6,
        "coordinates": "periodic",
    }


class TestPeriodic(SampleContract):
    """Without coordinates, so that the contract measures translations."""

    architecture = "tfno"
    config = {
        "n_modes": [2, 2],
        "hidden_channels": 4,
        "num_layers": 2,
        "projection_channels": 5,
        "factorization": "cp",
        "rank": 0.5,
        "coordinates": "none",
    }


class TestSpace(SampleContract):
    """All weights, padded."""

    architecture = "tfno"
    config = {
        "in_channels": 2,
        "n_modes": [2, 1, 2],
        "hidden_channels": 3,
        "num_layers": 1,
        "projection_channels": 4,
        "factorization": None,
        "padding": 0.25,
    }


SMALL: dict[str, Any] = {"hidden_channels": 4, "num_layers": 3, "projection_channels": 6}


def make(**changes: Any) -> Any:
    torch.manual_seed(0)
    return zoo.create("tfno", **({"n_modes": [3, 3], "rank": 0.5} | SMALL | changes)).double()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"coordinates": "none"}, "passed"),
        ({"coordinates": "none", "padding": 0.3}, "skipped"),
        ({"coordinates": "periodic"}, "skipped"),
    ],
)
def test_the_contract_measures_translations(changes: dict[str, Any], status: str) -> None:
    (result, *_) = check_contract(make(**changes), names=["translation"])
    assert result.status == status
    if status == "skipped":
        model = make(**changes)
        model.symmetry = "T(grid)"
        assert check_contract(model, names=["translation"])[0].status == "failed"


def test_periodic_operators_move_along() -> None:
    """Exactly by whole places; not with coordinates or padding."""
    x = torch.randn(2, 1, 9, 12, dtype=torch.float64)
    errors = {}
    for name, options in {
        "none": {"coordinates": "none"},
        "padded": {"coordinates": "none", "padding": 0.3},
        "periodic": {"coordinates": "periodic"},
        "closed": {},
    }.items():
        model = make(**options)
        out = model({"x": x})["prediction"].detach()
        moved = model({"x": x.roll((4, -5), (2, 3))})["prediction"].detach()
        errors[name] = float((moved - out.roll((4, -5), (2, 3))).abs().max())
    assert errors.pop("none") < 1e-12
    assert min(errors.values()) > 1e-5


@pytest.mark.parametrize("coordinates", ["none", "periodic", "closed"])
def test_one_function_on_finer_grids(coordinates: str) -> None:
    """A smooth function, sampled twice as finely, has the same result where places coincide.

    Without coordinates up to frequencies that activations make and a grid takes for lower ones.
    Coordinates jump from 1 to 0, and a closed grid counts its ends, one place of a ring, twice:
    there the difference falls with the distance of the points.
    """
    model = make(n_modes=[3], coordinates=coordinates)
    closed = coordinates == "closed"
    found = []
    for size in (32, 64, 128):
        places = torch.arange(size + closed, dtype=torch.float64) / size
        x = (2 * torch.pi * places).sin() + 0.3 * (4 * torch.pi * places).cos()
        found.append(model({"x": x[None, None]})["prediction"].detach()[0, 0])
    gaps = [float((a - b[::2]).abs().max()) for a, b in itertools.pairwise(found)]
    if coordinates == "none":
        assert max(gaps) < 1e-6 * float(found[0].std())
    else:
        assert gaps[1] < 0.6 * gaps[0]


def test_coordinates() -> None:
    x = torch.zeros(1, 3, 5, 1, dtype=torch.float64)
    closed = make()._places(x)
    torch.testing.assert_close(closed[0][0, :, 0, 0].tolist(), [0.0, 0.5, 1.0])
    torch.testing.assert_close(closed[1][0, 0, :, 0].tolist(), [0.0, 0.25, 0.5, 0.75, 1.0])
    periodic = make(coordinates="periodic")._places(x)
    torch.testing.assert_close(periodic[1][0, 0, :, 0].tolist(), [0.0, 0.2, 0.4, 0.6, 0.8])
    assert make(coordinates="none")._places(x) == []


def test_padding_is_cut_off() -> None:
    model = make(padding=0.5, num_layers=1)
    with torch.no_grad():
        model.layers[0].linear.weight.zero_()
        model.layers[0].linear.bias.zero_()
        for core in model.layers[0].spectral.weight.cores:
            core.zero_()
    out = model({"x": torch.randn(1, 1, 7, 8, dtype=torch.float64)})["prediction"].detach()
    assert out.shape == (1, 1, 7, 8)
    torch.testing.assert_close(out, out[:, :, :1, :1].expand_as(out))


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("tfno-1d", 70_633),
        ("tfno-2d", 223_169),
        ("tfno-dense-1d", 549_569),
        ("tfno-dense-2d", 2_368_001),
    ],
)
def test_sizes(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


def test_it_learns() -> None:
    """Sixty steps on Burgers' equation: far ahead of predicting nothing."""
    settings = "train=60&val=20&test=1&resolution=32&fine=64&viscosity=0.02"
    dataset = zoo.datasets.open(f"burgers?{settings}")
    torch.manual_seed(0)
    model = zoo.create("tfno-1d", n_modes=[8], hidden_channels=16, rank=0.3)
    train, val = (model.prepare(list(dataset.split(name))) for name in ("train", "val"))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        loss = (model(train)["prediction"] - train["y"]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = (model(val)["prediction"] - val["y"]).square().mean()
    assert float(error) < 0.05 * float(val["y"].square().mean())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_layers": 0}, "expected numbers >= 1"),
        ({"padding": 1.5}, "padding=1.5"),
        ({"coordinates": "polar"}, "periodic"),
        ({"n_modes": []}, "one, two or three axes"),
        ({"factorization": None, "rank": 0.5}, "without a factorization"),
        ({"factorization": "svd"}, "tucker"),
        ({"rank": [1, 1]}, "rank"),
    ],
)
def test_impossible_operators(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("tfno", **config)


def test_unfit_fields() -> None:
    model = zoo.create("tfno-1d", hidden_channels=4)
    with pytest.raises(UnsupportedInputError, match=r"\(1, any\)"):
        model({"x": torch.zeros(1, 1, 8, 8)})
    with pytest.raises(UnsupportedInputError, match=r"\(1, any\)"):
        model({"x": torch.zeros(1, 2, 8)})


def test_a_fresh_head() -> None:
    model = make()
    model.replace_head(2)
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    assert model({"x": x})["prediction"].shape == (1, 2, 6, 6)
