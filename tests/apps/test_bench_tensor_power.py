"""`zoo bench tensor-power`: both sides compute the same, and the rows are complete."""

import pytest
import torch

from zoo.apps import _bench_tensor_power as bench


def test_both_sides_compute_the_same() -> None:
    sides = bench.contestants(6)
    found = {name: side() for name, side in sides.items()}
    torch.testing.assert_close(found["ours"], found["peer"], rtol=1e-4, atol=1e-4)


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NODES", 5)
    monkeypatch.setattr(bench, "LARGE", (5, 6, 12))
    monkeypatch.setattr(bench, "_child", lambda code: "40.0" if "peak(12)" in code else "10.0")
    seen: list[tuple[int, int]] = []
    *rows, machine = bench.measure(repeats=1, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(k, 6) for k in range(6)]
    assert [row.get("target") for row in rows] == [">= 10", None, None, None, "<= 1024", "<= 4.5"]
    assert rows[0]["ratio"] > 0 and rows[4]["ours"] == 10.0 and rows[5]["ratio"] == 4.0
    assert machine["what"] == "machine"


def test_peaks_are_measured() -> None:
    assert bench.peak(16) >= 0
