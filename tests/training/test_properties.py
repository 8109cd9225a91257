"""Properties of molecules: labels, losses, scales, errors with units, files, predictions."""

import json

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from ase.io import read

import zoo
from zoo.apps.predict import labelled, predict
from zoo.datasets import _labels
from zoo.errors import CapabilityError, DataError, RecipeError
from zoo.layers.atomistic import SCALARS, TOTALS
from zoo.training import recipe as recipes
from zoo.training.metrics import UNITS
from zoo.training.recipe import PROPERTIES
from zoo.training.runner import train

NAMES = ("H2O", "NH3", "CH4", "CO", "C2H2", "CH3OH", "HCN", "H2CO", "C2H4", "C2H6")
TARGETS = ("dipole", "polarizability", "charges", "homo", "gap", "u0", "alpha", "dipole_norm")
LEVEL = {1: -13.6, 6: -1029.9, 7: -1485.3, 8: -2042.6}


def labels(atoms):
    """Made up, but smooth, and sums or means over atoms where they should be."""
    z, r = atoms.numbers.astype(float), atoms.positions - atoms.get_center_of_mass()
    charges = 0.1 * (z - z.mean())
    tensor = np.eye(3) * z.sum() + r.T @ r
    dipole = charges @ r
    return {
        "dipole": dipole,
        "dipole_norm": float(np.linalg.norm(dipole)),
        "polarizability": tensor,
        "alpha": float(np.trace(tensor) / 3),
        "charges": charges,
        "homo": -8.0 - 0.2 * float(z.mean()),
        "gap": 5.0 + 0.1 * float(z.mean()),
        "u0": float(sum(LEVEL[n] for n in atoms.numbers)) + 0.01 * len(atoms) ** 2,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten molecules, twice, in an npz."""
    path = tmp_path_factory.mktemp("data") / "molecules.npz"
    frames = [molecule(name) for name in NAMES] * 2
    width = max(len(a) for a in frames)
    found = [labels(a) for a in frames]

    def padded(rows):
        return np.stack([np.pad(r, [(0, width - len(r))] + [(0, 0)] * (r.ndim - 1)) for r in rows])

    arrays = {k: np.array([f[k] for f in found]) for k in found[0] if k != "charges"}
    np.savez(
        path,
        z=padded([a.numbers for a in frames]),
        R=padded([a.positions for a in frames]),
        charges=padded([f["charges"] for f in found]),
        **arrays,
    )
    return path


def settings(data, name, config, properties, **more):
    return {
        "recipe": 1,
        "name": f"{name}-s.molecules.r1",
        "model": {"name": name, "config": config},
        "data": {
            "source": str(data),
            "units": {"energy": "eV", "length": "angstrom"},
            "splits": {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}},
        },
        "loss": {"properties": {k: {"kind": "mae", "weight": 1.0} for k in properties}},
        "optimizer": {"lr": 0.01},
        "trainer": {"max_epochs": 2, "batch_size": 6},
        **more,
    }


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """TensorNet, which has heads for all of them."""
    folder = tmp_path_factory.mktemp("run")
    config = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 8, "heads": list(TARGETS)}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings(data, "tensornet", config, TARGETS)))
    return train(path, output=folder / "out", progress=lambda line: None)


def test_labels_and_heads_have_the_same_names():
    assert set(_labels.SCALARS) | {"homo", "lumo"} == set(SCALARS)
    assert set(TOTALS) | {"energy"} == set(_labels.TOTALS)
    assert set(PROPERTIES) <= set(_labels.SHAPES)
    assert all(f"{name}_mae" in UNITS for name in PROPERTIES)


def test_errors_of_every_property_have_units(trained):
    found = trained.metrics["test"]
    assert set(found) == {f"{name}_{kind}" for name in TARGETS for kind in ("mae", "r2")}
    assert all(np.isfinite(value) for value in found.values())
    saved = zoo.load(trained.path, check=True)
    entries = {(m.target, m.split): m for m in saved.manifest.metrics if m.name == "mae"}
    assert entries["dipole_norm", "test"].unit == "e Å"
    assert entries["gap", "val"].unit == "meV"
    outputs = saved.manifest.outputs
    assert "energy" not in outputs
    assert outputs["alpha"].unit == "Angstrom^3"
    assert (trained.path / "parity.png").stat().st_size > 10_000


def test_scales_come_from_the_training_labels(trained):
    """Orbital energies start at their mean; u0 keeps the constants of the elements in float64."""
    scales = json.loads((trained.path / "report.json").read_text())["scales"]
    assert sorted(scales) == sorted(set(TARGETS) - {"dipole", "polarizability", "charges"})
    assert -11.0 < scales["homo"]["constant"] < -8.0
    model = trained.model
    assert model.extensive == ("u0", "alpha", "dipole_norm")
    assert float(model.scalar_scale("u0").reference[8]) == pytest.approx(LEVEL[8], abs=20)
    out = model(molecule("CH3OH"))
    assert out["u0"].dtype == torch.float64
    assert out["homo"].dtype == torch.float32
    assert float(out["u0"]) == pytest.approx(labels(molecule("CH3OH"))["u0"], abs=5.0)
    assert float(out["charges"].sum()) == pytest.approx(0.0, abs=1e-5)


def test_charges_add_up_to_the_charge(trained):
    ion = molecule("NH3")
    ion.info["charge"] = 1
    assert float(trained.model(ion)["charges"].sum()) == pytest.approx(1.0, abs=1e-5)


def test_predictions_are_written_and_read_with_all_properties(trained, tmp_path):
    frames = [molecule("H2O"), molecule("CH4")]
    results = predict(trained.model, frames)
    assert results[0]["charges"].shape == (3,)
    written = labelled(frames, results)
    zoo.apps.predict.write(tmp_path / "out.extxyz", frames, results)
    back = read(tmp_path / "out.extxyz", index=":")
    for frame, result in zip(back, results, strict=True):
        assert frame.info["gap"] == pytest.approx(float(result["gap"]), rel=1e-6)
    assert written[1].calc.results["dipole"].shape == (3,)
    frames[0].calc = trained.model.calculator()
    assert frames[0].calc.get_property("homo", frames[0]) == pytest.approx(results[0]["homo"])


@pytest.mark.parametrize("normalise", ["standard", "references", "none"])
def test_the_scale_is_what_the_recipe_says(data, tmp_path, normalise):
    """DimeNet++ starts at zero for orbital energies: the constant alone is its first guess."""
    from zoo.training import properties

    config = {
        "hidden_channels": 8,
        "num_blocks": 1,
        "int_emb_size": 4,
        "out_emb_channels": 8,
        "num_spherical": 3,
        "heads": ["homo", "u0"],
    }
    options = settings(data, "dimenetpp", config, ["homo", "u0"])
    options["normalise"] = {"properties": normalise}
    resolved = recipes.resolve(options, where="test")
    model = zoo.create("dimenetpp", **config, extensive=False)
    frames = zoo.datasets.open(data, units={"energy": "eV", "length": "angstrom"})
    found = properties.set_scales(model, resolved, frames)
    guess = float(model.eval()(molecule("H2O"))["homo"])
    if normalise == "none":
        assert found == {}
        assert guess == 0.0
        return
    assert guess == pytest.approx(frames.label("homo").mean(), rel=1e-6)
    spread = frames.label("homo").std()
    expected = spread if normalise == "standard" else 1.0
    assert float(model.scalar_scale("homo").scale) == pytest.approx(expected, rel=1e-6)


def test_unknown_properties_are_refused(data):
    options = settings(data, "tensornet", {}, ["homoo"])
    with pytest.raises(RecipeError, match="'homoo' is no property: did you mean 'homo'"):
        recipes.resolve(options, where="test")


def test_recipes_without_properties_keep_their_digests(data):
    options = settings(data, "tensornet", {}, [])
    options["loss"] = {"energy": {"weight": 1.0}}
    written = recipes.resolve(options, where="test").to_yaml()
    assert "properties" not in written


def test_fine_tuning_goes_by_the_labels_that_the_model_predicts(trained, data, tmp_path):
    splits = {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    options = {"units": {"energy": "eV", "length": "angstrom"}, "splits": splits}
    report = zoo.finetune(
        trained.path,
        data,
        output=tmp_path / "tuned",
        epochs=8,
        lr=5e-3,
        level_of_theory="made up",
        progress=lambda line: None,
        **options,
    )
    before, after = report.metrics["zero_shot"], report.metrics["fine_tuned"]
    errors = {f"{name}_mae" for name in TARGETS}
    assert set(after) == errors | {f"{name}_r2" for name in TARGETS}
    assert min(after[name] / before[name] for name in errors) < 0.9
    assert {row["error"] for row in report.details["before_after"]} == errors
    outputs = zoo.load(tmp_path / "tuned").manifest.outputs
    assert {outputs[name].level_of_theory for name in TARGETS} == {"made up"}
    with pytest.raises(CapabilityError, match="no energy head"):
        zoo.finetune(trained.path, data, output=tmp_path / "head", heads="new:mine", **options)
    # a file with none of these labels
    np.savez(
        tmp_path / "e.npz",
        z=[[1, 1]] * 4,
        R=np.zeros((4, 2, 3)) + [[[0, 0, 0], [0, 0, 0.7]]],
        E=[0.0] * 4,
    )
    with pytest.raises(DataError, match="to train on"):
        zoo.finetune(trained.path, tmp_path / "e.npz", output=tmp_path / "e", **options)
