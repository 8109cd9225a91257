"""Errors against their definitions."""

from typing import Any

import numpy as np
import pytest
import torch

from zoo.datasets import AtomsDataset
from zoo.training.metrics import UNITS, assess, determination


def test_errors_are_those_of_numpy(dataset: AtomsDataset, tiny: Any) -> None:
    model = tiny()
    model.set_references({1: -13.0, 6: -1031.0, 8: -2040.0})
    result = assess(model, dataset, batch_size=7)
    assert model.training
    with torch.no_grad():
        outputs = [model.eval()(dataset.atoms(i)) for i in range(len(dataset))]
    energy = np.array([float(out["energy"]) for out in outputs]) - dataset.label("energy")
    forces = np.concatenate([out["forces"].numpy() for out in outputs]) - dataset.label("forces")
    expected = {
        "energy_mae": 1e3 * np.abs(energy).mean(),
        "energy_mae_per_atom": 1e3 * np.abs(energy / dataset.counts).mean(),
        "forces_mae": 1e3 * np.abs(forces).mean(),
        "forces_rmse": 1e3 * np.sqrt((forces**2).mean()),
    }
    for name, value in expected.items():
        assert result.metrics[name] == pytest.approx(value, rel=1e-5), name
    assert -1.0 <= result.metrics["forces_cosine"] <= 1.0
    assert set(result.metrics) <= set(UNITS)
    assert np.allclose(result.energy[0] - result.energy[1], energy, atol=1e-5)


def test_offsets_per_element_do_not_count(dataset: AtomsDataset, tiny: Any) -> None:
    model = tiny()
    before = assess(model, dataset).metrics
    model.set_references({1: 3.0, 6: -20.0, 8: 7.0})
    after = assess(model, dataset).metrics
    assert abs(after["energy_mae"] - before["energy_mae"]) > 1.0
    assert after["energy_mae_offset"] == pytest.approx(before["energy_mae_offset"], rel=1e-6)


def test_what_is_not_labelled_is_not_reported(mixed: Any, tiny: Any) -> None:
    dataset = AtomsDataset.from_atoms(mixed, keys={"energy": None})
    assert {name.partition("_")[0] for name in assess(tiny(), dataset).metrics} == {"forces"}


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_explained_variance_is_that_of_numpy_and_does_not_turn(scale: float) -> None:
    rng = np.random.default_rng(0)
    target = scale * (rng.normal(size=(30, 3)) * [1.0, 0.3, 0.0] + [5.0, 0.0, 0.0])
    predicted = target + 0.2 * scale * rng.normal(size=(30, 3))
    residual = ((target - predicted) ** 2).sum()
    expected = 1 - residual / ((target - target.mean(0)) ** 2).sum()
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for matrix in (np.eye(3), turn):
        pair = [torch.from_numpy(value @ matrix) for value in (predicted, target)]
        assert determination(*pair) == pytest.approx(expected, rel=1e-6)
    assert determination(pair[0][:1], pair[1][:1]) is None
    assert determination(pair[0], torch.ones(30, 3, dtype=torch.float64)) is None
