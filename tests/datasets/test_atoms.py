"""Structures to batches."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from zoo.datasets import AtomsDataset, collate, to_batch
from zoo.datasets.atoms import narrowed
from zoo.errors import DataError, UnsupportedInputError


def labelled(name: str = "H2O", energy: float = -1.5) -> Atoms:
    atoms = molecule(name)
    forces = np.arange(3.0 * len(atoms)).reshape(-1, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def test_fields_shapes_and_dtypes() -> None:
    periodic = bulk("Cu")
    periodic.info |= {"charge": -1, "spin": 2}
    batch = to_batch([molecule("H2O"), periodic], torch.float32)
    assert isinstance(batch, Batch)
    assert batch.atomic_numbers.tolist() == [8, 1, 1, 29]
    assert batch.atomic_numbers.dtype == torch.int64
    assert batch.pos.dtype == batch.cell.dtype == batch.charge.dtype == torch.float32
    assert batch.cell.shape == (2, 3, 3) and batch.pbc.shape == (2, 3)
    assert batch.pbc.dtype == torch.bool and batch.pbc.tolist() == [[False] * 3, [True] * 3]
    assert batch.charge.tolist() == [0, -1] and batch.spin.tolist() == [0, 2]
    assert batch.batch.tolist() == [0, 0, 0, 1] and batch.ptr.tolist() == [0, 3, 4]
    assert batch.num_graphs == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_energy_is_float64_in_every_precision(dtype: torch.dtype) -> None:
    energy = -10000.000244140625  # float32 can't hold it beside its neighbours
    batch = to_batch(labelled(energy=energy), dtype)
    assert batch.energy.dtype == torch.float64 and batch.energy.item() == energy
    assert batch.forces.dtype == batch.pos.dtype == dtype


def test_dtype_follows_the_default_and_leaves_it_alone() -> None:
    before = torch.get_default_dtype()
    assert to_batch(molecule("H2")).pos.dtype == before
    to_batch(molecule("H2"), torch.float64)
    assert torch.get_default_dtype() == before


def test_batch_is_the_singles_joined() -> None:
    structures = [labelled("H2O"), labelled("CH4"), labelled("H2")]
    batch = to_batch(structures, torch.float64)
    for part, structure in zip(batch.to_data_list(), structures, strict=True):
        alone = to_batch(structure, torch.float64)
        for name in ("atomic_numbers", "pos", "cell", "pbc", "charge", "energy", "forces"):
            assert torch.equal(part[name], alone[name]), name
    assert torch.equal(batch[1].pos, batch.pos[3:8])


def test_batch_is_a_copy() -> None:
    atoms = molecule("H2O")
    batch = to_batch(atoms, torch.float64)
    batch.pos += 1.0
    assert np.array_equal(atoms.positions, molecule("H2O").positions)


def test_labels_are_stored_results_never_computed() -> None:
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert "energy" not in to_batch(atoms)
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    batch = to_batch(atoms, torch.float64)
    assert batch.energy.item() == energy
    expected = torch.from_numpy(voigt_6_to_full_3x3_stress(stress))
    assert torch.equal(batch.stress[0], expected)
    atoms.rattle(0.1, seed=0)
    assert "energy" not in to_batch(atoms), "results of another geometry"


def test_labels_that_only_some_have_are_left_out_and_can_be_refused() -> None:
    assert "energy" not in to_batch([labelled(), molecule("H2")])
    assert "forces" not in to_batch(labelled(), labels=False)


def test_constrained_atoms_keep_their_forces() -> None:
    atoms = labelled()
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    assert not atoms.get_forces().any()
    assert to_batch(atoms, torch.float64).forces.sum() == 36


def test_label_precedence() -> None:
    atoms = labelled(energy=1.0)
    assert to_batch(atoms).energy.item() == 1.0
    atoms.info["energy"] = 2.0
    assert to_batch(atoms).energy.item() == 2.0
    atoms.info["REF_energy"] = 3.0
    assert to_batch(atoms).energy.item() == 3.0


@pytest.mark.parametrize("wrong", ["H2O", 3, None, {"a": 1}, [molecule("H2"), "H2O"], []])
def test_refuses_what_is_no_structure(wrong: object) -> None:
    with pytest.raises(UnsupportedInputError, match=r"ase\.Atoms|empty"):
        to_batch(wrong)  # type: ignore[arg-type]


def test_refuses_no_atoms() -> None:
    with pytest.raises(UnsupportedInputError, match="structure 1 has no atoms"):
        to_batch([molecule("H2"), Atoms()])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_positions_that_are_not_finite(value: float) -> None:
    broken = molecule("CH4")
    broken.positions[3, 1] = value
    with pytest.raises(UnsupportedInputError, match="structure 1, atom 3"):
        to_batch([molecule("H2O"), broken])


def test_refuses_dummy_atoms() -> None:
    with pytest.raises(UnsupportedInputError, match="structure 0, atom 1: 0 is not"):
        to_batch(Atoms("HX", positions=np.eye(3)[:2]))


FLAT = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), True),
        (FLAT, True),
        (np.diag([3.0, 3.0, 0.0]), True),
        (np.diag([3.0, 0.0, 3.0]), (True, True, False)),
        (FLAT * np.nan, True),
    ],
)
def test_refuses_periodic_directions_without_a_lattice(cell: np.ndarray, pbc: object) -> None:
    atoms = Atoms("H", positions=np.zeros((1, 3)))
    atoms.cell.array[:] = cell
    atoms.pbc = pbc
    with pytest.raises(UnsupportedInputError, match="structure 1 is periodic"):
        to_batch([molecule("H2"), atoms])


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.diag([3.0, 3.0, 0.0]), (True, True, False)),
        (FLAT, (True, True, False)),
        (np.diag([0.0, 0.0, 1e-2]), (False, False, True)),
        (np.diag([3.0, -3.0, 3.0]), True),  # left-handed
    ],
)
def test_takes_mixed_periodicity_with_the_vectors_it_needs(cell: np.ndarray, pbc: object) -> None:
    atoms = Atoms("H", positions=np.zeros((1, 3)), cell=cell, pbc=pbc)
    assert to_batch(atoms, torch.float64).cell[0].tolist() == cell.tolist()


@pytest.mark.parametrize("value", ["one", [1, 2], np.nan])
def test_refuses_a_charge_that_is_no_number(value: object) -> None:
    atoms = molecule("H2")
    atoms.info["charge"] = value
    with pytest.raises(UnsupportedInputError, match="charge"):
        to_batch(atoms)


def test_refuses_labels_that_do_not_fit() -> None:
    atoms = molecule("H2O")
    atoms.info["energy"] = np.nan
    with pytest.raises(DataError, match="structure 0: the label 'energy' is not finite"):
        to_batch(atoms)
    atoms.info["energy"] = "low"
    with pytest.raises(DataError, match="energy must be numbers"):
        to_batch(atoms)
    atoms.info["energy"] = [1.0, 2.0]
    with pytest.raises(DataError, match=r"energy has shape \(2,\)"):
        to_batch(atoms)
    assert "energy" not in to_batch(atoms, labels=False)


def test_collate_joins_samples_as_to_batch_does() -> None:
    structures = [labelled("H2O"), labelled("CH4")]
    dataset = AtomsDataset.from_atoms(structures)
    joined = collate([dataset[0], dataset[1]], torch.float32)
    direct = to_batch(structures, torch.float32)
    for name in direct.keys():  # noqa: SIM118  a Batch is no mapping
        assert torch.equal(joined[name], direct[name]), name
        assert joined[name].dtype == direct[name].dtype, name
    assert joined.frame.tolist() == [0, 1]


def test_collate_agrees_with_the_loader_of_pyg() -> None:
    dataset = AtomsDataset.from_atoms([labelled("H2O"), labelled("CH4")])
    theirs = next(iter(DataLoader(dataset, batch_size=2)))
    ours = collate([dataset[0], dataset[1]], torch.float64)
    for name in ours.keys():  # noqa: SIM118
        assert torch.equal(ours[name], theirs[name]), name


def test_collate_refuses_unequal_samples() -> None:
    with_energy = AtomsDataset.from_atoms([labelled()])[0]
    without = AtomsDataset.from_atoms([molecule("H2")])[0]
    for samples in ([with_energy, without], [without, with_energy]):
        with pytest.raises(DataError, match="forces|energy"):
            collate(samples)
    with pytest.raises(DataError, match="no samples"):
        collate([])


def test_centred_positions_keep_their_digits_far_from_the_origin() -> None:
    near = [molecule("CH3OH"), molecule("H2O")]
    far = [frame.copy() for frame in near]
    for frame in far:
        frame.positions += [1e4, -2e4, 3e4]
    close = to_batch(near, torch.float32, centre=True)
    exact = to_batch(near, torch.float64, centre=True)
    again = to_batch(far, torch.float32, centre=True).pos
    torch.testing.assert_close(again, close.pos, atol=1e-6, rtol=0.0)
    assert torch.equal(exact.pos, to_batch(near, torch.float64).pos)  # nothing to be gained
    whole = to_batch(far, torch.float64)
    names = ("atomic_numbers", "pos", "cell", "pbc", "charge", "spin")
    joined = narrowed({name: whole[name] for name in names}, [6, 3], torch.float32)
    assert torch.equal(joined.pos, again)
    assert torch.equal(joined.batch, close.batch)
    rounded = to_batch(far, torch.float32).pos
    assert (rounded - rounded[0] - (close.pos - close.pos[0]))[:6].abs().max() > 1e-4
