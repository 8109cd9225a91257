"""Grassmann manifolds for geoopt's Riemannian optimisers, which bring none of their own."""

from typing import Any

import geoopt
import torch
from torch import Tensor

from zoo.functional import grassmann, polar


class Grassmann(geoopt.manifolds.base.Manifold):  # type: ignore[misc]
    """Subspaces of R^n as orthonormal bases (..., n, p), for `geoopt.ManifoldParameter`.

    Steps are retracted by the polar factor of x + u, which agrees with the geodesic to second
    order, and vectors are carried by projection: what an optimiser needs, at the least cost.
    `GrassmannExact` takes geodesics and parallel transport instead.
    """

    name = "Grassmann"
    ndim = 2
    reversible = False

    def _check_shape(self, shape: tuple[int, ...], name: str) -> Any:
        ok, reason = super()._check_shape(shape, name)
        if ok and shape[-1] > shape[-2]:
            return False, f"`{name}` must have at most as many columns as rows, not {tuple(shape)}"
        return ok, reason

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        gap = float((x.mT @ x - eye).abs().max()) if x.numel() else 0.0
        if gap <= atol + rtol:
            return True, None
        return False, f"`x^T x` is off the identity by {gap:.2g} with atol={atol}, rtol={rtol}"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        gap = float((x.mT @ u).abs().max()) if x.numel() else 0.0
        if gap <= atol + rtol * float(u.abs().max()):
            return True, None
        return False, f"`x^T u` is off zero by {gap:.2g} with atol={atol}, rtol={rtol}"

    def projx(self, x: Tensor) -> Tensor:
        """The nearest orthonormal basis."""
        return polar.polar(x)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """The part of u that is tangent at x."""
        return grassmann.tangent(x, u)

    egrad2rgrad = proju

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """The polar factor of x + u."""
        return polar.polar(x + u)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """The geodesic, and a projection that undoes what rounding adds over many steps."""
        return polar.polar(grassmann.exp(x, u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector at x whose exponential is y."""
        return grassmann.log(x, y)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The part of v, tangent at x, that is tangent at y."""
        return grassmann.tangent(y, v)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Root of the sum of the squared principal angles."""
        distance = grassmann.dist(x, y)
        return distance[..., None, None] if keepdim else distance

    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """tr(u^T v)."""
        return (u * (u if v is None else v)).sum((-2, -1), keepdim=keepdim)

    def random(
        self,
        *size: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Subspaces drawn uniformly, of shape (..., n, p)."""
        self._assert_check_shape(tuple(size), "x")
        drawn = grassmann.random(tuple(size), generator=generator, dtype=dtype, device=device)
        tensor: Tensor = geoopt.ManifoldTensor(drawn, manifold=self)
        return tensor

    def origin(
        self,
        *size: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> Tensor:
        """The first columns of the identity; the seed is not used."""
        self._assert_check_shape(tuple(size), "x")
        point = grassmann.origin(tuple(size), dtype=dtype, device=device)
        tensor: Tensor = geoopt.ManifoldTensor(point, manifold=self)
        return tensor


class GrassmannExact(Grassmann):
    """Grassmann manifolds on which optimisers follow geodesics and transport in parallel.

    With `geoopt.optim.RiemannianSGD(momentum=...)` this is geodesic gradient descent, as in the
    paper on Grassmann class representation (Wang et al., NeurIPS 2023).
    """

    name = "Grassmann(exact)"
    reversible = True

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """The geodesic."""
        return self.expmap(x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport along the geodesic from x to y."""
        return grassmann.transport(x, y, v)
