"""Maps between tensor powers: dimensions, bases, projection, groups of graphs."""

from typing import Any

import numpy as np
import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional import tensor_power as tp
from zoo.functional.tensor_power._diagrams import _count

#: dimensions for m = 0, 1, 2, ... by the closed formulas of the literature
DIMENSIONS = {
    ("S", 2): [1, 1, 2, 4, 8, 16, 32, 64, 128],
    ("S", 3): [1, 1, 2, 5, 14, 41, 122, 365, 1094],
    ("S", 4): [1, 1, 2, 5, 15, 51, 187, 715, 2795],
    ("S", 5): [1, 1, 2, 5, 15, 52, 202, 855, 3845],
    ("S", 8): [1, 1, 2, 5, 15, 52, 203, 877, 4140],
    ("S", 20): [1, 1, 2, 5, 15, 52, 203, 877, 4140],
    ("A", 3): [1, 1, 3, 9, 27, 81],
    ("A", 4): [1, 1, 2, 6, 22, 86, 342, 1366, 5462],
    ("A", 5): [1, 1, 2, 5, 16, 63, 282, 1345, 6596],
    ("O", 2): [1, 0, 1, 0, 3, 0, 10, 0, 35],
    ("O", 3): [1, 0, 1, 0, 3, 0, 15, 0, 91],
    ("O", 4): [1, 0, 1, 0, 3, 0, 15, 0, 105],
    ("O", 7): [1, 0, 1, 0, 3, 0, 15, 0, 105],
    ("SO", 2): [1, 0, 2, 0, 6, 0, 20, 0, 70],
    ("SO", 3): [1, 0, 1, 1, 3, 6, 15, 36, 91],
    ("SO", 4): [1, 0, 1, 0, 4, 0, 25, 0, 196],
    ("SO", 5): [1, 0, 1, 0, 3, 1, 15, 15, 105],
    ("Sp", 2): [1, 0, 1, 0, 2, 0, 5, 0, 14],
    ("Sp", 4): [1, 0, 1, 0, 3, 0, 14, 0, 84],
    ("Sp", 6): [1, 0, 1, 0, 3, 0, 15, 0, 104],
}
SMALL = [("S", 1), ("S", 2), ("S", 3), ("S", 4), ("A", 1), ("A", 2), ("A", 3), ("A", 4), ("A", 5),
         ("O", 1), ("O", 2), ("O", 3), ("O", 4), ("SO", 1), ("SO", 2), ("SO", 3), ("SO", 4),
         ("Sp", 2), ("Sp", 4)]  # fmt: skip
CASES_COUNTED = [
    ("S", None),
    ("S", 3),
    ("A", 1),
    ("A", 2),
    ("A", 4),
    ("O", 3),
    ("SO", 1),
    ("SO", 3),
    ("Sp", 4),
]
LARGEST = 260  # entries of a map whose null space is computed


def undirected(pairs: list[tuple[int, int]]) -> np.ndarray:
    forth = np.array(pairs).T.reshape(2, -1)
    return np.concatenate([forth, forth[::-1]], axis=1)


def cycle(n: int) -> list[tuple[int, int]]:
    return [(i, (i + 1) % n) for i in range(n)]


GRAPHS = {
    "directed C5": (np.array(cycle(5)).T, 5, [1, 1, 5, 25, 125, 625]),
    "C5": (undirected(cycle(5)), 5, [1, 1, 3, 13, 63, 313]),
    "C6": (undirected(cycle(6)), 6, [1, 1, 4, 20, 112, 656]),
    "P4": (undirected([(0, 1), (1, 2), (2, 3)]), 4, [1, 2, 8, 32, 128, 512]),
}


