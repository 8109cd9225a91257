"""Neighbour lists: the same edges as ASE's, for any cell, and laws that ASE need not hold."""

import ase.neighborlist
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.functional import edge_vectors, neighbor_list, neighbor_pairs, neighbors
from zoo.functional.neighbors import complete_cell


def random_cell(rng, scale):
    """A skewed cell whose volume is not degenerate."""
    while True:
        cell = rng.normal(size=(3, 3)) * scale
        if abs(np.linalg.det(cell)) > 0.2 * scale**3:
            return cell


def as_set(i, j, shift):
    return sorted(zip(i.tolist(), j.tolist(), *shift.T.tolist(), strict=True))


def ase_edges(pos, cell, pbc, cutoff):
    i, j, s = ase.neighborlist.primitive_neighbor_list("ijS", pbc, cell, pos, cutoff)
    return as_set(i, j, s)


def our_edges(pos, cell, pbc, cutoff):
    (j, i), shift = neighbor_list(
        torch.from_numpy(pos),
        cutoff,
        cell=torch.from_numpy(cell)[None],
        pbc=torch.tensor([pbc]),
    )
    return as_set(i, j, shift)


@pytest.mark.parametrize("host", [False, True], ids=["enumeration", "host"])
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("seed", range(4))
def test_edges_equal_ase(monkeypatch, seed, pbc, host):
    if host:
        monkeypatch.setattr(neighbors, "MAX_CANDIDATES", 0)
    rng = np.random.default_rng(seed)
    cell = random_cell(rng, scale=rng.uniform(1.5, 5.0))
    pbc = [bool(p) for p in pbc]
    # positions outside the cell too, and cutoffs far beyond half of it
    pos = rng.uniform(-1.0, 2.0, size=(rng.integers(1, 9), 3)) @ cell
    cutoff = rng.uniform(1.0, 6.0)
    assert our_edges(pos, cell, pbc, cutoff) == ase_edges(pos, cell, pbc, cutoff)


def test_open_cell_rows_are_ignored():
    pos = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    zero_rows = np.diag([3.0, 0.0, 0.0])
    full = np.diag([3.0, 7.0, 9.0])
    pbc = [True, False, False]
    assert our_edges(pos, zero_rows, pbc, 4.0) == ase_edges(pos, full, pbc, 4.0)


def test_batch_is_the_union_of_its_structures():
    rng = np.random.default_rng(0)
    sizes, cutoff = [5, 1, 7], 3.0
    pos = [torch.from_numpy(rng.normal(size=(n, 3)) * 2) for n in sizes]
    cell = torch.from_numpy(np.stack([random_cell(rng, 3.0) for _ in sizes]))
    pbc = torch.tensor([[True] * 3, [False] * 3, [True, False, True]])
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    index, shift = neighbor_list(torch.cat(pos), cutoff, batch, cell, pbc)
    expected, start = [], 0
    for k, n in enumerate(sizes):
        ij, s = neighbor_list(pos[k], cutoff, cell=cell[k : k + 1], pbc=pbc[k : k + 1])
        expected += as_set(ij[0] + start, ij[1] + start, s)
        start += n
    assert as_set(index[0], index[1], shift) == sorted(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), periodic=st.booleans())
def test_list_is_pairs_and_their_reversals(seed, periodic):
    rng = np.random.default_rng(seed)
    pos = torch.from_numpy(rng.normal(size=(6, 3)) * 2)
    cell = torch.from_numpy(random_cell(rng, 3.0))[None]
    pbc = torch.full((1, 3), periodic)
    pairs, shift = neighbor_pairs(pos, 3.0, None, cell, pbc)
    edges, shifts = neighbor_list(pos, 3.0, None, cell, pbc)
    n = pairs.shape[1]
    assert torch.equal(edges[:, :n].flip(0), edges[:, n:])
    assert torch.equal(shifts[:n], -shifts[n:])
    assert torch.equal(edges[:, :n], pairs) and torch.equal(shifts[:n], shift)
    batch = torch.zeros(6, dtype=torch.long)
    forward = edge_vectors(pos, pairs, shift, batch, cell)
    assert bool((forward.norm(dim=-1) < 3.0).all())
    back = edge_vectors(pos, pairs.flip(0), -shift, batch, cell)
    assert torch.allclose(forward, -back)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_distances_do_not_depend_on_the_choice_of_cell(seed):
    rng = np.random.default_rng(seed)
    cell = torch.from_numpy(random_cell(rng, 3.0))
    pos = torch.from_numpy(rng.normal(size=(4, 3)))
    pbc = torch.ones(1, 3, dtype=torch.bool)
    sheared = cell.clone()
    sheared[0] += 2 * cell[1] - cell[2]  # the same lattice
    moved = pos + torch.from_numpy(rng.integers(-2, 3, size=(4, 3))).double() @ cell
    results = []
    for p, c in ((pos, cell), (moved, sheared)):
        index, shift = neighbor_list(p, 4.0, None, c[None], pbc)
        d = edge_vectors(p, index, shift, torch.zeros(4, dtype=torch.long), c[None])
        results.append(d.norm(dim=-1).sort().values)
    assert torch.allclose(*results)


def test_vectors_have_right_second_derivatives():
    pos = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    index, shift = neighbor_list(pos, 5.0)
    batch = torch.zeros(4, dtype=torch.long)

    def energy(p):
        return edge_vectors(p, index, shift, batch, None).norm(dim=-1).pow(3).sum()

    assert torch.autograd.gradgradcheck(energy, pos.requires_grad_())


def test_empty_and_single():
    index, shift = neighbor_list(torch.zeros(1, 3), 5.0)
    assert index.shape == (2, 0) and shift.shape == (0, 3)
    index, _ = neighbor_list(torch.zeros(0, 3), 5.0, torch.zeros(0, dtype=torch.long))
    assert index.shape == (2, 0)


def test_single_atom_sees_its_own_images():
    cell = np.eye(3) * 2.0
    assert our_edges(np.zeros((1, 3)), cell, [True] * 3, 2.5) == ase_edges(
        np.zeros((1, 3)), cell, [True] * 3, 2.5
    )


def test_complete_cell_is_regular_and_keeps_periodic_rows():
    cell = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    pbc = torch.tensor([True, False, False])
    full = complete_cell(cell, pbc)
    assert torch.equal(full[0], cell[0])
    assert abs(torch.linalg.det(full)) > 1.0
