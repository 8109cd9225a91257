"""CSMPN: orders of points and vertices, lifts, neighbours as the authors have them, contract."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import CapabilityError, ConfigError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.simplicial import hull_complex
from zoo.models.csmpn import SimplexEmbedding
from zoo.testing import SampleContract

SMALL = {"hidden_channels": 2, "num_layers": 1, "dimension": 3}


def test_an_embedding_sums_over_the_orders_of_the_vertices() -> None:
    torch.manual_seed(0)
    of = clifford.algebra(3)
    embedding = SimplexEmbedding(of, 2, 3, 2).double()
    values = torch.randn(4, 2, of.blades, dtype=torch.float64)
    edge, triangle = torch.tensor([[1, 3]]), torch.tensor([[0, 1, 2]])
    out = embedding(values, (torch.arange(4)[:, None], edge, triangle))
    assert out.shape == (6, 3, of.blades)
    pair = [embedding.maps[1](values[order].flatten(0, 1)[None]) for order in ([1, 3], [3, 1])]
    torch.testing.assert_close(out[4], sum(pair)[0])
    turned = embedding(values, (torch.arange(4)[:, None], edge.flip(1), triangle.roll(1, 1)))
    torch.testing.assert_close(turned, out)


@pytest.mark.parametrize("lift", ["hull", "rips"])
def test_the_order_of_points_means_nothing(lift: str) -> None:
    model = zoo.create("csmpn", lift=lift, **SMALL).double().eval()
    x = np.random.default_rng(0).normal(size=(3, 7, 3))
    found = model({"x": x})["prediction"]
    shuffled = model({"x": x[:, [3, 1, 0, 6, 5, 2, 4]]})["prediction"]
    torch.testing.assert_close(found, shuffled)


def test_samples_of_any_number_of_points() -> None:
    model = zoo.create("csmpn", **SMALL).double().eval()
    rng = np.random.default_rng(1)
    samples = [{"x": rng.normal(size=(n, 3))} for n in (1, 4, 9, 3)]
    together = model(samples)["prediction"]
    alone = torch.cat([model(sample)["prediction"] for sample in samples])
    torch.testing.assert_close(together, alone)
    cloud = zoo.create("csmpn", domain="points", hidden_channels=2, num_layers=1).double()
    cloud.load_state_dict(model.state_dict())
    points = [Data(pos=torch.tensor(sample["x"])) for sample in samples]
    torch.testing.assert_close(cloud(points)["prediction"], together)


def test_neighbours_as_in_the_authors_code_change_the_answer() -> None:
    torch.manual_seed(2)
    plain = zoo.create("csmpn", **SMALL).double()
    legacy = zoo.create("csmpn", legacy=True, **SMALL).double()
    legacy.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 3, dtype=torch.float64)
    assert not torch.allclose(plain({"x": x})["prediction"], legacy({"x": x})["prediction"])


def test_simplices_count_in_the_mean() -> None:
    model = zoo.create("csmpn", **SMALL)
    x = torch.randn(1, 6, 3)
    faces = model.complex(x[0], torch.tensor([6]))
    assert [rows.shape[1] for rows in faces] == [1, 2, 3]
    seen: list[Tensor] = []
    model.head.register_forward_hook(lambda module, given, out: seen.append(out[..., 0].mean(0)))
    torch.testing.assert_close(model({"x": x})["prediction"][0], seen[0])


def test_degenerate_points_have_no_faces_and_finite_gradients() -> None:
    model = zoo.create("csmpn", **SMALL)
    x = torch.zeros(2, 5, 3, requires_grad=True)
    assert all(len(rows) == 0 for rows in hull_complex(x[0], torch.tensor([5]))[1:])
    model({"x": x})["prediction"].sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_charges_are_seen() -> None:
    model = zoo.create("csmpn", domain="particles", charges=True, hidden_channels=2, num_layers=1)
    sample = Data(pos=torch.randn(4, 3), vel=torch.randn(4, 3), charge=torch.ones(4))
    other = sample.clone()
    other.charge = -sample.charge
    assert not torch.allclose(model(sample)["prediction"], model(other)["prediction"])
    with pytest.raises(UnsupportedInputError, match=r"takes charge of the shape \(4,\)"):
        model(Data(pos=sample.pos, vel=sample.vel))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"max_rank": 5}, "max_rank <= 4"),
        ({"dimension": 2}, "faces up to rank n - 1"),
        ({"dimension": 9}, "2..8"),
        ({"radius": 0.0}, "radius=0.0"),
        ({"charges": True}, "only particles have charges"),
        ({"domain": "points", "dimension": 4}, "points have 3 coordinates"),
        ({"domain": "particles", "out_channels": 2}, "particles have none to choose"),
        ({"lift": "delaunay"}, "lift"),
    ],
)
def test_refusals(config: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("csmpn", **config)


def test_particles_have_no_head() -> None:
    with pytest.raises(CapabilityError, match="no head"):
        zoo.create("csmpn-motion", hidden_channels=2, num_layers=1).replace_head(2)


class TestCSMPN(SampleContract):
    architecture = "csmpn"


class TestCSMPNOnPoints(SampleContract):
    architecture = "csmpn"
    config = {"domain": "points", "hidden_channels": 2, "lift": "rips", "num_layers": 1}


class TestCSMPNOnParticles(SampleContract):
    architecture = "csmpn"
    config = {"domain": "particles", "hidden_channels": 2, "lift": "rips", "num_layers": 2}
