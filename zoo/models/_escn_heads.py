"""The heads of eSCN, which look at features at points on the sphere."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional import gauss_legendre, spherical_harmonics
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.layers.constants import ConstantModule


def spiral_points(count: int) -> Tensor:
    """The points at which the authors' heads look, (count, 3), float64.

    Points along the golden spiral about z, each scaled by a weight, the inverse of a smoothed
    density: their code keeps the scaled points, so that harmonics are taken a little off the unit
    sphere.

    Args:
        count: number of points.
    """
    i = torch.arange(count, dtype=torch.float64)
    azimuth = 2 * math.pi * i / ((1 + math.sqrt(5)) / 2)
    polar = torch.arccos(1 - 2 * (i + 0.5) / count)
    points = torch.stack(
        [azimuth.cos() * polar.sin(), azimuth.sin() * polar.sin(), polar.cos()], dim=1
    )
    squared = (points[:, None] - points[None]).square().sum(-1)
    weights = 1 / torch.exp(-squared / 0.15).sum(1)
    return points * (count * weights / weights.sum())[:, None]


class SphereHead(ConstantModule):
    """A perceptron of the features' values at points on the sphere, averaged over them.

    Args:
        lmax: highest degree.
        channels: of features.
        samples: number of points, about.
        published: whether to take `spiral_points`, as published weights need it, each with the
            same weight; else a product grid of Gauss and Legendre.
    """

    points: Tensor
    weights: Tensor
    harmonics: Tensor

    def __init__(self, lmax: int, channels: int, samples: int, *, published: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(channels, channels), nn.Linear(channels, channels)])
        self.last = nn.Linear(channels, 1, bias=False)
        points = spiral_points(samples)
        weights = torch.full((samples,), 1.0 / samples, dtype=torch.float64)
        if not published:
            lat = max(math.ceil(math.sqrt(samples / 2)), 2)
            points, weights = gauss_legendre(lat, 2 * lat)
            weights = weights / weights.sum()
        values = spherical_harmonics(points, lmax, normalization="integral", normalize=False)
        self.register_constant("points", lambda: points.clone())
        self.register_constant("weights", lambda: weights.clone())
        self.register_constant("harmonics", lambda: values.clone())

    def sample(self, x: AtomFeatures) -> Float[Tensor, "atoms points"]:
        """The perceptron's value at each point."""
        first, second = self.layers
        assert isinstance(first, nn.Linear)
        # the first map is linear: it acts on coefficients, of which there are fewer
        coefficients = x.state @ first.weight.T
        values = torch.matmul(self.harmonics, coefficients) + first.bias
        values = nn.functional.silu(second(nn.functional.silu(values)))
        found: Tensor = self.last(values)
        return found.squeeze(-1)


class SphereEnergyHead(SphereHead):
    """Atomic energies: the mean over the points."""

    def forward(self, x: AtomFeatures) -> Float[Tensor, " atoms"]:
        """Atomic energies before scale and references."""
        return self.sample(x) @ self.weights


class SphereForceHead(SphereHead):
    """Direct forces: the mean over the points of value times point."""

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "atoms 3"]:
        """Forces before scaling."""
        return self.sample(x) @ (self.points * self.weights[:, None])


def sphere_heads(
    lmax: int, channels: int, samples: int, *, published: bool
) -> dict[str, Callable[[], nn.Module]]:
    """Makers of the heads; see `SphereHead`."""
    return {
        "energy": lambda: SphereEnergyHead(lmax, channels, samples, published=published),
        "forces": lambda: SphereForceHead(lmax, channels, samples, published=published),
    }
