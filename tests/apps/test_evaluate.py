"""Errors against labels, from a model or a path, a data set or a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import zoo
from zoo.apps.evaluate import evaluate, rows
from zoo.errors import DataError, UnknownNameError
from zoo.models.tensornet import TensorNet


@pytest.fixture(scope="module")
def model() -> TensorNet:
    torch.manual_seed(0)
    return zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).double().eval()


@pytest.fixture
def frames(model: TensorNet, tmp_path: Path) -> Path:
    """Labels that miss the model by 0.1 eV and by 0.2 eV/Å along x."""
    structures = []
    for name in ("H2O", "CH4", "CH3OH"):
        atoms = molecule(name)
        out = model(atoms)
        shift = np.tile([0.2, 0.0, 0.0], (len(atoms), 1))
        atoms.calc = SinglePointCalculator(
            atoms, energy=float(out["energy"]) - 0.1, forces=out["forces"].numpy() - shift
        )
        structures.append(atoms)
    write(tmp_path / "frames.extxyz", structures)
    return tmp_path / "frames.extxyz"


def test_known_errors(model: TensorNet, frames: Path) -> None:
    metrics = evaluate(model, frames)
    assert metrics["energy_mae"] == pytest.approx(100.0, abs=1e-3)
    assert metrics["energy_mae_per_atom"] == pytest.approx(
        100 * (1 / 3 + 1 / 5 + 1 / 6) / 3, abs=1e-3
    )
    assert metrics["forces_mae"] == pytest.approx(200 / 3, abs=1e-3)
    assert metrics["forces_rmse"] == pytest.approx(200 / 3**0.5, abs=1e-3)
    table = {row["metric"]: row["unit"] for row in rows(metrics)}
    assert table["energy_mae"] == "meV"


def test_batch_size_does_not_matter(model: TensorNet, frames: Path) -> None:
    together = pytest.approx(evaluate(model, frames), abs=1e-6)
    assert evaluate(model, frames, batch_size=1) == together


def test_by_path(model: TensorNet, frames: Path, tmp_path: Path) -> None:
    folder = zoo.save(model, tmp_path / "saved", name="tensornet-t.test.r1")
    expected = evaluate(model, zoo.datasets.open(frames))
    assert evaluate(folder, frames) == pytest.approx(expected)
    assert evaluate(str(folder), str(frames)) == pytest.approx(expected)


def test_refusals(model: TensorNet, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="test"):
        evaluate(model, frames, split="test")
    write(tmp_path / "bare.extxyz", molecule("H2O"))
    with pytest.raises(DataError, match="nothing to compare"):
        evaluate(model, tmp_path / "bare.extxyz")
