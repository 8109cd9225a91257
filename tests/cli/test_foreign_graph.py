"""A graph of one's own, a list of edges and a table of features, and a shipped sheaf network."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo

Cli = Callable[..., tuple[int, str, str]]
NAME = "nsd-bundle.csbm-10.r1"
NODES = 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Words for nodes, edges in one direction, classes that the weights don't know."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, NODES)
    x = rng.normal(size=(NODES, 16)) + 6.0 * labels[:, None] * np.eye(16)[0]
    names = [f"page-{k}" for k in range(NODES)]
    place = tmp_path / "mine"
    place.mkdir()
    with (place / "nodes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *(f"f{k}" for k in range(16)), "label"])
        for name, row, label in zip(names, x, labels, strict=True):
            writer.writerow([name, *map("{:.4f}".format, row), ("cat", "dog")[label]])
    with (place / "edges.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["source", "target"])
        for a, b in rng.integers(0, NODES, (200, 2)):
            if a != b:
                writer.writerow([names[a], names[b]])
    return place


@pytest.mark.filterwarnings("ignore:a sheaf needs an undirected graph")
@pytest.mark.usefixtures("undrawn")
def test_predict_and_finetune(cli: Cli, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "before.csv"
    code, _, said = cli("predict", NAME, folder, "-o", table)
    assert code == 0, said
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert len(lines) == NODES and {line["class"] for line in lines} <= set("01234")

    tuned = tmp_path / "tuned"
    words: list[Any] = ["--epochs", 60, "--set", "lr=0.02", "--json"]
    code, out, said = cli("finetune", NAME, folder, "-o", tuned, *words)
    assert code == 0, said
    assert json.loads(out)["path"] == str(tuned)
    model = zoo.load(tuned, check=True)
    assert model.classes == ("cat", "dog") and model.manifest.derived_from.name == NAME

    after = tmp_path / "after.csv"
    code, _, said = cli("predict", tuned, folder, "-o", after)
    assert code == 0, said
    found = [line["class"] for line in csv.DictReader(after.read_text().splitlines())]
    wanted = [
        line["label"] for line in csv.DictReader((folder / "nodes.csv").read_text().splitlines())
    ]
    right = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
    assert right > 0.75  # most nodes were seen, and the classes are far apart