@pytest.mark.parametrize(("name", "n"), list(DIMENSIONS))
def test_dimensions_are_those_of_the_literature(name: str, n: int) -> None:
    expected = DIMENSIONS[name, n]
    assert [tp.hom_dimension(name, n, 0, m) for m in range(len(expected))] == expected
    for m in range(len(expected)):  # only the sum of the orders matters
        assert tp.hom_dimension(name, n, m - m // 2, m // 2) == expected[m]


@pytest.mark.parametrize(("name", "n"), SMALL)
def test_dimensions_and_bases_are_those_of_the_null_space(name: str, n: int) -> None:
    group = tp.as_group(name)
    for m in range(8 if n < 3 else 7):
        if n**m > LARGEST:
            break
        orders = m - m // 2, m // 2
        numerical = tp.equivariant_basis(group, n, *orders, kind="numerical")
        basis = tp.equivariant_basis(group, n, *orders)
        assert len(numerical) == len(basis) == tp.hom_dimension(group, n, *orders)
        q, rows = numerical.orthonormal, basis.orthonormal
        assert len(rows) == len(basis)  # the diagrams that are left are independent
        torch.testing.assert_close(q.mT @ q, rows.mT @ rows, rtol=0, atol=1e-9)  # one space


@pytest.mark.parametrize("name", list(GRAPHS))
def test_automorphisms(name: str) -> None:
    edges, n, expected = GRAPHS[name]
    group = tp.graph_automorphisms(edges, n)
    assert [tp.hom_dimension(group, n, 0, m) for m in range(6)] == expected
    for m in range(4):
        orbit = tp.equivariant_basis(group, n, m, 0, kind="orbit")
        numerical = tp.equivariant_basis(group, n, m, 0, kind="numerical").orthonormal
        assert len(orbit) == len(numerical) == expected[m]
        rows = orbit.orthonormal
        torch.testing.assert_close(rows.mT @ rows, numerical.mT @ numerical, rtol=0, atol=1e-9)


def test_the_orders_of_known_groups() -> None:
    star = [(i, 5 + i) for i in range(5)] + [(5 + i, 5 + (i + 2) % 5) for i in range(5)]
    torus = [(4 * i + j, 4 * i + (j + 1) % 4) for i in range(3) for j in range(4)]
    torus += [(4 * i + j, 4 * ((i + 1) % 3) + j) for i in range(3) for j in range(4)]
    cases = [
        (undirected(cycle(5) + star), 10, 120),  # Petersen
        (undirected([(i, j) for i in range(6) for j in range(i)]), 6, 720),
        (undirected(torus), 12, 48),
        (np.zeros((2, 0)), 4, 24),
        (undirected([(0, 1), (1, 2), (0, 2), (1, 3), (2, 4), (4, 5)]), 6, 1),  # none
    ]
    orders = []
    for edges, n, _ in cases:
        elements = tp.graph_automorphisms(edges, n).elements()
        assert elements is not None
        orders.append(len(elements))
        a = np.zeros((n, n))
        a[tuple(edges.astype(int))] = 1
        for p in elements:
            assert (a[np.ix_(p, p)] == a).all()
    assert orders == [order for *_, order in cases]
    labelled = tp.graph_automorphisms(undirected(cycle(6)), 6, labels=np.arange(6) % 2)
    assert len(labelled.elements()) == 6  # type: ignore[arg-type]


def test_ranks_of_spanning_sets() -> None:
    for n in (2, 3):
        for k, o in ((1, 1), (2, 1), (2, 2)):
            every = torch.stack([tp.dense(d, n, o).flatten() for d in tp.diagrams("S", None, k, o)])
            few = tp.equivariant_basis("S", n, k, o)
            assert all(len(d.blocks) <= n for d in few.diagrams)
            assert (
                int(torch.linalg.matrix_rank(every)) == len(few) == tp.hom_dimension("S", n, k, o)
            )
    spanning = tp.equivariant_basis("SO", 3, 2, 3, independent=False)
    assert len(spanning) == 10 and len(spanning.orthonormal) == 6
    assert len(tp.equivariant_basis("SO", 3, 2, 3)) == 6


def test_layers_of_graph_networks_have_the_known_sizes() -> None:
    sizes = {(1, 1): 2, (2, 1): 5, (2, 2): 15, (2, 0): 2}
    for orders, size in sizes.items():
        assert len(tp.diagrams("S", None, *orders)) == size


@pytest.mark.parametrize(("name", "n"), [("S", 3), ("A", 4), ("O", 3), ("SO", 3), ("Sp", 4)])
def test_projection(name: str, n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    k, o = 2, 1 if name in ("S", "A", "SO") else 2
    basis = tp.equivariant_basis(name, n, k, o)
    w = torch.randn(3, *[n] * (k + o), dtype=torch.float64, generator=generator)
    found = tp.project(w, basis)
    torch.testing.assert_close(tp.project(found, basis), found, rtol=0, atol=1e-12)
    own = torch.einsum("d,d...->...", torch.randn(len(basis)).double(), basis.tensors)
    torch.testing.assert_close(tp.project(own, basis), own, rtol=0, atol=1e-12)
    # what is taken away is orthogonal to every map of the basis
    left = (w - found).reshape(3, -1) @ basis.tensors.reshape(len(basis), -1).mT
    torch.testing.assert_close(left, torch.zeros_like(left), rtol=0, atol=1e-12)
    flat = tp.project(w.reshape(3, n**o, n**k), basis)
    torch.testing.assert_close(flat.reshape(w.shape), found, rtol=0, atol=1e-14)
    assert tp.project(w.float(), basis).dtype == torch.float32
    w.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tp.project(x, basis), [w])


def test_projection_is_the_mean_over_a_finite_group() -> None:
    generator = torch.Generator().manual_seed(0)
    group = tp.graph_automorphisms(*GRAPHS["C5"][:2])
    w = torch.randn(5, 5, 5, dtype=torch.float64, generator=generator)
    elements = group.elements()
    assert elements is not None
    mean = torch.stack([w[p][:, p][:, :, p] for p in elements]).mean(dim=0)
    found = tp.project(w, tp.equivariant_basis(group, 5, 1, 2, kind="orbit"))
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-12)


