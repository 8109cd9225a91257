"""Sheaves on graphs: spectrum, changes of bases, harmonic sections, derivatives, the assembly."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, DataError
from zoo.functional import sheaf

DOUBLE = torch.float64
CYCLE = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 3]])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=rng(seed))


def graph(nodes: int = 9, edges: int = 16, seed: int = 0) -> Tensor:
    """Pairs of a random graph whose last node has no edge."""
    ends = torch.randint(0, nodes - 1, (2, edges), generator=rng(seed))
    return sheaf.undirected_pairs(ends, nodes, warn=False)


def maps(pairs: Tensor, d: int, kind: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    count = pairs.shape[1]
    if kind == "diagonal":
        return randn(count, d, seed=seed), randn(count, d, seed=seed + 1)
    if kind == "general":
        return randn(count, d, d, seed=seed), randn(count, d, d, seed=seed + 1)
    theta = randn(2, count, sheaf.parameter_count(d), seed=seed)
    both = sheaf.cayley(theta, d)
    return both[0], both[1]


def laplacian(pairs: Tensor, nodes: int, d: int, kind: str, seed: int = 0) -> Any:
    source, target = maps(pairs, d, kind, seed)
    if kind == "bundle":
        weight = randn(pairs.shape[1], seed=seed + 5)
        return sheaf.bundle_laplacian(source, target, pairs, nodes, weight)
    make = {"diagonal": sheaf.diagonal_laplacian, "general": sheaf.general_laplacian}[kind]
    return make(source, target, pairs, nodes)


KINDS = ("diagonal", "bundle", "general")


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_spectrum_and_assembly(kind: str, d: int) -> None:
    pairs, nodes = graph(), 9
    made = laplacian(pairs, nodes, d, kind)
    dense = sheaf.assemble(made, nodes).to_dense()
    torch.testing.assert_close(dense, dense.T, rtol=0, atol=1e-14)
    values = torch.linalg.eigvalsh(dense)
    assert float(values.min()) > -1e-12 and float(values.max()) < 2.0
    x = randn(nodes, d, 4, seed=7)
    expected = (dense @ x.flatten(0, 1)).view_as(x)
    torch.testing.assert_close(sheaf.apply(made, x), expected, rtol=0, atol=1e-13)
    assert float(sheaf.apply(made, x)[-1].abs().max()) < 1e-14  # the node without edges


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_is_that_of_the_definition(kind: str) -> None:
    pairs, nodes, d = graph(), 9, 3
    source, target = maps(pairs, d, kind)
    if kind == "diagonal":
        source, target = torch.diag_embed(source), torch.diag_embed(target)
    coboundary = torch.zeros(pairs.shape[1] * d, nodes * d, dtype=DOUBLE)
    for edge, (u, v) in enumerate(pairs.T.tolist()):
        rows = slice(edge * d, (edge + 1) * d)
        coboundary[rows, u * d : (u + 1) * d] = source[edge]
        coboundary[rows, v * d : (v + 1) * d] = -target[edge]
    full = coboundary.T @ coboundary
    normal = torch.eye(nodes * d, dtype=DOUBLE)
    for v in range(nodes):
        part = slice(v * d, (v + 1) * d)
        normal[part, part] += full[part, part]
    values, vectors = torch.linalg.eigh(normal)
    root = vectors @ torch.diag(values**-0.5) @ vectors.T
    if kind == "bundle":
        made = sheaf.bundle_laplacian(source, target, pairs, nodes)
    else:
        made = laplacian(pairs, nodes, d, kind)
    torch.testing.assert_close(
        sheaf.assemble(made, nodes).to_dense(), root @ full @ root, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("kind", ["bundle", "general"])
def test_gauge_equivariance(kind: str) -> None:
    pairs, nodes, d = graph(), 9, 3
    source, target = maps(pairs, d, kind)
    gauge = sheaf.householder(randn(nodes, 3, seed=3), d)  # determinant -1
    make: Any = {"bundle": sheaf.bundle_laplacian, "general": sheaf.general_laplacian}[kind]
    turned = make(source @ gauge[pairs[0]].mT, target @ gauge[pairs[1]].mT, pairs, nodes)
    x = randn(nodes, d, 4, seed=7)
    expected = gauge @ sheaf.apply(make(source, target, pairs, nodes), x)
    torch.testing.assert_close(sheaf.apply(turned, gauge @ x), expected, rtol=0, atol=1e-12)


def kernel(made: Any, nodes: int) -> int:
    values = torch.linalg.eigvalsh(sheaf.assemble(made, nodes).to_dense())
    return int((values < 1e-10).sum())


def test_harmonic_space_of_a_cycle() -> None:
    d, nodes = 3, 4
    flat = torch.eye(d, dtype=DOUBLE).expand(4, d, d).clone()
    assert kernel(sheaf.bundle_laplacian(flat, flat, CYCLE, nodes), nodes) == d
    # a rotation around the cycle leaves its axis, a point reflection nothing
    turn = sheaf.cayley(randn(3), d)
    for holonomy, dimension in ((turn, 1), (-torch.eye(d, dtype=DOUBLE), 0)):
        transport = flat.clone()
        transport[0] = holonomy
        assert kernel(sheaf.transport_laplacian(transport, CYCLE, nodes), nodes) == dimension
    # transports that come from bases of the nodes have no holonomy
    x = randn(nodes, 2)
    drawn = sheaf.random_transports(x, CYCLE, d, kind="node")
    assert kernel(sheaf.transport_laplacian(drawn, CYCLE, nodes), nodes) == d
    drawn = sheaf.random_transports(x, CYCLE, 2, kind="edge", seed=4)
    assert kernel(sheaf.transport_laplacian(drawn, CYCLE, nodes), nodes) < 2


def test_harmonic_sections_agree_along_edges() -> None:
    pairs, nodes, d = CYCLE, 4, 2
    bases = sheaf.cayley(randn(nodes, 1), d)
    source, target = bases[pairs[0]], bases[pairs[1]]
    made = sheaf.bundle_laplacian(source, target, pairs, nodes)
    root = (sheaf.degrees(pairs, nodes, DOUBLE) + 1.0).sqrt()
    section = root[:, None, None] * (bases.mT @ randn(d, 1, seed=3))
    assert float(sheaf.apply(made, section).abs().max()) < 1e-14


def test_fixed_coordinates() -> None:
    made = sheaf.fixed_laplacian(CYCLE, 4, [1.0, -1.0], DOUBLE)
    alternating = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=DOUBLE)
    x = torch.stack([torch.ones(4, dtype=DOUBLE), alternating], dim=1).unsqueeze(-1)
    assert float(sheaf.apply(made, x).abs().max()) < 1e-14  # both are harmonic
    torch.testing.assert_close(sheaf.apply(made, x.flip(1)), x.flip(1) * 4 / 3)


# --- derivatives -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives(kind: str) -> None:
    pairs, nodes, d = graph(5, 6), 5, 2
    source, target = maps(pairs, d, kind)
    x = randn(nodes, d, 2, seed=7)
    make: Any = {
        "diagonal": sheaf.diagonal_laplacian,
        "bundle": sheaf.bundle_laplacian,
        "general": sheaf.general_laplacian,
    }[kind]

    def function(a: Tensor, b: Tensor, features: Tensor) -> Tensor:
        return sheaf.apply(make(a, b, pairs, nodes), features)

    inputs = [value.clone().requires_grad_() for value in (source, target, x)]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_general_maps_may_have_repeated_singular_values() -> None:
    pairs, nodes, d = CYCLE, 4, 3
    source = torch.eye(d, dtype=DOUBLE).repeat(4, 1, 1).requires_grad_()
    target = torch.zeros(4, d, d, dtype=DOUBLE, requires_grad=True)
    made = sheaf.general_laplacian(source, target, pairs, nodes)
    out = sheaf.apply(made, randn(nodes, d, 2))
    first = torch.autograd.grad(out.square().sum(), [source, target], create_graph=True)
    second = torch.autograd.grad(
        first[0].square().sum() + first[1].square().sum(), [source, target]
    )
    assert all(bool(torch.isfinite(g).all()) for g in (*first, *second))


# --- orthogonal maps ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", sheaf.METHODS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_orthogonal(method: Any, d: int) -> None:
    theta = randn(4, 3, sheaf.parameter_count(d))
    if method == "euler" and d not in (2, 3):
        with pytest.raises(ConfigError, match="take cayley"):
            sheaf.orthogonal(theta, d, method)
        return
    q = sheaf.orthogonal(theta, d, method)
    eye = torch.eye(d, dtype=DOUBLE).expand(4, 3, d, d)
    torch.testing.assert_close(q @ q.mT, eye, rtol=0, atol=1e-13)
    sign = (-1.0) ** d if method == "householder" else 1.0
    torch.testing.assert_close(torch.linalg.det(q), torch.full((4, 3), sign, dtype=DOUBLE))
    if d > 1:
        inputs = theta[:1, :2].clone().requires_grad_()
        zero = torch.zeros_like(inputs).requires_grad_()
        for value in (inputs, zero):
            assert torch.autograd.gradcheck(lambda t: sheaf.orthogonal(t, d, method), value)


@pytest.mark.parametrize("d", [2, 3])
def test_closed_cayley_is_the_solution(d: int) -> None:
    theta = randn(5, sheaf.parameter_count(d))
    rows, columns = torch.tril_indices(d, d, offset=-1)
    a = torch.zeros(5, d, d, dtype=DOUBLE)
    a[:, rows, columns] = theta
    a = a - a.mT
    eye = torch.eye(d, dtype=DOUBLE)
    expected = torch.linalg.solve(eye - a / 2, eye + a / 2)
    torch.testing.assert_close(sheaf.cayley(theta, d), expected, rtol=0, atol=1e-14)


def test_householder_reaches_both_components() -> None:
    theta = randn(4, 6)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=DOUBLE)
    q = sheaf.householder(theta, 4, determinant=signs)
    torch.testing.assert_close(torch.linalg.det(q), signs)
    assert torch.equal(q[::2], sheaf.householder(theta, 4, determinant=1)[::2])
    assert torch.equal(q[::2], sheaf.householder(theta, 4)[::2])  # the authors', d even
    # column by column, from the definition
    columns = torch.eye(4, dtype=DOUBLE)
    columns[tuple(torch.tril_indices(4, 4, offset=-1))] = theta[0]
    expected = torch.eye(4, dtype=DOUBLE)
    for a in columns.T:
        expected = expected @ (torch.eye(4) - 2 * torch.outer(a, a) / (a @ a))
    torch.testing.assert_close(q[0], expected, rtol=0, atol=1e-14)


def test_wrong_numbers_of_parameters() -> None:
    for method in ("householder", "cayley", "matrix_exp"):
        with pytest.raises(ConfigError, match="size 3 has 3 parameters, not 2"):
            sheaf.orthogonal(randn(4, 2), 3, method)
    with pytest.raises(ConfigError, match="expected one of householder"):
        sheaf.orthogonal(randn(4, 3), 3, "qr")  # type: ignore[arg-type]


# --- graphs ------------------------------------------------------------------------------------


def test_undirected_graphs_stay_and_others_are_made_so() -> None:
    both = torch.cat([CYCLE, CYCLE.flip(0)], dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(
            sheaf.undirected_pairs(both, 4), torch.tensor([[0, 0, 1, 2], [1, 3, 2, 3]])
        )
        assert sheaf.undirected_pairs(both[:, :0], 4).shape == (2, 0)
    with pytest.warns(UserWarning, match="2 duplicated edges were left out") as caught:
        again = sheaf.undirected_pairs(torch.cat([both, both[:, :2]], dim=1), 4)
    assert "one direction" not in str(caught[0].message) and again.shape == (2, 4)
    loop = torch.tensor([[2], [2]])
    with pytest.warns(UserWarning, match="graph: 4 edges had one direction"):
        assert sheaf.undirected_pairs(torch.cat([CYCLE, loop], dim=1), 4).shape == (2, 4)
    with pytest.raises(DataError, match=r"nodes 0\.\.3; a graph of 3 nodes"):
        sheaf.undirected_pairs(both, 3)


# --- transports of features --------------------------------------------------------------------


def test_connection_of_features() -> None:
    x, pairs = randn(9, 5), graph()
    bases = sheaf.local_bases(x, pairs, 3)
    eye = torch.eye(3, dtype=DOUBLE).expand(9, 3, 3)
    torch.testing.assert_close(bases.mT @ bases, eye, rtol=0, atol=1e-13)
    carried = sheaf.transports(bases, pairs)
    assert carried.shape == (pairs.shape[1], 3, 3)
    # the nearest orthogonal matrix: its product with the given one is symmetric and positive
    product = carried.mT @ (bases[pairs[0]].mT @ bases[pairs[1]])
    torch.testing.assert_close(product, product.mT, rtol=0, atol=1e-13)
    assert float(torch.linalg.eigvalsh(product).min()) > -1e-13
    back = sheaf.transports(bases, pairs.flip(0))
    torch.testing.assert_close(back, carried.mT, rtol=0, atol=1e-12)


def test_features_in_a_plane_have_no_curvature() -> None:
    plane = torch.linalg.qr(randn(5, 2))[0]
    x = randn(9, 2, seed=2) @ plane.T
    bases = sheaf.local_bases(x, CYCLE, 2)
    carried = sheaf.transports(bases, CYCLE)
    made = sheaf.transport_laplacian(carried, CYCLE, 9)
    assert kernel(made, 9) == 2 * 6  # one cycle and five nodes alone


def test_bases_need_room() -> None:
    with pytest.raises(
        ConfigError, match="dimension 4 can't be tangent to features of dimension 3"
    ):
        sheaf.local_bases(randn(9, 3), graph(), 4)
    with pytest.raises(ConfigError, match="expected edge or node"):
        sheaf.random_transports(randn(4, 2), CYCLE, 2, kind="face")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["edge", "node"])
def test_what_is_drawn_knows_no_numbering(kind: Any) -> None:
    x, pairs = randn(9, 5), graph()
    drawn = sheaf.random_transports(x, pairs, 3, kind=kind)
    eye = torch.eye(3, dtype=DOUBLE).expand_as(drawn)
    torch.testing.assert_close(drawn @ drawn.mT, eye, rtol=0, atol=1e-13)
    order = torch.randperm(9, generator=rng(1))
    place = torch.argsort(order)
    # the same edges between the same features; the ends may change places
    moved = sheaf.random_transports(x[order], place[pairs], 3, kind=kind)
    torch.testing.assert_close(moved, drawn, rtol=0, atol=0)
    back = sheaf.random_transports(x, pairs.flip(0), 3, kind=kind)
    torch.testing.assert_close(back, drawn.mT, rtol=0, atol=1e-15)
    assert not torch.allclose(sheaf.random_transports(x, pairs, 3, kind=kind, seed=1), drawn)


def test_draws_are_even() -> None:
    """Of Haar-distributed matrices every entry has the mean 0 and the variance 1/d."""
    x = randn(4000, 2)
    pairs = torch.arange(4000).view(2, -1)
    drawn = sheaf.random_transports(x, pairs, 3, kind="edge")
    assert float(drawn.mean(dim=0).abs().max()) < 5 / (3 * 2000) ** 0.5
    spread = drawn.square().mean(dim=0)
    assert float((spread - 1 / 3).abs().max()) < 5 * (4 / 45 / 2000) ** 0.5
    assert abs(float(torch.linalg.det(drawn).mean())) < 5 / 2000**0.5


def test_bases_of_batches_are_those_of_their_graphs() -> None:
    x, pairs = randn(18, 5), graph()
    both = torch.cat([pairs, pairs + 9], dim=1)
    owner = torch.arange(2).repeat_interleave(9)
    found = sheaf.local_bases(x, both, 3, owner)
    for k in range(2):
        alone = sheaf.local_bases(x[9 * k : 9 * k + 9], pairs, 3)
        torch.testing.assert_close(found[9 * k : 9 * k + 9], alone, rtol=0, atol=1e-13)
    order = torch.randperm(9, generator=rng(1))
    place = torch.argsort(order)
    moved = sheaf.local_bases(x[:9][order], place[pairs], 3)
    with_edges = place[pairs.unique()]
    torch.testing.assert_close(moved[with_edges], found[pairs.unique()], rtol=0, atol=1e-12)


# --- two ways to multiply ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["ascending", "any"])
def test_compressed_rows_and_gathering_agree(
    kind: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.functional.sheaf import diffusion

    pairs, nodes, d = graph(), 9, 3
    if order == "any":
        pairs = pairs[:, torch.randperm(pairs.shape[1], generator=rng(2))]
    made, x, weights = laplacian(pairs, nodes, d, kind), randn(nodes, d, 4), randn(nodes, d, 4)
    results = []
    for rows in (True, False):
        monkeypatch.setattr(diffusion, "_has_rows", lambda value, rows=rows: rows)
        off = made.off.clone().requires_grad_()
        features = x.clone().requires_grad_()
        changed = sheaf.SheafLaplacian(pairs, made.diagonal, off)
        out = sheaf.apply(changed, features)
        first = torch.autograd.grad((out * weights).sum(), [off, features], create_graph=True)
        again = torch.autograd.grad(
            sum((g * g).sum() for g in first), [off, features]  # type: ignore[arg-type]
        )  # fmt: skip
        results.append([out, *first, *again])
    for ours, other in zip(*results, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-12)


def test_layers_share_the_pattern_of_a_graph() -> None:
    pairs, nodes = graph(), 9
    made, x = laplacian(pairs, nodes, 2, "bundle"), randn(nodes, 2, 3)
    shared = sheaf.Pattern(pairs, nodes)
    for _ in range(2):
        torch.testing.assert_close(
            sheaf.apply(made, x, shared), sheaf.apply(made, x), rtol=0, atol=0
        )
    nothing = laplacian(pairs[:, :0], nodes, 2, "bundle")
    assert float(sheaf.apply(nothing, x).abs().max()) == 0.0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_small_products(size: int) -> None:
    from zoo.functional.sheaf.small import product

    a, b = randn(7, size, size), randn(7, size, size, seed=1)
    torch.testing.assert_close(product(a.mT, b), a.mT @ b, rtol=0, atol=1e-14)
    inputs = [a[:2].clone().requires_grad_(), b[:2].clone().requires_grad_()]
    assert torch.autograd.gradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(product, inputs)
