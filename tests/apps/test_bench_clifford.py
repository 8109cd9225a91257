"""`zoo bench clifford`: the contestants compute the same, and the rows are complete."""

import pytest
import torch

from zoo.apps import _bench_clifford as bench
from zoo.apps._bench_clifford import Job
from zoo.apps._bench_clifford_network import contestants as networks
from zoo.functional.clifford import algebra


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("signature", [(3, 0, 0), (1, 3, 0)])
def test_both_sides_compute_the_same(signature: tuple[int, int, int], connected: bool) -> None:
    ours, peer = bench.contestants(algebra(*signature), connected=connected, batch=5, channels=3)
    torch.testing.assert_close(ours()[0], peer()[0], rtol=1e-4, atol=1e-4)


def test_both_networks_compute_the_same() -> None:
    model, peer, batch = networks(samples=3)
    found = []
    for out in (model.forward(batch)["prediction"], peer(batch)):
        model.zero_grad()
        (out - batch.y).square().mean().backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        found[-1]["prediction"] = out
    torch.testing.assert_close(found[0], found[1] | {}, rtol=1e-3, atol=1e-4)


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = (
        Job((2, 0, 0), ">= 3"),
        Job((2, 0, 0), ">= 50", order="left to right"),
        Job(None, ">= 8"),
    )
    monkeypatch.setattr(bench, "JOBS", jobs)
    monkeypatch.setattr(bench, "SAMPLES", 2)
    seen: list[tuple[int, int]] = []
    *rows, machine = bench.measure(repeats=1, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert [row["target"] for row in rows] == [">= 3", ">= 50", ">= 8"]
    assert "einsum by left to right" in rows[1]["what"]
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in rows)
    assert machine["what"] == "machine"
