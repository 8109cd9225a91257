"""Fitting, storing and testing the training domain of weights; predictions that carry it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import zoo
from zoo.apps import _held_out, trust
from zoo.apps.predict import predict, to_json
from zoo.apps.predict import write as write_predictions
from zoo.cli.main import run
from zoo.datasets import AtomsDataset
from zoo.errors import CapabilityError, ConfigError, DataError


def frames(name: str, count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = molecule(name)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        atoms.info["name"] = name
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two molecules with splits by trajectory."""
    path = tmp_path_factory.mktemp("data") / "two.extxyz"
    everything: list[Atoms] = []
    for seed, (split, count) in enumerate([("train", 40), ("val", 20), ("test", 20)]):
        for k, name in enumerate(("CH3CH2OH", "H2O")):
            part = frames(name, count, 10 * seed + k)
            for atoms in part:
                atoms.info["trajectory"] = split
            everything += part
    write(path, everything)
    return path


SPLITS = {"kind": "assigned", "key": "trajectory"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).eval()
    net.restrict_elements({1: 60, 6: 20, 8: 10})
    return zoo.save(net, tmp_path / "saved", name="tensornet-t.two.r1")


@pytest.fixture
def fitted(saved: Path, data: Path) -> Path:
    trust.attach(saved, data, splits=SPLITS)
    return saved


def test_predictions_carry_the_verdict(fitted: Path, tmp_path: Path) -> None:
    model = zoo.load(fitted)
    structures = [*frames("H2O", 2, 99), molecule("CO2"), *frames("CH3CH2OH", 1, 98)]
    results = predict(model, structures, batch_size=2, trust=True)
    assert [r["trust"]["inside"] for r in results] == [True, True, False, True]
    assert "(atom " in results[2]["trust"]["reason"]
    for atoms, result in zip(structures, results, strict=True):
        assert result["trust"]["atoms"].shape == (len(atoms),)
        assert result["trust"]["atoms"].max() == pytest.approx(result["trust"]["score"])
    plain = predict(model, structures, batch_size=2)
    assert all("trust" not in result for result in plain)
    assert [r["energy"] for r in plain] == [r["energy"] for r in results]
    single = [predict(model, [atoms], trust=True)[0]["trust"]["score"] for atoms in structures]
    np.testing.assert_allclose(single, [r["trust"]["score"] for r in results], rtol=1e-4)

    write_predictions(tmp_path / "out.extxyz", structures, results)
    stored = read(tmp_path / "out.extxyz", ":")
    assert [bool(a.info["trust_inside"]) for a in stored] == [True, True, False, True]
    assert stored[2].info["trust_reason"] == results[2]["trust"]["reason"]
    np.testing.assert_allclose(stored[2].arrays["trust"], results[2]["trust"]["atoms"], atol=1e-7)
    write_predictions(tmp_path / "out.json", structures, results, form="json")
    loaded = json.loads((tmp_path / "out.json").read_text())["results"]
    assert loaded == to_json(results)
    assert loaded[2]["trust"]["inside"] is False


def test_separation_is_measured_and_noted(fitted: Path, data: Path) -> None:
    dataset = zoo.datasets.open(data, splits=SPLITS)
    others = AtomsDataset.from_atoms(frames("CH3COOH", 10, 5) + frames("CO2", 5, 6))
    found = trust.separate(
        fitted, inside=dataset.split("test"), outside=others, outside_name="others"
    )
    assert found["auroc"]["score"] > 0.99
    assert found["detected"] == 1.0
    assert found["false_alarms"] < 0.2
    assert found["groups"]["CO2"] == {"frames": 5, "flagged": 1.0}
    assert "rank_correlation" not in found  # no labels
    noted = yaml.safe_load((fitted / "manifest.yaml").read_text())["trust"]["separation"]
    assert noted == [found]
    with pytest.raises(DataError, match="one has none"):
        trust.separate(fitted, inside=others, outside=others.take([]))


