"""The suite `organic`: both sides at the same geometries, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

import zoo
from zoo.apps import physics
from zoo.apps.physics import _organic
from zoo.datasets._molecules import conformers
from zoo.errors import ConfigError, UnsupportedElementError
from zoo.models._atomistic import AtomisticModel

NAME = "tensornet-s.gfn2-md10.r1"
SYSTEMS = ["g2/CH3OH", "s22/Water_dimer", "conformers/ethylene_glycol", "torsions/acrolein"]


@pytest.fixture(scope="module")
def model() -> AtomisticModel:
    return zoo.load(NAME)


@pytest.fixture
def itself() -> Callable[[Atoms], Calculator]:
    """The model as its own reference."""
    precise = zoo.load(NAME, dtype=torch.float64)
    return lambda atoms: precise.calculator()


def test_a_model_beside_its_reference(model: AtomisticModel, tmp_path: Path) -> None:
    short = physics.OrganicSettings.short()
    report = physics.measure(model, "organic", systems=SYSTEMS, settings=short)
    assert report.failures == [] and report.reference == "GFN2-xTB"
    found = {line["quantity"]: line for line in report.summary()}
    # GFN2-xTB binds the water dimer by some 0.2 eV, and methanol has 6 atoms of -22 eV each
    rows = {row.quantity: row for row in report.rows}
    reference = rows["interaction_energy"].reference
    assert reference is not None and -260 < reference < -160
    total = rows["point_energy"].reference
    assert total is not None and -45e3 < total < -30e3
    assert found["torsion_energy"]["values"] == 6 and found["conformer_energy"]["values"] > 0
    assert -1 <= found["conformer_rank"]["min"] <= 1 and found["point_forces_mae"]["max"] > 0
    files = {path.name for path in physics.write_report(report, tmp_path)}
    assert files == {"physics.json", "torsions.png"}
    assert (tmp_path / "torsions.png").stat().st_size > 10_000
    lines = report.metrics()
    assert {line["dataset"] for line in lines} == {"physics:organic"}
    assert any("rigid scans, every 60 degrees" in line["split"] for line in lines)


def test_a_model_beside_itself(
    model: AtomisticModel, itself: Callable[[Atoms], Calculator]
) -> None:
    wanted = ["g2/CH3OH", "s22/Water_dimer", "torsions/acrolein"]
    report = physics.measure(
        model,
        "organic",
        reference=itself,
        systems=wanted,
        settings=physics.OrganicSettings(fmax=0.3, step=90.0),
    )
    assert report.failures == []
    for line in report.summary():
        assert line.get("mae", line.get("mean")) == pytest.approx(0.0, abs=1e-6)


def test_scans_turn_one_bond_and_nothing_else() -> None:
    smiles, pattern = _organic.TORSIONS["anisole"]
    start = conformers(smiles, 1, seed=1)[0]
    angles = np.array([0.0, 90.0, 180.0])
    frames = _organic.turned(start, smiles, pattern, angles)
    before = start.get_all_distances()
    for frame in frames:
        near = before < 1.8  # bonds
        assert np.abs(frame.get_all_distances() - before)[near].max() < 1e-6
    assert np.abs(frames[1].positions - frames[0].positions).max() > 0.5
    for name, (text, smarts) in _organic.TORSIONS.items():  # every pattern is in its molecule
        scan = _organic.turned(conformers(text, 1, seed=1)[0], text, smarts, angles[:2])
        assert np.abs(scan[0].positions - scan[1].positions).max() > 0.5, name


def test_ranks() -> None:
    first = np.array([0.0, 3.0, 1.0, 9.0])
    assert _organic.spearman(first, np.exp(first)) == pytest.approx(1.0)
    assert _organic.spearman(first, -first) == pytest.approx(-1.0)
    assert _organic.spearman(first, np.array([0.0, 1.0, 3.0, 9.0])) == pytest.approx(0.8)


def test_the_systems(model: AtomisticModel) -> None:
    every = _organic.structures()
    assert sum(name.startswith("s22/") for name in every) == 22
    assert sum(name.startswith("g2/") for name in every) == 99
    assert not {"g2/O2", "g2/LiH", "g2/NO"} & set(every)  # open shells, other elements
    with pytest.raises(ConfigError, match="structures of its own"):
        physics.measure(model, "organic", systems={"x": Atoms("H2")})
    with pytest.raises(ConfigError, match="did you mean 's22/Water_dimer'"):
        physics.measure(model, "organic", systems=["s22/Water_dimr"])
    with pytest.raises(UnsupportedElementError, match="was not trained on F"):
        physics.measure(model, "organic", systems=["g2/HF"])
    with pytest.raises(ConfigError, match="OrganicSettings"):
        physics.measure(model, "organic", settings=physics.MoleculeSettings())
