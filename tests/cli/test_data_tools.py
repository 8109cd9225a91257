"""`zoo data check`, `convert` and `split`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import zoo.datasets as zd

Cli = Callable[..., tuple[int, str, str]]


def test_check(cli: Cli, frames: Path) -> None:
    code, text, err = cli("data", "check", frames)
    assert code == 0, err
    assert "  C:\n    atoms: 24\n    frames: 12\n" in text
    code, text, _ = cli("data", "check", "gfn2-md10", "--limit", 400, "--json")
    report = json.loads(text)
    assert code == 0 and report["ok"] and report["read"] == 400
    assert {f["check"] for f in report["findings"]} >= {"sampling", "units"}


def test_check_of_other_units_and_splits(cli: Cli, tmp_path: Path) -> None:
    data = zd.open("pbe-ethanol")
    arrays = {
        "z": data[0].atomic_numbers.numpy(),
        "R": np.stack([data[k].pos.numpy() for k in range(40)]),
        "E": np.stack([data[k].energy.numpy() for k in range(40)]),
        "F": np.stack([data[k].forces.numpy() for k in range(40)]) * 23.0605,
    }
    np.savez(tmp_path / "a.npz", **arrays)
    units = ["--unit", "energy=eV", "--unit", "length=angstrom"]
    code, text, _ = cli("data", "check", tmp_path / "a.npz", *units)
    assert code == 3
    assert "energies in eV, forces in kcal/mol/angstrom" in text
    assert "multiply forces by 0.0433" in text
    assert cli("data", "check", tmp_path / "a.npz")[0] == 1  # no units
    arrays["F"] /= 23.0605
    np.savez(tmp_path / "a.npz", **arrays)
    splits = "{kind: random, fractions: {train: 0.5, test: 0.5}}"
    code, text, _ = cli("data", "check", tmp_path / "a.npz", *units, "--splits", splits)
    assert code == 0 and "warning  leakage" in text
    assert cli("data", "check", tmp_path / "a.npz", *units, "--splits", splits, "--strict")[0] == 3
    assert cli("data", "check", tmp_path / "a.npz", *units, "--splits", "random")[0] == 2


def test_check_of_bad_values_says_them_all(cli: Cli, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(8, 3))
    x[2, 0] = x[5, 1] = np.nan
    np.savez(tmp_path / "a.npz", x=x)
    code, text, _ = cli("data", "check", tmp_path / "a.npz")
    assert code == 3
    assert "x is NaN or infinite in 2 samples [frames 2, 5]" in text
    code, _, err = cli("data", "check", tmp_path / "none.npz")
    assert code == 1 and "no file" in err


def test_convert(cli: Cli, frames: Path, tmp_path: Path) -> None:
    code, text, err = cli("data", "convert", frames, tmp_path / "a.npz")
    assert code == 0, err
    assert text.endswith(f"wrote 12 samples to {tmp_path / 'a.npz'}\n")
    assert zd.open(tmp_path / "a.npz").hash == zd.open(frames).hash
    code, _, err = cli("data", "convert", frames, tmp_path / "a.npz")
    assert code == 1 and "--overwrite" in err
    code, text, _ = cli("data", "convert", tmp_path / "a.npz", tmp_path / "b.extxyz", "--json")
    assert code == 0 and json.loads(text)["written"] == 12
    assert zd.open(tmp_path / "b.extxyz").hash == zd.open(frames).hash


def test_convert_names_what_it_leaves_out(cli: Cli, frames: Path, tmp_path: Path) -> None:
    text = frames.read_text().replace("forces:R:3", "force_s:R:3", 1)
    (tmp_path / "bad.extxyz").write_text(text)
    code, _, err = cli("data", "convert", tmp_path / "bad.extxyz", tmp_path / "b.npz")
    assert code == 1 and "frames 0" in err
    words = ["data", "convert", tmp_path / "bad.extxyz", tmp_path / "b.npz", "--max-bad", 1]
    code, out, err = cli(*words)
    assert code == 0, err
    assert out.splitlines()[0] == "left out frame 0: it has no forces"
    assert len(zd.open(tmp_path / "b.npz")) == 11


@pytest.mark.parametrize("name", ["splits.npz", "splits.yaml"])
@pytest.mark.parametrize(
    ("kind", "leakage"), [("random", ["warning"]), ("time", ["info"])], ids=["random", "time"]
)
def test_split(cli: Cli, tmp_path: Path, name: str, kind: str, leakage: list[str]) -> None:
    out = tmp_path / name
    shares = ["--fraction", "train=0.8", "--fraction", "test=0.2"]
    code, text, err = cli(
        "data", "split", "pbe-ethanol", "-o", out, "--kind", kind, *shares, "--json"
    )
    assert code == 0, err
    made = json.loads(text)
    spec = {"kind": "index", "file": str(out)}
    if out.suffix == ".yaml":
        spec = yaml.safe_load(out.read_text())
    again = zd.open("pbe-ethanol", splits=spec)
    assert again.split_hash == made["split_hash"]
    assert {n: len(p) for n, p in again.splits.items()} == made["splits"]
    assert made["splits"] == {"train": 240, "test": 60}
    assert [f["severity"] for f in made["leakage"]] == leakage
    code, text, _ = cli("data", "check", "pbe-ethanol", "--splits", out, "--limit", 200, "--json")
    assert code == 0 and json.loads(text)["summary"]["splits"] == made["splits"]


def test_split_of_groups(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "s.yaml"
    shares = ["--fraction", "train=0.8", "--fraction", "left_out=0.2"]
    words = ["--kind", "group", "--column", "name", "--seed", 1, "--no-check", *shares]
    code, _, err = cli("data", "split", "gfn2-md10", "-o", out, *words)
    assert code == 0, err
    dataset = zd.open("gfn2-md10", splits=yaml.safe_load(out.read_text()))
    names = {part: set(dataset.split(part).columns["name"]) for part in ("train", "left_out")}
    assert len(names["left_out"]) == 2 and not names["train"] & names["left_out"]
    code, _, err = cli("data", "split", "gfn2-md10", "-o", tmp_path / "s.npz", *words)
    assert code == 1 and "s.yaml" in err  # an .npz knows train, val and test


def test_split_by_values_and_again(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "s.npz"
    words = ["--kind", "assigned", "--column", "trajectory", "--set", "val_fraction=0.1"]
    words += ["--no-check"]
    code, text, err = cli("data", "split", "gfn2-md10", "-o", out, *words, "--set", "by=name")
    assert code == 0, err
    assert "train 1530" in text and "val 170" in text and f"--splits {out}" in text
    assert cli("data", "split", "gfn2-md10", "-o", out, *words)[0] == 1  # it exists
    code, _, err = cli("data", "split", "gfn2-md10", "-o", out, "--overwrite", "--no-check")
    assert code == 0, err  # its own splits
    assert zd.open("gfn2-md10", splits={"kind": "index", "file": str(out)}).split_hash == (
        zd.open("gfn2-md10").split_hash
    )
    assert cli("data", "split", "gfn2-md10", "-o", out, "--seed", 1)[0] == 2
    assert cli("data", "split", "gfn2-md10", "-o", tmp_path / "s.csv", *words)[0] == 1


def test_list_and_info(cli: Cli) -> None:
    code, text, _ = cli("data", "list")
    assert code == 0 and "gfn2-md10" in text and "PBE/def2-SVP" in text
    code, text, _ = cli("data", "info", "gfn2-md10", "--json")
    assert code == 0 and json.loads(text)["level_of_theory"] == "GFN2-xTB"
    code, _, err = cli("data", "info", "gfn-md10")
    assert code == 1 and "gfn2-md10" in err
