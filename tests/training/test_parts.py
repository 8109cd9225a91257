"""Losses, averaging, schedules and batches, each against its formula."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoo.training import schedule
from zoo.training.data import EpochBatches, Samples
from zoo.training.ema import Ema
from zoo.training.losses import energy_error, global_mean, penalty
from zoo.training.recipe import Term


def test_penalties() -> None:
    error = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert torch.equal(penalty(error, Term(kind="mse")), error**2)
    assert torch.equal(penalty(error, Term(kind="mae")), error.abs())
    huber = penalty(error, Term(kind="huber", delta=1.0))
    assert torch.allclose(huber, nn.functional.huber_loss(error, error * 0, reduction="none"))


def test_energies_are_subtracted_in_double_precision() -> None:
    predicted = torch.tensor([-17_000.001], dtype=torch.float64)
    target = torch.tensor([-17_000.002], dtype=torch.float64)
    error = energy_error(predicted, target, torch.tensor([2]), per_atom=True)
    assert error.item() == pytest.approx(0.0005, rel=1e-6)
    assert energy_error(predicted, target, torch.tensor([2]), per_atom=False).item() == (
        pytest.approx(0.001, rel=1e-6)
    )


def test_the_mean_over_processes_is_the_global_mean() -> None:
    """Gradients are averaged over processes, which may hold very different numbers of atoms."""
    parts = [torch.arange(1.0, 4.0), torch.arange(4.0, 11.0), torch.zeros(0)]
    total = torch.tensor(float(sum(len(p) for p in parts)))
    means = [global_mean(part, lambda count: total, len(parts)) for part in parts]
    assert torch.stack(means).mean().item() == pytest.approx(torch.cat(parts).mean().item())
    assert global_mean(torch.zeros(0), None, 1).item() == 0.0


def test_ema_follows_its_formula_and_swaps_back() -> None:
    model = nn.Linear(2, 1, bias=False)
    expected = model.weight.detach().clone()
    ema = Ema(model, 0.5)
    for step in range(5):
        with torch.no_grad():
            model.weight += 1.0
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    live = model.weight.detach().clone()
    ema.swap()
    assert torch.allclose(model.weight, expected)
    ema.swap()
    assert torch.equal(model.weight, live)
    assert not torch.allclose(live, expected)


def test_ema_state_round_trip_and_frozen_parameters() -> None:
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    first, second = Ema(model, 0.9), Ema(model, 0.9)
    assert set(first.average) == {"weight"}
    with torch.no_grad():
        model.weight.add_(1.0)
    first.update()
    second.load_state_dict(first.state_dict())
    assert second.updates == 1
    assert torch.equal(second.average["weight"], first.average["weight"])


def test_schedules() -> None:
    def at(kind: str, progress: float, step: int = 100, **options: Any) -> float:
        values: dict[str, Any] = {"warmup": 0, "final": 0.01} | options
        return schedule.factor(kind, step=step, progress=progress, **values)

    assert at("constant", 0.7) == 1.0
    assert at("cosine", 0.0) == 1.0
    assert at("cosine", 0.5) == pytest.approx(0.505)
    assert at("cosine", 1.0) == at("cosine", 1.3) == pytest.approx(0.01)
    assert at("exponential", 0.5) == pytest.approx(0.1)
    assert at("plateau", 0.5, plateau=0.25) == 0.25
    assert [at("constant", 0.0, step=s, warmup=4) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.seconds("01:02:03") == 3723.0
    assert schedule.seconds(None) is None


def test_plateau() -> None:
    state = schedule.Plateau()
    factors = []
    for score in (3.0, 2.0, 2.5, 2.1, 2.2, 2.2, 1.0, 1.5, 1.5):
        state.step(score, shrink=0.5, patience=2, final=0.3)
        factors.append(state.factor)
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    assert math.isclose(state.best, 1.0)


def test_batches_cover_everything_once_per_pass() -> None:
    batches = EpochBatches(10, 4, seed=3, passes=2)
    epochs = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        steps = list(batches)
        assert len(steps) == len(batches) == 6
        for run in range(2):
            drawn = [i for step in steps[3 * run : 3 * run + 3] for i in step]
            assert sorted(drawn) == list(range(10))
            epochs.append(drawn)
    assert len({tuple(drawn) for drawn in epochs}) == 4
    again = EpochBatches(10, 4, seed=3, passes=2)
    again.set_epoch(1)
    assert list(again) == steps
    assert list(EpochBatches(10, 4, seed=4, passes=2)) != steps
    assert list(EpochBatches(5, 2, seed=None)) == [[0, 1], [2, 3], [4]]


def test_batches_skip_what_is_done_once() -> None:
    batches = EpochBatches(10, 4, seed=3)
    whole = list(batches)
    batches.skip = 2
    assert list(batches) == whole[2:]
    assert list(batches) == whole


def test_processes_share_each_batch() -> None:
    whole = list(EpochBatches(10, 4, seed=3))
    parts = [list(EpochBatches(10, 4, seed=3, rank=r, world=2)) for r in range(2)]
    for step, batch in enumerate(whole):
        assert sorted(i for part in parts for i in part[step]) == sorted(batch)
    # a last batch smaller than the number of processes still gives everyone something to do
    assert [len(list(EpochBatches(5, 4, seed=0, rank=r, world=4))[-1]) for r in range(4)] == [1] * 4


def test_carried_neighbours_are_the_models_own(dataset: Any, tiny: Any) -> None:
    model = tiny().eval()
    indices = [0, 20, 30, 3]
    carried = Samples(dataset, torch.float32, labels=["energy", "forces"], cutoff=model.cutoff)
    plain = Samples(dataset, torch.float32, labels=["energy", "forces"], cutoff=None)
    with_pairs, without = carried[indices], plain[indices]
    assert "pair_index" in with_pairs and "pair_index" not in without
    a, b = model(with_pairs), model(without)
    assert torch.equal(a["energy"], b["energy"])
    assert torch.allclose(a["forces"], b["forces"], atol=1e-6)
    assert np.isclose(with_pairs.energy.numpy(), dataset.take(indices).label("energy")).all()
