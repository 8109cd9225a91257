"""The space that layers of the Poincaré ball compute in: a ball, or flat space.

`FlatSpace` is the limit of no curvature. The layers take either, so each has a Euclidean
counterpart with the same parameters and the same code.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from zoo.errors import ConfigError, nearest
from zoo.functional import poincare
from zoo.functional.squares import safe_sqrt

#: how points that are learnt are held: as tangent vectors at the origin, or as geoopt's parameters
PointKind = Literal["tangent", "geoopt"]
Geometry = Literal["poincare", "euclidean"]
Curvature: TypeAlias = poincare.Curvature


class PoincareSpace(nn.Module):
    """A Poincaré ball of curvature -c.

    Args:
        c: the curvature is -c at first.
        trainable: learns c, as softplus of a parameter.
        margin: how close to the boundary points may come, in units of the radius. Left out, as
            close as the precision allows; where weights are to mean the same in float32 and
            float64, it has to be given, as points that are driven outwards stay at the limit.

    Raises:
        ConfigError: a curvature that is not positive, a margin outside of 0 to 1.
    """

    flat = False

    def __init__(
        self, c: float = 1.0, *, trainable: bool = False, margin: float | None = None
    ) -> None:
        super().__init__()
        if not c > 0:
            raise ConfigError(f"c={c}: the curvature of a Poincaré ball is -c with c > 0")
        if margin is not None and not 0 < margin < 1:
            raise ConfigError(f"margin={margin}: between 0 and 1, in units of the ball's radius")
        self.margin = margin
        self.fixed = float(c)
        self.raw: nn.Parameter | None = None
        if trainable:
            self.raw = nn.Parameter(torch.tensor(math.log(math.expm1(c))))  # softplus(raw) = c

    @property
    def c(self) -> Curvature:
        """The curvature is -c."""
        return self.fixed if self.raw is None else softplus(self.raw)

    def extra_repr(self) -> str:
        """For the module's printed form."""
        return f"c={self.fixed:g}, trainable={self.raw is not None}, margin={self.margin}"

    def keep(self, x: Tensor) -> Tensor:
        """The points, those beyond the margin moved to it."""
        if self.margin is None:
            return x
        return poincare.project(x, c=self.c, margin=self.margin)

    def check(self, x: Tensor, *, where: str, project: bool = False) -> Tensor:
        """The points, once they are known to lie in the ball; see `poincare.check`."""
        return self.keep(poincare.check(x, where=where, c=self.c, project=project))

    def exp0(self, v: Tensor) -> Tensor:
        """Points of tangent vectors at the origin."""
        return self.keep(poincare.exp0(v, c=self.c))

    def log0(self, x: Tensor) -> Tensor:
        """Tangent vectors at the origin of points."""
        return poincare.log0(x, c=self.c)

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """The exponential map at x."""
        return self.keep(poincare.exp(x, v, c=self.c))

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The inverse of `exp`."""
        return poincare.log(x, y, c=self.c)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The Möbius sum."""
        return self.keep(poincare.mobius_add(x, y, c=self.c))

    def matvec(self, matrix: Tensor, x: Tensor) -> Tensor:
        """A matrix acting on points."""
        return self.keep(poincare.mobius_matvec(matrix, x, c=self.c))

    def square_dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared distances."""
        return poincare.square_dist(x, y, c=self.c)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances."""
        return poincare.dist(x, y, c=self.c)

    def pull(self, p: Tensor, v: Tensor) -> Tensor:
        """Tangent vectors at the origin, transported to p."""
        return poincare.transport0(p, v, c=self.c)

    def mixed(self, points: Tensor, weights: Tensor) -> Tensor:
        """Midpoints, one per row of weights."""
        return self.keep(poincare.mixed(points, weights, c=self.c))

    def hyperplane_logits(self, x: Tensor, p: Tensor, a: Tensor) -> Tensor:
        """HNN's distances to hyperplanes."""
        return poincare.hyperplane_logits(x, p, a, c=self.c)

    def unidirectional_logits(self, x: Tensor, z: Tensor, r: Tensor | None) -> Tensor:
        """HNN++'s distances to hyperplanes."""
        return poincare.unidirectional_logits(x, z, r, c=self.c)

    def fully_connected(self, x: Tensor, z: Tensor, r: Tensor | None) -> Tensor:
        """HNN++'s linear map."""
        return self.keep(poincare.fully_connected(x, z, r, c=self.c))

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        """HNN++'s beta-concatenation."""
        return self.keep(poincare.beta_concat(parts, c=self.c))

    def split(self, x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The inverse of `concat`."""
        return poincare.beta_split(x, sizes, c=self.c)


class FlatSpace(nn.Module):
    """Euclidean space with the metric 4 <u, v>: what a Poincaré ball becomes as c tends to zero."""

    flat = True

    def check(self, x: Tensor, *, where: str, project: bool = False) -> Tensor:
        """The points themselves: all of space is allowed."""
        return x

    def exp0(self, v: Tensor) -> Tensor:
        """The vector itself."""
        return v

    def log0(self, x: Tensor) -> Tensor:
        """The point itself."""
        return x

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """x + v."""
        return x + v

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """y - x."""
        return y - x

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The sum."""
        return x + y

    def matvec(self, matrix: Tensor, x: Tensor) -> Tensor:
        """A matrix acting on vectors."""
        return linear(x, matrix)

    def square_dist(self, x: Tensor, y: Tensor) -> Tensor:
        """4 |x - y|^2."""
        return 4 * (x - y).square().sum(-1)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """2 |x - y|."""
        return safe_sqrt(self.square_dist(x, y))

    def pull(self, p: Tensor, v: Tensor) -> Tensor:
        """The vector itself."""
        return v

    def mixed(self, points: Tensor, weights: Tensor) -> Tensor:
        """Weighted means; weights that are all zero give zero."""
        total = weights.abs().sum(-1, keepdim=True)
        return weights @ points / torch.where(total > 0, total, 1.0)

    def hyperplane_logits(self, x: Tensor, p: Tensor, a: Tensor) -> Tensor:
        """4 <x - p, a>."""
        return 4 * linear(x, a, -(p * a).sum(-1))

    def unidirectional_logits(self, x: Tensor, z: Tensor, r: Tensor | None) -> Tensor:
        """4 (<x, z> - |z| r)."""
        shift = None if r is None else -4 * torch.linalg.vector_norm(z, dim=0) * r
        return linear(x, 4 * z.mT, shift)

    def fully_connected(self, x: Tensor, z: Tensor, r: Tensor | None) -> Tensor:
        """2 (<x, z> - |z| r)."""
        return self.unidirectional_logits(x, z, r) / 2

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        """Concatenation with HNN++'s factors."""
        whole = sum(part.shape[-1] for part in parts)
        scaled = [part * poincare.beta_ratio(whole, part.shape[-1]) for part in parts]
        return torch.cat(scaled, -1)

    def split(self, x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The inverse of `concat`."""
        whole = x.shape[-1]
        parts = torch.split(x, list(sizes), -1)
        return [part * poincare.beta_ratio(part.shape[-1], whole) for part in parts]


Space: TypeAlias = PoincareSpace | FlatSpace


def make_space(
    geometry: Geometry,
    c: float = 1.0,
    *,
    trainable: bool = False,
    margin: float | None = None,
) -> PoincareSpace | FlatSpace:
    """A space by name.

    Args:
        geometry: "poincare", or "euclidean" for the flat counterpart.
        c: the curvature of the ball is -c.
        trainable: learns c.
        margin: between the outermost points and the ball's boundary.

    Raises:
        ConfigError: an unknown geometry.
    """
    if geometry not in get_args(Geometry):
        raise ConfigError(
            f"unknown geometry {geometry!r}: {nearest(str(geometry), get_args(Geometry))}"
        )
    if geometry == "euclidean":
        return FlatSpace()
    return PoincareSpace(c, trainable=trainable, margin=margin)


def borrow(layer: nn.Module) -> None:
    """Leaves a layer its space, but not as a part of it.

    Where several layers share a space whose curvature is learnt, one owner keeps the parameter in
    the state dict from being stored once for each of them.

    Args:
        layer: with an attribute `space`, which stays.
    """
    layer.__dict__["space"] = layer._modules.pop("space")


class BallPoints(nn.Module):
    """Points that are learnt.

    Args:
        data: tangent vectors at the origin, whose points are the initial ones.
        space: where the points live.
        kind: "tangent" holds tangent vectors, which any optimiser trains; "geoopt" holds the points
            themselves as a `geoopt.ManifoldParameter`, for geoopt's Riemannian optimisers (weight
            decay off), in a ball of fixed curvature.

    Raises:
        ConfigError: an unknown kind, or points of geoopt's where there is no fixed ball.
    """

    def __init__(
        self,
        data: Float[Tensor, "*shape dim"],
        space: PoincareSpace | FlatSpace,
        kind: PointKind = "tangent",
    ) -> None:
        super().__init__()
        if kind not in get_args(PointKind):
            raise ConfigError(f"unknown kind {kind!r}: {nearest(str(kind), get_args(PointKind))}")
        self.kind = kind
        self.raw: nn.Parameter
        if kind == "tangent":
            self.raw = nn.Parameter(data)
            return
        if not isinstance(space, PoincareSpace) or space.raw is not None:
            raise ConfigError(
                "points of geoopt's need a Poincaré ball of fixed curvature: take points='tangent' "
                "in flat space or where the curvature is learnt"
            )
        point = geoopt.ManifoldParameter(
            space.exp0(data), manifold=geoopt.PoincareBall(c=space.fixed)
        )
        self.raw = cast(nn.Parameter, point)

    def forward(self, space: PoincareSpace | FlatSpace) -> Float[Tensor, "*shape dim"]:
        """The points."""
        return self.raw if self.kind == "geoopt" else space.exp0(self.raw)

    def tangent(self, space: PoincareSpace | FlatSpace) -> Float[Tensor, "*shape dim"]:
        """Their tangent vectors at the origin."""
        return space.log0(self.raw) if self.kind == "geoopt" else self.raw
