"""Terms of symmetry in recipes: penalties and constraints in several domains, refusals."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import torch
from task_runs import THIRDS, quiet, run, write
from torch import Tensor

import zoo
from zoo.datasets import AtomsDataset
from zoo.errors import RecipeError
from zoo.layers.symmetry import TensorLinear, TensorSpace
from zoo.models._sample import SampleModel
from zoo.testing import equivariance_error
from zoo.training.fit import fit
from zoo.training.recipe import Recipe
from zoo.training.symmetry import SymmetryTerms

MOVING: dict[str, Any] = {
    "model": {"name": "plain_gnn", "config": {"hidden_channels": 8, "num_layers": 1}},
    "data": {"source": "moving.npz", "splits": THIRDS},
    "task": {"kind": "regression", "metrics": ["mse"], "score": "loss"},
    "optimizer": {"lr": 0.01},
    "trainer": {"max_steps": 12, "batch_size": 32, "val_every": 4},
}


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """Particles that fly on and are pulled to their centre, in a folder of their own."""
    rng = np.random.default_rng(0)
    pos, vel = rng.normal(size=(2, 100, 4, 3))
    charge = rng.choice([-1.0, 1.0], (100, 4))
    y = pos + vel - 0.3 * (pos - pos.mean(1, keepdims=True))
    np.savez(tmp_path / "moving.npz", pos=pos, vel=vel, charge=charge, y=y)
    return tmp_path


@zoo.register("tinytensors")
class TinyTensors(SampleModel):
    """A linear map of vectors that says so."""

    domain = "vector"

    def __init__(self, *, n: int = 4) -> None:
        super().__init__(outputs=("prediction",))
        line = TensorSpace("1x1", n)
        self.linear = TensorLinear(line, line)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"prediction": self.linear(batch["x"]).sum(1, keepdim=True)}


def last(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "state" / "last.ckpt", weights_only=True)[
        "state_dict"
    ]
    return state


def test_a_penalty_of_outputs_makes_a_plain_network_more_equivariant(moving: Path) -> None:
    errors = []
    for name, extra in (
        ("plain", {}),
        ("soft", {"symmetry": {"penalty": {"SO": 100.0}, "output": "equivariant"}}),
    ):
        longer = {**MOVING, "trainer": {**MOVING["trainer"], "max_steps": 40}}
        report = run(moving, out=name, **longer, **extra)
        found = equivariance_error(report.model, "SO(n)", outputs=["prediction"], seed=1)
        errors.append(found["rotation"])
    assert errors[1] < 0.85 * errors[0], errors


def test_a_constraint_turns_labels_too_and_goes_on_where_it_stopped(moving: Path) -> None:
    """Positions to come turn with positions: an equivariant network needs less of it."""
    constraint = {"group": "E", "limit": 0.05, "rate": 0.2}
    symmetry = {"constraint": constraint, "output": "equivariant"}
    run(moving, out="whole", **MOVING, symmetry=symmetry)
    whole = last(moving / "whole")
    assert float(whole["symmetry.constraint.mu"]) > 0
    egnn = {"name": "egnn", "config": {"hidden_channels": 8, "num_layers": 1}}
    free = {**MOVING, "model": egnn, "symmetry": symmetry}
    run(moving, out="free", **free)
    mu = [float(last(moving / name)["symmetry.constraint.mu"]) for name in ("whole", "free")]
    assert mu[1] < 0.6 * mu[0]
    short = {**MOVING, "trainer": {**MOVING["trainer"], "max_steps": 6}}
    run(moving, out="parts", **short, symmetry=symmetry)
    path = write(moving, **MOVING, symmetry=symmetry)
    zoo.train(path, output=moving / "parts", resume=True, progress=quiet)
    parts = last(moving / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole if "symmetry" in name)
    assert torch.equal(whole["model.embedding.weight"], parts["model.embedding.weight"])


def test_all_axes_of_tensors_turn() -> None:
    """A network on matrices that is equivariant pays nothing, and its labels turn with it."""
    body = {"name": "brauer", "config": {"order_out": 2, "hidden_channels": 3}}
    constraint = {"group": "O", "limit": 0.1}
    symmetry = {"penalty": {"O": 1.0}, "constraint": constraint, "output": "tensor"}
    given = {"recipe": 1, "name": "brauer-s.mine.r1", "model": body, "symmetry": symmetry}
    given |= {"data": {"source": "hyperelastic"}, "task": {"kind": "regression"}}
    recipe = Recipe.model_validate(given)
    model = zoo.create("brauer", order_out=2, hidden_channels=3).double()
    terms = SymmetryTerms(model, recipe)
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 5, 3, 3, generator=rng, dtype=torch.float64)
    assert float(terms.penalties[0]({"x": x}, rng).detach()) < 1e-20
    assert terms.constraint is not None
    transform = terms.constraint.transform
    moved = transform.apply({"x": x, "y": y}, transform.draw({"x": x}, rng))
    for one, other in ((x, moved["x"]), (y, moved["y"])):  # traces stay
        first, second = (t.diagonal(dim1=1, dim2=2).sum(1) for t in (one, other))
        torch.testing.assert_close(first, second)
        assert float((one - other).abs().max()) > 0.1


def test_images(tmp_path: Path) -> None:
    tiny_data.images(tmp_path / "data.npz")
    trainer = {"max_epochs": 2, "batch_size": 16}
    run(
        tmp_path,
        model={"name": "tinyimage"},
        trainer=trainer,
        symmetry={"constraint": {"angle": 30.0, "shift": 0.1, "limit": 0.1}},
    )
    state = last(tmp_path / "out")
    assert float(state["symmetry.constraint.mu"]) > 0
    assert math.isfinite(float(state["symmetry.constraint.measured"]))


def test_weights_of_declared_layers(tmp_path: Path) -> None:
    tiny_data.vectors(tmp_path / "data.npz")
    distances = []
    for weight in (0.0, 1000.0):
        report = run(
            tmp_path,
            out=f"out{weight}",
            model={"name": "tinytensors"},
            data={"source": "data.npz", "splits": THIRDS, "keys": {"y": "value"}},
            task={"kind": "regression", "normalise": {"targets": "standard"}},
            trainer={"max_epochs": 20, "batch_size": 16},
            symmetry={"weights": {"S": weight}},
        )
        w = report.model.linear.weight.detach()
        off = w[~torch.eye(4, dtype=torch.bool)]
        distances.append(float(off.std() + w.diagonal().std()))
    assert distances[1] < 0.3 * distances[0]


def test_potentials_are_held_to_what_they_keep(
    dataset: AtomsDataset, tiny: Callable[[], Any], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """An equivariant potential pays nothing: its weights are those of a run without the terms."""
    weights = []
    for name, extra in (
        ("plain", {}),
        (
            "held",
            {"symmetry": {"penalty": {"E": 1.0}, "constraint": {"group": "SO", "limit": 1e9}}},
        ),
    ):
        model = tiny()
        settings = recipe(**extra, trainer={"max_steps": 3, "max_epochs": 1, "batch_size": 4})
        (tmp_path / name).mkdir()
        fit(
            model,
            settings,
            dataset.split("train"),
            dataset.split("val"),
            tmp_path / name,
            progress=quiet,
        )
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert (weights[0] - weights[1]).abs().max() < 1e-4
    measured = float(
        torch.load(tmp_path / "held" / "last.ckpt", weights_only=True)["state_dict"][
            "symmetry.constraint.measured"
        ]
    )
    assert measured > 0


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        ({}, "nothing is asked for"),
        ({"penalty": {"U": 1.0}}, "symmetry.penalty: no group is called 'U'"),
        ({"penalty": {"O": -1.0}}, "greater than or equal to 0"),
        ({"weights": {"O": 1.0}}, "symmetry.weights: no layer of PlainGNN says"),
        ({"constraint": {"limit": 0.1}}, "say group, or for images angle and shift"),
        ({"constraint": {"limit": 0.1, "group": "E", "angle": 5.0}}, "one of the two"),
        ({"constraint": {"limit": 0.1, "group": "Q"}}, "symmetry.constraint.group: no group"),
        ({"constraint": {"limit": 0.1, "angle": 5.0}}, "domain 'particles'; this acts on image"),
        ({"penalties": {"O": 1.0}}, "did you mean 'symmetry.penalty'"),
    ],
)
def test_refusals(symmetry: dict[str, Any], message: str, moving: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        run(moving, **MOVING, symmetry=symmetry)
    assert not (moving / "out" / "manifest.yaml").exists()


def test_graphs_have_no_axes(tmp_path: Path) -> None:
    tiny_data.graph(tmp_path / "data.npz")
    with pytest.raises(RecipeError, match="domain 'graph'; this acts on atoms, particles"):
        run(
            tmp_path,
            model={"name": "tinygraph"},
            data={"source": "data.npz"},
            symmetry={"penalty": {"O": 1.0}},
        )
