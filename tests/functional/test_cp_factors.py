"""Factors of the path-shared coupling: what ships is what it says, and can be found again."""

import itertools
from importlib import resources

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import wigner_3j
from zoo.functional.cp_factors import (
    CP_LIMIT,
    CPFactors,
    cp_factors,
    relative_error,
    resolve_rank,
    shared_coupling,
    shipped_ranks,
)
from zoo.functional.cp_fit import fit_factors
from zoo.functional.rotation_groups import ROTATION_GROUPS, group_matrices, group_quaternions

#: paths with l1, l2, l3 <= L
PATHS = {1: 5, 2: 15, 3: 34, 4: 65, 6: 175}


@pytest.mark.parametrize(("lmax", "paths"), PATHS.items())
def test_all_paths_have_weight_one(lmax, paths):
    coupling = shared_coupling(lmax)
    # each path's tensor has norm one
    assert float(coupling.square().sum()) == pytest.approx(paths)
    assert torch.equal(coupling[1:4, 1:4, 1:4], wigner_3j(1, 1, 1))


def test_the_coupling_commutes_with_rotations_not_with_inversion():
    coupling, turn = shared_coupling(2), group_matrices("I", 2)[7]
    turned = torch.einsum("ai,bj,ck,abc->ijk", turn, turn, turn, coupling)
    assert (turned - coupling).abs().max() < 1e-14
    signs = torch.tensor([1.0] + [-1.0] * 3 + [1.0] * 5, dtype=torch.float64)
    assert (torch.einsum("i,j,k,ijk->ijk", signs, signs, signs, coupling) - coupling).norm() > 1


@pytest.mark.parametrize("lmax", range(1, CP_LIMIT + 1))
def test_what_ships_has_the_error_it_says(lmax):
    for rank, error in shipped_ranks(lmax).items():
        factors = cp_factors(lmax, rank)
        assert factors.rank == rank and factors.error == error
        rows = (lmax + 1) ** 2
        assert all(part.shape == (rows, rank) for part in factors[:3])
        measured = relative_error(lmax, factors)
        assert measured < 1e-12 if error < 1e-12 else measured == pytest.approx(error, rel=1e-6)
        # terms that grow against each other would cost digits in float32
        assert max(float(part.abs().max()) for part in factors[:3]) < 4


def test_exact_ranks():
    found = {lmax: resolve_rank(lmax, "exact") for lmax in range(1, CP_LIMIT + 1)}
    assert found == {1: 8, 2: 30, 3: 90, 4: 216, 5: 456, 6: 840}
    # and those known before
    assert all(cp_factors(n, rank).error < 1e-12 for n, rank in ((1, 10), (2, 42), (3, 126)))
    for lmax, rank in found.items():
        rows = (lmax + 1) ** 2
        assert rank >= rows**3 / (3 * rows - 2)  # the rank of a tensor without structure


def test_quadratic_ranks_are_approximate():
    for lmax in range(1, CP_LIMIT + 1):
        factors = cp_factors(lmax, "quadratic")
        assert factors.rank == 7 * lmax**2
        assert 1e-3 < factors.error < 0.2


def test_factors_are_copies():
    cp_factors(1).first.zero_()
    assert cp_factors(1).first.norm() > 0


@pytest.mark.parametrize(("rank", "group"), [(8, "C1"), (10, "C2"), (12, "T")])
def test_a_fit_finds_exact_factors(rank, group):
    factors, generators, name = fit_factors(1, rank, seed=1, group=group)
    assert name == group and generators.shape == (3, 4, rank // ROTATION_GROUPS[group])
    assert factors.error < 1e-10
    assert (factors.tensor() - shared_coupling(1)).abs().max() < 1e-10


def test_a_fit_takes_the_largest_group_and_keeps_its_symmetry():
    factors, _, name = fit_factors(1, 7, seed=0, seconds=1.0)
    assert name == "C7"
    turn = group_matrices(name, 1)[3]
    tensor = factors.tensor()
    turned = torch.einsum("ai,bj,ck,abc->ijk", turn, turn, turn, tensor)
    assert (turned - tensor).abs().max() < 1e-12
    assert 1e-3 < factors.error < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shared_coupling(7), "lmax=7.*0 to 6.*'cg'"),
        (lambda: cp_factors(7), "lmax=7.*1 to 6.*'cg'"),
        (lambda: cp_factors(0), "lmax=0"),
        (lambda: cp_factors(2, 29), r"rank=29 for lmax=2.*30 \(error.*fit_factors"),
        (lambda: cp_factors(2, "cubic"), "rank='cubic'.*'exact', 'quadratic'"),
        (lambda: fit_factors(1, 0), "rank=0"),
        (lambda: fit_factors(1, 10, group="T"), "rank=10 is no multiple of 12"),
        (lambda: fit_factors(1, 10, group="X"), "group='X'"),
        (lambda: fit_factors(6, 811), "unknowns.*multiple of 60"),
        (lambda: group_quaternions("C6"), "group='C6'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_exact_is_refused_where_none_is_known(monkeypatch):
    listed = {3: {63: (0.05, "C3")}}
    monkeypatch.setattr("zoo.functional.cp_factors._listed", lambda: listed)
    with pytest.raises(ConfigError, match=r"no exact factors.*63 \(error 5.0e-02\).*'cg'"):
        resolve_rank(3, "exact")


@pytest.mark.parametrize(("name", "order"), ROTATION_GROUPS.items())
def test_groups_are_groups(name, order):
    q = group_quaternions(name)
    assert q.shape == (order, 4)
    assert torch.equal(q[0], torch.tensor([1.0, 0, 0, 0], dtype=torch.float64))
    matrices = group_matrices(name, 1)[:, 1:, 1:]
    products = (matrices[:, None] @ matrices).flatten(0, 1)
    distance = torch.cdist(products.flatten(1), matrices.flatten(1))
    assert (distance.min(1).values < 1e-7).all()
    pairs = itertools.combinations(range(order), 2)
    assert all((matrices[i] - matrices[j]).norm() > 0.1 for i, j in pairs)


def test_the_table_is_package_data():
    assert resources.files("zoo.functional").joinpath("cp_factors.npz").is_file()
    assert isinstance(cp_factors(1), CPFactors)
