"""`zoo finetune` and `zoo train`, from the words to files that load."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import zoo

Cli = Callable[..., tuple[int, str, str]]


def test_finetune(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    settings = ["--set", "splits={kind: assigned, key: trajectory}", "--set", "batch_size=4"]
    words = [*settings, "--epochs", 2, "--method", "freeze:1"]
    code, text, err = cli("finetune", weights, frames, "-o", out, *words)
    assert code == 0, err
    assert text.splitlines()[-1] == f"wrote {out}"
    assert {"zero_shot", "fine_tuned"} <= {line.split()[0] for line in text.splitlines()}
    report = json.loads((out / "report.json").read_text())
    table = cli("eval", out, frames, "--json")[1]
    assert json.loads(table)["metrics"]["forces_mae"] > 0
    assert report["metrics"]["fine_tuned"]["forces_mae"] > 0
    assert len(list(out.glob("*.png"))) >= 2
    assert zoo.load(out).checkpoint_name == report["name"]


def test_finetune_says_what_is_wrong(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    start = ["finetune", weights, frames, "-o", tmp_path / "out"]
    for words, code, part in [
        (["--method", "haed"], 1, "head"),
        (["--set", "references=fitt"], 1, "'fit' or 'keep'"),
        (["--set", "learning_rate=1"], 1, " lr,"),
        (["--set", "method=head"], 2, "--method"),
        (["--key", "energy=REF_energy"], 1, "REF_energy"),
        (["--set", "splits={kind: randm}"], 1, "random"),
        (["--epochs", "0"], 2, "epochs"),
    ]:
        found, out, err = cli(*start, *words)
        assert (found, out) == (code, ""), words
        assert part in err
        assert "Traceback" not in err


def test_finetune_without_labels_leaves_no_folder(cli: Cli, weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "bare.extxyz"
    write(source, [molecule("CH3CH2OH") for _ in range(10)])
    code, out, err = cli("finetune", weights, source, "-o", tmp_path / "new" / "out")
    assert (code, out) == (1, "")
    assert "no energies or forces to train on" in err
    assert not (tmp_path / "new").exists()


def test_new_elements_need_their_option(cli: Cli, weights: Path, tmp_path: Path) -> None:
    structures = []
    for k in range(20):
        atoms = Atoms("HCN", [[0, 0, 0], [0, 0, 1.07 + 0.01 * k], [0, 0, 2.22]])
        atoms.calc = SinglePointCalculator(atoms, energy=-93.0, forces=atoms.positions - 1)
        structures.append(atoms)
    write(tmp_path / "hcn.extxyz", structures)
    words = ["finetune", weights, tmp_path / "hcn.extxyz", "--epochs", 1]
    code, _, err = cli(*words, "-o", tmp_path / "refused")
    assert code == 1
    assert "--new-elements" in err
    assert cli(*words, "-o", tmp_path / "out", "--new-elements", "--json")[0] == 0
    assert set(zoo.info(tmp_path / "out")["inputs"]["elements"]) >= {"H", "C", "N", "O"}


@pytest.fixture
def recipe(frames: Path, tmp_path: Path) -> Path:
    content = {
        "recipe": 1,
        "name": "tensornet-t.frames.r1",
        "model": {"name": "tensornet", "config": {"hidden_channels": 8, "num_layers": 1}},
        "data": {
            "source": str(frames),
            "splits": {"kind": "random", "fractions": {"train": 0.6, "val": 0.4}, "seed": 0},
        },
        "loss": {"energy": {}, "forces": {}},
        "trainer": {"max_epochs": 2, "batch_size": 4},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "recipe.yaml"


def test_train(cli: Cli, recipe: Path, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "trained"
    code, text, err = cli("train", recipe, "-o", out, "--set", "trainer.max_epochs=1", "--seed", 3)
    assert code == 0, err
    assert "val" in {line.split()[0] for line in text.splitlines()}
    model = zoo.load(out, check=True)
    assert model.manifest.training.seed == 3
    assert model(read(frames, 0))["forces"].shape == (9, 3)
    code, _, err = cli("train", recipe, "-o", out)
    assert code == 1
    assert "holds a run" in err
    state = out / "state" / "last.ckpt"
    for damaged in (state.read_bytes()[:-500], b""):  # cut short, empty
        state.write_bytes(damaged)
        code, _, err = cli("train", recipe, "-o", out, "--resume")
        assert code == 1
        assert str(state) in err and "cut short" in err


def test_train_says_what_is_wrong(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    for words, part in [
        ([recipe, "--tier", "smok"], "smok"),
        ([recipe, "--set", "trainer.max_epoch=1"], "max_epochs"),
        (["gfn2-md10/tensornt"], "gfn2-md10/tensornet"),
    ]:
        code, out, err = cli("train", *words, "-o", tmp_path / "out")
        assert (code, out) == (1, ""), words
        assert part in err
