"""The benchmark of factorised layers: both contractions agree, rows say what was measured."""

import pytest

from zoo.apps import _bench_tensor_network as bench


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WIDTHS", ((16, 16, (4, 4), (4, 4)),))
    monkeypatch.setattr(bench, "RANKS", (1,))
    monkeypatch.setattr(bench, "ROWS", (2,))
    monkeypatch.setattr(bench, "CONVS", ((16, 4, 2),))
    *rows, summary, machine = bench.measure(repeats=1)
    assert machine["what"] == "machine" and machine["threads"] >= 1
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in rows)
    assert all((row["target"] == "> 1") is (row["operations"] < 0.5) for row in rows)
    words = {word.strip(",:") for row in rows for word in row["what"].split()}
    assert {"cp", "tucker", "tt"} <= words
    below = [row for row in rows if row["operations"] < 0.5]
    assert summary["ours"] == sum(row["ratio"] > 1 for row in below) <= len(below)
    assert summary["target"] == f">= {len(below)}"
