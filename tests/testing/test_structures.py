"""Random structures are what the checks take them for."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from zoo.errors import ConfigError
from zoo.testing import structures as build


def shortest(atoms: Atoms) -> float:
    """Smallest distance in units of the sum of covalent radii."""
    i, j, d = neighbor_list("ijd", atoms, 4.0)
    radii = covalent_radii[atoms.numbers]
    return float((d / (radii[i] + radii[j])).min())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("elements", [build.ELEMENTS, (3, 29, 79)])
def test_atoms_keep_their_distance(seed: int, elements: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    cluster = build.molecule(rng, 6, elements=elements, cutoff=4.5)
    cell = build.crystal(rng, 4, elements=elements, cutoff=4.5)
    for atoms in (cluster, cell):
        assert shortest(atoms) > 0.95 - 1e-9
        assert set(atoms.numbers) <= set(elements)
        distances = neighbor_list("d", atoms, 6.0)
        assert (np.abs(distances - 4.5) > build.MARGIN).all()
    assert cell.pbc.all() and not cluster.pbc.any()
    off_diagonal = cell.cell.array @ cell.cell.array.T - np.diag(cell.cell.lengths() ** 2)
    assert np.abs(off_diagonal).max() > 0.1  # skewed
    same = build.molecule(np.random.default_rng(seed), 6, elements=elements, cutoff=4.5)
    assert np.array_equal(same.positions, cluster.positions)


def test_orthogonal_matrices() -> None:
    rng = np.random.default_rng(0)
    for determinant in (1, -1):
        m = build.random_orthogonal(rng, determinant)
        assert np.allclose(m @ m.T, np.eye(3), atol=1e-14)
        assert np.isclose(np.linalg.det(m), determinant)


def test_the_chain_has_one_pair_near_the_cutoff() -> None:
    for gap in (-1e-4, 1e-4):
        atoms = build.across(4.0, gap, np.random.default_rng(3), build.ELEMENTS)
        distances = atoms.get_all_distances()[np.triu_indices(4, 1)]
        assert np.isclose(distances, 4.0 + gap, atol=1e-9).sum() == 1
        assert (np.abs(distances - 4.0) < 0.1).sum() == 1


def test_the_crowd_is_at_one_distance_and_not_crammed() -> None:
    atoms, outward = build.crowd(np.random.default_rng(0), 96, 3.0, build.ELEMENTS)
    assert np.allclose(atoms.get_distances(0, range(1, 97)), 3.0)
    assert np.allclose(np.linalg.norm(outward[1:], axis=1), 1.0) and not outward[0].any()
    distances = atoms.get_all_distances()[np.triu_indices(97, 1)]
    assert distances.min() > 0.5


def test_strain_acts_on_rows() -> None:
    atoms = build.crystal(np.random.default_rng(0), 3)
    strain = np.array([[0.01, 0.02, 0.0], [0.02, 0.0, 0.03], [0.0, 0.03, -0.01]])
    moved = build.strained(atoms, strain)
    assert np.allclose(moved.cell.array, atoms.cell.array @ (np.eye(3) + strain))
    assert np.allclose(
        moved.get_scaled_positions(wrap=False), atoms.get_scaled_positions(wrap=False)
    )


def test_an_impossible_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="no random molecule"):
        # thirty atoms have pairs at nearly every distance
        build.molecule(np.random.default_rng(0), 60, elements=(55,), cutoff=9.0)
