"""Averages over frames around models without symmetry, in every domain; refusals; warnings."""

import warnings
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.scatter import scatter_sum
from zoo.layers.symmetry import FrameAveraging
from zoo.testing import equivariance_error

SIZES = (5, 4, 7)
Kind = Literal["all", "stochastic", "minimal"]


def random(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def orthogonal(dim: int, sign: float, seed: int = 3) -> Tensor:
    q = torch.linalg.qr(random(dim, dim, seed=seed))[0]
    q[:, 0] *= sign * torch.sign(torch.linalg.det(q))
    return q


def clouds(dim: int = 3, **more: Any) -> Batch:
    made = [
        Data(pos=random(n, dim, seed=n), vel=random(n, dim, seed=10 + n), **more) for n in SIZES
    ]
    batch = Batch.from_data_list(made)
    assert isinstance(batch, Batch)
    return batch


class Crooked(nn.Module):
    """Sees absolute coordinates; a value for each sample, a vector and a matrix for each point."""

    def __init__(self, dim: int = 3) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.arange(1.0, 2 * dim * dim + 1).double().reshape(2 * dim, dim))
        self.calls = 0

    def forward(self, batch: Data) -> dict[str, Tensor]:
        self.calls += 1
        h = torch.sin(torch.cat([batch.pos, batch.vel], 1) @ self.mix + 0.3) + batch.pos**2
        owner = batch.batch
        energy = scatter_sum(h, owner, batch.num_graphs).prod(1)
        matrix = scatter_sum(h[:, :, None] * h.roll(1, 1)[:, None], owner, batch.num_graphs)
        return {"energy": energy, "forces": h, "stress": matrix, "prediction": h + batch.pos}


def turn(batch: Batch, matrix: Tensor, shift: float) -> Batch:
    result = batch.clone()
    result.pos, result.vel = batch.pos @ matrix.T + shift, batch.vel @ matrix.T
    assert isinstance(result, Batch)
    return result


def error(model: nn.Module, batch: Batch, matrix: Tensor, shift: float = 0.0) -> dict[str, float]:
    """Of each output, relative to its size."""
    with torch.no_grad():
        plain, moved = model(batch), model(turn(batch, matrix, shift))
    wanted = {
        "energy": plain["energy"],
        "forces": plain["forces"] @ matrix.T,
        "stress": matrix @ plain["stress"] @ matrix.T,
        "prediction": plain["prediction"] @ matrix.T + shift,
    }
    return {k: float((moved[k] - wanted[k]).abs().max() / wanted[k].abs().max()) for k in wanted}


@pytest.mark.parametrize("kind", ["all", "stochastic", "minimal"])
@pytest.mark.parametrize(("group", "sign"), [("E", 1.0), ("E(3)", -1.0), ("SE", 1.0)])
def test_every_output_of_any_model(group: str, sign: float, kind: Kind) -> None:
    """Rotations, reflections and translations, to rounding."""
    model = FrameAveraging(Crooked(), group=group, output="equivariant", frames=kind).eval()
    matrix = orthogonal(3, sign)
    assert max(error(model, clouds(), matrix, 2.0).values()) < 1e-12
    assert min(error(Crooked(), clouds(), matrix, 2.0).values()) > 1e-3  # the model alone


def test_a_smaller_group_is_no_larger_one() -> None:
    model = FrameAveraging(Crooked(), group="SE", output="equivariant")
    assert min(error(model, clouds(), orthogonal(3, -1.0)).values()) > 1e-3
    still = FrameAveraging(Crooked(), group="O", output="equivariant")
    assert error(still, clouds(), orthogonal(3, -1.0))["energy"] < 1e-12
    assert error(still, clouds(), torch.eye(3).double(), 2.0)["energy"] > 1e-3