def test_a_group_that_is_not_orthogonal() -> None:
    shear = torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])
    group = tp.MatrixGroup(shear)
    assert not group.orthogonal
    basis = tp.equivariant_basis(group, 2, 1, 1, kind="numerical")
    assert len(basis) == tp.hom_dimension(group, 2, 1, 1) == 2  # 1 and the shear
    for w in basis.matrices:
        torch.testing.assert_close(w @ shear[0].double(), shear[0].double() @ w, atol=1e-9, rtol=0)
    lie = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    turns = tp.MatrixGroup(lie_algebra=lie)
    assert turns.orthogonal
    for m in range(5):
        assert tp.hom_dimension(turns, 2, m, 0) == DIMENSIONS["SO", 2][m]


def test_a_numerical_basis_depends_on_the_space_alone() -> None:
    """So that weights stored with one mean the same with another."""
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double())[
        0
    ]
    swap, cycle = (turn @ torch.eye(4).double()[p] @ turn.T for p in ([1, 0, 2, 3], [1, 2, 3, 0]))
    one, other = (
        tp.equivariant_basis(tp.MatrixGroup(torch.stack(pair)), 4, 2, 2, kind="numerical")
        for pair in ((swap, cycle), (cycle, swap))
    )
    assert len(one) == 15
    torch.testing.assert_close(one.tensors, other.tensors, rtol=0, atol=1e-9)
    rows = one.orthonormal
    torch.testing.assert_close(rows @ rows.mT, torch.eye(15).double(), rtol=0, atol=1e-12)


def groups_on(n: int) -> list[tp.Group]:
    made = [tp.as_group(name) for name in tp.GROUPS if name != "Sp" or n % 2 == 0]
    return [*made, tp.graph_automorphisms(undirected(cycle(n)), n)]


