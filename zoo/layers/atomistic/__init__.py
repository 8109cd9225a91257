"""What every architecture on atoms shares: features, heads, reference energies."""

from zoo.layers.atomistic._features import AtomFeatures, AtomGraph
from zoo.layers.atomistic._heads import (
    HEADS,
    DipoleHead,
    EnergyHead,
    PolarizabilityHead,
    new_head,
)
from zoo.layers.atomistic._reference import EnergyScale

__all__ = [
    "HEADS",
    "AtomFeatures",
    "AtomGraph",
    "DipoleHead",
    "EnergyHead",
    "EnergyScale",
    "PolarizabilityHead",
    "new_head",
]
