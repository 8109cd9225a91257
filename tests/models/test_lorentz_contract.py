"""The contract of the models of the Lorentz model."""

from zoo.testing import SampleContract


class TestHyboNet(SampleContract):
    architecture = "hybonet"


class TestHyboNetLinks(SampleContract):
    architecture = "hybonet"
    config = {"in_channels": 4, "hidden_channels": 6, "task": "link", "dropout": 0.3}


class TestHyboNetFlat(SampleContract):
    architecture = "hybonet"
    config = {"in_channels": 4, "hidden_channels": 6, "geometry": "euclidean"}


class TestHyboNetKG(SampleContract):
    architecture = "hybonet_kg"


class TestHyperbolicSVM(SampleContract):
    architecture = "hyperbolic_svm"


class TestTreeEmbedding(SampleContract):
    architecture = "tree_embedding"


class TestTreeEmbeddingInTheBall(SampleContract):
    architecture = "tree_embedding"
    config = {"num_nodes": 6, "dimension": 3, "geometry": "poincare", "start": "random"}
