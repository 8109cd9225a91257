"""Integrators and thermostats of dynamics of many structures, each with random numbers of its own.

All are splittings of half a kick, drift, half a kick (velocity Verlet), with the thermostat in the
middle of the drift (BAOAB: Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34) or after the
step. Every structure draws from its own generator, always the same count of numbers a step, so that
its path depends on its seed and not on the others.

`langevin`: v <- c v + sqrt(kT (1 - c²) / m) R with c = exp(-friction dt). With the centre of mass
held, R loses its total momentum's part: R_i - sqrt(m_i) sum_j sqrt(m_j) R_j / M, which is the
Gaussian of the 3n - 3 other directions (a projection, so nothing has to be rescaled).
`bussi`: velocities scaled by alpha, Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007),
equation A7: alpha² = c + (1 - c) K̄ / (K f) (S + R1²) + 2 R1 sqrt(c (1 - c) K̄ / (K f)) with
K̄ = f kT / 2, c = exp(-dt / tau), S the sum of f - 1 squared normal numbers. Directions are kept, so
the centre of mass stays where it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import units
from jaxtyping import Float
from torch import Tensor

from zoo.apps.scale._pool import per_graph

ENSEMBLES = ("nve", "langevin", "bussi")


class Noise:
    """Random numbers of several structures.

    Args:
        seeds: of each.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def rows(self, counts: Sequence[int]) -> Float[Tensor, "atoms 3"]:
        """Normal numbers for all atoms."""
        parts = [
            generator.standard_normal((count, 3))
            for generator, count in zip(self._generators, counts, strict=True)
        ]
        return torch.from_numpy(np.concatenate(parts))

    def bussi(self, freedom: Sequence[int]) -> Float[Tensor, "graphs 2"]:
        """A normal number R1, and the sum of f - 1 squared ones, of each structure."""
        pairs = [
            (generator.standard_normal(), generator.chisquare(f - 1) if f > 1 else 0.0)
            for generator, f in zip(self._generators, freedom, strict=True)
        ]
        return torch.tensor(pairs, dtype=torch.float64)

    @property
    def state(self) -> list[dict[str, Any]]:
        """Where all generators stand."""
        return [dict(generator.bit_generator.state) for generator in self._generators]

    @state.setter
    def state(self, states: Sequence[dict[str, Any]]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.bit_generator.state = state

    def keep(self, graphs: Sequence[int]) -> None:
        """Only these structures."""
        self._generators = [self._generators[g] for g in graphs]


def without_drift(
    momenta: Float[Tensor, "atoms 3"], masses: Float[Tensor, "atoms 1"], owner: Tensor, graphs: int
) -> Float[Tensor, "atoms 3"]:
    """Momenta less the motion of each structure's centre of mass."""
    total = per_graph(momenta, owner, graphs) / per_graph(masses, owner, graphs)
    return momenta - masses * total[owner]


def thermal(
    noise: Noise, counts: Sequence[int], masses: Float[Tensor, "atoms 1"], temperature: float
) -> Float[Tensor, "atoms 3"]:
    """Velocities (in ASE's units) drawn at a temperature (K)."""
    return noise.rows(counts) * torch.sqrt(units.kB * temperature / masses)


def scaling(
    noise: Float[Tensor, "graphs 2"],
    kinetic: Float[Tensor, " graphs"],
    freedom: Float[Tensor, " graphs"],
    *,
    temperature: float,
    keep: float,
) -> Float[Tensor, " graphs"]:
    """The factor alpha of Bussi's thermostat.

    Args:
        noise: R1 and S.
        kinetic: energies (eV).
        freedom: degrees of freedom f.
        temperature: K.
        keep: c = exp(-dt / tau).
    """
    first, rest = noise.unbind(1)
    ratio = 0.5 * units.kB * temperature / kinetic.clamp(min=1e-300)  # K̄ / (K f)
    squared = keep + (1 - keep) * ratio * (rest + first**2)
    squared = squared + 2 * first * torch.sqrt(keep * (1 - keep) * ratio)
    # the sign keeps the path reversible: negative where R1 is far below zero
    sign = torch.where(first + torch.sqrt(keep / ((1 - keep) * ratio)) < 0, -1.0, 1.0)
    return sign * squared.clamp(min=0.0).sqrt()
