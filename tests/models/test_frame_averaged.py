"""Plain networks by name, averaged over frames: the contract, choices, refusals, recipes' needs."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError
from zoo.layers.symmetry import FrameAveraging
from zoo.models.frame_averaged import FrameAveraged
from zoo.testing import SampleContract, SampleSubject, run_check

SMALL = {"hidden_channels": 6, "num_layers": 1}


class TestPlain(SampleContract):
    architecture = "plain_gnn"


class TestAllFrames(SampleContract):
    architecture = "frame_averaged"


class TestMinimalFrames(SampleContract):
    architecture = "frame_averaged"
    config = {"frames": "minimal", "config": SMALL, "group": "SE(n)"}


class TestStochasticFrames(SampleContract):
    architecture = "frame_averaged"
    config = {
        "frames": "stochastic",
        "group": "O(n)",
        "config": {**SMALL, "dimension": 2},
    }


def sample(count: int = 5, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, 3, generator=rng, dtype=torch.float64)
    return Data(pos=pos, vel=vel, charge=torch.ones(count).double())


def make(**config: Any) -> FrameAveraged:
    torch.manual_seed(0)
    model = zoo.create("frame_averaged", **{"config": SMALL, **config}).double().eval()
    assert isinstance(model, FrameAveraged)
    return model


def test_it_is_the_average_around_the_network_that_it_names() -> None:
    model = make()
    assert type(model.base).__name__ == "PlainGNN"
    batch = model.prepare([sample(), sample(seed=1)])
    by_hand = FrameAveraging(model.base, output={"prediction": "position"})(batch)
    torch.testing.assert_close(model(batch)["prediction"], by_hand["prediction"])
    alone = SampleSubject(make().base, group="S(n) x E(n)")
    assert not run_check("rotation", alone).passed and not run_check("translation", alone).passed


def test_frames_of_recipes_are_drawn_in_training_only() -> None:
    model, data = make(frames="stochastic"), [sample()]
    assert torch.equal(model(data)["prediction"], model(data)["prediction"])
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = torch.stack([model(data)["prediction"] for _ in range(8)])
    assert draws.std(0).max() > 1e-6


def test_vectors_and_invariants() -> None:
    model, data = make(output="vector"), sample()
    moved = Data(pos=data.pos + 2.0, vel=data.vel, charge=data.charge)
    base = model.base.decoder  # a network whose answer is no position
    assert base is not None
    difference = model(moved)["prediction"] - model(data)["prediction"]
    assert difference.abs().max() < 1e-9
    mirrored = Data(pos=-data.pos, vel=-data.vel, charge=data.charge)
    still = make(output="invariant")
    assert (still(mirrored)["prediction"] - still(data)["prediction"]).abs().max() < 1e-9


def test_a_network_on_points_with_vectors_among_its_features() -> None:
    """The places before the last are vectors in `x`; the answer has several frames of points."""
    config = {"hidden_channels": 4, "num_layers": 1}
    model = make(base="gcan-s-real", config=config, vectors=["x"])
    assert model.domain == "points" and "E(n)" in model.symmetry
    rng = torch.Generator().manual_seed(2)
    pos, x = torch.randn(4, 3, generator=rng).double(), torch.randn(4, 9, generator=rng).double()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng).double())[0]
    data = Data(pos=pos, x=x)
    moved = Data(pos=pos @ turn.T + 1.0, x=(x.unflatten(1, (3, 3)) @ turn.T).flatten(1))
    for network, bound in ((model, 0.0), (model.base, 1e-2)):
        wanted = network(data)["prediction"] @ turn.T + 1.0
        error = (network(moved)["prediction"] - wanted).abs().max()
        assert (error < 1e-10) if bound == 0 else (error > bound)


def test_weights_are_stored_and_come_back(tmp_path: Any) -> None:
    model, data = make(frames="minimal"), [sample()]
    zoo.save(model, tmp_path / "it", name="frame_averaged-tiny.mine.r1", golden_inputs=data)
    other = zoo.load(tmp_path / "it", check=True)
    assert torch.equal(other(data)["prediction"], model(data)["prediction"])


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="base is frame_averaged itself"):
        zoo.create("frame_averaged", base="frame_averaged-minimal")
    with pytest.raises(ConfigError, match="tensornet is a model on atoms"):
        zoo.create("frame_averaged", base="tensornet")
    with pytest.raises(ConfigError, match="hcnn takes samples of the domain 'image'"):
        zoo.create("frame_averaged", base="hcnn")
    with pytest.raises(ConfigError, match="domain='points', but plain_gnn"):
        zoo.create("frame_averaged", domain="points")
    with pytest.raises(ConfigError, match="hidden_channels=0"):
        zoo.create("plain_gnn", hidden_channels=0)
