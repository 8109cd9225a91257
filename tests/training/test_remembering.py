"""`zoo.finetune` with several heads, replay and springs: what is kept, said and refused."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.io import write

import zoo
from zoo.datasets import AtomsDataset
from zoo.errors import (
    ConfigError,
    DataError,
    Interrupted,
    RecipeError,
    UnknownHeadError,
    UnsupportedInputError,
)

Labeller = Callable[..., list[Atoms]]
SHIFTED = {1: 86.5, 6: -430.0, 7: -780.0, 8: -1241.0}


def quiet(line: str) -> None:
    """Takes progress lines."""


@pytest.fixture(scope="module")
def new(labelled: Labeller) -> AtomsDataset:
    """Another level of theory: other constants and forces 1.3 times as large."""
    frames = labelled("CH3OH", 20, seed=5, shift=SHIFTED) + labelled("CH4", 10, shift=SHIFTED)
    for atoms in frames:
        atoms.calc.results["forces"] = 1.3 * atoms.calc.results["forces"]
    return AtomsDataset.from_atoms(
        frames,
        splits={"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0},
        metadata={"level_of_theory": "EMT-1.3"},
        source="new.extxyz",
    )


@pytest.fixture(scope="module")
def tune(pretrained: Path, new: AtomsDataset) -> Callable[..., Any]:
    """Fine-tunes on `new` with the parent's data at hand."""

    def run(output: Path, **options: Any) -> Any:
        settings = {"old_data": pretrained.parent / "emt.extxyz", "epochs": 2, "progress": quiet}
        return zoo.finetune(pretrained, new, output=output, **(settings | options))

    return run


