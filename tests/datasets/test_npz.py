"""NumPy archives: the benchmarks' layouts with units, and our own."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from data_samples import frames, md17, write
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, UnitsRequiredError

MD17_UNITS = {"energy": "kcal/mol", "length": "angstrom"}


@pytest.mark.parametrize(
    "names", [("z", "R", "E", "F"), ("nuclear_charges", "coords", "energies", "forces")]
)
def test_benchmark_layouts_and_units(tmp_path: Path, names: tuple[str, str, str, str]) -> None:
    arrays = md17(names)
    dataset = zd.open(write(tmp_path, **arrays), units=MD17_UNITS)
    kcal = units.kcal / units.mol
    assert kcal == pytest.approx(0.0433641, rel=1e-6)
    assert len(dataset) == 5 and dataset.counts.tolist() == [3] * 5
    assert np.allclose(dataset.label("energy"), arrays[names[2]][:, 0] * kcal, rtol=1e-15)
    sample = dataset[2]
    assert np.allclose(sample.forces.numpy(), arrays[names[3]][2] * kcal, rtol=1e-15)
    assert np.array_equal(sample.pos.numpy(), arrays[names[1]][2])
    assert sample.atomic_numbers.tolist() == [8, 1, 1]


def test_forces_are_energy_over_length(tmp_path: Path) -> None:
    arrays = md17()
    given = {"energy": "hartree", "length": "bohr"}
    dataset = zd.open(write(tmp_path, **arrays), units=given)
    assert np.allclose(dataset[0].pos.numpy(), arrays["R"][0] * units.Bohr)
    assert np.allclose(dataset[0].forces.numpy(), arrays["F"][0] * units.Hartree / units.Bohr)
    assert np.allclose(dataset.label("energy"), arrays["E"][:, 0] * units.Hartree)


@pytest.mark.parametrize("given", [None, {}, {"energy": "eV"}, {"length": "bohr"}])
def test_units_are_required_where_the_file_has_none(
    tmp_path: Path, given: dict[str, str] | None
) -> None:
    with pytest.raises(UnitsRequiredError, match="kcal/mol"):
        zd.open(write(tmp_path, **md17()), units=given)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"energy": "kcal", "length": "angstrom"}, "kcal/mol"),
        ({"energy": "eV", "length": "bohrs"}, "bohr"),
        ({"energie": "eV", "length": "bohr", "energy": "eV"}, "energy"),
        ({"forces": "eV/A", "length": "bohr", "energy": "eV"}, "energy/length"),
    ],
)
def test_unknown_units(tmp_path: Path, given: dict[str, str], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        zd.open(write(tmp_path, **md17()), units=given)


def test_own_npz_refuses_other_units(tmp_path: Path) -> None:
    path = zd.save_npz(tmp_path / "a.npz", frames())
    with pytest.raises(ConfigError, match="drop units="):
        zd.open(path, units=MD17_UNITS)


def test_padded_npz(tmp_path: Path) -> None:
    numbers = np.array([[8, 1, 1], [1, 1, 0]])
    positions = np.arange(18.0).reshape(2, 3, 3)
    energies = np.array([1.0, 2.0])
    path = write(tmp_path, Z=numbers, R=positions, E=energies, F=-positions)
    dataset = zd.open(path, units={"energy": "eV", "length": "angstrom"})
    assert dataset.counts.tolist() == [3, 2]
    assert dataset[1].pos.tolist() == positions[1, :2].tolist()
    assert dataset[1].forces.tolist() == (-positions[1, :2]).tolist()


def test_npz_columns_serve_as_groups(tmp_path: Path) -> None:
    path = write(tmp_path, **md17(), config=np.array(["a", "a", "b", "b", "b"]))
    splits = {"kind": "assigned", "key": "config", "values": {"train": "b", "test": "a"}}
    dataset = zd.open(path, units=MD17_UNITS, splits=splits)
    assert dataset.splits["train"].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": np.zeros((5, 9))}, "positions have shape"),
        ({"z": np.array([1, 1])}, "numbers have shape"),
        ({"E": np.zeros(4)}, "energy has shape"),
        ({"F": np.zeros((5, 2, 3))}, "forces has shape"),
        ({"z": np.array(["O", "H", "H"])}, "should hold numbers"),
    ],
)
def test_ill_shaped_npz(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        zd.open(write(tmp_path, **md17() | change), units=MD17_UNITS)


def test_npz_without_positions(tmp_path: Path) -> None:
    arrays = md17()
    arrays["xyz"] = arrays.pop("R")
    with pytest.raises(DataError, match="has no positions"):
        zd.open(write(tmp_path, **arrays), units=MD17_UNITS, domain="atoms")
    dataset = zd.open(tmp_path / "a.npz", units=MD17_UNITS, keys={"positions": "xyz"})
    assert len(dataset) == 5


def test_npz_keeps_metadata_and_is_reproducible(tmp_path: Path) -> None:
    one = zd.save_npz(tmp_path / "a.npz", frames(), {"temperature": 312.5})
    two = zd.save_npz(tmp_path / "b.npz", frames(), {"temperature": 312.5})
    assert one.read_bytes() == two.read_bytes()
    assert zd.open(one).metadata == {"temperature": 312.5}
    with np.load(one) as archive:
        assert {a.dtype for n, a in archive.items() if "labels" in n} == {np.dtype("f8")}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_npz_round_trip_for_any_sizes(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int, periodic: bool
) -> None:
    generator = np.random.default_rng(seed)
    made = []
    for n in sizes:
        atoms = Atoms(
            numbers=generator.integers(1, 119, n),
            positions=generator.normal(scale=5, size=(n, 3)),
            cell=generator.normal(size=(3, 3)) if periodic else None,
            pbc=generator.integers(0, 2, 3) if periodic else False,
        )
        stress = generator.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, energy=generator.normal(), stress=stress)
        made.append(atoms)
    before = zd.AtomsDataset.from_atoms(made)
    path = zd.save_npz(tmp_path_factory.mktemp("npz") / "a.npz", made)
    after = zd.open(path)
    assert after.hash == before.hash
    for index, atoms in enumerate(made):
        back = after.atoms(index)
        assert np.array_equal(back.get_stress(), atoms.get_stress())
        assert np.array_equal(back.cell.array, atoms.cell.array)
        assert np.array_equal(back.pbc, atoms.pbc)


def test_save_npz_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.npz"):
        zd.save_npz(tmp_path / "a.dat", frames())
    with pytest.raises(ConfigError, match="metadata"):
        zd.save_npz(tmp_path / "a.npz", frames(), {"a": object()})
    assert not list(tmp_path.iterdir())


def test_keys_of_our_own_layout(tmp_path: Path) -> None:
    made = frames()
    for index, atoms in enumerate(made):
        atoms.info |= {"q": index, "e2": 10.0 * index}
    path = zd.save_npz(tmp_path / "a.npz", made)
    dataset = zd.open(path, keys={"energy": "e2", "charge": "q", "dipole": None})
    assert dataset.label("energy").tolist() == [0, 10, 20, 30]
    assert [d.charge.item() for d in dataset] == [0, 1, 2, 3]
    assert dataset.labels == {"energy", "forces"}
    for keys in ({"charge": "p"}, {"stress": "stress"}):
        with pytest.raises(DataError, match="which keys asks for"):
            zd.open(path, keys=keys)
    with pytest.raises(DataError, match="should hold numbers"):
        zd.open(path, keys={"energy": "name"})
