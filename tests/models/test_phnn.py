"""PHNN: the contract, sizes, its ordinary counterpart, inputs that n doesn't divide."""

from typing import Any

import pytest
import torch

import zoo
from zoo.errors import ConfigError
from zoo.layers.hypercomplex import PHConv2d, kronecker_sum
from zoo.testing import SampleContract


class TestPHNN(SampleContract):
    architecture = "phnn"


class TestOrdinary(SampleContract):
    architecture = "phnn"
    config = {"in_channels": 2, "out_channels": 3, "n": 1, "hidden_channels": [4], "num_blocks": 1}


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("phnn-resnet18", 2_805_962),
        ("phnn-resnet18-real", 11_173_962),
        ("phnn-s", 20_842),
        ("phnn-s-wide-real", 77_290),
        ("phnn-s-real", 20_635),
    ],
)
def test_sizes(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_it_is_the_ordinary_network_with_structured_weights(channels: int) -> None:
    """Also for pictures whose channels are filled up with zeros."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"hidden_channels": [4, 8], "num_blocks": 2, "out_channels": 3}
    model = zoo.create("phnn", in_channels=channels, n=4, **options).double().eval()
    assert model.missing == -channels % 4
    plain = zoo.create("phnn", in_channels=channels + model.missing, n=1, **options).double().eval()
    state = dict(model.state_dict())
    for name, layer in model.named_modules():
        if isinstance(layer, PHConv2d):
            assert layer.bias is None
            state[f"{name}.weight"] = kronecker_sum(layer.rules, layer.weight)
            del state[f"{name}.rules"]
    plain.load_state_dict(state)
    x = torch.rand(2, channels, 8, 8, dtype=torch.float64)
    wide = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, model.missing))
    torch.testing.assert_close(model({"x": x})["logits"], plain({"x": wide})["logits"])


def test_heads() -> None:
    model = zoo.create("phnn-s")
    model.replace_head(["left", "right", "rest"])
    assert model({"x": torch.rand(2, 1, 8, 8)})["logits"].shape == (2, 3)
    assert [type(part).__name__ for part in model.blocks()][-1] == "Linear"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 3}, "out_channels=64 is not a multiple of n=3; take 63 or 66"),
        ({"hidden_channels": []}, "needs a stage"),
    ],
)
def test_impossible_networks(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("phnn", **config)