@pytest.fixture(scope="module")
def both(tune: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A new head beside the old one, with replay."""
    return tune(
        tmp_path_factory.mktemp("both") / "out",
        heads="new:emt13",
        method="replay:frac=0.4,frames=12",
        epochs=6,
        lr=1e-2,
    )


def test_the_new_head_is_beside_the_old_one(both: Any, pretrained: Path) -> None:
    model = zoo.load(both.path, check=True)
    assert model.energy_heads == ("emt13", "energy")
    outputs = model.manifest.outputs
    assert outputs["energy/emt13"].level_of_theory == "EMT-1.3" and outputs["energy/emt13"].default
    assert outputs["energy"].level_of_theory == "not stated"
    atoms = zoo.datasets.open(pretrained.parent / "emt.extxyz").atoms(0)
    old, now = zoo.load(pretrained), model
    # the offsets are the new head's alone: 100 eV per unit of nuclear charge, 18 of them
    difference = now(atoms)["energy"] - now(atoms, head="energy")["energy"]
    assert float(difference) == pytest.approx(1800.0, abs=5.0)
    kept = old.energy_scale.reference
    assert torch.equal(now.scale_of("energy").reference, kept)


def test_both_tasks_are_reported_on_the_same_frames(both: Any) -> None:
    metrics = both.metrics
    assert metrics["fine_tuned"]["forces_mae"] < metrics["offsets_only"]["forces_mae"]
    # the old head has kept its totals, so they are still compared
    assert "energy_mae_per_atom" in metrics["old_after"]
    rows = {row["error"]: row for row in both.details["before_after"]}
    assert rows["forces_mae"]["old_before"] == metrics["old_before"]["forces_mae"]
    assert rows["forces_mae"]["new_after"] == metrics["fine_tuned"]["forces_mae"]
    assert both.details["old_head"] == "energy" and both.details["head"] == "emt13"
    saved = json.loads((both.path / "report.json").read_text())
    assert saved["before_after"] == both.details["before_after"]
    first = {row["head"]: row for row in saved["first_gradients"]}
    assert first["emt13"]["frames"] == 18 and first["energy"]["frames"] == 12
    assert first["emt13"]["gradient_norm"] > 0 and first["energy"]["weight"] == 1


def test_the_replayed_sample_is_pinned(both: Any, tune: Callable[..., Any], tmp_path: Path) -> None:
    entry = both.details["replay"]
    assert entry["frames"] == 12 and entry["head"] == "energy" and len(entry["sha256"]) == 64
    names = {data.name: data for data in zoo.load(both.path).manifest.training.data}
    assert names["emt"].sha256 == entry["sha256"] and names["emt"].frames == 12
    again = tune(tmp_path, heads="new:emt13", method="replay:frac=0.4,frames=12", epochs=6, lr=1e-2)
    assert again.details["replay"] == entry
    assert again.metrics["fine_tuned"] == both.metrics["fine_tuned"]


def test_a_head_alone_forgets_nothing(tune: Callable[..., Any], tmp_path: Path) -> None:
    report = tune(tmp_path, heads="new:emt13", method="head")
    assert report.metrics["old_after"] == report.metrics["old_before"]
    assert report.metrics["fine_tuned"] != report.metrics["offsets_only"]


def test_the_old_head_stays_while_the_trunk_moves(
    tune: Callable[..., Any], pretrained: Path, tmp_path: Path
) -> None:
    report = tune(tmp_path, heads="new:emt13")
    before, after = zoo.load(pretrained).state_dict(), report.model.state_dict()
    same = {name: torch.equal(value, after[name]) for name, value in before.items()}
    assert all(v for n, v in same.items() if n.startswith(("heads.energy.", "energy_scale.")))
    assert not any(v for n, v in same.items() if n.startswith("readout."))
    assert report.metrics["old_after"]["forces_mae"] != report.metrics["old_before"]["forces_mae"]


def test_a_head_can_be_tuned_again(both: Any, new: AtomsDataset, tmp_path: Path) -> None:
    report = zoo.finetune(both.path, new, output=tmp_path, epochs=1, heads="energy", progress=quiet)
    model = zoo.load(tmp_path)
    assert report.details["head"] == "energy" and model.energy_heads == ("emt13", "energy")
    assert model.manifest.outputs["energy"].level_of_theory == "EMT-1.3"
    frozen = "heads.energy/emt13.network.0.weight"
    assert torch.equal(model.state_dict()[frozen], both.model.state_dict()[frozen])
    with pytest.raises(UnknownHeadError, match="did you mean 'emt13'"):
        zoo.finetune(both.path, new, output=tmp_path / "x", heads="emt14", progress=quiet)


def test_a_spring_keeps_the_old_task(tune: Callable[..., Any], tmp_path: Path) -> None:
    free = tune(tmp_path / "free", lr=1e-2, epochs=4)
    held = tune(tmp_path / "held", lr=1e-2, epochs=4, method="ewc:lambda=1e3,frames=10")
    assert (tmp_path / "held" / "state" / "ewc.safetensors").is_file()
    lost = [r.metrics["old_after"]["forces_mae"] for r in (free, held)]
    start = free.metrics["old_before"]["forces_mae"]
    assert abs(lost[1] - start) < abs(lost[0] - start)


def test_an_interrupted_run_goes_on_with_its_spring_and_its_sample(
    tune: Callable[..., Any], tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if "step" in line:
            signal.raise_signal(signal.SIGINT)

    for k, options in enumerate(
        (
            {"method": "ewc:lambda=1e3,frames=6"},
            {"method": "replay:frames=12", "heads": "new:x"},
        )
    ):
        whole, parts = tmp_path / f"whole{k}", tmp_path / f"parts{k}"
        expected = tune(whole, epochs=3, **options)
        with pytest.raises(Interrupted, match="interrupted after"):
            tune(parts, epochs=3, progress=stop, **options)
        again = tune(parts, epochs=3, resume=True, **options)
        assert again.metrics == expected.metrics
        assert again.details["steps"] == expected.details["steps"]
    with pytest.raises(RecipeError, match="method"):
        tune(parts, epochs=3, resume=True, method="full", heads="new:x")


def test_one_head_replays_one_level_only(
    tune: Callable[..., Any], new: AtomsDataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="level of theory of the weights is not stated.*new:NAME"):
        tune(tmp_path, method="replay:frames=12")
    report = tune(tmp_path, method="replay:frames=12", level_of_theory="same")
    # old labels moved with the references, so that both agree
    assert report.details["replay"]["head"] == "energy"
    assert report.metrics["fine_tuned"]["energy_mae_per_atom"] < 1e3
    assert "energy_mae_per_atom" not in report.metrics["old_after"]


def test_replay_needs_old_frames_with_labels(
    tune: Callable[..., Any], labelled: Labeller, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"do not ship.*old_data="):
        tune(tmp_path, heads="new:x", method="replay", old_data=None)
    frames = labelled("CH4", 12)
    for atoms in frames:
        atoms.calc.results.pop("forces")
    write(tmp_path / "bare.extxyz", frames)
    with pytest.raises(DataError, match="frames to replay have no forces"):
        tune(tmp_path / "a", heads="new:x", method="replay", old_data=tmp_path / "bare.extxyz")
    few = AtomsDataset.from_atoms(labelled("CH4", 3))
    with pytest.raises(DataError, match="at least 5"):
        tune(tmp_path / "b", heads="new:x", method="replay", old_data=few)


def test_wrong_heads_and_weights_are_refused(tune: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UnknownHeadError, match="no head 'pbe'.*energy"):
        tune(tmp_path, heads="pbe")
    with pytest.raises(ConfigError, match="can't name a new energy head"):
        tune(tmp_path, heads="new:a/b")
    with pytest.raises(UnknownHeadError, match="enrgy.*did you mean 'energy'"):
        tune(tmp_path, heads="new:x", head_weights={"enrgy": 2.0})
    with pytest.raises(ConfigError, match="matches no parameter"):
        tune(tmp_path, freeze="layer.*")
    with pytest.raises(RecipeError, match="layer_decay"):
        tune(tmp_path, layer_decay=2.0)


def test_depth_and_patterns_combine_with_methods(
    tune: Callable[..., Any], pretrained: Path, tmp_path: Path
) -> None:
    report = tune(
        tmp_path, heads="new:x", method="replay:frames=12", layer_decay=0.5, freeze="*.elements.*"
    )
    assert report.details["layer_decay"] == 0.5 and report.details["frozen_by_name"] == 1
    name = "tensor_embedding.elements.weight"
    assert torch.equal(report.model.state_dict()[name], zoo.load(pretrained).state_dict()[name])


def test_charges_and_periodicity_need_consent(
    pretrained: Path, labelled: Labeller, tmp_path: Path
) -> None:
    def tune(frames: list[Atoms], folder: str, **options: Any) -> Any:
        splits = {"kind": "time", "fractions": {"train": 0.8, "test": 0.2}}
        data = AtomsDataset.from_atoms(frames, splits=splits, source=folder)
        return zoo.finetune(
            pretrained, data, output=tmp_path / folder, epochs=1, progress=quiet, **options
        )

    charged = labelled("CH4", 10)
    for atoms in charged[3:]:
        atoms.info["charge"] = 1
    with pytest.raises(UnsupportedInputError, match="7 structures are charged .*frame 3.*-charges"):
        tune(charged, "charged")
    periodic = labelled("CH4", 10)
    for atoms in periodic:
        results = dict(atoms.calc.results)
        atoms.set_cell([9, 9, 9])
        atoms.pbc = True
        atoms.calc.atoms = atoms.copy()
        atoms.calc.results = results
    with pytest.raises(UnsupportedInputError, match="full periodicity, the weights saw none.*-pbc"):
        tune(periodic, "periodic")
    model = zoo.load(tune(charged, "charged", new_charges=True).path)
    assert model.manifest.inputs.charge
    model = zoo.load(tune(periodic, "periodic", new_pbc=True).path)
    assert model.manifest.inputs.pbc == ["full", "none"]