def test_a_symmetric_figure_is_warned_of_once() -> None:
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double()
    figure = Data(pos=corners, vel=torch.zeros(4, 3).double())
    batch = Batch.from_data_list([Data(pos=random(5, 3), vel=random(5, 3, seed=1)), figure])
    model = FrameAveraging(Crooked(), output="equivariant")
    with pytest.warns(UserWarning, match=r"samples \[1\] of this batch.*ratio up to 1\.0"):
        model(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(batch)
        FrameAveraging(Crooked(), output="equivariant")(clouds())  # a generic batch is not
    assert error(model, batch, orthogonal(3, 1.0))["forces"] > 1e-2  # what was warned of
    minimal = FrameAveraging(Crooked(), output="equivariant", frames="minimal")
    assert error(minimal, batch, orthogonal(3, 1.0))["forces"] < 1e-12


def test_how_often_the_model_is_called() -> None:
    wanted = {"all": (8, 8), "stochastic": (1, 8), "minimal": (1, 1)}
    for kind, counts in wanted.items():
        inner = Crooked()
        model = FrameAveraging(inner, output="equivariant", frames=kind)  # type: ignore[arg-type]
        for training, count in zip((True, False), counts, strict=True):
            inner.calls = 0
            model.train(training)(clouds())
            assert inner.calls == count, (kind, training)


def test_stochastic_frames_average_to_all() -> None:
    """Over many draws; each draw is one element of the frame of each sample."""
    batch = clouds()
    model = FrameAveraging(Crooked(), output="equivariant", frames="stochastic")
    exact = model.eval()(batch)["forces"]
    model.train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([model(batch)["forces"] for _ in range(400)])
    assert draws.std(0).max() > 0.1
    away = (draws.mean(0) - exact).abs() / (draws.std(0) / 20 + 1e-9)
    assert away.max() < 5


def test_sets_and_tensors_in_dicts() -> None:
    """Vectors of a sample (samples, k, d), and matrices x -> R x R^T."""
    rotate = orthogonal(3, -1.0)
    weights = random(3, 3, seed=5)

    def vectors(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"prediction": torch.sin(batch["x"] @ weights).sum(1)}

    x = random(6, 4, 3)
    model = FrameAveraging(vectors, group="O", output="equivariant")
    difference = model({"x": x @ rotate.T})["prediction"] - model({"x": x})["prediction"] @ rotate.T
    assert difference.abs().max() < 1e-12

    def matrices(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        h = torch.sin(batch["x"] @ weights)
        return {"prediction": h, "energy": h.prod(-1).sum(-1)}

    y = random(6, 3, 3)
    model = FrameAveraging(matrices, group="O", order=2, output={"prediction": "tensor"})
    plain, moved = model({"x": y}), model({"x": rotate @ y @ rotate.T})
    assert (moved["prediction"] - rotate @ plain["prediction"] @ rotate.T).abs().max() < 1e-11
    assert (moved["energy"] - plain["energy"]).abs().max() < 1e-11


@pytest.mark.parametrize("kind", ["all", "minimal"])
def test_the_order_of_points(kind: Kind) -> None:
    """Of sets and clouds, for models that know it; flat and symmetric ones among them."""
    weights, turning = random(12, 3, seed=5), orthogonal(3, -1.0)
    shuffle = torch.tensor([2, 0, 3, 1])

    def listed(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        h = torch.sin(batch["x"].flatten(1) @ weights + 0.2)
        points = torch.arange(1.0, 5.0).double()[:, None] * batch["x"].roll(1, 2) ** 2
        return {"prediction": h, "points": points}

    x = random(6, 4, 3)
    x[1, :, 2] = 0  # flat
    x[2] = torch.tensor([[1.0, 0.5, 0], [1, -0.5, 0], [-1, 0.5, 0], [-1, -0.5, 0]]).double()
    options: Any = {"output": "equivariant", "frames": kind}
    model = FrameAveraging(listed, group="S x O", **options)
    plain, moved = model({"x": x}), model({"x": x[:, shuffle] @ turning.T})
    assert (moved["prediction"] - plain["prediction"] @ turning.T).abs().max() < 1e-12
    assert (moved["points"] - plain["points"][:, shuffle] @ turning.T).abs().max() < 1e-12
    alone = FrameAveraging(listed, group="O", **options)
    away = alone({"x": x[:, shuffle]})["prediction"] - alone({"x": x})["prediction"]
    assert away.abs().max() > 1e-2

    def numbered(batch: Data) -> dict[str, Tensor]:
        place = torch.arange(len(batch.pos)).double()[:, None] - batch.ptr[batch.batch][:, None]
        return {"prediction": batch.pos * (1 + place) + batch.charge[:, None] * batch.vel**2}

    clouds = [Data(pos=x[k], vel=random(4, 3, seed=k), charge=random(4, seed=k)) for k in range(6)]
    mixed = [Data(**{n: v[shuffle] for n, v in c.to_dict().items()}) for c in clouds]
    model = FrameAveraging(numbered, group="S(n) x SE(3)", **options)
    first, second = (model(Batch.from_data_list(c))["prediction"] for c in (clouds, mixed))
    wanted = first.reshape(6, 4, 3)[:, shuffle].flatten(0, 1)
    assert (second - wanted).abs().max() < 1e-12


def test_cells_turn_with_their_atoms() -> None:
    class Cells(nn.Module):
        def forward(self, batch: Data) -> dict[str, Tensor]:
            cell = batch.cell.reshape(-1, 3, 3)
            return {"stress": torch.sin(cell) + cell.mT @ cell}

    batch, matrix = clouds(), orthogonal(3, -1.0)
    batch.cell = random(3, 3, 3)
    model = FrameAveraging(Cells())
    moved = turn(batch, matrix, 1.0)
    moved.cell = batch.cell @ matrix.T
    wanted = matrix @ model(batch)["stress"] @ matrix.T
    assert (model(moved)["stress"] - wanted).abs().max() < 1e-12
    for one in (batch, moved):  # as PyG joins cells (3, 3)
        one.cell = one.cell.flatten(0, 1)
    assert (model(moved)["stress"] - wanted).abs().max() < 1e-12
    batch.cell = random(3, 2, 2)
    with pytest.raises(UnsupportedInputError, match=r"cell has the shape \(3, 2, 2\)"):
        model(batch)


@pytest.mark.parametrize("kind", ["all", "minimal"])
def test_forces_of_the_averaged_energy(kind: Kind) -> None:
    """Derivatives go through the frames; without them they are others."""
    batch = clouds()
    model = FrameAveraging(Crooked(), frames=kind, output="equivariant")

    def energy(pos: Tensor) -> Tensor:
        other = batch.clone()
        other.pos = pos
        return model(other)["energy"].sum()

    pos = batch.pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, (pos,), rtol=1e-4)
    (exact,) = torch.autograd.grad(energy(pos), pos)
    model.detach = True
    (constant,) = torch.autograd.grad(energy(pos), pos)
    assert (exact - constant).abs().max() > 1e-3 * exact.abs().max()
    still = turn(batch, torch.eye(3).double(), 2.0)  # translations stay exact
    assert (model(still)["energy"] - model(batch)["energy"]).abs().max() < 1e-9
    figure = torch.cat([torch.eye(3), -torch.eye(3)]).double().requires_grad_()
    sample = Data(pos=figure, vel=torch.zeros(6, 3).double())
    plain = FrameAveraging(Crooked(), frames=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = plain(Batch.from_data_list([sample]))["energy"].sum()
    assert torch.isfinite(torch.autograd.grad(value, figure)[0]).all()


def test_a_potential_of_the_zoo() -> None:
    """An atomistic model takes structures as it always does, with its options."""
    from ase.build import bulk, molecule

    torch.manual_seed(0)
    inner = zoo.create("tensornet", hidden_channels=8, num_layers=1).double().eval()
    model = FrameAveraging(inner, group="E")
    structures = [molecule("CH3OH"), molecule("H2O")]
    found, alone = model(structures, outputs=["energy", "forces"]), inner(structures)
    for name in ("energy", "forces"):  # it is equivariant anyway: the average changes nothing
        torch.testing.assert_close(found[name], alone[name])
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    crystal.rattle(0.1, seed=1)
    found, alone = model([crystal], outputs=["stress"]), inner([crystal], outputs=["stress"])
    torch.testing.assert_close(found["stress"], alone["stress"])


def test_the_wrapper_of_a_model_of_the_zoo_is_measured_like_one() -> None:
    inner = zoo.create("plain_gnn", hidden_channels=6, num_layers=1)
    model = FrameAveraging(inner, group="E", output={"prediction": "position"})
    assert max(equivariance_error(model, "S(n) x E(n)").values()) < 1e-11
    assert min(equivariance_error(inner, "E(n)").values()) > 1e-3


def test_empty_and_tiny_batches() -> None:
    one = Batch.from_data_list([Data(pos=random(1, 3), vel=random(1, 3, seed=1))])
    none = Batch.from_data_list([Data(pos=random(0, 3), vel=random(0, 3))])
    for kind in ("all", "minimal"):
        model = FrameAveraging(Crooked(), output="equivariant", frames=kind)  # type: ignore[arg-type]
        assert error(model, one, orthogonal(3, -1.0), 2.0)["prediction"] < 1e-12
        assert model(none)["forces"].shape == (0, 3)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"no group is called 'U\(1\)' here"):
        FrameAveraging(Crooked(), group="U(1)")
    with pytest.raises(ConfigError, match="sets of points are sorted, not tensors"):
        FrameAveraging(Crooked(), group="S x O", order=2)
    linked = clouds()
    linked.edge_index = torch.tensor([[0], [1]])
    with pytest.raises(UnsupportedInputError, match="edge_index names points by their numbers"):
        FrameAveraging(Crooked(), group="S x E", output="equivariant")(linked)
    with pytest.raises(ConfigError, match="law 'covariant'"):
        FrameAveraging(Crooked(), output="covariant")
    with pytest.raises(ConfigError, match="frames='some'"):
        FrameAveraging(Crooked(), frames="some")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="order=2 with the group E"):
        FrameAveraging(Crooked(), order=2)
    with pytest.raises(ConfigError, match="minimal frames are made of points"):
        FrameAveraging(Crooked(), group="O", order=2, frames="minimal")
    with pytest.raises(ConfigError, match="can't be called"):
        FrameAveraging(3)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedInputError, match=r"E\(3\) acts on pos.*not \(16, 2\)"):
        FrameAveraging(Crooked(2), group="E(3)")(clouds(2))
    with pytest.raises(UnsupportedInputError, match="pos, which this batch doesn't have"):
        FrameAveraging(Crooked(), points="pos")({"x": random(3, 3)})
    with pytest.raises(UnsupportedInputError, match="not on a Tensor"):
        FrameAveraging(Crooked())(random(3, 3))
    with pytest.raises(ConfigError, match="returned Tensor; outputs have names"):
        FrameAveraging(lambda batch: batch.pos)(clouds())
    with pytest.raises(ConfigError, match="how does the output 'prediction' answer"):
        FrameAveraging(Crooked(), output={"other": "vector"})(clouds())
    with pytest.raises(UnsupportedInputError, match="last 2 axes have 3 entries"):
        FrameAveraging(Crooked(), output={"forces": "tensor", "prediction": 1})(clouds())
    with pytest.raises(UnsupportedInputError, match="neither a row for each of the 16 points"):
        FrameAveraging(lambda b: {"prediction": b.pos[:2]}, output="equivariant")(clouds())


def test_averaged_log_softmax_is_that_of_averaged_logits() -> None:
    weight = random(3, 4, seed=9)

    def classes(batch: Any) -> dict[str, Tensor]:
        logits = 9.0 * batch.pos @ weight  # no symmetry, and sure of what it says
        return {"logits": logits, "log_softmax": logits.log_softmax(1)}

    out = FrameAveraging(classes, group="SE", output="invariant")(clouds())
    assert torch.allclose(out["log_softmax"].exp().sum(1), out["logits"].new_ones(()))
    assert torch.allclose(out["log_softmax"], out["logits"].log_softmax(1), atol=1e-12)
