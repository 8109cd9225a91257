"""HNN, HNN++ and HGCN under the inherited contract, in the variants that they offer."""

from zoo.testing import SampleContract


class TestHNN(SampleContract):
    architecture = "hnn"
    config = {"num_tokens": 20, "embedding_channels": 3, "hidden_channels": 4}


class TestHNNWithRNN(SampleContract):
    architecture = "hnn"
    config = {"num_tokens": 20, "encoder": "rnn", "activation": "tanh", "distance": False}


class TestHNNOfGeoopt(SampleContract):
    architecture = "hnn"
    config = {"num_tokens": 20, "points": "geoopt", "c": 0.5}


class TestHNNPP(SampleContract):
    architecture = "hnnpp"


class TestHNNPPFlat(SampleContract):
    architecture = "hnnpp"
    config = {"in_channels": 5, "out_channels": 2, "geometry": "euclidean", "activation": "relu"}


class TestHNNPPOnImages(SampleContract):
    architecture = "hnnpp"
    config = {"in_channels": 64, "out_channels": 2, "domain": "image"}


class TestHGCN(SampleContract):
    architecture = "hgcn"
    config = {"in_channels": 4, "out_channels": 3, "hidden_channels": 5}


class TestHGCNLocalWithAttention(SampleContract):
    architecture = "hgcn"
    config = {"in_channels": 4, "hidden_channels": 5, "attention": True, "aggregation": "local"}


class TestHGCNOnLinks(SampleContract):
    architecture = "hgcn"
    config = {"in_channels": 4, "hidden_channels": 5, "task": "link"}
