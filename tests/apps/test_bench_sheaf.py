"""`zoo bench sheaf`: the contestants compute the same, gradients too, and the rows are complete."""

import pytest
import torch

from zoo.apps import _bench_sheaf as bench


def test_all_sides_compute_the_same() -> None:
    sides = bench.contestants(nodes=30, pairs=60, d=3, channels=4)
    expected = sides["ours"]()
    for name in bench.PEERS:
        torch.testing.assert_close(sides[name](), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("peer", list(bench.PEERS))
def test_gradients_agree(peer: str) -> None:
    sides = bench.contestants(nodes=30, pairs=60, d=3, channels=4)
    weights = torch.randn(30, 3, 4, generator=torch.Generator().manual_seed(1))
    leaves: list[torch.Tensor] = []
    found = []
    for name in ("ours", peer):
        out = (sides[name]() * weights).sum()
        leaves = leaves or _leaves(out)
        found.append(torch.autograd.grad(out, leaves))
    assert len(leaves) == 6  # features, two learners, two mixtures, epsilon
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def _leaves(out: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that a result can be differentiated by."""
    seen, found, open_ = set(), [], [out.grad_fn]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        open_ += [following for following, _ in node.next_functions]
    return found


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NODES", 30)
    monkeypatch.setattr(bench, "PAIRS", 60)
    monkeypatch.setattr(bench, "_child", lambda code: str(2.0 if "ours" in code else 10.0))
    seen: list[tuple[int, int]] = []
    *rows, machine = bench.measure(repeats=1, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(k, 5) for k in range(5)]
    assert [row.get("target") for row in rows] == [">= 4", "", ">= 4", "", "milliseconds"]
    assert all(row["ours"] > 0 for row in rows)
    assert rows[2]["ratio"] == 5.0 and rows[0]["ratio"] > 0
    assert machine["what"] == "machine"


def test_peaks_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NODES", 30)
    monkeypatch.setattr(bench, "PAIRS", 60)
    assert bench.peak("ours") >= 0
