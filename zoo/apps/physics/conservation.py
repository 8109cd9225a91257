"""How well dynamics at constant energy conserve it."""

from typing import NamedTuple

import numpy as np

from zoo.apps.physics.dynamics import Array


class Drift(NamedTuple):
    """Drift and fluctuation of a total energy per atom.

    Attributes:
        slope: of the straight line fitted to the energy (eV per atom and ps).
        fluctuation: standard deviation about that line (eV per atom).
    """

    slope: float
    fluctuation: float


def drift(times: Array, energies: Array, atoms: int) -> Drift:
    """Fits a straight line to a total energy.

    Args:
        times: (s,) ps.
        energies: (s,) potential and kinetic energy together (eV).
        atoms: how many there are.
    """
    slope, offset = np.polyfit(times - times.mean(), energies - energies.mean(), 1)
    rest = energies - energies.mean() - slope * (times - times.mean()) - offset
    return Drift(float(slope) / atoms, float(rest.std()) / atoms)
