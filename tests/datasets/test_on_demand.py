"""Data sets that are computed when they are opened, and the functions behind some of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

import zoo.datasets as zd
from zoo.datasets.synthetic import hulls
from zoo.datasets.synthetic.hulls import PART
from zoo.errors import ConfigError, DataError, RecipeError, UnknownNameError
from zoo.training import recipe as recipes

FEW = "train=9&val=4&test=5"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    return tmp_path


def arrays(name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    samples = list(zd.open(name).split(part))
    x = torch.stack([sample["x"] for sample in samples])
    return x.double().numpy(), torch.stack([sample["y"] for sample in samples]).double().numpy()


def test_by_name_and_with_settings() -> None:
    usual = zd.open("o5-regression")
    assert usual.domain == "sequence" and len(usual) == 500 and usual.source == "o5-regression"
    assert usual.metadata["generation"]["hash"] == usual.hash
    few = zd.open(f"o5-regression?{FEW}&dimension=3")
    assert [len(few.split(n)) for n in ("train", "val", "test")] == [9, 4, 5]
    assert few[0]["x"].shape == (2, 3) and few.source == "o5-regression"
    told = few.metadata["generation"]["settings"]
    assert told == {"train": 9, "val": 4, "test": 5, "dimension": 3, "seed": 0}
    assert "hash" not in few.metadata["generation"]
    assert zd.open("o5-regression?seed=0").metadata["generation"]["hash"] == usual.hash
    other = {"kind": "random", "fractions": {"train": 0.5, "test": 0.5}}
    assert set(zd.open(f"o5-regression?{FEW}", splits=other).splits) == {"train", "test"}


def test_sets_that_ship_as_files_and_kinds_without_description() -> None:
    tree = zd.open("balanced-tree?depth=2&branching=2")
    assert tree.domain == "graph" and tree[0].num_nodes == 7
    words = zd.open("prefix?percent=20&train=4&val=2&test=2")
    assert len(words) == 8


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("o5-hulls?trian=3", ConfigError, "did you mean 'train'"),
        ("o5-hulls?train", ConfigError, "'train' is no list of settings such as"),
        ("o5-hulls?train=0", ConfigError, "train is 0"),
        ("o5-regression?dimension=0", ConfigError, "between 1 and 1000"),
        ("gfn2-md10?train=3", UnknownNameError, "no settings to change"),
        ("o5-hull?train=3", UnknownNameError, "did you mean 'o5-hulls'"),
        ("o5-hull", DataError, "did you mean 'o5-hulls'"),
    ],
)
def test_refusals(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        zd.open(name)


@pytest.mark.parametrize(
    "options",
    [{"keys": {"y": "z"}}, {"units": {"energy": "eV"}}, {"domain": "vector"}],
)
def test_options_of_files_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="o5-regression"):
        zd.open("o5-regression", **options)
    with pytest.raises(ConfigError, match="o5-regression"):
        zd.open(f"o5-regression?{FEW}", **options)


def test_recipes_say_settings() -> None:
    section = recipes.DataSection(source="o5-hulls", settings={"train": 64, "seed": 3})
    assert section.name == "o5-hulls?train=64&seed=3"
    assert "settings" not in recipes.DataSection(source="nbody").model_dump()
    with pytest.raises(RecipeError, match="did you mean 'data.settings'"):
        recipes.load("balanced-tree/hgcn", overrides={"data.setings": {}})


def test_volumes_are_signed() -> None:
    x, y = arrays(f"o3-volumes?{FEW}", "train")
    assert np.allclose(y, np.linalg.det(x) / 10, atol=1e-5)
    assert y.min() < 0 < y.max()


@pytest.mark.parametrize("dimension", [1, 5])
def test_the_invariant_of_two_vectors(dimension: int) -> None:
    settings = {"train": 40, "val": 10, "test": 10, "dimension": dimension}
    made = zd.make("o5-regression", **settings)
    x = np.stack([s["x"].double().numpy() for s in made.split("train")])
    assert np.allclose((x**2).mean(axis=(0, 2)), 1, atol=1e-5)
    # y is the formula of the vectors before they were scaled, by one number each
    y = made.label("y").astype(float)
    draws = np.random.default_rng((0, 0)).standard_normal((40, 2, dimension))
    a, b = np.linalg.norm(draws, axis=2).T
    angle = np.einsum("ni,ni->n", draws[:, 0], draws[:, 1]) / (a * b)
    assert np.allclose(y[:40], np.sin(a) - 0.5 * b**3 + angle, atol=1e-3)
    ratio = x / draws
    assert np.allclose(ratio, ratio[0, :, :1], rtol=1e-4)


@pytest.mark.parametrize(("name", "points"), [("o5-hulls", 16), ("csmpn-hulls", 8)])
def test_hulls_are_hulls_and_come_from_the_cache(name: str, points: int, cache: Path) -> None:
    x, y = arrays(f"{name}?{FEW}", "test")
    assert x.shape == (5, points, 5)
    assert np.allclose(y, [ConvexHull(sample).volume for sample in x], atol=1e-3)
    kept = sorted((cache / "generated").rglob("*.npz"))
    assert len(kept) == 3
    stamps = [path.stat().st_mtime_ns for path in kept]
    again = arrays(f"{name}?{FEW}", "test")
    assert np.array_equal(again[1], y) and [p.stat().st_mtime_ns for p in kept] == stamps
    for path in kept:  # what isn't what was written is made anew
        path.write_bytes(path.read_bytes()[:-20])
    assert np.array_equal(arrays(f"{name}?{FEW}", "test")[1], y)


def test_a_smaller_split_is_the_beginning_of_a_larger_one(cache: Path) -> None:
    sizes = [hulls(train=n, val=2, test=3, points=6).arrays for n in (3, PART + 2)]
    few, many = (a["y"][a["split"] == "train"] for a in sizes)
    assert len(many) == PART + 2 and np.array_equal(many[:3], few)
    rest = [a["sequences"][a["split"] != "train"] for a in sizes]
    assert np.array_equal(*rest)
    with pytest.raises(ConfigError, match="points is 5"):
        hulls(points=5)
