"""eSCN under the inherited contract, where it is exactly equivariant."""

from zoo.testing import AtomisticContract

SMALL = {
    "lmax": 2,
    "sphere_channels": 16,
    "hidden_channels": 16,
    "edge_channels": 8,
    "cutoff": 4.0,
    "num_rbf": 16,
    "nonlinearity": "gate",
}


class TestESCN(AtomisticContract):
    architecture = "escn"
    config = {**SMALL, "num_layers": 2, "heads": ["energy", "dipole", "polarizability"]}


class TestESCNWithFewerOrders(AtomisticContract):
    architecture = "escn"
    config = {**SMALL, "num_layers": 2, "lmax": 3, "mmax": 1}


class TestESCNOnGrids(AtomisticContract):
    """As in the paper, but for the envelope: held to the bounds of approximate symmetry."""

    architecture = "escn"
    config = {**SMALL, "num_layers": 2, "mmax": 1, "nonlinearity": "grid", "resolution": [10, 11]}
    noise = 0.27  # or energies drown in the rounding of reference energies
