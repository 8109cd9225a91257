"""`zoo compress` prints size, speed and error, and writes what loads."""

import json
from collections.abc import Callable
from pathlib import Path

import zoo

Cli = Callable[..., tuple[int, str, str]]


def test_round_trip(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    code, text, err = cli("compress", weights, "--rank", 1, "--data", frames, "-o", out)
    assert code == 0, err
    assert "parameters" in text and "ms per call" in text and "times as fast" in text
    assert "forces_mae" in text and "wrote tensornet-t-tucker.test.r1" in text
    zoo.load(out, check=True)


def test_json_and_refusals(cli: Cli, weights: Path, tmp_path: Path) -> None:
    words = ["--format", "cp", "--max-error", 5.0, "--name", "tensornet-small.test.r1", "--json"]
    code, text, err = cli("compress", weights, *words, "-o", tmp_path / "out")
    assert code == 0, err
    found = json.loads(text)
    assert found["name"] == "tensornet-small.test.r1" and max(found["error"].values()) <= 5
    code, _, err = cli("compress", weights, "-o", tmp_path / "other")
    assert code == 1 and "give one of the two" in err
    code, _, err = cli("compress", weights, "--rank", "half", "-o", tmp_path / "other")
    assert code == 2 and "no number" in err
