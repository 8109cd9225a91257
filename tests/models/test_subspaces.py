"""GrNet and GyroGr beyond the contract: the papers' sizes, refusals, storage, training."""

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from zoo.errors import ConfigError, DeviceError, ManifoldError
from zoo.functional import grassmann
from zoo.layers.grassmann import GyroBatchNorm
from zoo.models.grnet import count_parameters


def bases(count: int, n: int = 20, p: int = 4, seed: int = 0) -> Tensor:
    return grassmann.random((count, n, p), generator=torch.Generator().manual_seed(seed))


def test_published_sizes() -> None:
    grnet = zoo.create("grnet-afew")
    maps = [layer[0].weight.shape for layer in grnet.layers]
    assert maps == [(8, 300, 400), (8, 100, 150)]
    assert grnet.head[1].weight.shape == (7, 8, 50, 50)
    gyrogr = zoo.create("gyrogr-hdm05")
    assert gyrogr.layers[0][0].weight.shape == (8, 83, 10)
    assert gyrogr.head.normals.shape == (117, 8, 46, 46)
    legacy = zoo.create("gyrogr-hdm05-legacy").layers[0][-1]
    assert isinstance(legacy, GyroBatchNorm) and legacy.legacy and legacy.method == "legacy"


@pytest.mark.parametrize("name", ["grnet-s", "gyrogr-s"])
def test_the_flat_counterpart_has_as_many_parameters(name: str) -> None:
    ours = zoo.create(name)
    flat = zoo.create(name, geometry="euclidean")
    assert abs(count_parameters(flat) / count_parameters(ours) - 1) < 0.05
    x = bases(3)
    turned = x @ grassmann.random((3, 4, 4), generator=torch.Generator().manual_seed(1))
    gap = flat({"x": x})["logits"] - flat({"x": turned})["logits"]
    assert gap.abs().max() < 1e-5
    flat.replace_head(3)
    assert flat({"x": x})["logits"].shape == (3, 3)


@pytest.mark.parametrize("name", ["grnet-s", "gyrogr-s"])
def test_refusals(name: str) -> None:
    model = zoo.create(name)
    x = bases(3)
    with pytest.raises(ManifoldError, match=r"matrix \[0\].*not orthonormal.*project=True"):
        model({"x": 2 * x})
    low = x.clone()
    low[2, :, 1] = 0
    with pytest.raises(ManifoldError, match=r"matrix \[2\] has rank 3 instead of 4"):
        model({"x": low})
    repairing = zoo.create(name, project=True).eval()
    repairing.load_state_dict(model.state_dict())
    fixed = repairing({"x": 2 * x})["logits"]
    assert torch.allclose(fixed, model.eval()({"x": x})["logits"], atol=1e-5)
    with pytest.raises(ManifoldError, match="rank 3"):
        repairing({"x": low})
    with pytest.raises(DeviceError, match="float16"):
        zoo.create(name).half()({"x": x.half()})


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="too few for subspaces of 4"):
        zoo.create("grnet-s", hidden_channels=[6])
    with pytest.raises(ConfigError, match="leave 2 of 20 rows"):
        zoo.create("gyrogr-s", num_layers=3, pool=2)
    with pytest.raises(ConfigError, match="hidden_channels is empty"):
        zoo.create("grnet-s", hidden_channels=[])


@pytest.mark.parametrize(
    ("name", "options"),
    [("grnet-s", {}), ("gyrogr-s", {}), ("gyrogr-s", {"mlr": "gyro", "pool": 2})],
)
def test_training_lowers_the_loss(name: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    centers = bases(3, seed=5)
    y = torch.arange(30) % 3
    drawn = torch.randn(30, 20, 4, generator=torch.Generator().manual_seed(6))
    base = centers[y]
    x = grassmann.exp(base, 0.1 * grassmann.tangent(base, drawn))
    model = zoo.create(name, out_channels=3, **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(model({"x": x})["logits"], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_samples_are_numpy_arrays_too() -> None:
    x = bases(2).numpy().astype(np.float64)
    model = zoo.create("gyrogr-s").eval()
    one = model({"x": x[0]})["logits"]
    both = model([{"x": x[0]}, {"x": x[1]}])["logits"]
    assert torch.allclose(one, both[:1], atol=1e-6)
