"""TensorNet under the inherited contract, in the variants that the spec offers."""

from zoo.testing import AtomisticContract

SMALL = {"hidden_channels": 16, "num_rbf": 8, "cutoff": 4.0}
HEADS = ["energy", "dipole", "polarizability"]


class TestTensorNet(AtomisticContract):
    architecture = "tensornet"
    config = {**SMALL, "num_layers": 2, "heads": HEADS}


class TestTensorNetRotationsOnly(AtomisticContract):
    architecture = "tensornet"
    config = {**SMALL, "num_layers": 1, "heads": HEADS, "group": "SO(3)"}


class TestTensorNetWithoutLayers(AtomisticContract):
    architecture = "tensornet"
    config = {**SMALL, "num_layers": 0, "rbf": "gauss"}


class TestTensorNetWithTwoEnergyHeads(AtomisticContract):
    architecture = "tensornet"
    config = {**SMALL, "num_layers": 1, "heads": ["energy/pbe", "energy"]}
