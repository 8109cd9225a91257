"""The Grassmann manifold for geoopt: its laws, and its optimisers on it."""

import geoopt
import pytest
import torch
from torch import Tensor

from zoo.functional import grassmann
from zoo.layers.grassmann import Grassmann, GrassmannExact, SubspaceHead

N, P = 7, 3
BOTH = pytest.mark.parametrize("manifold", [Grassmann(), GrassmannExact()], ids=lambda m: m.name)


def point(manifold: Grassmann, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return manifold.random(4, N, P, dtype=torch.float64, generator=generator).as_subclass(Tensor)


def ambient(seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, N, P, dtype=torch.float64, generator=generator)


@BOTH
def test_projections(manifold: Grassmann) -> None:
    x = point(manifold)
    manifold.assert_check_point_on_manifold(x)
    assert (manifold.projx(x) - x).abs().max() < 1e-13
    manifold.assert_check_point_on_manifold(manifold.projx(ambient()))
    u = manifold.proju(x, ambient())
    manifold.assert_check_vector_on_tangent(x, u)
    assert (manifold.proju(x, u) - u).abs().max() < 1e-13
    assert not manifold.check_point_on_manifold(2 * x)
    assert not manifold.check_vector_on_tangent(x, x)
    assert not manifold.check_point(x.mT)


@BOTH
def test_maps(manifold: Grassmann) -> None:
    x = point(manifold)
    u = 0.3 * manifold.proju(x, ambient())
    y = manifold.expmap(x, u)
    assert (manifold.logmap(x, y) - u).abs().max() < 1e-12
    norm = manifold.norm(x, u)
    assert (manifold.dist(x, y) - norm).abs().max() < 1e-12
    assert manifold.dist(x, y, keepdim=True).shape == (4, 1, 1)
    # the retraction agrees with the geodesic to second order
    for size in (1e-2, 1e-3):
        gap = grassmann.dist(manifold.retr(x, size * u), manifold.expmap(x, size * u)).max()
        assert gap < 5 * size**3
    back = manifold.expmap(x, torch.zeros_like(u))
    assert (back - x).abs().max() < 1e-13


@BOTH
def test_transports(manifold: Grassmann) -> None:
    x = point(manifold)
    u, v = 0.3 * manifold.proju(x, ambient()), manifold.proju(x, ambient(2))
    y, moved = manifold.retr_transp(x, u, v)
    manifold.assert_check_vector_on_tangent(y, moved)
    if isinstance(manifold, GrassmannExact):
        assert (manifold.norm(y, moved) - manifold.norm(x, v)).abs().max() < 1e-12
        assert (manifold.transp(x, y, u) + manifold.logmap(y, x)).abs().max() < 1e-12
    else:
        assert (manifold.norm(y, moved) <= manifold.norm(x, v) + 1e-12).all()


@BOTH
def test_gradients_are_riemannian(manifold: Grassmann) -> None:
    x = point(manifold)
    x = x.requires_grad_()
    target = ambient(3)
    (grad,) = torch.autograd.grad(((x @ x.mT) * (target @ target.mT)).sum(), x)
    rgrad = manifold.egrad2rgrad(x.detach(), grad)
    u = manifold.proju(x.detach(), ambient(4))
    step = 1e-6
    ends = [grassmann.exp(x.detach(), sign * step * u) for sign in (1, -1)]
    values = [((y @ y.mT) * (target @ target.mT)).sum((-2, -1)) for y in ends]
    slope = (values[0] - values[1]) / (2 * step)
    assert torch.allclose(slope, manifold.inner(x.detach(), rgrad, u), rtol=1e-5)


@BOTH
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_optimisers_find_the_leading_subspace(manifold: Grassmann, name: str) -> None:
    """The mean of x^T A x is largest on the eigenvectors of the largest eigenvalues."""
    spectrum = torch.tensor([9.0, 7.0, 6.0, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    q = grassmann.random((N, N), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    a = q @ torch.diag(spectrum) @ q.mT
    x = geoopt.ManifoldParameter(point(manifold)[0], manifold=manifold)
    if name == "adam":
        optimizer = geoopt.optim.RiemannianAdam([x], lr=0.08, stabilize=10)
    else:
        optimizer = geoopt.optim.RiemannianSGD([x], lr=0.02, momentum=0.8)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -(x * (a @ x)).sum()
        loss.backward()
        optimizer.step()
    best = q[:, :P]
    assert grassmann.dist(x.detach().as_subclass(Tensor), best) < 0.1
    manifold.assert_check_point_on_manifold(x.detach(), atol=1e-10)


def test_origin() -> None:
    made = Grassmann().origin(5, 2)
    assert torch.equal(made.as_subclass(Tensor), torch.eye(5, 2))


def test_a_head_trains_with_riemannian_and_with_plain_optimisers() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 6)
    y = x[:, :3].square().argmax(-1)
    losses = {}
    for parametrization in ("geoopt", "qr", "exp"):
        torch.manual_seed(1)
        head = SubspaceHead(6, 3, subspace_dim=2, scale=10, parametrization=parametrization)  # type: ignore[arg-type]
        if parametrization == "geoopt":
            optimizer = geoopt.optim.RiemannianSGD(head.parameters(), lr=0.1, momentum=0.9)
        else:
            optimizer = torch.optim.AdamW(head.parameters(), lr=0.06)
        start = float(torch.nn.functional.cross_entropy(head(x), y).detach())
        for _ in range(60):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(head(x), y)
            loss.backward()
            optimizer.step()
        losses[parametrization] = float(loss.detach()) / start
    assert max(losses.values()) < 0.6
