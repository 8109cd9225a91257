"""`zoo.finetune`: offsets, methods, forgetting, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

import zoo
from zoo.datasets import AtomsDataset
from zoo.errors import (
    ConfigError,
    DataError,
    OutputError,
    RecipeError,
    UnitsRequiredError,
    UnsupportedElementError,
)

Labeller = Callable[..., list[Atoms]]
#: 100 eV per unit of nuclear charge away from the constants of conftest
SHIFTED = {1: 86.5, 6: -430.0, 7: -780.0, 8: -1241.0}
RANDOM = {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0}


def quiet(line: str) -> None:
    """Takes progress lines."""


@pytest.fixture(scope="module")
def shifted(labelled: Labeller, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another level of theory: the same surface, other constants; two compositions."""
    path = tmp_path_factory.mktemp("data") / "shifted.extxyz"
    write(path, labelled("CH3OH", 20, seed=5, shift=SHIFTED) + labelled("CH4", 10, shift=SHIFTED))
    return path


@pytest.fixture(scope="module")
def tuned(pretrained: Path, shifted: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One complete run."""
    return zoo.finetune(
        pretrained,
        shifted,
        output=tmp_path_factory.mktemp("tuned") / "out",
        old_data=pretrained.parent / "emt.extxyz",
        epochs=10,
        lr=1e-2,
        progress=quiet,
    )


def test_offsets_are_found_and_training_improves(tuned: Any) -> None:
    metrics = tuned.metrics
    assert set(metrics) == {
        "zero_shot",
        "offsets_only",
        "fine_tuned",
        "old_before",
        "old_after",
    }
    # 100 eV per unit of nuclear charge: CH3OH has 18, CH4 has 10
    assert metrics["zero_shot"]["energy_mae"] > 0.9e6
    assert metrics["offsets_only"]["energy_mae"] < 1e-3 * metrics["zero_shot"]["energy_mae"]
    assert metrics["offsets_only"]["forces_mae"] == metrics["zero_shot"]["forces_mae"]
    assert metrics["fine_tuned"]["forces_mae"] < 0.9 * metrics["offsets_only"]["forces_mae"]
    offsets = tuned.details["offsets"]
    assert offsets["rank"] == 2 and offsets["explained"] > 0.9999
    assert offsets["mae_before_eV"] > 900 > 1 > offsets["mae_after_eV"]


def test_the_old_task_is_measured_on_its_own_frames(tuned: Any, pretrained: Path) -> None:
    before, after = tuned.metrics["old_before"], tuned.metrics["old_after"]
    frames = AtomsDataset.from_atoms(
        [zoo.datasets.open(pretrained.parent / "emt.extxyz").atoms(i) for i in range(36)]
    )
    expected = zoo.evaluate(zoo.load(pretrained), frames)
    assert before["forces_mae"] == pytest.approx(expected["forces_mae"], rel=1e-5)
    assert after["forces_mae"] != before["forces_mae"]
    # the offsets moved every total energy: only differences still tell what was unlearnt
    assert set(before) - set(after) == {"energy_mae", "energy_mae_per_atom"}


def test_the_result_loads_and_says_where_it_comes_from(tuned: Any, pretrained: Path) -> None:
    parent, child = zoo.load(pretrained), zoo.load(tuned.path, check=True)
    assert child.checkpoint_name == "tensornet-tiny.shifted.r1"
    derived = child.manifest.derived_from
    assert derived.name == parent.checkpoint_name
    assert derived.sha256 == parent.manifest.weights.sha256
    assert child.manifest.limits == ["a test"]
    atoms = zoo.datasets.open(pretrained.parent / "emt.extxyz").atoms(0)
    assert torch.equal(child(atoms)["forces"], tuned.model(atoms)["forces"])
    saved = json.loads((tuned.path / "report.json").read_text())
    assert saved["metrics"] == tuned.metrics
    assert saved["derived_from"]["sha256"] == derived.sha256
    assert saved["evaluated_on"] == "test" and saved["frames"]["test"] == 3
    for name in ("parity.png", "learning_curve.png", "card.md", "finetune.yaml"):
        assert (tuned.path / name).stat().st_size > 0
    assert "tensornet-tiny.emt.r1" in (tuned.path / "card.md").read_text()


def test_elements_seen_add_up(tuned: Any, pretrained: Path) -> None:
    before = zoo.load(pretrained).trained_elements
    after = zoo.load(tuned.path).trained_elements
    assert before is not None and after is not None
    train = tuned.details["frames"]["train"]
    assert set(after) == {1, 6, 8}
    assert after[6] == before[6] + train  # one carbon in each frame


@pytest.mark.parametrize(("method", "frozen"), [("head", 3), ("freeze:1", 1), ("freeze:-1", 3)])
def test_methods_change_what_they_say(
    pretrained: Path, shifted: Path, tmp_path: Path, method: str, frozen: int
) -> None:
    report = zoo.finetune(
        pretrained, shifted, output=tmp_path, method=method, epochs=1, progress=quiet
    )
    before, after = zoo.load(pretrained), report.model
    blocks = zip(before.blocks(), after.blocks(), strict=True)
    same = [
        all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
        for old, new in blocks
    ]
    assert same == [True] * frozen + [False] * (len(same) - frozen)
    assert all(p.requires_grad for p in after.parameters())
    assert "old_before" not in report.metrics  # the old data do not ship
    assert "emt" in report.details["old_task"]


def test_references_can_be_kept(
    pretrained: Path, shifted: Path, labelled: Labeller, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="another level of theory, or another kind.*references='fi"):
        zoo.finetune(pretrained, shifted, output=tmp_path, references="keep", progress=quiet)
    write(tmp_path / "same.extxyz", labelled("CH3OH", 10) + labelled("CH4", 10))
    report = zoo.finetune(
        pretrained,
        tmp_path / "same.extxyz",
        output=tmp_path,
        references="keep",
        epochs=1,
        progress=quiet,
    )
    kept = zoo.load(pretrained).energy_scale.reference
    assert torch.equal(report.model.energy_scale.reference, kept)
    assert "offsets_only" not in report.metrics and report.details["offsets"] is None


def test_new_elements_need_consent(pretrained: Path, labelled: Labeller, tmp_path: Path) -> None:
    path = tmp_path / "ammonia.extxyz"
    write(path, labelled("NH3", 12) + labelled("CH4", 6))
    with pytest.raises(UnsupportedElementError, match=r"N \(12 atoms\).*--new-elements"):
        zoo.finetune(pretrained, path, output=tmp_path / "a", progress=quiet)
    report = zoo.finetune(
        pretrained, path, output=tmp_path / "b", new_elements=True, epochs=2, progress=quiet
    )
    loaded = zoo.load(report.path)
    assert (loaded.trained_elements or {})[7] > 0
    assert torch.isfinite(loaded(labelled("NH3", 1)[0])["energy"]).all()
    limits = loaded.manifest.limits
    assert any("O" in limit and "tensornet-tiny.emt.r1" in limit for limit in limits)


def test_a_user_can_resume(pretrained: Path, shifted: Path, tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        return zoo.finetune(pretrained, shifted, output=tmp_path, progress=quiet, **options)

    first = run(epochs=2)
    with pytest.raises(OutputError, match="holds a run already"):
        run(epochs=2)
    with pytest.raises(RecipeError, match="can't resume"):
        run(epochs=2, lr=0.5, resume=True)
    again = run(epochs=4, resume=True)
    assert again.details["steps"] == 2 * first.details["steps"]
    assert run(epochs=1, overwrite=True).details["epochs"] == 1


def frames_without(label: str, labelled: Labeller) -> list[Atoms]:
    frames = labelled("CH4", 10)
    for atoms in frames:
        atoms.calc.results.pop(label)
    return frames


def test_forces_alone_are_enough(pretrained: Path, labelled: Labeller, tmp_path: Path) -> None:
    write(tmp_path / "forces.extxyz", frames_without("energy", labelled))
    report = zoo.finetune(
        pretrained, tmp_path / "forces.extxyz", output=tmp_path / "a", epochs=1, progress=quiet
    )
    assert report.details["offsets"] is None
    assert set(report.metrics["fine_tuned"]) == {"forces_mae", "forces_rmse", "forces_cosine"}
    with pytest.raises(DataError, match="energy_weight is given but"):
        zoo.finetune(
            pretrained, tmp_path / "forces.extxyz", output=tmp_path / "b", energy_weight=1.0
        )


def test_bad_input_is_refused(
    pretrained: Path, shifted: Path, labelled: Labeller, tmp_path: Path
) -> None:
    def refused(kind: type[Exception], match: str, data: Any = shifted, **options: Any) -> None:
        with pytest.raises(kind, match=match):
            zoo.finetune(pretrained, data, **({"output": tmp_path / "out"} | options))

    refused(ConfigError, "did you mean 'epochs'", epoch=3)
    refused(ConfigError, "freeze", method="freez:1")
    refused(ConfigError, "N must be 1 to", method="freeze:99")
    refused(ConfigError, "expected 'fit' or 'keep'", references="average")
    refused(ConfigError, "must read", new_name="mine")
    refused(DataError, "REF_E", keys={"energy": "REF_E"})
    refused(RecipeError, "max_time", max_time="1h")
    bare = [atoms.copy() for atoms in labelled("CH4", 10)]
    write(tmp_path / "bare.extxyz", bare)
    refused(DataError, "no energies or forces", tmp_path / "bare.extxyz")
    broken = labelled("CH4", 10)
    broken[3].calc.results["energy"] = np.nan
    write(tmp_path / "nan.extxyz", broken)
    refused(DataError, "frame 3", tmp_path / "nan.extxyz")
    np.savez(tmp_path / "m.npz", z=[1, 1], R=np.zeros((2, 2, 3)), E=np.zeros(2))
    refused(UnitsRequiredError, "units", tmp_path / "m.npz")
    (tmp_path / "file").write_text("")
    refused(OutputError, "can't be written", output=tmp_path / "file" / "x")
    one = AtomsDataset.from_atoms(
        labelled("CH4", 2), splits={"kind": "time", "fractions": {"train": 0.5, "test": 0.5}}
    )
    refused(DataError, "one training frame", one)


def test_validation_frames_are_set_aside(
    pretrained: Path, labelled: Labeller, tmp_path: Path
) -> None:
    data = AtomsDataset.from_atoms(
        labelled("CH4", 24), splits={"kind": "time", "fractions": {"train": 0.875, "test": 0.125}}
    )
    report = zoo.finetune(pretrained, data, output=tmp_path, epochs=1, progress=quiet)
    assert report.details["frames"] == {"train": 19, "val": 2, "test": 3}


def test_random_splits_are_taken_as_they_are(
    pretrained: Path, shifted: Path, tmp_path: Path
) -> None:
    report = zoo.finetune(
        pretrained, shifted, output=tmp_path, splits=RANDOM, epochs=1, progress=quiet
    )
    assert report.details["frames"] == {"train": 18, "val": 6, "test": 6}
