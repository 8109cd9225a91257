"""Weights for particles on files that others made: fine-tuning, and what is wrong with a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo.errors import CapabilityError

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of positions."""
    folder = tmp_path_factory.mktemp("weights") / "egnn"
    model = zoo.create("egnn", hidden_channels=8, num_layers=2)
    golden = list(zoo.datasets.open("nbody").split("test"))[:2]
    zoo.save(
        model,
        folder,
        name="egnn-tiny.mine.r1",
        golden_inputs=golden,
        task={"kind": "regression", "loss": {"kind": "mse"}, "metrics": ["rmse"]},
    )
    return folder


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Twenty samples of four particles that move straight on."""
    rng = np.random.default_rng(0)
    pos, vel = rng.normal(size=(2, 20, 4, 3))
    found = {"pos": pos, "vel": vel, "charge": rng.choice([-1.0, 2.0], (20, 4)), "y": pos + vel}
    return {k: v for k, v in (found | changes).items() if v is not None}


def test_finetune_goes_on_from_what_is_known(cli: Cli, weights: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "mine.npz", tmp_path / "out"
    np.savez(path, **arrays())
    code, text, err = cli("finetune", weights, path, "-o", out, "--epochs", 20)
    assert code == 0, err
    assert "fine_tuned" in text
    before, after = zoo.load(weights), zoo.load(out, check=True)
    assert set(before.state_dict()) == set(after.state_dict())
    code, _, err = cli("predict", out, path, "-o", tmp_path / "found.npz")
    assert code == 0, err
    with np.load(tmp_path / "found.npz") as found:
        assert found["prediction"].shape in ((20, 4, 3), (80, 3))
    samples = list(zoo.datasets.open(path))
    target = np.concatenate([sample.y for sample in samples])
    errors = [
        np.abs(m(samples)["prediction"].detach().numpy() - target).mean() for m in (before, after)
    ]
    assert errors[1] < 0.7 * errors[0]


def refusal(cli: Cli, verb: str, weights: Path, folder: Path, **changes: Any) -> str:
    path, out = folder / "mine.npz", folder / f"{verb}-out.npz"
    np.savez(path, **arrays(**changes))
    code, text, err = cli(verb, weights, path, "-o", out)
    assert code == 1 and text == "" and "Traceback" not in err
    assert not out.is_file() and not (out / "manifest.yaml").exists()
    return err


@pytest.mark.parametrize("verb", ["predict", "finetune"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"charge": None}, ["no charge", "keys={'charge': ...}"]),
        ({"vel": None}, ["no vel", "velocities", 'keys={"vel": "..."}']),
        ({"vel": np.zeros((20, 3, 3))}, ["vel has shape (20, 3, 3)", "(20, 4, 3)"]),
        ({"charge": np.zeros((20, 3))}, ["charge has shape (20, 3)", "(20, 4)"]),
        ({"pos": np.full((20, 4, 3), np.nan)}, ["pos"]),
    ],
)
def test_bad_files(
    cli: Cli, weights: Path, tmp_path: Path, verb: str, changes: dict[str, Any], words: list[str]
) -> None:
    said = refusal(cli, verb, weights, tmp_path, **changes)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, ["has no y", 'keys={"y": "..."}']),
        (
            np.arange(20.0),
            ["y has the shape (1,)", "pos has (4, 3)", "one vector for each particle"],
        ),
        (np.zeros((20, 4, 1)), ["y has the shape (4, 1)", "pos has (4, 3)"]),
    ],
)
def test_bad_targets(cli: Cli, weights: Path, tmp_path: Path, y: Any, words: list[str]) -> None:
    said = refusal(cli, "finetune", weights, tmp_path, y=y)
    assert all(word in said for word in words), said


def test_a_fresh_head_is_refused(weights: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays())
    with pytest.raises(CapabilityError, match="has no head"):
        zoo.finetune(weights, tmp_path / "mine.npz", output=tmp_path / "out", heads="new")
