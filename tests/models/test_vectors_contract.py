"""Rotation MLP, Grassmann class representation and Grassmann flow keep the contract."""

from zoo.testing import SampleContract


class TestRotationMLP(SampleContract):
    architecture = "rotation_mlp"


class TestGCR(SampleContract):
    architecture = "gcr"


class TestGrassmannFlow(SampleContract):
    architecture = "grassmann_flow"


class TestVectorSequences(SampleContract):
    architecture = "grassmann_flow"
    config = {
        "in_channels": 3,
        "out_channels": 4,
        "hidden_channels": 8,
        "reduced_channels": 4,
        "num_layers": 1,
        "max_length": 16,
    }
