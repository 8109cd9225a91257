"""Predictions in batches: order, mixed periodicity, refusals, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from zoo.apps.predict import labelled, predict, to_json, write
from zoo.errors import ConfigError, OutputError, UnsupportedInputError
from zoo.models.tensornet import TensorNet


@pytest.fixture(scope="module")
def model() -> TensorNet:
    torch.manual_seed(0)
    return TensorNet(hidden_channels=8, num_layers=1, num_rbf=8).double().eval()


@pytest.fixture
def mixed() -> list[Atoms]:
    sheet = graphene(vacuum=5.0)
    sheet.pbc = (True, True, False)
    return [
        molecule("H2O"),
        bulk("Cu", cubic=True),
        Atoms("He"),
        sheet,
        molecule("CH4"),
        bulk("Al"),
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_order_and_values(model: TensorNet, mixed: list[Atoms], batch_size: int) -> None:
    results = predict(model, mixed, batch_size=batch_size)
    for atoms, result in zip(mixed, results, strict=True):
        single = model(atoms)
        assert isinstance(result["energy"], float)
        assert result["energy"] == pytest.approx(float(single["energy"]), rel=1e-12)
        np.testing.assert_allclose(result["forces"], single["forces"], atol=1e-12)
        assert ("stress" in result) is bool(atoms.pbc.all())
        if "stress" in result:
            np.testing.assert_allclose(result["stress"], single["stress"][0], atol=1e-12)


def test_the_models_precision_is_used(mixed: list[Atoms]) -> None:
    torch.manual_seed(0)
    single = TensorNet(hidden_channels=8, num_layers=1, num_rbf=8).eval()
    result = predict(single, mixed[:1])[0]
    assert result["energy"] == float(single(mixed[0])["energy"])


def test_progress_reaches_the_end(model: TensorNet, mixed: list[Atoms]) -> None:
    seen: list[tuple[int, int]] = []
    predict(model, mixed, batch_size=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]


def test_a_bad_structure_is_named_before_any_work(model: TensorNet, mixed: list[Atoms]) -> None:
    mixed[4].positions[2, 0] = np.nan
    calls: list[int] = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(UnsupportedInputError, match="4"):
        predict(model, mixed, batch_size=1)
    hook.remove()
    assert not calls


def test_old_labels_do_not_matter(model: TensorNet) -> None:
    atoms = molecule("H2O")
    clean = predict(model, [atoms])[0]["energy"]
    atoms.calc = SinglePointCalculator(atoms, energy=np.nan, forces=np.full((3, 3), np.nan))
    assert predict(model, [atoms])[0]["energy"] == clean
    written = labelled([atoms], predict(model, [atoms]))[0]
    assert written.get_potential_energy() == clean


def test_no_structures_and_no_batches(model: TensorNet) -> None:
    with pytest.raises(UnsupportedInputError):
        predict(model, [])
    with pytest.raises(ConfigError, match="batch_size"):
        predict(model, [molecule("H2O")], batch_size=0)


def test_written_and_read_back(model: TensorNet, mixed: list[Atoms], tmp_path: Path) -> None:
    results = predict(model, mixed)
    write(tmp_path / "out.extxyz", mixed, results, model="a-name")
    for atoms, result in zip(read(tmp_path / "out.extxyz", ":"), results, strict=True):
        assert atoms.info["model"] == "a-name"
        assert atoms.get_potential_energy() == pytest.approx(result["energy"], abs=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), result["forces"], atol=1e-7)
        if "stress" in result:
            np.testing.assert_allclose(atoms.get_stress(voigt=False), result["stress"], atol=1e-8)
    write(tmp_path / "out.json", mixed, results, form="json")
    assert json.loads((tmp_path / "out.json").read_text())["results"] == to_json(results)


def test_other_heads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    heads = ["energy", "dipole", "polarizability"]
    network = TensorNet(hidden_channels=8, num_layers=1, heads=heads).eval()
    atoms = molecule("H2O")
    results = predict(network, [atoms, atoms])
    assert results[1]["dipole"].shape == (3,)
    write(tmp_path / "out.extxyz", [atoms, atoms], results)
    frame = read(tmp_path / "out.extxyz", 1)
    np.testing.assert_allclose(frame.get_dipole_moment(), results[1]["dipole"], atol=1e-7)
    np.testing.assert_allclose(
        frame.info["polarizability"], results[1]["polarizability"], atol=1e-7
    )


def test_nothing_is_written_on_a_mistake(
    model: TensorNet, mixed: list[Atoms], tmp_path: Path
) -> None:
    results = predict(model, mixed)
    with pytest.raises(ConfigError, match="extxyz"):
        write(tmp_path / "out.cif", mixed, results, form="cif")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError):
        write(tmp_path / "file" / "out.extxyz", mixed, results)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
