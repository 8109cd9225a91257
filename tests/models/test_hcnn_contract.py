"""The contract of HCNN, with the authors' batch norm and the exact one, and of its counterpart."""

from zoo.testing import SampleContract


class TestHCNN(SampleContract):
    architecture = "hcnn"


class TestHCNNExact(SampleContract):
    architecture = "hcnn"
    config = {
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4],
        "layers": [1],
        "mean": "frechet",
        "dispersion": "variance",
        "c": 0.5,
    }


class TestHCNNFlat(SampleContract):
    architecture = "hcnn"
    config = {
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4],
        "layers": [1],
        "geometry": "euclidean",
    }
