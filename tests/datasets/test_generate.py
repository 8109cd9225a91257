"""Generators: real runs of a few frames, and everything they refuse before computing."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import molecule

import zoo.datasets as zd
from zoo import _extras
from zoo.datasets import dft, generate, gfn2
from zoo.errors import ConfigError, DataError, MissingExtraError, OutputError

SHORT = {"stride": 2, "equilibration": 2}


@pytest.mark.parametrize("suffix", [".npz", ".extxyz"])
def test_gfn2_of_water(tmp_path: Path, suffix: str) -> None:
    start = tmp_path / "water.xyz"
    start.write_text(
        "3\nProperties=species:S:1:pos:R:3 name=water\n"
        "O 0 0 0.119262\nH 0 0.763239 -0.477047\nH 0 -0.763239 -0.477047\n"
    )
    seen: list[tuple[int, int]] = []
    path = tmp_path / f"out{suffix}"
    dataset = generate.generate_gfn2(
        [str(start)],
        path,
        frames={"train": 3, "test": 2},
        seed=5,
        progress=lambda *at: seen.append(at),
        **SHORT,  # type: ignore[arg-type]
    )
    assert seen == [(k, 5) for k in range(1, 6)]
    assert dataset.labels == {"energy", "forces", "dipole"}
    assert {k: v.tolist() for k, v in dataset.splits.items()} == {
        "train": [0, 1, 2],
        "test": [3, 4],
    }
    dataset.check()
    # GFN2-xTB of a water molecule is near -5.07 Hartree
    assert dataset.label("energy") == pytest.approx(np.full(5, -137.9), abs=0.6)
    about = dataset.metadata
    assert about["level_of_theory"] == "GFN2-xTB" and about["units"]["energy"] == "eV"
    runs = about["generation"]["trajectories"]
    assert [runs[f"water/{k}"]["seed"] for k in ("train", "test")] == [5, 6]
    assert 0 < runs["water/train"]["measured_temperature"] < 3000
    assert {"tblite", "ase", "numpy"} <= set(runs["water/train"]["versions"])
    # the data file can also be opened by itself, and the labels are those of its geometries
    again = zd.open(path)
    assert again.hash == dataset.hash
    # a fresh SCC cycle stops elsewhere within its threshold than one restarted in the dynamics
    checked = gfn2.label(again.atoms(4))
    assert checked.get_forces() == pytest.approx(again.atoms(4).get_forces(), abs=5e-4)
    assert checked.get_potential_energy() == pytest.approx(dataset[4].energy.item(), abs=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"out{suffix}", "out.yaml", "water.xyz"]


def test_gfn2_is_reproducible_and_seeds_differ() -> None:
    water = molecule("H2O")

    def run(seed: int) -> np.ndarray:
        setting = gfn2.Trajectory(frames=1, stride=2, equilibration=2, seed=seed)
        return gfn2.run(water, setting)[0][0].positions

    assert np.array_equal(run(1), run(1))
    assert not np.allclose(run(1), run(2), atol=1e-4)


def test_molecules_have_seeds_of_their_own() -> None:
    structures = {"a": molecule("H2"), "b": molecule("H2")}
    settings = {"train": gfn2.Trajectory(frames=1, stride=1, equilibration=1, seed=7)}
    frames, records = gfn2.molecules(structures, settings)
    assert [records[f"{k}/train"]["seed"] for k in "ab"] == [7, 1007]
    assert [f.info["name"] for f in frames] == ["a", "b"]


def test_forces_are_derivatives_of_the_energy() -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    step = 1e-3

    def energy(shift: float) -> float:
        moved = atoms.copy()
        moved.positions[1, 2] += shift
        return gfn2.label(moved).get_potential_energy()

    slope = (energy(step) - energy(-step)) / (2 * step)
    assert gfn2.label(atoms).get_forces()[1, 2] == pytest.approx(-slope, abs=1e-3)


def test_dft_of_hydrogen_and_water(tmp_path: Path) -> None:
    start = tmp_path / "start.extxyz"
    made = [molecule("H2O"), molecule("H2")]
    for name, atoms in zip(("water", "hydrogen"), made, strict=True):
        atoms.info["name"] = name
    ase.io.write(start, made)
    dataset = generate.generate_dft(start, tmp_path / "out.npz", grid=2)
    assert dataset.labels == {"energy", "forces", "dipole"}
    # PBE/def2-SVP: -76.27 and -1.16 Hartree
    assert dataset.label("energy") == pytest.approx([-2075.4, -31.6], abs=1.0)
    assert dataset.columns["name"].tolist() == ["water", "hydrogen"]
    generation = dataset.metadata["generation"]
    assert dataset.metadata["level_of_theory"] == "PBE/def2-SVP"
    assert generation["structures"] == {"file": "start.extxyz"} and generation["grid"] == 2
    assert "pyscf" in generation["versions"]
    forces = dataset[0].forces.numpy()
    assert np.abs(forces).max() > 0.1 and np.abs(forces.sum(axis=0)).max() < 0.05
    assert np.allclose(forces[1] * [1, -1, 1], forces[2], atol=1e-3), "mirror symmetry"


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("CH3"), "odd number of electrons"),
        (molecule("H2", cell=np.eye(3) * 5, pbc=True), "periodic"),
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]], info={"charge": 0.5}), "whole number"),
    ],
)
def test_dft_refuses_before_computing(atoms: Atoms, message: str) -> None:
    with pytest.raises(DataError, match=f"frame 1.*{message}"):
        next(dft.label([molecule("H2O"), atoms]))


@pytest.mark.filterwarnings("ignore:Basis may be available")
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"functional": "pbex"}, DataError, "frame 0: pbex/def2-SVP in PySCF.*PBEX"),
        ({"basis": "def2-SVPX"}, DataError, "Unknown basis"),
        ({"grid": 10}, ConfigError, "from 0 to 9"),
    ],
)
def test_dft_settings_are_checked(
    wrong: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        next(dft.label([molecule("H2")], **wrong))  # type: ignore[arg-type]


def test_gfn2_failures_are_data_errors(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    ase.io.write(path, Atoms("H2", positions=np.zeros((2, 3))))
    with pytest.raises(DataError, match="GFN2-xTB failed.*Too close"):
        generate.generate_gfn2([str(path)], tmp_path / "out.npz", frames={"train": 1})
    assert not (tmp_path / "out.npz").exists()


def test_dynamics_refuse_periodic_structures() -> None:
    with pytest.raises(DataError, match="pbc = False"):
        gfn2.run(molecule("H2", cell=np.eye(3) * 5, pbc=True), gfn2.Trajectory(frames=1))


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"stride": -1}, {"timestep": 0.0}, {"seed": -1}, {"temperature": 0}]
)
def test_trajectory_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        gfn2.Trajectory(**{"frames": 1} | wrong)  # type: ignore[arg-type]


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("computing has started")

    monkeypatch.setattr(gfn2, "molecules", fail)
    monkeypatch.setattr(dft, "label", fail)


@pytest.mark.usefixtures("no_computing")
def test_unwritable_outputs_are_refused_before_computing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    there = tmp_path / "there.npz"
    there.write_text("precious")
    structures = tmp_path / "h2.xyz"
    ase.io.write(structures, molecule("H2"))
    for output, error, message in [
        (file / "out.npz", OutputError, "nothing was computed"),
        (there, OutputError, "exists"),
        (tmp_path / "out.csv", ConfigError, "should end in"),
    ]:
        with pytest.raises(error, match=message):
            generate.generate_gfn2([str(structures)], output, frames={"train": 1})
        with pytest.raises(error, match=message):
            generate.generate_dft(structures, output)
    assert there.read_text() == "precious"
    with pytest.raises(ConfigError, match="at least one trajectory"):
        generate.generate_gfn2(["ethanol"], tmp_path / "a.npz", frames={})


@pytest.mark.parametrize(
    ("molecules", "message"),
    [
        (["ethanoll"], "none of the molecules aspirin"),
        (["C1CC"], "SMILES"),
        ([], "no molecules"),
        (["CCO", "CCO"], "comes up twice"),
        (["C" * 3000 + "("], "SMILES"),
    ],
)
def test_molecules_that_can_not_be_read(molecules: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        generate.starting_structures(molecules, seed=1)


def test_starting_structures(tmp_path: Path) -> None:
    made = generate.starting_structures(["ethanol", "[NH4+]"], seed=1)
    assert made["ethanol"].get_chemical_formula() == "C2H6O"
    assert made["[NH4+]"].info["charge"] == 1
    assert len(generate.starting_structures(["md17"], seed=1)) == 10
    path = tmp_path / "two.xyz"
    ase.io.write(path, [molecule("H2"), molecule("H2O")])
    named = generate.starting_structures([str(path)], seed=1)
    assert list(named) == ["two-0", "two-1"]


def test_missing_extra_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "geometric-zoo\[datagen\]"'):
        _extras.require("no_such_module", extra="datagen", package="tblite")
    assert _extras.versions("numpy", "no-such-package") == {"numpy": np.__version__}


def test_description_is_plain_yaml(tmp_path: Path) -> None:
    atoms = molecule("H2")
    atoms.info["energy"] = -1.0
    generate.write(tmp_path / "a.npz", [atoms], level_of_theory="none", generation={"seed": 1})
    entries = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert entries["frames"] == 1 and entries["elements"] == {"H": 2}
    assert "splits" not in entries
