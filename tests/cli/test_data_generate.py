"""`zoo data generate`: splits, trajectories and strides on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms

import zoo

Cli = Callable[..., tuple[int, str, str]]


def test_emt(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "cu.npz"
    counts = ["--frames", "train=2", "--frames", "test=1", "--trajectories", "train=2"]
    short = ["--equilibration", 1, "--stride", 1, "--temperature", 100, "--temperature", 200]
    code, text, err = cli("data", "generate", "emt", "Cu", "-o", out, *counts, *short, "--json")
    assert code == 0, err
    assert json.loads(text)["frames"] == 15
    dataset = zoo.datasets.open(out.with_suffix(".yaml"))
    measured = dataset.metadata["generation"]["measured_temperature"]
    assert list(measured) == ["100 K", "200 K"]
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 10, "test": 5}
    code, _, err = cli("data", "generate", "emt", "Fe", "-o", tmp_path / "fe.npz")
    assert code == 1 and "no 'Fe'" in err


def test_strides_by_split(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    Atoms("H2", [[0, 0, 0], [0, 0, 0.75]]).write(tmp_path / "h2.xyz")
    out = tmp_path / "h2.npz"
    start = ["data", "generate", "gfn2", tmp_path / "h2.xyz", "-o", out, "--equilibration", 1]
    code, _, err = cli(*start, "--stride", "train=1", "--stride", "test=2")
    assert code == 0, err
    runs = zoo.datasets.open(out.with_suffix(".yaml")).metadata["generation"]["trajectories"]
    assert {name: run["stride"] for name, run in runs.items()} == {"train": 1, "test": 2}
    for wrong in (["--stride", "x"], ["--stride", "0"], ["--trajectories", "train"]):
        assert cli(*start, "--overwrite", *wrong)[0] == 2
    code, _, err = cli(*start, "--overwrite", "--trajectories", "train=7")
    assert code == 1 and "160 frames of 'train' can't be shared by 7" in err


def test_organic_molecules(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "few.npz"
    start = ["data", "generate", "gfn2-organic", "-o", out, "--largest", 2]
    few = ["--molecules", 4, "--frames", "relaxed=1", "--frames", "vibration=1"]
    code, text, err = cli(*start, *few, "--polarizability", "--json")
    assert code == 0, err
    told = json.loads(text)
    assert told["frames"] == 8 and "polarizability" in told["labels"]
    dataset = zoo.datasets.open(out.with_suffix(".yaml"))
    assert dataset.hash == told["hash"] and dataset.metadata["generation"]["polarizability"]
    # water, methane and their like: 1 to 5 Å³
    volumes = dataset.label("polarizability").trace(axis1=1, axis2=2) / 3
    assert (volumes > 0.3).all() and (volumes < 10).all()
    code, _, err = cli(*start, *few)
    assert code == 1 and "exists; choose another name" in err
    code, _, err = cli(*start, "--overwrite", "--frames", "relaxed=1", "--frames", "vibrations=1")
    assert code == 1 and "did you mean 'vibration'" in err
