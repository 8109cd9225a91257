"""EquiformerV2 under the inherited contract: exactly equivariant with gates, nearly on grids."""

from zoo.testing import AtomisticContract

SMALL = {
    "lmax": 2,
    "mmax": 1,
    "num_layers": 2,
    "hidden_channels": 8,
    "attention_channels": 6,
    "num_heads": 2,
    "alpha_channels": 8,
    "value_channels": 4,
    "feed_forward_channels": 8,
    "edge_channels": 16,
    "num_basis": 16,
    "cutoff": 4.0,
    "activation": "gate",
    "feed_forward": "gate",
    "average_degree": 6.0,
}


class TestEquiformerV2(AtomisticContract):
    architecture = "equiformer_v2"
    config = SMALL


class TestEquiformerV2OtherOptions(AtomisticContract):
    architecture = "equiformer_v2"
    config = {
        **SMALL,
        "lmax": 3,
        "mmax": 3,
        "num_layers": 1,
        "norm": "rms_norm_sh",
        "elements": "shared",
        "share_radial": True,
        "renormalize": False,
        "heads": ["energy", "dipole", "polarizability"],
    }


class TestEquiformerV2OnGrids(AtomisticContract):
    architecture = "equiformer_v2"
    config = {
        **SMALL,
        "activation": "separable_s2",
        "feed_forward": "separable_grid_mlp",
        "grid_resolution": 8,
    }


class TestEquiformerV2WithDirectHeads(AtomisticContract):
    architecture = "equiformer_v2"
    config = {**SMALL, "num_layers": 1, "heads": ["energy", "forces", "stress"]}
