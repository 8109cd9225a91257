"""Certificates: which layers commute with all isometries of the hyperboloid, and which don't."""

import pytest
import torch
from torch import nn

from zoo.functional import lorentz
from zoo.layers.hyperbolic import (
    LorentzAggregation,
    LorentzAttention,
    LorentzLinear,
    LorentzMultiHeadAttention,
)
from zoo.testing import check_contract


class Attention(nn.Module):
    """Attention of points to each other."""

    def __init__(self):
        super().__init__()
        self.layer = LorentzAttention(3)

    def forward(self, batch):
        return self.layer(batch["x"], batch["x"], batch["x"])


class Weights(Attention):
    """The weights of attention."""

    def forward(self, batch):
        return self.layer.weights(batch["x"], batch["x"])


class Aggregation(nn.Module):
    """Centroids along a chain."""

    def __init__(self):
        super().__init__()
        self.layer, self.one = LorentzAggregation(3), nn.Parameter(torch.ones(()))

    def forward(self, batch):
        chain = torch.stack([torch.arange(5), torch.arange(1, 6)])
        return torch.stack([self.layer(self.one * x, chain) for x in batch["x"]])


class MultiHead(nn.Module):
    """With linear maps around attention."""

    def __init__(self):
        super().__init__()
        self.layer = LorentzMultiHeadAttention(3, 1)

    def forward(self, batch):
        return self.layer(batch["x"])


class Linear(MultiHead):
    """The linear map alone."""

    def __init__(self):
        super().__init__()
        self.layer = LorentzLinear(3, 3)


def certify(module, law):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    x = lorentz.random((4, 6, 4), generator=generator, dtype=torch.float64, scale=0.5)
    return check_contract(
        module(),
        domain="sequence",
        group="O(1, n)",
        laws={"output": law},
        inputs=[{"x": sample} for sample in x],
        names=["isometry"],
    )


@pytest.mark.parametrize(
    ("module", "law"),
    [(Attention, "equivariant"), (Weights, "invariant"), (Aggregation, "equivariant")],
)
def test_commutes_with_all_isometries(module, law):
    found = certify(module, law)
    assert found and all(result.passed and not result.skipped for result in found), found


@pytest.mark.parametrize("module", [MultiHead, Linear])
def test_linear_maps_do_not(module):
    """So no network of them claims it."""
    found = certify(module, "equivariant")
    assert found and not any(result.passed for result in found)
