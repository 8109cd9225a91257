"""Factorised MLP: the contract in every format, sizes, images, refusals."""

import pytest
import torch

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.tensor_network import FactorizedLinear
from zoo.testing import SampleContract


class TestTrain(SampleContract):
    architecture = "factorized_mlp"


class TestCP(SampleContract):
    architecture = "factorized_mlp"
    config = {
        "in_channels": 6,
        "out_channels": 3,
        "hidden_channels": [8],
        "format": "cp",
        "rank": 2,
        "contraction": "factorized",
    }


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("factorized_mlp-tt", 9_226),
        ("factorized_mlp-tr", 9_994),
        ("factorized_mlp-cp", 9_754),
        ("factorized_mlp-tucker", 9_866),
        ("factorized_mlp-dense", 85_002),
        ("factorized_mlp-narrow", 8_970),
    ],
)
def test_sizes(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


def test_it_is_the_perceptron_with_its_matrices_multiplied_out() -> None:
    model = zoo.create("factorized_mlp-tt").double()
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    y = x.flatten(1)
    for layer in model.layers:
        linear = layer[0]
        assert isinstance(linear, FactorizedLinear)
        y = torch.relu(y @ linear.weight.to_matrix().T + linear.bias)
    torch.testing.assert_close(model({"x": x})["logits"], model.head(y))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hidden_channels=\[\]"):
        zoo.create("factorized_mlp-tt", hidden_channels=[])
    with pytest.raises(ConfigError, match="at rank 1"):
        zoo.create("factorized_mlp-cp", hidden_channels=[4], rank=0.01)
    with pytest.raises(UnsupportedInputError, match="49 values"):
        zoo.create("factorized_mlp-tt")({"x": torch.rand(2, 1, 7, 7)})
