"""The Euclidean baseline of SPD networks."""

from typing import ClassVar

import pytest
import torch

import zoo
from zoo.errors import ConfigError
from zoo.functional import spd
from zoo.testing import SampleContract


class TestContract(SampleContract):
    architecture = "matrix_mlp"


class TestLogarithmContract(SampleContract):
    architecture = "matrix_mlp"
    config: ClassVar = {"in_channels": 3, "out_channels": 2, "num_layers": 0, "logarithm": True}


@pytest.mark.parametrize(("ours", "theirs"), [("spdnet-s", "matrix_mlp-s")])
def test_as_many_parameters(ours: str, theirs: str) -> None:
    sizes = [sum(p.numel() for p in zoo.create(n).parameters()) for n in (ours, theirs)]
    assert abs(sizes[0] - sizes[1]) < 36 + 10


def test_entries_are_standardised_in_training() -> None:
    torch.manual_seed(0)
    model = zoo.create("matrix_mlp", in_channels=3, out_channels=2, num_layers=0).train()
    x = spd.affine_invariant.random((50, 3, 3))
    seen = model.standardise(model.vector(x))
    assert torch.allclose(seen.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(seen.var(0, correction=0), torch.ones(6), atol=1e-2)
    scaled = model({"x": 7.0 * x})["logits"]
    assert torch.allclose(scaled, model({"x": x})["logits"], atol=1e-3)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="num_layers=-1"):
        zoo.create("matrix_mlp", in_channels=3, out_channels=2, num_layers=-1)
