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
from zoo.datasets import _parts, dft, emt, generate, gfn2
from zoo.datasets._described import write
from zoo.datasets._dynamics import Dynamics, Trajectory, chunks
from zoo.datasets._starts import starting_structures
from zoo.errors import ConfigError, DataError, MissingExtraError, OutputError

SHORT = {"stride": 2, "dynamics": Dynamics(equilibration=2)}


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
    assert seen[-1] == (5, 5) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert dataset.labels == {"energy", "forces", "dipole", "charges", "homo", "lumo"}
    # Mulliken charges of a neutral molecule, oxygen's below zero; a gap between the orbitals
    charges = dataset.label("charges").reshape(5, 3)
    assert np.abs(charges.sum(axis=1)).max() < 1e-6 and (charges[:, 0] < -0.3).all()
    assert (dataset.label("lumo") - dataset.label("homo") > 5).all()
    assert {k: v.tolist() for k, v in dataset.splits.items()} == {
        "train": [0, 1, 2],
        "test": [3, 4],
    }
    dataset.check()
    # GFN2-xTB of a water molecule is near -5.07 Hartree
    assert dataset.label("energy") == pytest.approx(np.full(5, -137.9), abs=0.6)
    about = dataset.metadata
    assert about["level_of_theory"] == "GFN2-xTB" and about["units"]["energy"] == "eV"
    made = about["generation"]
    assert [made["trajectories"][k]["seed"] for k in ("train", "test")] == [5, 6]
    assert 0 < made["measured_temperature"]["water"]["mean"] < 3000
    assert {"tblite", "ase", "numpy"} <= set(made["versions"])
    # the data file can also be opened by itself, and the labels are those of its geometries
    again = zd.open(path)
    assert again.hash == dataset.hash
    # a fresh SCC cycle stops elsewhere within its threshold than one restarted in the dynamics
    checked = gfn2.label(again.atoms(4))
    assert checked.get_forces() == pytest.approx(again.atoms(4).get_forces(), abs=5e-4)
    assert checked.get_potential_energy() == pytest.approx(dataset[4].energy.item(), abs=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"out{suffix}", "out.yaml", "water.xyz"]


def frames_of(start: Atoms, **settings: float) -> list[Atoms]:
    setting = Trajectory(**{"frames": 1, "stride": 2, "equilibration": 2} | settings)  # type: ignore[arg-type]
    return [frame for part, _ in chunks(gfn2, start, setting, size=2) for frame in part]


def test_gfn2_is_reproducible_and_seeds_differ() -> None:
    water = molecule("H2O")
    first = frames_of(water, seed=1)[0].positions
    assert np.array_equal(first, frames_of(water, seed=1)[0].positions)
    assert not np.allclose(first, frames_of(water, seed=2)[0].positions, atol=1e-4)


def test_charge_and_spin_reach_the_method() -> None:
    atoms = molecule("H2O")
    neutral = gfn2.label(atoms)
    atoms.info |= {"charge": 1, "spin": 2}
    ion = gfn2.label(atoms)
    # the ionisation energy of water is near 13 eV; GFN2-xTB is a few eV above
    assert 10 < ion.get_potential_energy() - neutral.get_potential_energy() < 20
    assert ion.calc.results["charges"].sum() == pytest.approx(1.0, abs=1e-6)
    assert neutral.get_dipole_moment() == pytest.approx([0, 0, neutral.get_dipole_moment()[2]])


def plan(names: tuple[str, ...], frames: int = 5) -> _parts.Plan:
    jobs = {
        f"{name}/train": _parts.Job(
            start=molecule("H2O"),
            settings=Trajectory(frames=frames, stride=1, equilibration=1, seed=seed),
        )
        for seed, name in enumerate(names)
    }
    return _parts.Plan(engine="gfn2", jobs=jobs, chunk=2)


