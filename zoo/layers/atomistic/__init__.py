"""What every architecture on atoms shares: features, heads, reference energies."""

from zoo.layers.atomistic._angles import Triplets
from zoo.layers.atomistic._angles_traced import TracedTriplets
from zoo.layers.atomistic._edges import DirectedEdges, directed_edges
from zoo.layers.atomistic._features import AtomFeatures, AtomGraph
from zoo.layers.atomistic._heads import (
    HEADS,
    DipoleHead,
    EnergyHead,
    ForceHead,
    PolarizabilityHead,
    StressHead,
    new_head,
)
from zoo.layers.atomistic._properties import INTENSIVE, SCALARS, TOTALS, ScalarScale, balanced
from zoo.layers.atomistic._reference import EnergyScale, OutputScale

__all__ = [
    "HEADS",
    "INTENSIVE",
    "SCALARS",
    "TOTALS",
    "AtomFeatures",
    "AtomGraph",
    "DipoleHead",
    "DirectedEdges",
    "EnergyHead",
    "EnergyScale",
    "ForceHead",
    "OutputScale",
    "PolarizabilityHead",
    "ScalarScale",
    "StressHead",
    "TracedTriplets",
    "Triplets",
    "balanced",
    "directed_edges",
    "new_head",
]
