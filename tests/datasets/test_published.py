"""Splits of kind "index": published numbers, from anywhere, and every wrong one refused."""

from pathlib import Path

import ase.io
import domain_files as made
import numpy as np
import pytest
from data_samples import frames

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, ZooError


def test_published_numbers_of_structures(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.extxyz", frames(6))
    (tmp_path / "index_train_01.csv").write_text("3\n0\n")  # the layout of rMD17
    files = {"train": "index_train_01.csv"}
    dataset = zd.open(tmp_path / "a.extxyz", splits={"kind": "index", "files": files})
    assert dataset.split("train")[1].frame.item() == 3
    inline = {"kind": "index", "indices": {"train": [0, 3]}}
    same = zd.open(tmp_path / "a.extxyz", splits=inline)
    assert same.split_hash == dataset.split_hash


def test_published_numbers(tmp_path: Path) -> None:
    path = made.npz(tmp_path / "a.npz", X=np.eye(6), y=np.arange(6.0))
    (tmp_path / "train.csv").write_text("1\n2\n")
    (tmp_path / "test.txt").write_text("6 4\n")
    files = {"train": "train.csv", "test": "test.txt"}
    dataset = zd.open(path, splits={"kind": "index", "files": files, "first": 1, "rest": "val"})
    assert {k: v.tolist() for k, v in dataset.splits.items()} == {
        "train": [0, 1],
        "test": [3, 5],
        "val": [2, 4],
    }
    made.npz(tmp_path / "s.npz", train_idx=np.array([[0], [1]]), test_idx=np.array([[2], [3]]))
    dataset = zd.open(path, splits={"kind": "index", "file": "s.npz", "fold": 1})
    assert dataset.split("test")[0]["y"].item() == 3
    own = made.npz(tmp_path / "b.npz", X=np.eye(4), train_mask=[1, 1, 0, 0], test_idx=[3])
    assert len(zd.open(own).split("train")) == 2
    again = {"kind": "random", "fractions": {"train": 1.0}}
    assert len(zd.open(own, splits=again).split("train")) == 4


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"indices": {"train": [0, 9]}}, DataError, "'train' names 9, but there are 6 samples"),
        ({"indices": {"train": [0, -1]}}, DataError, "names -1"),
        ({"indices": {"train": [0], "test": [0]}}, DataError, "0 is in the split 'train' and in"),
        ({"indices": {"train": [0, 0]}}, DataError, "0 is in the split 'train' and in 'train'"),
        ({"indices": {"train": [0.5]}}, DataError, "must hold whole numbers"),
        ({"indices": {"train": [[0], [1, 2]]}}, ConfigError, "one list of numbers"),
        ({"indices": {"train": []}}, DataError, "'train' would be empty"),
        ({"indices": [1]}, ConfigError, "must look like"),
        ({"indices": {"train": [0]}, "file": "a.npz"}, ConfigError, "one of indices, file"),
        ({"indices": {"train": [0]}, "fold": 1}, ConfigError, "from 0 to 0, not 1"),
        ({"indices": {"train": [0]}, "first": 2}, ConfigError, "starts at 0 or 1"),
        ({"indices": {"train": [0]}, "rest": "train"}, ConfigError, "no numbers yet"),
        ({"indices": {"train": [0]}, "seed": 1}, ConfigError, "take no 'seed'"),
        ({"file": "none.npz"}, DataError, "no file 'none.npz', here or beside the data"),
        ({"file": "a.csv"}, ConfigError, "must be an .npz"),
        ({"files": {"train": "bad.csv"}}, DataError, "bad.csv, line 2: 'x' is no whole number"),
        ({}, DataError, "no split of its own"),
    ],
)
def test_ill_formed_index_splits(
    tmp_path: Path, spec: dict[str, object], error: type[ZooError], message: str
) -> None:
    path = made.npz(tmp_path / "v.npz", X=np.eye(6))
    (tmp_path / "a.csv").write_text("1\n")
    (tmp_path / "bad.csv").write_text("1\nx\n")
    with pytest.raises(error, match=message):
        zd.open(path, splits={"kind": "index", **spec})