def test_errors_are_compared_with_scores(fitted: Path) -> None:
    def labelled(part: list[Atoms], shift: float) -> AtomsDataset:
        for atoms in part:
            forces = zoo.load(fitted)(atoms)["forces"].numpy() + shift
            atoms.calc = SinglePointCalculator(atoms, forces=forces)
        return AtomsDataset.from_atoms(part)

    near = labelled(frames("H2O", 3, 50), 0.01)
    far = labelled(frames("CO2", 3, 51), 1.0)
    found = trust.separate(zoo.load(fitted), inside=near, outside=far)
    assert found["rank_correlation"] > 0.8
    assert found["groups"]["CO2"]["forces_mae"] == pytest.approx(1000.0, rel=1e-3)


def test_the_measures_of_separation() -> None:
    near, far = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([2.0, 5.0, 1e9])
    assert trust.auroc(near, far) == pytest.approx(17 / 18)
    assert trust.auroc(far, near) == pytest.approx(1 / 18)
    assert trust.auroc(near, near) == pytest.approx(0.5)
    assert trust.auroc(torch.zeros(3), torch.zeros(4)) == pytest.approx(0.5)
    assert trust.rank_correlation(near, -near.square()) == pytest.approx(-1.0, abs=1e-4)


def test_the_verbs(saved: Path, data: Path, tmp_path: Path, capsys: Any) -> None:
    description = data.with_suffix(".yaml")
    description.write_text(
        yaml.safe_dump(
            {
                "title": "two molecules",
                "file": data.name,
                "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
                "level_of_theory": "none",
                "units": {"length": "Angstrom", "energy": "eV"},
                "splits": SPLITS,
            }
        )
    )
    outside = tmp_path / "outside.extxyz"
    write(outside, frames("CO2", 4, 3))
    assert run(["predict", str(saved), str(outside), "--trust"]) == 1
    assert "zoo trust fit" in capsys.readouterr().err
    code = run(["trust", "fit", str(saved), str(description), "--held-out", str(outside), "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    assert json.loads(out.out)["auroc"]["score"] == 1.0
    assert run(["trust", "fit", str(saved), str(description)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["trust", "test", str(saved), str(description), "--held-out", "nonsense"]) == 1
    assert "known: metals, molecules" in capsys.readouterr().err
    assert run(["predict", str(saved), str(outside), "--trust"]) == 0
    out = capsys.readouterr()
    assert "4 of 4 structures lie outside" in out.err
    assert "outside: " in out.out


def test_joined_by_the_command(tmp_path: Path, capsys: Any) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        net = zoo.create("tensornet", hidden_channels=8, num_layers=0, num_rbf=8).eval()
        zoo.save(net, tmp_path / f"m{seed}", name=f"tensornet-t.two.r{seed + 1}")
    words = ["ensemble", str(tmp_path / "m0"), str(tmp_path / "m1"), "-o", str(tmp_path / "both")]
    assert run(words) == 0
    assert "tensornet-t-x2.two.r1" in capsys.readouterr().out
    write(tmp_path / "w.extxyz", molecule("H2O"))
    assert run(["predict", str(tmp_path / "both"), str(tmp_path / "w.extxyz")]) == 0
    assert "energy spread (eV)" in capsys.readouterr().out
    results = predict(zoo.load(tmp_path / "both"), [molecule("H2O")])
    write_predictions(tmp_path / "out.extxyz", [molecule("H2O")], results)
    stored = read(tmp_path / "out.extxyz")
    assert stored.info["energy_std"] == pytest.approx(results[0]["energy_std"], abs=1e-8)
    np.testing.assert_allclose(stored.arrays["forces_std"], results[0]["forces_std"], atol=1e-7)


def test_held_out_metals_are_labelled_and_named() -> None:
    made = _held_out.make("metals", frames=1)
    assert len(made) == 8
    assert {"energy", "forces", "stress"} <= made.labels
    assert set(made.columns["name"]) >= {"body-centred cubic", "cluster of 13", "ternary alloy"}
    made.check()
    with pytest.raises(ConfigError, match="molecules"):
        _held_out.make("molecule")


def test_no_domain_no_separation(saved: Path) -> None:
    part = AtomsDataset.from_atoms(frames("H2O", 1, 0))
    with pytest.raises(CapabilityError, match="stores no training domain"):
        trust.separate(saved, inside=part, outside=part)
