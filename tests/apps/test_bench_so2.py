"""The benchmark of the SO(2) convolution measures the same map on both sides."""

import re

import pytest

from zoo.apps._bench_so2 import exponent, measure


def test_rows():
    rows = measure(1, lmax=2, channels=2, edges=6, degrees=(1, 2))
    assert len(rows) == 3
    for row, orders, target in zip(rows, (2, 2), (15, 30), strict=False):
        assert f"L=2, M={orders}" in row["what"] and row["target"] == f">= {target}"
        assert row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0
        assert float(re.findall(r"agree to (\S+)", row["note"])[0]) < 1e-4
    assert rows[2]["note"].startswith("L=1: ") and rows[2]["target"] == "<= 3"


def test_rows_without_a_peer_and_without_high_orders(monkeypatch):
    monkeypatch.setattr("zoo.apps._bench_so2.PEER_LIMIT", 0)
    seen = []
    rows = measure(
        1, lmax=1, channels=2, edges=3, degrees=(1, 2), progress=lambda *p: seen.append(p)
    )
    assert [row["what"][:24] for row in rows] == [
        "SO2Convolution, L=1, M=1",
        "SO2Convolution, M=L: exp",
    ]
    assert "peer" not in rows[0] and rows[0]["note"] == "no peer beyond L=0"
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_exponent():
    assert exponent([2, 4, 8], [3.0, 24.0, 192.0]) == pytest.approx(3.0)
    assert exponent([1, 10], [5.0, 5.0]) == pytest.approx(0.0)
