"""`zoo bench adapters`: the contestants compute the same, and the rows are complete."""

import copy

import torch

import zoo
from zoo.apps import _bench_adapters as bench
from zoo.layers import adapters

SMALL = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 4}


def test_rows_are_complete() -> None:
    told: list[int] = []
    *rows, machine = bench.measure(
        "tensornet", rank=1, repeats=1, config=SMALL, progress=lambda done, _: told.append(done)
    )
    kinds = [row["what"].partition(" ")[0] for row in rows]
    assert kinds == 2 * ["training", "inference,", "inference,"]
    assert told == [1, 2]
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in rows)
    assert machine["torch"] == torch.__version__


def test_a_step_trains_what_it_says() -> None:
    model = zoo.create("tensornet", **SMALL)
    batches = bench._batches(model)
    adapted = copy.deepcopy(model)
    adapters.attach(adapted, adapters.AdapterConfig(rank=1))
    for each in (model, adapted):
        before = {name: p.detach().clone() for name, p in each.named_parameters()}
        step = bench._step(each, batches)
        step()
        step()  # the factors beside a core of zeros move from the second step on
        for name, parameter in each.named_parameters():
            moved = not torch.equal(before[name], parameter)
            assert moved <= parameter.requires_grad
            assert moved or "original" in name or each is model
    ready = bench._predict(model, batches[0])
    assert torch.isfinite(ready()["energy"]).all()  # type: ignore[index]
