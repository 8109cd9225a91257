"""CGENN: the authors' numbers, symmetries, and the inherited contract."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError, DataError, UnsupportedInputError
from zoo.testing import SampleContract

GOLDEN = Path(__file__).parent / "golden"
OUTPUTS = {"nbody": "loc_end", "hull": "volume", "o3": "multivector"}


def _golden(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    parts: dict[str, dict[str, Tensor]] = {"weight": {}, "input": {}, "output": {}}
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        for key in file.keys():  # noqa: SIM118 the file isn't a mapping
            part, _, rest = key.partition("/")
            parts[part][rest] = file.get_tensor(key)
    return config, parts


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("task", ["nbody", "hull", "o3"])
def test_outputs_are_the_authors(task: str, index: int) -> None:
    config, parts = _golden(f"cgenn-{task}-{index}")
    model = zoo.convert(f"cgenn-{task}", parts["weight"], config, source="cgenn")
    found = model(parts["input"])
    assert set(found) == set(parts["output"]) == {OUTPUTS[task]}
    torch.testing.assert_close(
        found[OUTPUTS[task]], parts["output"][OUTPUTS[task]], rtol=1e-10, atol=1e-10
    )
    tables = {"algebra.metric": torch.ones(3), "x.algebra.cayley": torch.ones(3)}
    plain = zoo.convert("cgenn", parts["weight"] | tables, config, source="cgenn")
    assert plain.task == task


def test_samples_of_both_kinds_give_the_same() -> None:
    config, parts = _golden("cgenn-nbody-0")
    model = zoo.convert("cgenn-nbody", parts["weight"], config, source="cgenn")
    names = {"pos": "loc", "vel": "vel"}
    samples = [
        Data(
            **{ours: parts["input"][theirs][k] for ours, theirs in names.items()},
            charge=parts["input"]["charges"][k, :, 0],
        )
        for k in range(4)
    ]
    found = model(samples)["prediction"]
    torch.testing.assert_close(found.reshape(4, 5, 3), parts["output"]["loc_end"])
    config, parts = _golden("cgenn-hull-0")
    hull = zoo.convert("cgenn-hull", parts["weight"], config, source="cgenn")
    volume = hull([{"x": x} for x in parts["input"]["points"]])["prediction"][:, 0]
    torch.testing.assert_close(volume, parts["output"]["volume"])


def test_a_signed_volume_changes_its_sign_in_a_mirror() -> None:
    config, parts = _golden("cgenn-o3-0")
    model = zoo.convert("cgenn-o3", parts["weight"], config, source="cgenn")
    points = parts["input"]["points"]
    mirrored = points * torch.tensor([1.0, -1.0, 1.0], dtype=points.dtype)
    torch.testing.assert_close(
        model({"x": mirrored})["prediction"], -model({"x": points})["prediction"]
    )


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("cgenn-nbody", 134_625),
        ("cgenn-hull", 58_849),
        ("cgenn-o3", 48_913),
        ("cgenn-o5", 344_077),
        ("cgenn-o5-s", 149_877),
    ],
)
def test_the_authors_networks_have_as_many_parameters(preset: str, count: int) -> None:
    assert sum(p.numel() for p in zoo.create(preset).parameters()) == count


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="'nbody', 'hull', 'o3', 'regression', not 'jets'"):
        zoo.create("cgenn", task="jets")
    with pytest.raises(ConfigError, match="num_layers=0"):
        zoo.create("cgenn", num_layers=0)
    with pytest.raises(ConfigError, match="only the tasks hull and regression"):
        zoo.create("cgenn", out_channels=2)
    with pytest.raises(ConfigError, match="dimension=4, mlp_channels=None with task='o3'"):
        zoo.create("cgenn", task="o3", dimension=4)
    with pytest.raises(ConfigError, match="mlp_channels=0"):
        zoo.create("cgenn", task="hull", mlp_channels=0)
    with pytest.raises(ConfigError, match=r"9 > 8"):
        zoo.create("cgenn", task="regression", dimension=9)
    model = zoo.create("cgenn", hidden_channels=2, num_layers=1)
    with pytest.raises(UnsupportedInputError, match="charge"):
        model(Data(pos=torch.zeros(3, 3), vel=torch.zeros(3, 3)))
    with pytest.raises(CapabilityError, match="no head"):
        model.replace_head(2)


def test_plain_tensors_that_do_not_fit() -> None:
    model = zoo.create("cgenn", hidden_channels=2, num_layers=1)
    plain = {"loc": torch.ones(2, 5, 3), "vel": torch.ones(2, 5, 3), "charges": torch.ones(2, 5, 1)}
    for change, words in (
        ({"vel": torch.ones(2, 3, 5)}, r"vel \(2, 5, 3\), not \(2, 3, 5\)"),
        ({"charges": None}, r"charges \(2, 5, 1\), not NoneType"),
        ({"loc": torch.ones(5, 3)}, r"loc \(any, any, 3\), not \(5, 3\)"),
    ):
        with pytest.raises(UnsupportedInputError, match=words):
            model(plain | change)
    with pytest.raises(DataError, match="loc is in torch.float64 but the model is torch.float32"):
        model({name: value.double() for name, value in plain.items()})
    hull = zoo.create("cgenn", task="hull", hidden_channels=2, num_layers=1)
    with pytest.raises(UnsupportedInputError, match=r"points \(any, 16, 5\), not \(2, 15, 5\)"):
        hull({"points": torch.ones(2, 15, 5)})


class TestCGENN(SampleContract):
    architecture = "cgenn"


class TestCGENNOnHulls(SampleContract):
    architecture = "cgenn"
    config = {"task": "hull", "hidden_channels": 3, "num_layers": 2, "in_channels": 4}


class TestCGENNOnVolumes(SampleContract):
    architecture = "cgenn"
    config = {"task": "o3", "hidden_channels": 3, "num_layers": 3}


class TestCGENNOnInvariants(SampleContract):
    architecture = "cgenn"
    config = {"task": "regression", "hidden_channels": 3, "dimension": 3, "mlp_channels": 7}
