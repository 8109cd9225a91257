"""`zoo data generate balanced-tree | ...` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo
from zoo.cli._data_synthetic import SETS
from zoo.datasets.synthetic import KINDS

Cli = Callable[..., tuple[int, str, str]]


def test_the_command_knows_all_kinds() -> None:
    assert list(SETS) == list(KINDS)


def test_a_set_is_made(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "t.npz"
    words = ["data", "generate", "balanced-tree", "-o", out, "--seed", 2]
    code, text, err = cli(*words, "--set", "branching=2", "--set", "depth=3", "--json")
    assert code == 0, err
    told = json.loads(text)
    dataset = zoo.datasets.open(out.with_suffix(".yaml"))
    assert told["samples"] == 1 and told["hash"] == dataset.hash
    assert dataset[0].x.shape == (15, 8)
    command = "zoo data generate balanced-tree --set branching=2 --set depth=3 --seed 2 -o t.npz"
    assert dataset.metadata["generation"]["command"] == command
    code, _, err = cli(*words)
    assert code == 1 and "exists" in err
    code, text, err = cli(*words, "--overwrite")
    assert code == 0 and "wrote 1 samples" in text, err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["eeg-like", "--set", "trails=3"], 1, "did you mean 'trials'"),
        (["eeg-like", "--set", "trials=x"], 1, "trials is 'x'; expected int"),
        (["eeg-like", "--set", "trials"], 2, "--set"),
        (["eeg-like", "--seed", "-1"], 2, "--seed"),
    ],
)
def test_wrong_words(cli: Cli, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    ended, _, err = cli("data", "generate", *words, "-o", tmp_path / "a.npz")
    assert ended == code and message in err
    assert list(tmp_path.iterdir()) == []


def test_shipped_sets_are_listed(cli: Cli) -> None:
    code, text, _ = cli("data", "list", "--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert code == 0 and rows["eeg-like"]["samples"] == 720
    assert rows["pbe-ethanol"]["samples"] == 300 and rows["digits"]["domain"] == "image"
    code, text, _ = cli("data", "info", "sir-tree")
    assert code == 0 and "spreads down a random tree" in text
