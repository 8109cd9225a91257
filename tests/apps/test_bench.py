"""The benchmark measures what it says; no number is judged here."""

import mmap
import time

import pytest
import torch

from zoo import registry
from zoo.apps import _bench_models, _peers, _peers_fairchem, _peers_pyg, bench
from zoo.apps._memory import peak_memory, reset_peak
from zoo.apps._timing import interleaved, machine, median_ratio
from zoo.errors import MissingExtraError


def test_contestants_take_turns():
    order = []
    seconds = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3, warmup=1
    )
    assert order == ["a", "b"] * 4
    assert len(seconds["a"]) == len(seconds["b"]) == 3


def test_ratio_is_taken_within_rounds():
    assert median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == 3.0


def test_peak_memory_sees_an_allocation():
    # pages that no allocator had before: a tensor may get memory that is resident already
    pages = mmap.mmap(-1, 64 * 1024**2)
    before = reset_peak()
    for start in range(0, len(pages), mmap.PAGESIZE):
        pages[start] = 1
    pages.close()
    assert peak_memory() - before > 50


def test_rows(monkeypatch):
    # start-up is measured in fresh interpreters by tests/test_import.py, the step below
    monkeypatch.setattr(bench, "_start", lambda code: {"what": code})
    monkeypatch.setattr(bench, "_memory", lambda name, folder: {"what": "memory"})
    rows = bench.atoms("tensornet-s", repeats=2)
    timed = [row for row in rows if "ours" in row]
    assert len(timed) == 5
    assert all(row["ours"] > 0 for row in timed)
    assert rows[-1]["threads"] == torch.get_num_threads()
    assert rows[-1].keys() == {"what", *machine()}


def test_memory_is_measured_in_a_process_of_its_own():
    row = bench._memory("tensornet-s", None)
    assert row["ours"] > 1 and row["peer"] is None


def test_construction_is_compared_where_the_peer_takes_long(monkeypatch):
    made = []
    monkeypatch.setattr(_peers_pyg, "build", lambda name: made.append(name) or time.sleep(0.2))
    (row,) = bench._construction("dimenetpp")
    assert made == ["dimenetpp"] * 3
    assert row["peer"] >= 200 and row["ratio"] > 1
    assert bench._construction("tensornet") == bench._construction("tensornet-s") == []


def test_missing_peer_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_peers, "available", lambda package, folder: False)
    with pytest.raises(MissingExtraError, match="pip install --no-deps --target"):
        _peers.torchmd_net(tmp_path)


def test_data_rows():
    rows = bench.data("tensornet-s", frames=300, megabytes=1, steps=3)
    assert rows[-1].keys() == {"what", *machine()}
    assert len(rows) == 10
    assert all(row["ours"] >= 0 for row in rows[:-1])
    speeds = [row["ours"] for row in rows if "1/s" in row["what"]]
    assert len(speeds) == 3 and all(speed > 1 for speed in speeds)


def test_missing_fairchem_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_peers_fairchem, "available", lambda package, folder: False)
    with pytest.raises(MissingExtraError, match="fairchem-core==1.10.0"):
        _peers_fairchem.escn(tmp_path, {})
    with pytest.raises(MissingExtraError, match="fairchem-core==1.10.0"):
        _peers_fairchem.equiformer_v2(tmp_path, {})


def test_what_is_compared_is_an_architecture_with_a_converter():
    for name, match in _bench_models.MATCHES.items():
        spec, preset = registry.resolve(name)
        assert not preset and registry.module_of(spec).CONVERTERS
        assert registry.resolve(match.trained)[0] is spec