def positions(frames: dict[str, list[Atoms]]) -> np.ndarray:
    return np.stack([f.positions for key in sorted(frames) for f in frames[key]])


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    job = plan(("a", "b/c"))
    whole = _parts.run(job, tmp_path / "whole")
    for part in _parts.compute(job, tmp_path / "whole", "a/train"):
        raise AssertionError(f"all is done, but {part} frames were computed")
    _parts.run(job, tmp_path / "cut")
    lost = sorted((tmp_path / "cut").glob("*.000[12].npz"))
    assert len(lost) == 4
    for file in lost[1:]:
        file.unlink()
    seen: list[tuple[int, int]] = []
    again = _parts.run(job, tmp_path / "cut", progress=lambda *at: seen.append(at))
    assert seen[0][0] > 4 and seen[-1] == (10, 10), "what was there is not computed again"
    assert np.array_equal(positions(whole), positions(again))
    energies = [[f.get_potential_energy() for f in run["a/train"]] for run in (whole, again)]
    assert energies[0] == energies[1]
    # nor does a part that a kill left half written count
    (tmp_path / "cut" / ".a~train.0002.npz.x.tmp").write_bytes(b"half")
    assert np.array_equal(positions(whole), positions(_parts.run(job, tmp_path / "cut")))


@pytest.mark.slow
def test_processes_compute_the_same(tmp_path: Path) -> None:
    job = plan(("a", "b", "c"), frames=3)
    one = _parts.run(job, tmp_path / "one")
    seen: list[tuple[int, int]] = []
    two = _parts.run(job, tmp_path / "two", processes=2, progress=lambda *at: seen.append(at))
    # threads of the quantum-chemical code add up in any order: repeats differ by 2e-16
    np.testing.assert_allclose(positions(one), positions(two), rtol=0, atol=1e-12)
    assert seen[-1] == (9, 9)
    assert np.array_equal(positions(one), positions(_parts.run(job, tmp_path / "one", processes=2)))
    broken = _parts.Job(start=Atoms("H2", np.zeros((2, 3))), settings=Trajectory(frames=1))
    wrong = _parts.Plan(engine="gfn2", jobs={**job.jobs, "x/train": broken}, chunk=2)
    with pytest.raises(DataError, match=r"x/train.*failed.*kept in"):
        _parts.run(wrong, tmp_path / "wrong", processes=2)


def test_parts_of_other_settings_are_refused(tmp_path: Path) -> None:
    _parts.run(plan(("a",), frames=1), tmp_path / "parts")
    with pytest.raises(ConfigError, match="other settings.*remove the folder"):
        _parts.run(plan(("a",), frames=2), tmp_path / "parts")


def test_trajectories_share_the_frames_of_a_split(tmp_path: Path) -> None:
    path = tmp_path / "h2.xyz"
    ase.io.write(path, molecule("H2"))
    dataset = generate.generate_gfn2(
        [str(path)],
        tmp_path / "out.npz",
        frames={"train": 4, "test": 1},
        trajectories={"train": 2},
        stride={"train": 1, "test": 3},
        dynamics=Dynamics(equilibration=1),
    )
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 4, "test": 1}
    runs = dataset.metadata["generation"]["trajectories"]
    assert list(runs) == ["train-1", "train-2", "test"]
    assert [run["stride"] for run in runs.values()] == [1, 1, 3]
    assert not (tmp_path / "out.parts").exists()
    wrong: dict[str, dict[str, int]]
    for wrong in (
        {"trajectories": {"train": 3}},
        {"trajectories": {"val": 1}},
        {"stride": {"x": 1}},
    ):
        with pytest.raises(ConfigError, match="multiple|no frames of"):
            generate.generate_gfn2(
                [str(path)],
                tmp_path / "b.npz",
                frames={"train": 4},
                **wrong,  # type: ignore[arg-type]
            )


