"""The study of path-shared products times the same function on both sides; no time is judged."""

import pytest
import torch
from matplotlib.image import imread

from zoo.apps import _bench_cp as bench


@pytest.mark.parametrize("second", [1, 4], ids=["messages", "channel by channel"])
def test_the_peer_computes_the_same(second):
    steps, difference = bench._compared(bench.Sizes(2, 4, 3), second)
    assert difference < 1e-5
    ours, theirs = steps["ours"](), steps["peer"]()
    # gradients of the other input, which lies alike in both layouts where it has one channel
    if second == 1:
        assert torch.allclose(ours[1].flatten(), theirs[1].flatten(), rtol=1e-4, atol=1e-3)
    else:
        assert float(ours[1].norm()) == pytest.approx(float(theirs[1].norm()), rel=1e-4)


def test_rows_and_plot(tmp_path):
    done = []
    rows = bench.measure(2, lmax=1, channels=4, edges=3, progress=lambda *at: done.append(at))
    assert done == [(n, 3) for n in range(4)]
    messages, channelwise, *growth = rows
    assert messages["target"] == ">= 3" and "target" not in channelwise
    for row in (messages, channelwise):
        assert min(row["ours"], row["peer"], row["ratio"]) > 0
    assert [row["method"] for row in growth] == list(bench.COLOURS)
    assert all(len(row["times"]) == 1 and "ours" not in row for row in growth)
    bench.plot(tmp_path / "growth.png", rows, "title")
    assert imread(tmp_path / "growth.png").shape[0] > 300


def test_growth_has_an_exponent():
    times = [float((n + 1) ** 2) for n in range(1, 7)]
    assert bench._growth("cp", times)["ours"] == pytest.approx(2.0)
