"""Sets of every kind come back from our own archive as they were, and are known by themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import published_files as made
import pytest
from whole_domains import OF_PAPERS
from whole_files import Whole

import zoo.datasets as zd
from zoo.datasets.synthetic import generate

SHIPPED = ("balanced-tree", "sir-tree", "eeg-like", "subspaces", "rotations", "digits")
FILES: dict[str, Callable[[Path], Path]] = {
    "triples": made.openke,
    "closure": made.closure,
    "hgcn": lambda folder: made.hgcn(folder, "disease_lp"),
    "hdm05": made.hdm05,
    "cifar": made.cifar100,
    "tiny-imagenet": made.tiny_imagenet,
}
# arrays called x and y can be fields or much else, so that an archive of fields needs its domain
BY_PATH = [whole for whole in OF_PAPERS if not whole.name.startswith("field ")]
FIELDS = [whole for whole in OF_PAPERS if whole.name == "field pdearena folder"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sets(name: str, tmp_path: Path) -> None:
    comes_back(name, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_published_files(name: str, tmp_path: Path) -> None:
    comes_back(FILES[name](tmp_path), tmp_path)


@pytest.mark.parametrize("whole", BY_PATH, ids=lambda whole: whole.name)
def test_sets_of_papers(whole: Whole, tmp_path: Path) -> None:
    comes_back(whole.make(tmp_path), tmp_path)


@pytest.mark.parametrize("whole", FIELDS, ids=lambda whole: whole.name)
def test_fields_of_papers(whole: Whole, tmp_path: Path) -> None:
    comes_back(whole.make(tmp_path), tmp_path, domain="field")


def test_pairs_of_sequences(tmp_path: Path) -> None:
    generate("prefix-10", tmp_path / "p.npz", train=30, val=5, test=5)
    comes_back(tmp_path / "p.yaml", tmp_path)


def test_pairs_of_nodes(tmp_path: Path) -> None:
    pairs = np.array([[0, 2, 1], [1, 0, 1]])
    edges = np.array([[0, 1], [1, 2]])
    np.savez(
        tmp_path / "g.npz",
        x=np.zeros((3, 2)),
        edge_index=edges,
        edge_label_index=pairs,
        edge_label=np.array([1, 0, 1]),
    )
    comes_back(tmp_path / "g.npz", tmp_path)
    assert zd.open(tmp_path / "a.npz")[0].edge_label_index.tolist() == pairs.tolist()


def test_divided_edges_are_noted(tmp_path: Path) -> None:
    spec = {"kind": "edges", "fractions": {"train": 0.5, "test": 0.5}}
    done = zd.convert("balanced-tree", tmp_path / "a.npz", splits=spec)
    assert any("division of the edges is not kept" in note for note in done.notes)


def comes_back(path: str | Path, folder: Path, domain: str | None = None) -> None:
    dataset = zd.open(path)
    done = zd.convert(path, folder / "a.npz")
    again = zd.open(folder / "a.npz", domain=domain)
    assert done.written == len(again) == len(dataset) and again.domain == dataset.domain
    assert again.hash == dataset.hash and again.labels == dataset.labels
    assert again.split_hash == dataset.split_hash
    assert sorted(again.columns) == sorted(dataset.columns)
