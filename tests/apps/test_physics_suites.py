"""Suites of physical properties: both sides measured alike, resumed, refused, put on cards."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from springs import Springs

import zoo
from zoo import hub
from zoo.apps import physics
from zoo.apps.physics._metals import Metals
from zoo.apps.physics._suite import Pair
from zoo.errors import ConfigError, UnsupportedElementError, UnsupportedInputError
from zoo.models._atomistic import AtomisticModel

NAME = "tensornet-s.gfn2-md10.r1"
SHORT = physics.MoleculeSettings(length=0.02, equilibration=0.005, frames=4)
METHANE = {"methane": molecule("CH4")}


@pytest.fixture(scope="module")
def model() -> AtomisticModel:
    return zoo.load(NAME)


@pytest.fixture
def itself(model: AtomisticModel) -> Callable[[Atoms], Calculator]:
    """The model as its own reference."""
    precise = zoo.load(NAME, dtype=torch.float64)
    return lambda atoms: precise.calculator()


def test_the_shipped_potential_beside_its_reference(model: AtomisticModel) -> None:
    report = physics.measure(model, "molecules", systems=["ethanol"], settings=SHORT)
    found = {line["quantity"]: line for line in report.summary()}
    assert report.failures == []
    assert report.reference == "GFN2-xTB"
    assert found["frequency"]["values"] == 21
    assert 0.1 < found["frequency"]["mae"] < 15  # cm^-1
    assert found["imaginary_modes"]["max"] == 0
    assert found["geometry_rmsd"]["max"] < 0.02
    assert found["stable_time"]["min"] == pytest.approx(0.02)
    assert found["nve_fluctuation"]["max"] < 1.0
    assert found["own_frames_forces_mae"]["max"] < 40.0
    assert found["own_frames_mean_force"]["mean"] > 10 * found["own_frames_forces_mae"]["mean"]
    assert json.dumps(report.to_dict(), allow_nan=False)


def test_a_model_beside_itself(
    model: AtomisticModel, itself: Callable[[Atoms], Calculator], tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    options = {"reference": itself, "systems": METHANE, "settings": SHORT, "folder": tmp_path}
    report = physics.measure(
        model, "molecules", progress=lambda done, total: calls.append((done, total)), **options
    )
    found = {line["quantity"]: line for line in report.summary()}
    assert found["frequency"]["max"] < 0.1
    assert found["geometry_rmsd"]["max"] < 1e-3
    assert found["own_frames_forces_mae"]["max"] < 0.05  # meV/Å, float32 against float64
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    assert {p.name for p in physics.write_plots(report, tmp_path)} == {
        "frequencies.png",
        "energy.png",
        "own_frames.png",
    }

    def refused(atoms: Atoms) -> Calculator:
        raise AssertionError("measured again")

    refused.__module__, refused.__qualname__ = itself.__module__, itself.__qualname__
    again = physics.measure(model, "molecules", **(options | {"reference": refused}))
    assert list(again.rows) == list(report.rows)
    assert sorted(path.name for path in tmp_path.glob("*.state.npz")) == []
    longer = replace(SHORT, length=0.03)
    with pytest.raises(ConfigError, match="results with other settings; choose another folder"):
        physics.measure(model, "molecules", **(options | {"settings": longer}))


def test_metals_of_a_potential_beside_itself() -> None:
    class Twice(Pair):
        def __init__(self) -> None:
            pass

        def calculator(self, which: str, atoms: Atoms) -> Calculator:
            return EMT()

    suite = Metals(Twice(), ["Cu", "Ni"], physics.MetalSettings.short())
    units = suite.units(physics.GROUPS["metals"])
    rows = [row for unit in units for row in unit.measure(lambda done, total: None).rows]
    assert {row.error for row in rows} == {0.0}
    counts = {name: sum(row.quantity == name for row in rows) for name in physics.PROPERTIES}
    pure = ("lattice_constant", "bulk_modulus", "c44", "vacancy_formation", "surface_110")
    assert [counts[name] for name in pure] == [2] * 5
    assert counts["alloy_formation"] == 3
    assert counts["alloy_c_over_a"] == 1
    copper = {row.quantity: row.model for row in rows if row.system == "Cu"}
    assert copper["lattice_constant"] == pytest.approx(3.59, abs=0.01)


def test_what_fails_is_reported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    fresh = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8, cutoff=3.0).eval()
    fresh.restrict_elements({29: 1})
    options = {"systems": ["Cu"], "only": ["bulk"], "quick": True, "folder": tmp_path}
    # springs that only push have no lattice constant
    report = physics.measure(
        fresh, "metals", reference=lambda atoms: Springs(5.0, 5.0, 0.0, cutoff=5.0), **options
    )
    (failure,) = report.failures
    assert (failure.group, failure.system) == ("bulk", "Cu")
    assert "minimum" in failure.reason
    assert report.metrics()[-1] == {
        "dataset": "physics:metals",
        "split": "",
        "target": "bulk",
        "name": "failed",
        "value": 1.0,
        "unit": "systems",
    }


def test_metals_end_to_end(tmp_path: Path) -> None:
    """A model with the energy of nearest-neighbour springs is not at hand: springs against EMT."""

    class Springy(Pair):
        def __init__(self) -> None:
            pass

        def calculator(self, which: str, atoms: Atoms) -> Calculator:
            return Springs(1.9, 2.54, 0.6) if which == "model" else EMT()

    suite = Metals(Springy(), ["Cu"], physics.MetalSettings.short())
    found = {}
    for unit in suite.units(["bulk", "vacancy"]):
        measured = unit.measure(lambda done, total: None)
        found |= {row.quantity: row for row in measured.rows}
    constant = found["lattice_constant"]
    assert constant.model == pytest.approx(2.54 * 2**0.5, rel=1e-4)
    assert constant.reference == pytest.approx(3.59, abs=0.01)
    assert constant.percent == pytest.approx(100 * constant.error / constant.reference)
    assert found["vacancy_formation"].model == pytest.approx(3.6)


def test_refusals(model: AtomisticModel, tmp_path: Path) -> None:
    def refused(match: str, error: type[Exception], *words: object, **options: object) -> None:
        with pytest.raises(error, match=match):
            physics.measure(model, *words, **options)  # type: ignore[arg-type]

    refused("did you mean 'molecules'", ConfigError, "molecule")
    refused("no group of properties 'frequency'", ConfigError, "molecules", only=["frequency"])
    refused("was trained on GFN2-xTB, the suite metals", ConfigError, "metals")
    emt: dict[str, object] = {"reference": lambda atoms: EMT()}
    refused("knows none of Ag", UnsupportedElementError, "metals", **emt)
    refused(
        "Cu: the model was not trained on Cu",
        UnsupportedElementError,
        "metals",
        systems=["Cu"],
        **emt,
    )
    refused("'Xx' is no chemical symbol", ConfigError, "metals", systems=["Xx"], **emt)
    refused("comes up twice", ConfigError, "metals", systems=["Cu", "Cu"], **emt)
    refused("give a list", ConfigError, "molecules", systems="ethanol")
    refused("no systems", ConfigError, "molecules", systems={})
    refused("takes MoleculeSettings", ConfigError, "molecules", settings=physics.MetalSettings())
    silane = {"silane": molecule("SiH4")}
    refused("silane: .* not trained on Si", UnsupportedElementError, "molecules", systems=silane)
    box = molecule("H2O", cell=[9, 9, 9], pbc=True)
    refused("box is periodic", UnsupportedInputError, "molecules", systems={"box": box})


def test_results_reach_the_card(
    model: AtomisticModel, itself: Callable[[Atoms], Calculator], tmp_path: Path
) -> None:
    kept = {"dataset": "mine", "split": "test", "target": "energy", "name": "mae", "unit": "meV"}
    kept["value"] = 1.0
    folder = zoo.save(
        model,
        tmp_path / "saved",
        name="tensornet-s.mine.r1",
        metrics=[kept],
        golden_inputs=[molecule("CH4")],
    )
    saved = zoo.load(folder)
    options = {"reference": itself, "systems": METHANE}
    report = physics.measure(saved, "molecules", only=["frequencies"], **options)
    for _ in range(2):  # the second time in place of the first
        physics.write_metrics(folder, report)
    manifest = hub.read_manifest(hub.find(folder))
    lines = [(m.dataset, m.split, m.target, m.name) for m in manifest.metrics]
    assert lines[0] == ("mine", "test", "energy", "mae")
    assert ("physics:molecules", "1 system", "frequency", "mae") in lines
    assert len(lines) == len(set(lines)) == 1 + 2 + 2 + 2
    assert "physics:molecules" in (folder / "card.md").read_text()
    with pytest.raises(ConfigError, match="quick run belongs on no card"):
        physics.write_metrics(folder, replace(report, quick=True))
    with pytest.raises(ConfigError, match="report of other-x"):
        physics.write_metrics(folder, replace(report, name="other-x"))


def test_dynamics_that_were_stopped_go_on(
    model: AtomisticModel,
    itself: Callable[[Atoms], Calculator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(Exception):
        pass

    monkeypatch.setattr("zoo.apps.physics._simulate.SAVE_EVERY", 10)
    options = {"reference": itself, "systems": METHANE, "settings": SHORT, "only": ["nve"]}

    def stop(done: int, total: int) -> None:
        if done > 0.6 * total:
            raise Killed

    with pytest.raises(Killed):
        physics.measure(model, "molecules", folder=tmp_path, progress=stop, **options)
    (state,) = tmp_path.glob("nve-*.state.npz")
    resumed = physics.measure(model, "molecules", folder=tmp_path, **options)
    assert resumed.rows == physics.measure(model, "molecules", **options).rows
    assert not state.exists()
