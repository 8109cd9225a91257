"""Checks of structures: every fault that is put in is found, and nothing else."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree, kcal, mol

import zoo.datasets as zd
from zoo.datasets._check import CheckReport, check, scan
from zoo.datasets._check.geometry import Structure
from zoo.datasets._check.units import atom_energy
from zoo.errors import DataError

KCAL = kcal / mol


@pytest.fixture(scope="module")
def ethanol() -> list[Atoms]:
    data = zd.open("pbe-ethanol")
    return [data.atoms(k) for k in range(60)]


def labelled(
    frames: list[Atoms], energy: float = 1, forces: float = 1, length: float = 1
) -> list[Atoms]:
    """Copies whose numbers are multiplied."""
    made = []
    for atoms in frames:
        copy = atoms.copy()
        copy.positions *= length
        copy.calc = SinglePointCalculator(
            copy,
            energy=energy * atoms.calc.results["energy"],
            forces=forces * atoms.calc.results["forces"],
        )
        made.append(copy)
    return made


def run(frames: list[Atoms], **options: object) -> CheckReport:
    return check(zd.AtomsDataset.from_atoms(frames, **options))  # type: ignore[arg-type]


def said(report: CheckReport, name: str) -> str:
    return "\n".join(f"{f}" for f in report.findings if f.check == name)


def test_a_sound_set_has_no_errors_and_no_warnings() -> None:
    report = check(zd.open("gfn2-md10"))
    assert report.ok and not report.of("warning"), str(report)
    assert report.read == report.frames == 2000
    assert report.summary["elements"]["N"] == {"atoms": 1000, "frames": 600}
    assert report.summary["different structures"] == 2000
    assert 0.9 < report.summary["trajectory"]["dE / (-F dx)"] < 1.1
    assert "energies and forces belong together" in said(report, "units")


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"energy": 1 / KCAL, "forces": 1 / KCAL}, ["--unit energy=kcal/mol --unit length=ang"]),
        (
            {"energy": 1 / Hartree, "forces": Bohr / Hartree, "length": 1 / Bohr},
            ["positions look like bohr", "energies look like hartree", "length=bohr"],
        ),
        ({"energy": 1 / Hartree}, ["energies in hartree, forces in eV/angstrom", "by 27.211386"]),
        ({"forces": 1 / KCAL}, ["energies in eV, forces in kcal/mol/angstrom", "by 0.04336"]),
        ({"forces": Bohr / Hartree}, ["energies in eV, forces in hartree/bohr"]),
        ({"length": 1 / Bohr}, ["positions look like bohr", "eV/angstrom, positions in bohr"]),
        ({"forces": -1}, ["the sign is wrong"]),
        ({"forces": 3.3}, ["no unit explains it"]),
        ({"length": 0.1, "energy": 1.0, "forces": 10.0}, ["positions look like nm"]),
    ],
)
def test_units_are_recognised(
    ethanol: list[Atoms], factors: dict[str, float], expected: list[str]
) -> None:
    report = run(labelled(ethanol, **factors))
    for words in expected:
        assert words in said(report, "units")
    consistent = "energies and forces belong together" in said(report, "units")
    assert report.ok is consistent


def test_the_units_that_it_proposes_are_right(ethanol: list[Atoms]) -> None:
    wrong = labelled(ethanol, 1 / Hartree, Bohr / Hartree, 1 / Bohr)
    report = run(wrong, units={"energy": "hartree", "length": "bohr"})
    assert report.ok and not report.of("warning"), str(report)


def test_energies_of_atoms() -> None:
    # hartree, of the elements C, O, Cl (wB97X, as the ANI-1x set lists them)
    known = np.array([-38.08316124, -75.19446356, -460.16819394]) * Hartree
    assert np.allclose(atom_energy(np.array([6, 8, 17])), known, rtol=0.02)


def test_duplicates_in_every_disguise(ethanol: list[Atoms]) -> None:
    frames = labelled(ethanol[::10])
    exact, turned, mirrored = (frames[k].copy() for k in (0, 1, 2))
    turned.rotate(37, (1, 2, 3))
    turned.translate([1, 2, 3])
    turned = turned[np.random.default_rng(0).permutation(len(turned))]
    mirrored.positions *= [-1, 1, 1]
    almost = frames[3].copy()
    almost.positions[0, 0] += 0.01
    for copy, source in zip((exact, turned, mirrored, almost), frames, strict=False):
        energy = source.calc.results["energy"]
        copy.calc = SinglePointCalculator(copy, energy=energy, forces=np.zeros((9, 3)))
    report = run([*frames, exact, turned, mirrored, almost])
    (found,) = (f for f in report.findings if f.check == "duplicates")
    assert found.severity == "warning" and found.evidence == {"exact": 1, "up to motions": 2}
    assert sorted(found.frames) == [6, 7, 8]
    exact.calc.results["energy"] += 1.0
    report = run([*frames, exact])
    assert "1 structures have two energies, up to 1 eV apart" in said(report, "duplicates")
    assert not report.ok


def test_periodic_fingerprint_ignores_the_choice_of_cell() -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    moved = atoms.copy()
    moved.translate([0.7, 1.9, 0.3])
    moved.wrap()
    moved.rotate(20, (1, 1, 0), rotate_cell=True)

    def fingerprint(a: Atoms) -> np.ndarray:
        s = Structure(numbers=a.numbers, positions=a.positions, cell=a.cell.array, pbc=a.pbc)
        assert s.fingerprint is not None
        return s.fingerprint

    assert np.allclose(fingerprint(atoms), fingerprint(moved), rtol=1e-9)
    assert np.allclose(fingerprint(atoms), fingerprint(atoms * (2, 1, 1)), rtol=1e-9)
    moved.positions[3, 1] += 0.01
    assert not np.allclose(fingerprint(atoms), fingerprint(moved), rtol=1e-6)


def test_leakage(ethanol: list[Atoms]) -> None:
    random = {"kind": "random", "fractions": {"train": 0.7, "test": 0.3}, "seed": 0}
    report = run(ethanol, splits=random)
    assert report.ok
    assert "pairs of consecutive frames of a trajectory lie in different" in said(report, "leakage")
    time = {"kind": "time", "fractions": {"train": 0.7, "test": 0.3}}
    report = run(ethanol, splits=time)
    assert [f.severity for f in report.findings if f.check == "leakage"] == ["info"]
    report = run([*ethanol, *ethanol[:2]], splits=time)
    (error,) = report.of("error")
    assert error.check == "leakage" and "'test' and 'train' share" in error.message
    assert set(error.frames) == {0, 1, 60, 61}


def test_elements_that_train_never_shows(ethanol: list[Atoms]) -> None:
    other = molecule("CH3SH")
    other.calc = SinglePointCalculator(other, energy=-1.0, forces=np.zeros((6, 3)))
    splits = {"kind": "time", "fractions": {"train": 0.9, "test": 0.1}}
    report = run([*labelled(ethanol), other], splits=splits)
    assert "the split 'test' has S, which train never shows" in said(report, "elements")
    assert "S in 1" in said(report, "elements")


def bad(change: Callable[[Atoms], None]) -> Callable[[list[Atoms]], list[Atoms]]:
    def apply(frames: list[Atoms]) -> list[Atoms]:
        made = labelled(frames)
        change(made[7])
        made[7].calc.atoms = made[7].copy()
        return made

    return apply


def _nan(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.inf


def _nan_force(atoms: Atoms) -> None:
    atoms.calc.results["forces"][0, 0] = np.inf


def _dummy(atoms: Atoms) -> None:
    atoms.numbers[0] = 0


def _overlap(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0] + [0.1, 0, 0]


def _flat(atoms: Atoms) -> None:
    atoms.pbc = True


def _energy(atoms: Atoms) -> None:
    atoms.calc.results["energy"] += 50.0


def _force(atoms: Atoms) -> None:
    atoms.calc.results["forces"] *= 300


def _away(atoms: Atoms) -> None:
    atoms.positions[3] += 100


@pytest.mark.parametrize(
    ("change", "severity", "name", "words"),
    [
        (_nan, "error", "structures", "not finite"),
        (_nan_force, "error", "finite", "forces is NaN or infinite"),
        (_dummy, "error", "structures", "0 is not an atomic number"),
        (_overlap, "error", "distances", "closer than 0.3 Å"),
        (_flat, "error", "structures", "no independent lattice vectors"),
        (_energy, "warning", "outliers", "energies of 1 frames"),
        (_force, "warning", "outliers", "largest force of 1 frames"),
        (_away, "info", "distances", "without a neighbour"),
    ],
)
def test_one_bad_frame_is_named(
    ethanol: list[Atoms],
    change: Callable[[Atoms], None],
    severity: str,
    name: str,
    words: str,
) -> None:
    report = run(bad(change)(ethanol))
    found = [f for f in report.findings if f.check == name and words in f.message]
    assert [(f.severity, f.frames) for f in found] == [(severity, (7,))], str(report)
    assert report.ok is (severity != "error")
    assert report.to_dict()["findings"][0]["severity"] == report.findings[0].severity


def test_labels_that_say_nothing(ethanol: list[Atoms]) -> None:
    report = run(labelled(ethanol, energy=0.0, forces=0.0))
    assert "have the same energy" in said(report, "labels")
    assert "all forces are exactly zero" in said(report, "labels")


def strained(factor: float | str, count: int = 40, noise: float = 0.05) -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        strain = rng.normal(0, 0.015, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.rattle(noise, rng=rng)
        atoms.calc = EMT()
        stress = atoms.get_stress() * (atoms.get_volume() if factor == "V" else factor)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results, stress=stress)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize(
    ("factor", "severity", "words"),
    [
        (1.0, "info", "right"),
        (-1.0, "error", "the sign is wrong"),
        (1 / GPa, "error", "looks like GPa"),
        (-10 / GPa, "error", "the sign is wrong (positive is tension); the stress looks like kbar"),
        ("V", "error", "a virial"),
    ],
)
def test_stress_from_energies(factor: float | str, severity: str, words: str) -> None:
    report = run(strained(factor, noise=0.01))
    (found,) = (f for f in report.findings if f.check == "stress")
    assert found.severity == severity and words in found.message


@pytest.mark.parametrize(
    ("factor", "severity", "words"),
    [
        (1.0, "info", "plausible"),
        (-1.0, "warning", "the sign looks wrong"),
        (1 / GPa, "warning", "look like GPa"),
    ],
)
def test_stress_from_volumes(factor: float, severity: str, words: str) -> None:
    frames = strained(factor)
    for atoms in frames:
        atoms.calc.results.pop("energy")
    report = run(frames)
    (found,) = (f for f in report.findings if f.check == "stress")
    assert found.severity == severity and words in found.message


def test_stress_that_cannot_be_told() -> None:
    frames = []
    for seed in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_stress(), atoms.get_potential_energy()
        frames.append(atoms)
    report = run(frames)
    assert "can't be told" in said(report, "stress")


def test_large_sets_are_sampled_in_blocks(ethanol: list[Atoms]) -> None:
    chosen = scan.chosen(1_000_000, 2000)
    assert len(chosen) == 2000 and chosen[0] == 0 and chosen[-1] == 999_999
    assert (np.diff(chosen) == 1).sum() == 1990
    frames = zd.AtomsDataset.from_atoms(ethanol * 10)
    report = check(frames, limit=400)
    assert report.read == 400 < report.frames and "400 of 600" in said(report, "sampling")


def test_samples_that_cannot_be_read_are_findings(ethanol: list[Atoms]) -> None:
    class Broken(zd.AtomsDataset):
        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            if index in (3, 4):
                raise DataError(f"frame {index} is damaged")
            return super().__getitem__(index)

    dataset = zd.AtomsDataset.from_atoms(ethanol[:8])
    dataset.__class__ = Broken
    report = check(dataset)
    (error,) = report.of("error")
    assert error.check == "readable" and error.frames == (3, 4)
    assert "frame 3 is damaged" in error.message


def test_one_frame_and_odd_ones(ethanol: list[Atoms]) -> None:
    assert run(ethanol[:1]).ok
    single = Atoms("Ar", calculator=None)
    assert run([single]).ok
    assert run([single, single]).summary["different structures"] == 1
    assert check(zd.AtomsDataset.from_atoms(ethanol).take([])).read == 0


def test_a_cell_in_another_unit_does_not_hang() -> None:
    atoms = bulk("Cu", cubic=True) * (4, 4, 4)
    atoms.set_cell(atoms.cell.array * 1e-3, scale_atoms=True)
    report = run([atoms] * 3)
    assert "the cell is far too small" in said(report, "distances")
    slab = bulk("Cu", cubic=True) * (20, 20, 3)
    slab.pbc = [True, True, False]
    assert run([slab]).ok
