"""GCAN's U-Net and ResNet on fields: the contract, shifts, sizes, and that it learns."""

from typing import Any

import pytest
import torch

import zoo
from zoo.errors import CapabilityError, ConfigError, UnsupportedInputError
from zoo.testing import SampleContract


class TestUNet(SampleContract):
    architecture = "gcan_unet"


class TestResNet(SampleContract):
    architecture = "gcan_unet"
    config = {
        "network": "resnet",
        "hidden_channels": 2,
        "multipliers": [1, 2],
        "num_blocks": 1,
        "gate": "sum",
    }


class TestReal(SampleContract):
    architecture = "gcan_unet"
    config = {"geometry": "real", "hidden_channels": 2, "multipliers": [1, 2], "num_blocks": 1}


@pytest.mark.parametrize("geometry", ["clifford", "real"])
@pytest.mark.parametrize(("network", "step"), [("resnet", 1), ("unet", 4)])
def test_periodic_networks_move_along(network: str, step: int, geometry: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"hidden_channels": 2, "multipliers": [1, 2, 1], "num_blocks": 1}
    x = torch.randn(2, 6, 8, 12, dtype=torch.float64)
    errors = {}
    for padding_mode in ("circular", "zeros"):
        model = zoo.create(
            "gcan_unet",
            in_channels=6,
            network=network,
            geometry=geometry,
            padding_mode=padding_mode,
            **options,
        ).double()
        out = model({"x": x})["prediction"].detach()
        assert out.shape == (2, 3, 8, 12)
        shifts = (step, -2 * step)
        moved = model({"x": x.roll(shifts, (2, 3))})["prediction"].detach()
        errors[padding_mode] = float((moved - out.roll(shifts, (2, 3))).abs().max())
    assert errors["circular"] < 1e-12
    assert errors["zeros"] > 1e-5


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("gcan_unet-4l", 363_507),
        ("gcan_unet-resnet", 48_347),
        ("gcan_unet-s", 12_523),
        ("gcan_unet-s-real", 12_621),
    ],
)
def test_sizes(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


def test_vectors_are_read_and_written_in_order() -> None:
    """With 1 x 1 rotors set to the identity and no blocks' share, the field comes back."""
    model = zoo.create(
        "gcan_unet", network="resnet", hidden_channels=1, multipliers=[1], num_blocks=1
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if name.endswith("rotor"):
                parameter[0] = 100
            if name.startswith(("stem", "readout.2", "readout.3")) and name.endswith("size"):
                parameter.fill_(1)
            if name == "readout.0.weight":
                parameter.fill_(1)
    x = torch.randn(1, 3, 4, 4)
    out = model({"x": x})["prediction"]  # readout: centred, over the mean length, gate at 1/2
    rest = x - x.mean((2, 3), keepdim=True)
    expected = rest / rest.norm(dim=1).mean() / 2
    torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)


def test_it_learns() -> None:
    """Thirty steps on waves: ahead of leaving fields as they are, and of predicting nothing."""
    dataset = zoo.datasets.open("waves?train=64&val=32&test=8&size=8&smoothness=1.5")
    train, val = (list(dataset.split(name)) for name in ("train", "val"))
    torch.manual_seed(0)
    model = zoo.create("gcan_unet-s", hidden_channels=3)
    batches = [model.prepare(train[k : k + 32]) for k in (0, 32)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(30):
        batch = batches[step % 2]
        loss = (model(batch)["prediction"] - batch["y"]).square().mean()  # type: ignore[index]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = model.prepare(val)
    with torch.no_grad():
        error = (model(batch)["prediction"] - batch["y"]).square().mean()  # type: ignore[index]
    assert float(error) < 0.8 * float(batch["y"].square().mean())  # type: ignore[index]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"in_channels": 4}, "fill up with channels of zeros to 6"),
        ({"out_channels": 1}, "fill up with channels of zeros to 3"),
        ({"multipliers": []}, "one level or more"),
        ({"num_blocks": 0}, "num_blocks=0"),
        ({"gate": "max"}, "linear"),
        ({"gate": "sum", "geometry": "real"}, "leave gate out"),
        ({"padding_mode": "reflect"}, "circular"),
    ],
)
def test_impossible_networks(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("gcan_unet", **config)


def test_unfit_fields() -> None:
    model = zoo.create("gcan_unet", hidden_channels=1, multipliers=[1, 1, 1])
    with pytest.raises(UnsupportedInputError, match=r"multiples of 4: bring fields to \(8, 8\)"):
        model({"x": torch.zeros(1, 3, 6, 8)})
    with pytest.raises(UnsupportedInputError, match=r"\(3, any, any\)"):
        model({"x": torch.zeros(1, 2, 8, 8)})
    with pytest.raises(CapabilityError, match="no head"):
        model.replace_head(3)
