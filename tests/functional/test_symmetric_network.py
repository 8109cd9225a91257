"""Networks of deltas and epsilons: what there is, how it turns, and other layers held to it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.scatter import scatter_mean
from zoo.functional.symmetric_network import (
    Contraction,
    contract,
    contractions,
    derivative,
    equivariants,
    invariants,
    open_networks,
)
from zoo.functional.tensor_power import act
from zoo.models.egnn import EGNNLayer

SAMPLES = 6


def random(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def orthogonal(sign: float, n: int = 3) -> Tensor:
    q = torch.linalg.qr(random(n, n, seed=7))[0]
    q[:, 0] *= sign * torch.sign(torch.linalg.det(q))
    return q


def tensors(orders: list[int], n: int = 3) -> list[Tensor]:
    return [random(SAMPLES, *[n] * order, seed=k) for k, order in enumerate(orders)]


@pytest.mark.parametrize(
    ("orders", "degree", "group", "count"),
    [
        ([1, 1, 1], 3, "O", 6),  # scalar products
        ([1, 1, 1], 3, "SO", 7),  # and the determinant
        ([1, 1], 3, "SO", 3),  # two vectors span no volume
        ([2], 1, "O", 1),  # the trace
        ([2], 2, "O", 3),  # tr A, tr A A, tr A A^T
        ([0, 1], 2, "O", 2),  # a scalar stands for itself
    ],
)
def test_how_many_there_are(orders: list[int], degree: int, group: Any, count: int) -> None:
    assert len(contractions(orders, degree, group=group)) == count


def test_of_vectors_they_are_products_and_the_determinant() -> None:
    a, b, c = tensors([1, 1, 1])
    found = invariants([a, b, c], contractions([1, 1, 1], 3, group="SO"))
    x = torch.stack([a, b, c], 1)
    gram = x @ x.mT
    wanted = [gram[:, i, j] for i in range(3) for j in range(i, 3)]
    torch.testing.assert_close(found, torch.stack([*wanted, torch.linalg.det(x)], 1))


@pytest.mark.parametrize("group", ["O", "SO"])
@pytest.mark.parametrize("orders", [[1, 1], [2, 1], [2]])
def test_how_they_turn(orders: list[int], group: Any) -> None:
    """Invariants stay, equivariants turn; with an epsilon they change their signs in mirrors."""
    x, listed = tensors(orders), contractions(orders, 3, group=group)
    for sign in (1.0, -1.0):
        g = orthogonal(sign)
        moved = [act(g, t, order) for t, order in zip(x, orders, strict=True)]
        flip = torch.tensor([sign if network.pseudo else 1.0 for network in listed]).double()
        torch.testing.assert_close(invariants(moved, listed), flip * invariants(x, listed))
        for order in (1, 2):
            opened = open_networks(orders, order, 2, group=group)
            if not opened:
                continue
            flip = torch.tensor([sign if network.pseudo else 1.0 for network in opened]).double()
            flip = flip.reshape(-1, *[1] * order)
            wanted = flip * act(g, equivariants(x, opened), order)
            torch.testing.assert_close(equivariants(moved, opened), wanted)
    assert group == "SO" or not any(network.pseudo for network in listed)


def test_a_node_taken_out_is_the_derivative_with_respect_to_it() -> None:
    """Of functions of the invariants, too."""
    x = tensors([1, 1])
    for order in (1, 2):
        listed = open_networks([1, 1], order, 2, group="SO")
        like = random(SAMPLES, *[3] * order, seed=9)
        numbers = invariants(x, contractions([1, 1], 2))
        factors = torch.sin(numbers.sum(-1))

        def value(
            dummy: Tensor,
            listed: tuple[Contraction, ...] = listed,
            factors: Tensor = factors,
        ) -> Tensor:
            return factors * invariants([*x, dummy], listed).sum(-1)

        wanted = equivariants(x, listed).sum(1) * factors.reshape(-1, *[1] * order)
        torch.testing.assert_close(derivative(value, like), wanted)


def test_vectors_that_vectors_give() -> None:
    """Themselves, and under rotations alone their cross products."""
    a, b = tensors([1, 1])
    plain = equivariants([a, b], open_networks([1, 1], 1, 2))
    torch.testing.assert_close(plain, torch.stack([a, b], 1))
    found = equivariants([a, b], open_networks([1, 1], 1, 2, group="SO"))
    cross = torch.linalg.cross(a, b)
    assert found.shape == (SAMPLES, 3, 3)
    assert torch.minimum((found[:, 2] - cross).abs(), (found[:, 2] + cross).abs()).max() < 1e-12


def test_matrices_that_vectors_give_have_the_identity_among_them() -> None:
    found = equivariants(tensors([1, 1]), open_networks([1, 1], 2, 2))
    eye = torch.eye(3).double().expand(SAMPLES, 3, 3)
    assert any(torch.equal(found[:, k], eye) for k in range(found.shape[1]))


def test_the_geometric_product_is_made_of_them() -> None:
    """a b: the scalar product, and the plane across the vector product; a b c likewise."""
    algebra = clifford.algebra(3)
    a, b, c = tensors([1, 1, 1])
    multi = [clifford.embed(x, 1, algebra) for x in (a, b, c)]
    product = clifford.geometric_product(multi[0], multi[1], algebra)
    ab, *_ = [n for n in contractions([1, 1], 2) if n.nodes == (0, 1)]
    torch.testing.assert_close(product[..., 0], contract([a, b], ab))
    cross = contract([a, b], open_networks([1, 1], 1, 2, group="SO")[2], without=2)
    planes = product[..., 4:7]  # e12, e13, e23
    dual = torch.stack([planes[..., 2], -planes[..., 1], planes[..., 0]], -1)
    assert torch.minimum((dual - cross).abs(), (dual + cross).abs()).max() < 1e-12
    triple = clifford.geometric_product(product, multi[2], algebra)
    numbers = invariants([a, b, c], contractions([1, 1, 1], 3, group="SO"))
    _, gab, gac, _, gbc, _, det = numbers.unbind(-1)
    wanted = gab[:, None] * c - gac[:, None] * b + gbc[:, None] * a
    torch.testing.assert_close(triple[..., 1:4], wanted)
    torch.testing.assert_close(triple[..., 7], det)


def test_the_step_of_egnn_is_made_of_them() -> None:
    """Its messages know invariants alone, and positions move along open networks."""
    torch.manual_seed(0)
    layer = EGNNLayer(4, 1, moves=True, velocity=False).double()
    h, pos, attr = random(5, 4), random(5, 3, seed=1), random(20, 1, seed=2)
    edges = torch.tensor([[i, j] for i in range(5) for j in range(5) if i != j]).T
    of, to = edges
    away = pos[to] - pos[of]
    (square,), (itself,) = contractions([1], 2), open_networks([1], 1, 1)
    pair = torch.cat([contract([away], square)[:, None], attr], 1)
    known = torch.cat([h[to], h[of], pair], 1)
    message = layer.edge_second(torch.nn.functional.silu(layer.edge_first(known)))
    message = torch.nn.functional.silu(message)
    assert layer.shift is not None
    step = layer.shift(message) * contract([away], itself, without=itself.nodes.index(1))
    torch.testing.assert_close(layer(h, pos, None, edges, attr)[1] - pos, scatter_mean(step, to, 5))


def test_derivatives_of_any_order() -> None:
    listed = contractions([1, 1, 1], 3, group="SO")
    x = [t[:2].clone().requires_grad_() for t in tensors([1, 1, 1])]
    assert torch.autograd.gradcheck(lambda *t: invariants(t, listed), x)
    assert torch.autograd.gradgradcheck(lambda *t: invariants(t, listed), x)


def test_other_dimensions() -> None:
    listed = contractions([1, 1], 2, group="SO", n=2)
    a, b = tensors([1, 1], 2)
    found = invariants([a, b], listed)
    assert found.shape == (SAMPLES, 4)  # three products and the area
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    (one,) = [k for k, network in enumerate(listed) if network.pseudo]
    assert torch.minimum((found[:, one] - area).abs(), (found[:, one] + area).abs()).max() < 1e-12


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no contractions for the group 'Sp'"):
        contractions([1, 1], 2, group="Sp")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected orders >= 0"):
        contractions([], 2)
    with pytest.raises(ConfigError, match="have 14 indices; at most 12"):
        contractions([7], 2)
    with pytest.raises(ConfigError, match="order=0; scalars are what contractions give"):
        open_networks([1], 0, 1)
    (square,) = contractions([1], 2)
    with pytest.raises(UnsupportedInputError, match="tensor number 0 of order 1"):
        contract([torch.zeros(())], square)
    with pytest.raises(UnsupportedInputError, match=r"lengths \[2, 3\]; expected one length"):
        contract([random(4, 2), random(4, 3)], contractions([1, 1], 2)[1])
    with pytest.raises(UnsupportedInputError, match=r"lengths \[2\]; expected 3, as"):
        invariants(tensors([1, 1, 1], 2), contractions([1, 1, 1], 3, group="SO"))
    with pytest.raises(UnsupportedInputError, match="no tensors"):
        contract([], square)
    with pytest.raises(UnsupportedInputError, match="no networks are listed"):
        invariants(tensors([1]), ())
