"""Where a batch norm works: its co-domain, in which means, shifts and scales have a closed form.

A chart takes SPD matrices into the co-domain (`lift`) and back (`lower`), averages there, moves a
mean to the origin (`centre`), multiplies distances from it (`Centred.scaled`) and moves it to a
bias (`shift`). `CongruenceChart` works with matrices under congruences (affine-invariant metrics),
`FlatChart` in a vector space (log-Euclidean and log-Cholesky metrics).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional import spd
from zoo.functional.spd._real_power import real_power
from zoo.layers.spd.parameter import SPDParameter

#: which R with R R^T = M moves a mean M to the identity: Cholesky's factor or the symmetric root
Root = Literal["cholesky", "symmetric"]


class Centred(Protocol):
    """Centred points: their distances from the origin, and themselves at another scale."""

    def square(self) -> Float[Tensor, " batch"]:
        """Squared distances from the origin."""

    def scaled(self, factor: Tensor | None) -> Tensor:
        """The points with distances from the origin multiplied; None leaves them."""


class Chart(Protocol):
    """See the module."""

    def lift(self, x: Tensor) -> Tensor:
        """Into the co-domain."""

    def lower(self, y: Tensor) -> Tensor:
        """Back to SPD matrices."""

    def origin(self, size: int) -> Tensor:
        """The co-domain's origin, (n, n)."""

    def mean(self, y: Tensor, steps: int) -> Tensor:
        """Fréchet mean over the first axis, with at most so many steps of its iteration."""

    def centre(self, y: Tensor, mean: Tensor) -> Centred:
        """The points moved so that the mean lies at the origin."""

    def shift(self, z: Tensor, bias: SPDParameter | None) -> Tensor:
        """The points moved so that the origin goes to the bias; None leaves them."""

    def blend(self, old: Tensor, new: Tensor, weight: float) -> Tensor:
        """The point at this time of the geodesic from one mean to another."""


@dataclass(frozen=True)
class CongruenceChart:
    """SPD matrices with the affine-invariant metric, deformed by a power.

    Args:
        root: how means are moved to the identity.
        theta: matrices enter as X^theta.
        alpha: of the metric.
        beta: of the metric.
        inverted: whether matrices enter as L^-1 L^-T with X^theta = L L^T, the inverse in the
            group of Cholesky factors: the metric becomes invariant from the right.
    """

    root: Root = "symmetric"
    theta: float = 1.0
    alpha: float = 1.0
    beta: float = 0.0
    inverted: bool = False

    def lift(self, x: Tensor) -> Tensor:
        """X^theta, or its inverse in the group."""
        y = spd.power(x, self.theta)
        return _group_inverse(y) if self.inverted else y

    def lower(self, y: Tensor) -> Tensor:
        """The inverse of `lift`."""
        y = _group_inverse(y) if self.inverted else y
        return spd.power(y, 1.0 / self.theta)

    def origin(self, size: int) -> Tensor:
        """The identity."""
        return torch.eye(size)

    def mean(self, y: Tensor, steps: int) -> Tensor:
        """Karcher's iteration from the arithmetic mean."""
        return spd.affine_invariant.mean(y, steps=steps)

    def centre(self, y: Tensor, mean: Tensor) -> "CentredCongruence":
        """R^-1 Y R^-T with R R^T the mean."""
        if self.root == "symmetric":
            inverse = spd.inv_sqrt(mean)
        else:
            factor = spd.cholesky(mean, where="the mean of a batch norm")
            eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
            inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        return CentredCongruence(self, inverse @ y @ inverse.mT)

    def shift(self, z: Tensor, bias: SPDParameter | None) -> Tensor:
        """R Z R^T with R R^T the bias."""
        if bias is None:
            return z
        if self.root == "symmetric":
            root = bias.power(0.5 * self.theta)
        else:
            lifted = bias.power(self.theta)
            lifted = _group_inverse(lifted) if self.inverted else lifted
            root = spd.cholesky(lifted, where="the bias of a batch norm")
        return root @ z @ root.mT

    def blend(self, old: Tensor, new: Tensor, weight: float) -> Tensor:
        """A geodesic of the affine-invariant metric."""
        return spd.affine_invariant.geodesic(old, new, weight)


