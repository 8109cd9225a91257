"""GrNet and GyroGr keep the contract of all models; their logits see subspaces alone."""

from zoo.testing import SampleContract


class TestGrNet(SampleContract):
    architecture = "grnet"


class TestGyroGr(SampleContract):
    architecture = "gyrogr"


class TestGyroGrLegacy(SampleContract):
    architecture = "gyrogr"
    config = {
        "in_channels": 8,
        "subspace_dim": 2,
        "out_channels": 3,
        "num_filters": 2,
        "legacy": True,
    }
