"""The benchmark of manifolds: all rows, the same results on both sides, optional peers."""

import importlib.util

import pytest
import torch

from zoo.apps import _bench_manifolds as bench


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "SIZE", 6)
    monkeypatch.setattr(bench, "BATCH", 5)
    monkeypatch.setattr(bench, "POINTS", 7)
    monkeypatch.setattr(bench, "DIMENSION", 4)


def test_rows():
    seen = []
    *rows, machine = bench.measure(
        repeats=1, progress=lambda done, total: seen.append((done, total))
    )
    assert machine["what"] == "machine"
    assert len(rows) == 11
    assert seen == [(k, 11) for k in range(11)]
    for row in rows:
        assert row["ours"] > 0
        assert row["peer"] > 0
        assert row["ratio"] > 0
        assert row["target"].startswith(">= ")
    text = " ".join(row["what"] for row in rows)
    for word in ("SPDNet", "LieBN AIM", "LieBN LCM", "distance", "log", "exp", "Möbius", "HNN++"):
        assert word in text
    assert "6 x (6, 6)" not in text
    assert "5 x (6, 6)" in text


def test_a_missing_peer_is_named(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in ("spd_learn", "hypll") else true(name),
    )
    *rows, _ = bench.measure(repeats=1)
    lacking = [row for row in rows if row["peer"] is None]
    assert len(lacking) == 6
    assert {row["note"].split(" ")[0] for row in lacking} == {"spd-learn", "hypll"}
    assert all("pip install" in row["note"] and "ratio" not in row for row in lacking)


@pytest.mark.parametrize("name", ["dist", "log", "exp"])
def test_both_sides_compute_the_same(name):
    torch.manual_seed(0)
    sides = bench._spd(name)
    assert torch.allclose(sides["ours"](), sides["peer"](), rtol=1e-4, atol=1e-4)