class CentredCongruence:
    """Centred matrices; one eigendecomposition serves distances and scales."""

    def __init__(self, chart: CongruenceChart, matrices: Tensor) -> None:
        self.chart = chart
        self.matrices = matrices

    @cached_property
    def decomposed(self) -> spd.Eigen:
        """Their eigendecomposition."""
        return spd.eigen(self.matrices)

    def square(self) -> Float[Tensor, " batch"]:
        """(alpha |log Z|^2 + beta (log det Z)^2) / theta^2."""
        if torch.is_grad_enabled() and self.matrices.requires_grad:
            return _square(self.decomposed.log().matrix(), self.chart)
        values = self.decomposed.log().spectrum
        out = self.chart.alpha * values.square().sum(-1)
        if self.chart.beta != 0.0:
            out = out + self.chart.beta * values.sum(-1).square()
        return out / (self.chart.theta * self.chart.theta)

    def scaled(self, factor: Tensor | None) -> Tensor:
        """Z^factor."""
        if factor is None:
            return self.matrices
        return real_power(self.decomposed, factor)


@dataclass(frozen=True)
class FlatChart:
    """Matrices as vectors: their logarithm, or the logarithm of their Cholesky factor.

    Args:
        cholesky: the lower triangle of L and the logarithm of its diagonal, X^theta = L L^T,
            instead of log X.
        theta: see there; distances are divided by it.
        alpha: squared distances are alpha |Z|^2 + beta tr^2 Z.
        beta: see there.
    """

    cholesky: bool = False
    theta: float = 1.0
    alpha: float = 1.0
    beta: float = 0.0

    def lift(self, x: Tensor) -> Tensor:
        """The logarithm."""
        if self.cholesky:
            return spd.log_cholesky.to_triangle(spd.power(x, self.theta))
        return spd.log(x)

    def lower(self, y: Tensor) -> Tensor:
        """The exponential."""
        if self.cholesky:
            return spd.power(spd.log_cholesky.from_triangle(y), 1.0 / self.theta)
        return spd.exp(y)

    def origin(self, size: int) -> Tensor:
        """Zero."""
        return torch.zeros(size, size)

    def mean(self, y: Tensor, steps: int) -> Tensor:
        """The arithmetic mean: no iteration."""
        return y.mean(0)

    def centre(self, y: Tensor, mean: Tensor) -> "CentredVectors":
        """Y - M."""
        return CentredVectors(self, y - mean)

    def shift(self, z: Tensor, bias: SPDParameter | None) -> Tensor:
        """Z + B."""
        if bias is None:
            return z
        if self.cholesky:
            return z + spd.log_cholesky.to_triangle(bias.power(self.theta))
        return z + bias.log()

    def blend(self, old: Tensor, new: Tensor, weight: float) -> Tensor:
        """A straight line."""
        return torch.lerp(old, new, weight)


class CentredVectors:
    """Centred vectors, written as matrices."""

    def __init__(self, chart: FlatChart, vectors: Tensor) -> None:
        self.chart = chart
        self.vectors = vectors

    def square(self) -> Float[Tensor, " batch"]:
        """(alpha |Z|^2 + beta tr^2 Z) / theta^2."""
        return _square(self.vectors, self.chart)

    def scaled(self, factor: Tensor | None) -> Tensor:
        """factor Z."""
        return self.vectors if factor is None else factor * self.vectors


def _square(z: Tensor, chart: CongruenceChart | FlatChart) -> Tensor:
    out = chart.alpha * z.square().sum((-2, -1))
    if chart.beta != 0.0:
        out = out + chart.beta * z.diagonal(dim1=-2, dim2=-1).sum(-1).square()
    return out / (chart.theta * chart.theta)


def _group_inverse(x: Tensor) -> Tensor:
    """L^-1 L^-T with X = L L^T."""
    factor = spd.cholesky(x, where="the group inverse")
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    return inverse @ inverse.mT
