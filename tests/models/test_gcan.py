"""GCAN: the contract, its equations with whole multivectors, translations, that it learns."""

from typing import Any

import pytest
import torch
from short_training import error_after
from torch import Tensor
from torch_geometric.data import Batch, Data

import zoo
from zoo.errors import CapabilityError, ConfigError, DataError, UnsupportedInputError
from zoo.functional import clifford
from zoo.layers.clifford import ConjugateLinear, MultivectorGate
from zoo.layers.clifford.conjugation import ORIGIN, POINT, POINT_SIGNS, even
from zoo.models.gcan import GCAN
from zoo.testing import SampleContract
from zoo.training._task_section import TaskSection
from zoo.training.tasks.heads import fit_head

PGA = clifford.algebra(3, 0, 1)


class TestGCAN(SampleContract):
    architecture = "gcan"


class TestReal(SampleContract):
    architecture = "gcan"
    config = {"geometry": "real", "hidden_channels": 3, "num_layers": 1, "out_frames": 2}


class TestOneFrame(SampleContract):
    architecture = "gcan"
    config = {"gate": "mean", "in_frames": 1, "hidden_channels": 3, "num_layers": 1}


def sample(points: int = 4, frames: int = 4, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos = torch.randn(points, 3, generator=rng, dtype=torch.float64)
    x = torch.randn(points, 3 * (frames - 1), generator=rng, dtype=torch.float64)
    return Data(pos=pos, x=x)


def make(**config: Any) -> GCAN:
    torch.manual_seed(1)
    model = zoo.create("gcan", hidden_channels=3, num_layers=2, **config).double()
    assert isinstance(model, GCAN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model.eval()


def acted(layer: ConjugateLinear, points: Tensor) -> Tensor:
    """sum over i of w_oi k_oi x_i reverse(k_oi) with whole multivectors; points (channels, 3)."""
    assert layer.constant is not None
    x = torch.zeros(len(points), 16, dtype=torch.float64)
    x[:, list(POINT)] = points
    x[:, ORIGIN] = layer.constant
    k = torch.zeros(*layer.action.shape[:2], 16, dtype=torch.float64)
    k[..., list(even(PGA))] = layer.action
    left = clifford.geometric_product(k, x, PGA)
    turned = clifford.geometric_product(left, clifford.reverse(k, PGA), PGA)
    return (layer.weight[..., None] * turned).sum(1)[:, list(POINT)]


def perceptron(part: Any, points: Tensor) -> Tensor:
    first, gate, second = part
    assert isinstance(gate, MultivectorGate) and gate.weight is not None and gate.bias is not None
    h = acted(first, points)
    h = h * torch.sigmoid((h * gate.weight).sum(-1) + gate.bias)[:, None]
    return acted(second, h)


def by_hand(model: GCAN, data: Data) -> Tensor:
    """The module's equations for one sample, point by point."""
    signs = torch.tensor(POINT_SIGNS, dtype=torch.float64)
    count = len(data.pos)
    centred = data.pos - data.pos.mean(0)
    before = data.x.reshape(count, -1, 3) + centred[:, None]
    frames = torch.cat([before, centred[:, None]], dim=1)
    h = [acted(model.embedding, f * signs) for f in frames]  # type: ignore[arg-type]
    for layer in model.layers:
        norm: Any = layer.norm
        n = [norm.weight[:, None] * g / (g.norm(dim=-1).mean() + 1e-4) + norm.bias for g in h]
        for i in range(count):
            heard = [
                perceptron(layer.message, torch.cat([n[i], n[j]])) for j in range(count) if j != i
            ]
            mean = torch.stack(heard).mean(0)
            h[i] = h[i] + perceptron(layer.update, torch.cat([n[i], mean]))
    steps = torch.stack([acted(model.readout, g) * signs for g in h])  # type: ignore[arg-type]
    return data.pos[:, None] + steps


@pytest.mark.parametrize("points", [2, 4])
def test_the_equations(points: int) -> None:
    model, data = make(out_frames=3), sample(points)
    found = model([data, sample(3, seed=1)])["prediction"]
    assert found.shape == (points + 3, 3, 3)
    torch.testing.assert_close(found[:points], by_hand(model, data), rtol=1e-10, atol=1e-10)


def test_translations_move_predictions_along_and_rotations_are_not_built_in() -> None:
    model, data = make(), sample()
    out = model(data)["prediction"].detach()
    shift = torch.tensor([3.0, -20.0, 5.0], dtype=torch.float64)
    moved = model(Data(pos=data.pos + shift, x=data.x))["prediction"].detach()
    torch.testing.assert_close(moved, out + shift, rtol=0, atol=1e-12)
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]])).double()
    x = (data.x.unflatten(1, (3, 3)) @ turn).flatten(1)
    turned = model(Data(pos=data.pos @ turn, x=x))["prediction"].detach()
    assert float((turned - out @ turn).abs().max()) > 0.1


def test_the_counterpart_has_as_many_parameters() -> None:
    counts = [sum(p.numel() for p in zoo.create(n).parameters()) for n in ("gcan-s", "gcan-s-real")]
    assert counts == [57_620, 57_532]


def test_second_derivatives() -> None:
    model, data = make(in_frames=2, out_frames=1), sample(2, frames=2)
    batch = model.prepare([data])

    def energy(pos: Tensor, x: Tensor) -> Tensor:
        batch.pos, batch.x = pos, x
        return model(batch)["prediction"].square()

    inputs = (data.pos.clone().requires_grad_(), data.x.clone().requires_grad_())
    assert torch.autograd.gradcheck(energy, inputs)
    assert torch.autograd.gradgradcheck(energy, inputs)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"in_frames": 0}, "in_frames=0"),
        ({"gate": "max"}, "linear"),
        ({"gate": "sum", "geometry": "real"}, "leave gate out"),
    ],
)
def test_impossible_models(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("gcan", **config)


def test_unfit_samples() -> None:
    model = make()
    with pytest.raises(UnsupportedInputError, match=r"x \(4, 9\).*not \(4, 6\)"):
        model(sample(frames=3))
    with pytest.raises(UnsupportedInputError, match="not None"):
        model(Data(pos=sample().pos))
    mixed = Batch.from_data_list([sample()])
    mixed.x = mixed.x.float()
    with pytest.raises(DataError, match=r"x in torch.float32 but the model is torch.float64"):
        model(mixed)
    with pytest.raises(CapabilityError, match="no head"):
        model.replace_head(2)


def test_fine_tuning_keeps_the_geometric_answer() -> None:
    dataset = zoo.datasets.open("tetris-like?train=4&val=2&test=2")
    section = TaskSection(kind="regression")
    assert fit_head(make(), dataset, section, heads=None, replays=False) == "kept"
    with pytest.raises(
        DataError, match=r"\(4, 4, 3\) in a sample whose prediction has \(4, 2, 3\)"
    ):
        fit_head(make(out_frames=2), dataset, section, heads=None, replays=False)
    with pytest.raises(CapabilityError, match="no head"):
        fit_head(make(), dataset, section, heads="new", replays=False)


def test_it_learns_what_no_linear_map_of_a_coordinate_can() -> None:
    """Sixty steps on 256 motions: ahead of staying and of going straight on."""
    dataset = zoo.datasets.open("tetris-like?train=256&val=64&test=8")
    torch.manual_seed(0)
    model = zoo.create("gcan", hidden_channels=8, num_layers=2)
    error = error_after(model, dataset, train=256, val=64, batch_size=64, steps=60, rate=2e-2)
    assert error < 0.9