def test_emt_of_two_metals(tmp_path: Path) -> None:
    dataset = generate.generate_emt(
        tmp_path / "metals.npz",
        metals=["Cu", "Au"],
        frames={"train": 3, "test": 1},
        trajectories={"train": 3},
        stride=1,
        dynamics=Dynamics(timestep=5.0, equilibration=1),
    )
    assert dataset.labels == {"energy", "forces", "stress"}
    names = sorted(set(dataset.columns["name"]))
    assert len(names) == 14 and {"Cu-bulk", "Au-vacancy", "Cu-111", "CuAu3-L12"} <= set(names)
    assert set(dataset.metadata["generation"]["measured_temperature"]) == {"50 K", "300 K", "800 K"}
    cells = {round(float(np.linalg.det(sample.cell[0])), 6) for sample in dataset}
    assert len(cells) == 14 * 4, "every trajectory has its own strain"
    with pytest.raises(ConfigError, match="no 'Fe'"):
        generate.generate_emt(tmp_path / "b.npz", metals=["Fe"])


def test_emt_structures_are_what_they_say() -> None:
    made = dict(emt.structures(["Ag", "Pd"]))
    assert made["AgPd3-L12"].get_chemical_formula() == "Ag8Pd24"
    assert made["Ag3Pd-L12"].get_chemical_formula() == "Ag24Pd8"
    assert len(made["Pd-vacancy"]) == 31
    # each silver of AgPd3 has twelve palladium neighbours
    ordered = made["AgPd3-L12"]
    distances = ordered.get_all_distances(mic=True)
    near = ordered.numbers[distances[0] < 1.05 * np.sort(distances[0])[1]]
    assert (near[1:] == 46).all() or (near == 46).sum() == 12
    constant = emt.lattice_constant("Cu")
    assert made.keys() and constant == pytest.approx(3.59, abs=0.02)
    slab = made["Ag-110"]
    slab.calc = emt.calculator(slab)
    assert slab.pbc.all() and slab.get_stress().shape == (6,)
    for crystal in (made["Ag-bulk"], made["AgPd-L10"]):
        crystal.calc = emt.calculator(crystal)
        assert np.abs(crystal.get_forces()).max() < 1e-8


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
    with pytest.raises(DataError, match="calculation failed.*Too close"):
        generate.generate_gfn2([str(path)], tmp_path / "out.npz", frames={"train": 1})
    assert not (tmp_path / "out.npz").exists()


def test_dynamics_refuse_periodic_structures() -> None:
    with pytest.raises(DataError, match="pbc = False"):
        frames_of(molecule("H2", cell=np.eye(3) * 5, pbc=True))


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"stride": -1}, {"timestep": 0.0}, {"seed": -1}, {"temperature": 0}]
)
def test_trajectory_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Trajectory(**{"frames": 1} | wrong)  # type: ignore[arg-type]


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("computing has started")

    monkeypatch.setattr(_parts, "run", fail)
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
    with pytest.raises(ConfigError, match="at least one split"):
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
        starting_structures(molecules, seed=1)


def test_starting_structures(tmp_path: Path) -> None:
    made = starting_structures(["ethanol", "[NH4+]"], seed=1)
    assert made["ethanol"].get_chemical_formula() == "C2H6O"
    assert made["[NH4+]"].info["charge"] == 1
    assert len(starting_structures(["md17"], seed=1)) == 10
    path = tmp_path / "two.xyz"
    ase.io.write(path, [molecule("H2"), molecule("H2O")])
    named = starting_structures([str(path)], seed=1)
    assert list(named) == ["two-0", "two-1"]


def test_missing_extra_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "geometric-zoo\[datagen\]"'):
        _extras.require("no_such_module", extra="datagen", package="tblite")
    assert _extras.versions("numpy", "no-such-package") == {"numpy": np.__version__}


def test_description_is_plain_yaml(tmp_path: Path) -> None:
    atoms = molecule("H2")
    atoms.info["energy"] = -1.0
    write(tmp_path / "a.npz", [atoms], level_of_theory="none", generation={"seed": 1})
    entries = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert entries["frames"] == 1 and entries["elements"] == {"H": 2}
    assert "splits" not in entries
