"""`zoo.train` from a file to a folder that `zoo.load` takes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_sets
import torch
from ase import Atoms
from ase.io import write
from matplotlib.image import imread
from safetensors.torch import load_file

import zoo
from zoo import datasets, share
from zoo.errors import ConfigError, DataError, OutputError, RecipeError
from zoo.training import recipe as recipes


def quiet(line: str) -> None:
    """Takes progress lines."""


def copy(pretrained: Path, folder: Path) -> Path:
    """The recipe of the pretrained model and its data, in a folder of their own."""
    for name in ("emt.extxyz", "recipe.yaml"):
        shutil.copy(pretrained.parent / name, folder / name)
    return folder / "recipe.yaml"


def test_the_result_loads_by_its_path_and_explains_itself(
    pretrained: Path, mixed: list[Atoms]
) -> None:
    model = zoo.load(pretrained, check=True)
    report = json.loads((pretrained / "report.json").read_text())
    assert report["name"] == model.checkpoint_name == "tensornet-tiny.emt.r1"
    assert report["metrics"]["test"]["forces_mae"] > 0
    assert report["units"]["forces_mae"] == "meV/Å"
    assert report["references"]["explained"] > 0.999
    manifest = model.manifest
    assert manifest.inputs.elements == report_elements(mixed, report)
    assert manifest.training.recipe == "recipe.yaml"  # no path of this machine
    assert manifest.training.recipe_sha256 == report["recipe_sha256"]
    assert manifest.training.data[0].sha256 == report["data"]["sha256"]
    assert manifest.limits == ["a test"]
    values = {(m.split, m.target, m.name): m.value for m in manifest.metrics}
    assert values["test", "forces", "mae"] == report["metrics"]["test"]["forces_mae"]
    assert "tensornet-tiny.emt.r1" in zoo.card(str(pretrained))


def report_elements(mixed: list[Atoms], report: dict[str, Any]) -> dict[str, int]:
    """Atoms of the training split, counted by hand."""
    data = zoo.datasets.AtomsDataset.from_atoms(
        mixed,
        splits={"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0},
    ).split("train")
    assert len(data) == report["data"]["frames"]
    symbols = [s for i in range(len(data)) for s in data.atoms(i).get_chemical_symbols()]
    return {symbol: symbols.count(symbol) for symbol in ("H", "C", "O")}


def test_the_stored_recipe_is_the_resolved_one(pretrained: Path) -> None:
    stored = recipes.load(pretrained / "recipe.yaml")
    report = json.loads((pretrained / "report.json").read_text())
    assert stored.sha256() == report["recipe_sha256"]


def test_the_plots_show_something(pretrained: Path) -> None:
    for name in ("parity.png", "learning_curve.png"):
        image = imread(pretrained / name)
        assert image.shape[0] > 400 and image.shape[1] > 600
        assert np.unique(image.reshape(-1, image.shape[-1]), axis=0).shape[0] > 20


def test_one_page_says_what_happened(pretrained: Path) -> None:
    page = (pretrained / "report.md").read_text()
    report = json.loads((pretrained / "report.json").read_text())
    for name in ("parity.png", "learning_curve.png"):
        assert f"]({name})" in page and (pretrained / name).is_file()
    for word in (
        report["data"]["sha256"],
        report["recipe_sha256"],
        report["machine"]["hardware"],
        f"{report['metrics']['test']['forces_mae']:.5g}",
        f"{report['timings']['ms_per_step']:.5g}",
        "max_epochs: 8",
    ):
        assert word in page


def test_the_seed_decides(pretrained: Path, tmp_path: Path) -> None:
    recipe = copy(pretrained, tmp_path)
    changes = {"trainer.max_epochs": 1}
    weights = [
        zoo.train(
            recipe, output=tmp_path / str(k), seed=seed, overrides=changes, progress=quiet
        ).model.state_dict()
        for k, seed in enumerate((1, 1, 2))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_folder_with_a_run_is_not_overwritten(pretrained: Path, tmp_path: Path) -> None:
    before = (pretrained / "manifest.yaml").read_bytes()
    recipe = copy(pretrained, tmp_path)
    with pytest.raises(OutputError, match="holds a run already"):
        zoo.train(recipe, output=pretrained, progress=quiet)
    with pytest.raises(RecipeError, match="changed in optimizer"):
        zoo.train(
            recipe, output=pretrained, resume=True, overrides={"optimizer.lr": 0.5}, progress=quiet
        )
    assert (pretrained / "manifest.yaml").read_bytes() == before


def test_mistakes_are_found_before_training(pretrained: Path, tmp_path: Path) -> None:
    recipe = copy(pretrained, tmp_path)
    (tmp_path / "file").write_text("")

    def refused(kind: type[Exception], match: str, **overrides: Any) -> None:
        output = overrides.pop("output", tmp_path / "out")
        with pytest.raises(kind, match=match):
            zoo.train(recipe, output=output, overrides=overrides, progress=quiet)

    refused(OutputError, "can't be written", output=tmp_path / "file" / "out")
    refused(RecipeError, "hidden_chanels", model={"config": {"hidden_chanels": 8}})
    refused(RecipeError, "tensornot", model={"name": "tensornot"})
    refused(ConfigError, "must read", name="mymodel")
    refused(DataError, "energie", data={"keys": {"energy": "energie"}})
    refused(RecipeError, "element 'Q'", references={"kind": "given", "values": {"Q": 1.0}})
    splits = {"kind": "time", "fractions": {"train": 0.8, "test": 0.2}}
    refused(DataError, "no split 'val'", data={"splits": splits})
    fractions = {"train": 0.4, "val": 0.3, "test": 0.3}
    splits = {"kind": "time", "fractions": fractions}  # methanol, methane, water in this order
    last = zoo.datasets.open(tmp_path / "emt.extxyz")
    write(tmp_path / "emt.extxyz", [last.atoms(i) for i in reversed(range(20, 36))])
    refused(DataError, "holds C, which no training frame has", data={"splits": splits})


def test_given_references_are_used(pretrained: Path, tmp_path: Path) -> None:
    recipe = copy(pretrained, tmp_path)
    values = {"H": -13.5, "C": -1030.0, "O": -2041.0}
    report = zoo.train(
        recipe,
        output=tmp_path / "out",
        overrides={"references": {"kind": "given", "values": values}, "trainer.max_epochs": 1},
        progress=quiet,
    )
    table = report.model.energy_scale.reference
    assert [float(table[z]) for z in (1, 6, 8)] == list(values.values())
    assert report.details["references"] is None


SHIPPED = sorted(share.folder("recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_recipes_run(path: Path, tmp_path: Path) -> None:
    changes, name = {}, recipes.load(path, tier="smoke").data.source
    if name in datasets.fetched():  # a file of the same format stands for the published one
        changes = {"data.settings.root": str(raw_sets.place(name, tmp_path / "cache"))}
    out = tmp_path / "out"
    report = zoo.train(path, output=out, tier="smoke", overrides=changes, progress=quiet)
    assert report.details["recipe"] == f"{path.parent.name}/{path.stem}"
    zoo.load(out, check=True)


@pytest.mark.slow
def test_the_trainer_starts_the_second_process(pretrained: Path, tmp_path: Path) -> None:
    """From the recipe to the published weights; 24 steps, the last of each pass on one frame."""
    recipe = copy(pretrained, tmp_path)
    changes = {
        "trainer.max_epochs": 4,
        "trainer.precision": "64-true",
        "trainer.accelerator": "cpu",
    }
    one = zoo.train(recipe, output=tmp_path / "one", overrides=changes, progress=quiet)
    many = changes | {"trainer.devices": 2, "trainer.strategy": "ddp"}
    script = tmp_path / "run.py"  # the trainer starts the second process as a copy of the first
    script.write_text(
        "import zoo\n"
        f"zoo.train({str(recipe)!r}, output={str(tmp_path / 'two')!r}, overrides={many!r})\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    weights = load_file(tmp_path / "two" / "model.safetensors")
    for name, value in one.model.state_dict().items():
        assert torch.allclose(value, weights[name], rtol=0.0, atol=1e-10), name
    history = json.loads((tmp_path / "two" / "report.json").read_text())["history"]
    for key in ("train_loss", "val_loss", "val_energy_mae", "val_forces_rmse"):
        assert one.history[-1][key] == pytest.approx(history[-1][key], rel=1e-6), key
