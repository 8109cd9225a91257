"""`zoo bench clifford`: the contestants compute the same, and the rows are complete."""

import pytest
import torch

from zoo.apps import _bench_clifford as bench
from zoo.functional.clifford import algebra


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("signature", [(3, 0, 0), (1, 3, 0)])
def test_both_sides_compute_the_same(signature: tuple[int, int, int], connected: bool) -> None:
    ours, peer = bench.contestants(algebra(*signature), connected=connected, batch=5, channels=3)
    torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=1e-4)


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WEIGHTED", (((2, 0, 0), ">= 3"),))
    monkeypatch.setattr(bench, "CONNECTED", (((2, 0, 0), ">= 50"),))
    seen: list[tuple[int, int]] = []
    *rows, machine = bench.measure(repeats=1, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(0, 2), (1, 2)]
    assert [row["target"] for row in rows] == [">= 3", ">= 50"]
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in rows)
    assert machine["what"] == "machine"
