"""The charged N-body benchmark: the authors' numbers, the cache, the data set, linear baselines."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import zoo
import zoo.datasets as zd
from zoo import share
from zoo.datasets import nbody
from zoo.errors import ConfigError

REFERENCE = Path(__file__).parent / "golden" / "nbody-reference.npz"
FIELDS = ("pos", "vel", "y")
# of the charges of all trajectories of train, val and test as bytes
CHARGES = "ec7ffdf18657d214dcb4d19c372aaa1f8f301191c816f6a5e4201da7a4c39ffe"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_authors_trajectories(folder: Path) -> None:
    with np.load(REFERENCE) as file:
        reference = {name: file[name] for name in file.files}
    worst = []
    for split in ("train", "test"):
        rows = reference["split"] == split
        found = nbody.trajectories(split, index=reference["index"][rows])
        assert np.array_equal(found["charges"], reference["charges"][rows])
        assert all(array.dtype == np.float64 for array in found.values())
        worst.append(
            [np.abs(found[n] - reference[n][rows]).max(axis=(1, 2)) for n in nbody.NAMES[1:]]
        )
    differences = np.concatenate(worst, axis=1).max(axis=0)
    assert differences.shape == (16,)
    assert np.median(differences) <= 1e-12 and (differences <= 1e-8).mean() >= 0.8
    assert not folder.exists()  # a few trajectories are no part for the cache


def test_the_charges_of_all_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbody, "SIZES", {"all": sum(nbody.SIZES.values())})
    starts = nbody.Starts("all", 14_000)
    assert hashlib.sha256(starts.charges.astype(np.int8).tobytes()).hexdigest() == CHARGES
    speeds = np.sqrt((starts.vel**2).sum(axis=1))
    assert np.abs(speeds - 0.5).max() < 1e-14
    assert np.abs(starts.loc.mean()) < 0.02 and abs(starts.loc.std() - 1) < 0.01


def test_order_and_company_do_not_matter() -> None:
    alone = nbody.trajectories("train", index=[3])
    several = nbody.trajectories("train", index=np.array([5, 3, 3, 0]))
    for name in nbody.NAMES:
        assert several[name].shape[:2] == (4, 5)
        assert np.allclose(several[name][1], alone[name][0], rtol=0, atol=1e-8)
        assert np.array_equal(several[name][1], several[name][2])


def test_the_laws_of_motion() -> None:
    """Without another charge a particle flies straight on; momentum stays; like charges repel."""
    rng = np.random.default_rng(0)
    loc, vel = rng.normal(size=(2, 3, 3, 5))
    charges = np.array([[0, 0, 0, 0, 1.0], [1, 1, 1, 1, 1], [1, -1, 0, 0, 0]])
    moved = nbody.simulate(charges, loc, vel)
    free = loc[0] + 3.1 * vel[0]
    assert np.abs(moved["loc_frame30"][0].T - free).max() < 1e-11
    assert np.abs(moved["loc_frame40"][0].T - (loc[0] + 4.1 * vel[0])).max() < 1e-11
    assert np.abs(moved["vel_frame30"].sum(axis=1) - vel.sum(axis=2)).max() < 1e-9
    apart = moved["loc_frame40"][1] - moved["loc_frame40"][1].mean(axis=0)
    freely = (loc[1] + 4.1 * vel[1]).T
    assert (apart**2).sum() > ((freely - freely.mean(axis=0)) ** 2).sum()


def test_forces_are_coulombs() -> None:
    rng = np.random.default_rng(1)
    x, charges = rng.normal(size=(3, 5, 7)), rng.choice([-1.0, 1.0], (7, 5))
    found = nbody._Forces(charges)(x.copy())
    away = x[:, :, None] - x[:, None]
    distance = np.sqrt((away**2).sum(axis=0)) + np.eye(5)[..., None]
    products = charges.T[:, None] * charges.T[None]
    assert np.allclose(found, (products / distance**3 * away).sum(axis=2), rtol=1e-9)
    x[:, 1] = x[:, 0] + 1e-3
    assert np.abs(nbody._Forces(charges)(x)).max() == 100.0


def test_starts_are_reflected_at_the_box() -> None:
    loc = np.array([[[5.5, -7.0, 1.0]]])
    vel = np.array([[[0.3, -0.2, -0.1]]])
    nbody._reflect(loc, vel)
    assert loc.tolist() == [[[4.5, -3.0, 1.0]]] and vel.tolist() == [[[-0.3, 0.2, -0.1]]]


def test_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbody, "SIZES", {"train": 5, "val": 3, "test": 2})
    monkeypatch.setattr(nbody, "_PART", 2)
    seen: list[tuple[int, int]] = []
    whole = nbody.trajectories("train", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    files = sorted(folder.rglob("*.npz"))
    assert [path.name for path in files] == ["train-0.npz", "train-1.npz", "train-2.npz"]
    assert not [path for path in folder.rglob("*") if path.is_file() and path not in files]

    # cut short, changed, lost: made again; what is whole is not
    files[0].write_bytes(files[0].read_bytes()[:100])
    with np.load(files[1]) as file:
        arrays = dict(file)
    arrays["loc_frame40"] = arrays["loc_frame40"] + 1
    np.savez(files[1], **arrays)
    simulated: list[int] = []
    simulate = nbody.simulate

    def counted(*given: np.ndarray) -> nbody.Arrays:
        simulated.append(len(given[0]))
        return simulate(*given)

    monkeypatch.setattr(nbody, "simulate", counted)
    again = nbody.trajectories("train")
    assert simulated == [2, 2]
    cached = nbody.trajectories("train", index=[4, 1])
    assert simulated == [2, 2]
    for name in nbody.NAMES:
        assert np.array_equal(again[name], whole[name])
        assert np.array_equal(cached[name], whole[name][[4, 1]])
    nbody.trajectories("train", index=[4, 1], cache=False)
    assert simulated == [2, 2, 1, 1]
    assert not np.array_equal(nbody.trajectories("train", seed=1)["charges"], whole["charges"])


@pytest.mark.parametrize(
    ("split", "index", "seed", "words"),
    [
        ("valid", None, 43, "no split 'valid': .*val"),
        ("val", [2000], 43, "reaches from 2000 to 2000; val has the trajectories 0 to 1999"),
        ("val", [-1], 43, "index reaches from -1"),
        ("val", [], 43, "one or more whole numbers"),
        ("val", [0.5], 43, r"whole numbers, not \[0.5\]"),
        ("val", [True], 43, "whole numbers"),
        ("val", None, -1, "seed is -1"),
    ],
)
def test_refusals(split: str, index: list[int] | None, seed: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        nbody.trajectories(split, index, seed=seed)


def test_the_shipped_set() -> None:
    dataset = zoo.datasets.open("nbody")
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {
        "train": 3000, "val": 2000, "test": 2000
    }  # fmt: skip
    told = dataset.metadata["generation"]
    assert told["hash"] == dataset.hash
    assert told["command"].startswith("zoo data generate nbody ")
    made = zd.make("nbody", **(told["settings"] | {"train": 40, "val": 20, "test": 20}))
    assert made.domain == dataset.domain == "particles"
    close = []
    for split in ("train", "val", "test"):
        for ours, theirs in zip(made.split(split), dataset.split(split), strict=False):
            assert np.array_equal(ours.charge, theirs.charge)
            close.append(float((ours.y - theirs.y).abs().max()) < 1e-6)
    assert len(close) == 80 and np.mean(close) > 0.8


def test_what_linear_maps_reach() -> None:
    with np.load(share.folder("datasets") / "nbody.npz") as file:
        arrays = {name: file[name] for name in file.files}

    def part(name: str) -> tuple[np.ndarray, np.ndarray]:
        rows = arrays["split"] == name
        pos, vel, y = (arrays[key][rows].astype(float).reshape(-1, 3) for key in FIELDS)
        return np.hstack([pos, vel, np.ones((len(y), 1))]), y

    inputs, y = part("train")
    fit = np.linalg.lstsq(inputs, y, rcond=None)[0]
    inputs, y = part("test")
    pos, vel = inputs[:, :3], inputs[:, 3:6]
    assert np.mean((inputs @ fit - y) ** 2) == pytest.approx(0.0689, abs=5e-5)
    assert np.mean((pos + 0.731 * vel - y) ** 2) == pytest.approx(0.0841, abs=5e-5)
    assert np.mean((pos - y) ** 2) == pytest.approx(0.2715, abs=5e-5)
