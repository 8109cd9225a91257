"""TDN under the inherited contract: exactly equivariant with exact factors, nearly with others."""

from zoo.testing import AtomisticContract

SMALL = {
    "lmax": 1,
    "num_layers": 1,
    "hidden_channels": 8,
    "num_heads": 2,
    "num_basis": 8,
    "radial_channels": 8,
    "cutoff": 4.0,
    "average_degree": 6.0,
}


class TestTDN(AtomisticContract):
    architecture = "tdn"
    config = {**SMALL, "lmax": 2, "heads": ["energy", "dipole", "polarizability"]}


class TestTDNQuadraticRank(AtomisticContract):
    architecture = "tdn"
    config = {**SMALL, "rank": "quadratic"}


class TestTDNWithDirectForces(AtomisticContract):
    architecture = "tdn"
    config = {**SMALL, "heads": ["energy", "forces"]}