@pytest.mark.parametrize("n", [3, 4])
def test_random_elements_are_in_the_group(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    eye = torch.eye(n, dtype=torch.float64)
    for group in groups_on(n):
        g = group.random_element(n, generator)
        form = tp.symplectic_form(n) if isinstance(group, tp.SymplecticGroup) else eye
        torch.testing.assert_close(g.mT @ form @ g, form, rtol=0, atol=1e-10)
        if isinstance(group, (tp.SpecialOrthogonalGroup, tp.AlternatingGroup)):
            assert float(torch.linalg.det(g)) == pytest.approx(1.0)
        if group.permutes:
            assert set(g.flatten().tolist()) == {0.0, 1.0}


def test_random_elements_are_of_both_parities() -> None:
    generator = torch.Generator().manual_seed(0)
    ring = tp.graph_automorphisms(undirected(cycle(5)), 5)  # generated by reflections
    traces = [int(torch.trace(ring.random_element(5, generator))) for _ in range(40)]
    assert {0, 1} < set(traces)  # turns, and reflections, which keep one node


def test_groups_have_names() -> None:
    assert tp.as_group("SO(n)") == tp.as_group(tp.SpecialOrthogonalGroup) == tp.as_group("SO")
    assert hash(tp.as_group("O")) == hash(tp.OrthogonalGroup()) and tp.as_group("O") != "O"
    same = [tp.PermutationGroup([[1, 0]]) for _ in range(2)]
    assert same[0] == same[1] and len({*same}) == 1 and str(same[0]).endswith("of 2")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tp.hom_dimension("Sp", 3, 1, 1), "n=3 is odd"),
        (lambda: tp.hom_dimension("S", 0, 1, 1), "n=0"),
        (lambda: tp.hom_dimension("S", 3, -1, 1), "order_in=-1"),
        (lambda: tp.hom_dimension("Q", 3, 1, 1), "no family of groups"),
        (lambda: tp.as_group(tp.PermutationGroup), "given by generators"),
        (lambda: tp.as_group(3), "3 is no group"),  # type: ignore[arg-type]
        (lambda: tp.graph_automorphisms(np.array([[0.5], [1.0]]), 3), "aren't whole"),
        (lambda: tp.PermutationGroup([[0, 0]]), "no permutation"),
        (lambda: tp.PermutationGroup([[1, 0], [0, 1, 2]]), "of one length"),
        (lambda: tp.PermutationGroup([]), "needs a generator"),
        (lambda: tp.MatrixGroup(torch.zeros(1, 2, 2)), "singular"),
        (lambda: tp.MatrixGroup(), "needs generators"),
        (lambda: tp.MatrixGroup(torch.full((1, 2, 2), torch.nan)), "finite"),
        (lambda: tp.MatrixGroup(torch.ones(1, 2, 3)), "expected"),
        (lambda: tp.equivariant_basis(tp.PermutationGroup([[1, 0]]), 3, 1, 1, "orbit"), "R\\^2"),
        (lambda: tp.equivariant_basis(tp.PermutationGroup([[1, 0]]), 2, 1, 1), "no diagrams"),
        (lambda: tp.equivariant_basis("O", 3, 1, 1, "orbit"), "groups of permutations"),
        (lambda: tp.equivariant_basis("O", 3, 1, 1, "other"), "expected one of"),  # type: ignore[arg-type]
        (lambda: tp.equivariant_basis("S", 64, 2, 2), "15 dense tensors, 1,920 MB"),
        (lambda: tp.equivariant_basis("O", 9, 2, 2, "numerical"), "would take 328 MB"),
        (lambda: tp.equivariant_basis("S", 100, 2, 2, "orbit"), "100000000 tuples"),
        (lambda: tp.diagrams("SO", None, 1, 1), "depend on n"),
        (lambda: tp.diagrams("S", None, 6, 6), "4213597 diagrams"),
        (lambda: tp.project(torch.ones(3, 2), tp.equivariant_basis("S", 3, 1, 1)), "no last axes"),
        (lambda: tp.graph_automorphisms(np.array([[0], [5]]), 3), "nodes are 0 to 2"),
        (lambda: tp.graph_automorphisms(np.zeros(3), 3), "expected \\(2, edges\\)"),
        (lambda: tp.graph_automorphisms(np.zeros((2, 0)), 3, labels=np.zeros(1)), "labels have"),
        (lambda: tp.graph_automorphisms(np.zeros((2, 0)), 0), "num_nodes=0"),
    ],
)
def test_refusals(call: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()


def test_large_groups_are_counted_by_their_orbits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tp.PermutationGroup, "elements", lambda self: None)
    group = tp.PermutationGroup([[1, 0, *range(2, 9)], [*range(1, 9), 0]])  # all of nine
    assert [tp.hom_dimension(group, 9, m, 0) for m in range(5)] == [1, 1, 2, 5, 15]
    monkeypatch.undo()
    assert group.elements(limit=1000) is None


@pytest.mark.parametrize(("name", "n"), CASES_COUNTED)
def test_diagrams_are_counted_before_they_are_listed(name: str, n: int | None) -> None:
    for m in range(7):
        listed = len(tp.diagrams(name, n, m, 0))
        assert _count(tp.as_group(name), n, m) == listed
