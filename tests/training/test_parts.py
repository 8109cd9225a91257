"""Losses, averaging, schedules and batches, each against its formula."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.training import schedule
from zoo.training.batches import EpochBatches
from zoo.training.data import Samples, pack, unpack
from zoo.training.ema import Ema
from zoo.training.losses import (
    batch_sums,
    energy_error,
    global_weights,
    penalty,
    ratio,
    term_losses,
    weighted_sums,
)
from zoo.training.recipe import LossSection, Term


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
    weights = [torch.tensor([0.0, 2.0, 0.5]), torch.ones(7), torch.zeros(0)]
    for given in (weights, [torch.ones(len(part)) for part in parts], None):
        sums = [weighted_sums(p, given[k] if given else None) for k, p in enumerate(parts)]
        total = torch.stack([torch.cat(pair).double() for pair in sums]).sum(0)
        losses = [
            term_losses(
                {"forces": pair},
                global_weights({"forces": pair}, lambda own, total=total: total),  # type: ignore[misc]
                {"forces": 3.0},
                len(parts),
            )
            for pair in sums
        ]
        weight = torch.cat(given) if given else torch.ones(10)
        expected = 3.0 * (weight * torch.cat(parts)).sum() / weight.sum()
        assert torch.stack(losses).mean().item() == pytest.approx(expected.item())
    assert ratio(torch.zeros(1), torch.zeros(1)).item() == 0.0


def test_weights_and_heads_follow_their_formula(mixed: Any) -> None:
    """Means per head, of energies per structure and of forces per component."""
    for number, frame in enumerate(frames := [atoms.copy() for atoms in mixed[10:20]]):
        frame.calc = mixed[10 + number].calc
        frame.info |= {"weight": float(number % 3), "head": ["a", "b"][number % 2]}
    dataset = AtomsDataset.from_atoms(frames)
    samples = Samples(
        dataset, torch.float64, labels=["energy", "forces"], cutoff=None, heads=["a", "b"]
    )
    batch = samples[range(10)]
    rng = torch.Generator().manual_seed(0)
    out = {
        name: batch[name] + torch.randn(batch[name].shape, generator=rng, dtype=torch.float64)
        for name in ("energy", "forces")
    }
    loss = LossSection.model_validate({"energy": {"per": "structure"}, "forces": {"kind": "mae"}})
    sums = batch_sums(out, batch, loss, 2)
    for head in (0, 1):
        above, below = np.zeros(2), np.zeros(2)
        for k in range(head, 10, 2):
            rows = slice(int(batch.ptr[k]), int(batch.ptr[k + 1]))
            energy = float(out["energy"][k] - batch.energy[k])
            forces = (out["forces"] - batch.forces)[rows].abs()
            above += (k % 3) * np.array([energy**2, float(forces.sum())])
            below += (k % 3) * np.array([1, forces.numel()])
        for name, a, b in zip(("energy", "forces"), above, below, strict=True):
            assert sums[name][0][head].item() == pytest.approx(a)
            assert sums[name][1][head].item() == pytest.approx(b)
    with pytest.raises(DataError, match="'a', which is no head of the model"):
        Samples(dataset, torch.float64, labels=[], cutoff=None, heads=["b", "c"])
    frames[3].info["weight"] = -1.0
    with pytest.raises(DataError, match=r"weight of frame 3 is -1\.0"):
        Samples(AtomsDataset.from_atoms(frames), torch.float64, labels=[], cutoff=None)


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


COSTS = np.array([3, 1, 4, 1, 5, 2, 6, 5, 3, 5])


def at(step: int, **options: Any) -> list[list[int]]:
    batches = EpochBatches(10, **({"batch_size": 4, "seed": 3} | options))
    batches.start = lambda: step
    return list(batches)


@pytest.mark.parametrize("options", [{}, {"costs": COSTS, "batch_size": 8}])
def test_batches_cover_everything_once_per_pass(options: dict[str, Any]) -> None:
    batches = EpochBatches(10, **({"batch_size": 4, "seed": 3, "passes": 2} | options))
    steps, orders = 0, []
    for epoch in range(2):
        batches.start = lambda now=steps: now  # type: ignore[misc]
        drawn = list(batches)
        for run in (2 * epoch, 2 * epoch + 1):
            count = batches.first_step(run + 1) - batches.first_step(run)
            part, drawn = drawn[:count], drawn[count:]
            orders.append([i for step in part for i in step])
            assert sorted(orders[-1]) == list(range(10))
            steps += count
            assert batches.passes_done(steps) == run + 1
            if options:
                sums = [COSTS[step].sum() for step in part]
                assert max(sums) <= 8
                # greedy: no batch could have taken the first sample of the next one
                heads = [COSTS[step[0]] for step in part[1:]]
                assert all(s + h > 8 for s, h in zip(sums, heads, strict=False))
        assert drawn == []
    assert len({tuple(order) for order in orders}) == 4
    assert at(0, seed=4) != at(0)
    assert list(EpochBatches(5, 2, seed=None)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("options", [{}, {"costs": COSTS, "batch_size": 8}])
def test_batches_depend_on_the_step_alone(options: dict[str, Any]) -> None:
    """From any step to the next validation: the rest of what an uninterrupted run sees."""
    whole = at(0, passes=2, **options)
    for step in range(len(whole)):
        assert at(step, passes=2, **options) == whole[step:]
    assert at(len(whole), passes=2, **options) != whole


@pytest.mark.parametrize("options", [{}, {"costs": COSTS, "batch_size": 8}])
def test_processes_share_each_batch(options: dict[str, Any]) -> None:
    whole = at(0, **options)
    parts = [at(0, rank=r, world=3, **options) for r in range(3)]
    for step, batch in enumerate(whole):
        assert sorted(i for part in parts for i in part[step]) == sorted(batch)
    # a last batch smaller than the number of processes leaves some with nothing
    assert [len(list(EpochBatches(5, 4, seed=0, rank=r, world=4))[-1]) for r in range(4)] == [
        1,
        0,
        0,
        0,
    ]


def test_an_empty_share_adds_nothing(dataset: Any, tiny: Any) -> None:
    samples = Samples(dataset, torch.float32, labels=["energy", "forces"], cutoff=3.0)
    loss = LossSection.model_validate({"energy": {}, "forces": {}})
    batch = samples[[]]
    model = tiny()
    sums = batch_sums(model(batch, outputs=["energy", "forces"]), batch, loss)
    assert all(not part.detach().any() for pair in sums.values() for part in pair)
    sum(above.sum() for above, _ in sums.values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_samples_are_kept_as_far_as_memory_goes(dataset: Any) -> None:
    reads: list[int] = []

    class Counted:
        """Counts what is read."""

        source, columns = "counted", dataset.columns

        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, index: int) -> Any:
            reads.append(index)
            return dataset[index]

    def read_again(keep: int) -> int:
        samples = Samples(Counted(), torch.float32, labels=["energy"], cutoff=3.0, keep=keep)  # type: ignore[arg-type]
        for _ in range(2):
            reads.clear()
            for index in range(len(dataset)):
                samples[[index]]
        return len(reads)

    assert read_again(2**30) == 0
    assert read_again(0) == len(dataset)
    assert 0 < read_again(20 * 5000) < len(dataset)


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


def test_batches_from_workers_are_the_same(dataset: Any) -> None:
    samples = Samples(dataset, torch.float32, labels=["energy", "forces"], cutoff=3.0)
    for indices in ([0, 20, 5], []):
        batch = samples[indices]
        again = unpack(pack(batch))
        assert set(again.to_dict()) == set(batch.to_dict())
        assert all(torch.equal(again[name], value) for name, value in batch.to_dict().items())
        assert again.num_graphs == batch.num_graphs
        assert torch.equal(again[0].forces, batch[0].forces)
