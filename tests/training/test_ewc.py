"""Elastic weight consolidation: the Fisher diagonal, the penalty, its use in training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.datasets import AtomsDataset, collate
from zoo.training import ewc
from zoo.training.fit import fit
from zoo.training.recipe import LossSection, Recipe


def exact(model: Any, data: AtomsDataset, loss: LossSection) -> dict[str, torch.Tensor]:
    """The same diagonal, one backward pass for every output."""
    live = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in live.items()}
    for index in range(len(data)):
        batch = collate([data[index]], model.dtype)
        out = model(batch, outputs=["energy", "forces"], create_graph=True)
        atoms = len(batch.pos)
        assert loss.energy is not None and loss.forces is not None
        scaled = [(loss.energy.weight / atoms**2, out["energy"][0])]
        scaled += [(loss.forces.weight / (3 * atoms), f) for f in out["forces"].flatten()]
        for weight, value in scaled:
            slopes = torch.autograd.grad(
                value, list(live.values()), retain_graph=True, allow_unused=True
            )
            for name, slope in zip(live, slopes, strict=True):
                if slope is not None:
                    total[name] += 2 * weight * slope.square() / len(data)
    return total


@pytest.fixture
def loss() -> LossSection:
    """Energies per atom and forces."""
    return LossSection.model_validate({"energy": {"weight": 10.0}, "forces": {}})


def test_the_diagonal_is_the_sum_of_squared_slopes(
    tiny: Callable[[], Any], dataset: AtomsDataset, loss: LossSection
) -> None:
    model, data = tiny().double(), dataset.take([20, 30])
    expected = exact(model, data, loss)
    found = ewc.fisher_diagonal(model, data, loss, draws=100)
    assert set(found) == {name for name, value in expected.items() if value.any()}
    whole = sum(float(v.sum()) for v in expected.values())
    assert sum(float(v.sum()) for v in found.values()) == pytest.approx(whole, rel=0.2)
    name = "heads.energy.network.0.weight"
    ratio = found[name].sum() / expected[name].sum()
    assert float(ratio) == pytest.approx(1.0, rel=0.3)
    big = expected[name] > 0.2 * expected[name].max()
    torch.testing.assert_close(found[name][big], expected[name][big], rtol=0.5, atol=0)


def test_labels_do_not_count(
    tiny: Callable[[], Any], dataset: AtomsDataset, loss: LossSection
) -> None:
    model = tiny().double()
    bare = dataset.atoms(0)
    bare.calc = None
    unlabelled = AtomsDataset.from_atoms([bare])
    first = ewc.fisher_diagonal(model, dataset.take([0]), loss)
    second = ewc.fisher_diagonal(model, unlabelled, loss)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_penalty_is_a_spring(
    tiny: Callable[[], Any], dataset: AtomsDataset, loss: LossSection, tmp_path: Path
) -> None:
    model, path = tiny().double(), tmp_path / "ewc.safetensors"
    data = dataset.take([0, 20])
    spring = ewc.consolidate(model, data, loss, strength=3.0, path=path, key="a")
    assert float(spring(model).detach()) == 0.0
    name, parameter = next(iter(model.named_parameters()))
    with torch.no_grad():
        parameter.add_(0.1)
    expected = 0.5 * 3.0 * 0.01 * float(spring.fisher[name].sum())
    assert float(spring(model).detach()) == pytest.approx(expected, rel=1e-9)
    # a resumed run takes the old values and not the present ones
    kept = ewc.consolidate(model, data, loss, strength=3.0, path=path, key="a")
    assert float(kept(model).detach()) == pytest.approx(expected, rel=1e-9)
    other = ewc.consolidate(model, data, loss, strength=3.0, path=path, key="b")
    assert float(other(model).detach()) == 0.0


def test_a_strong_spring_holds_the_parameters(
    tiny: Callable[[], Any],
    recipe: Callable[..., Recipe],
    dataset: AtomsDataset,
    loss: LossSection,
    tmp_path: Path,
) -> None:
    measured = ewc.fisher_diagonal(tiny(), dataset.take([0, 20]), loss)

    def moved(strength: float) -> float:
        model = tiny()
        old = {name: p.detach().clone() for name, p in model.named_parameters()}
        spring = ewc.consolidate(model, dataset.take([0, 20]), loss, strength=strength)
        fit(
            model,
            recipe(loss={"forces": {}}),
            dataset.split("train"),
            dataset.split("val"),
            tmp_path / str(strength),
            penalty=spring,
            progress=lambda line: None,
        )
        # what the old task feels of it: parameters that do not matter may go where they like
        now = dict(model.named_parameters())
        change = {n: f * (now[n].detach() - old[n]).square() for n, f in measured.items()}
        return sum(float(value.sum()) for value in change.values())

    assert moved(1e3) < 0.3 * moved(1e-9)
