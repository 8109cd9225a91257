"""Networks on sheaves under the inherited contract, in the variants that they offer."""

from zoo.testing import SampleContract


class TestBundle(SampleContract):
    architecture = "nsd"


class TestDiagWithFixedCoordinates(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "stalk_dim": 2, "sheaf": "diag",
              "low_pass": True, "high_pass": True, "learner": "sparse"}  # fmt: skip


class TestGeneral(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "stalk_dim": 2, "sheaf": "general",
              "linear": True, "second_linear": True}  # fmt: skip


class TestContinuous(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "orthogonal": "cayley", "num_layers": 3,
              "dynamics": "continuous"}  # fmt: skip


class TestAdaptive(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "stalk_dim": 2, "low_pass": True,
              "dynamics": "continuous", "solver": "dopri5", "tolerance": 1e-4}  # fmt: skip


class TestLinks(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "stalk_dim": 2, "task": "link"}


class TestGraphs(SampleContract):
    architecture = "nsd"
    config = {"in_channels": 4, "hidden_channels": 3, "stalk_dim": 2, "task": "graph",
              "regression": True}  # fmt: skip
