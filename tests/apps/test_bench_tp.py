"""The study of tensor products measures what it says; no time is judged here."""

import csv

import pytest
import torch
from matplotlib.image import imread

from zoo.apps import _bench_tp as bench
from zoo.apps import _bench_tp_report as report
from zoo.cli.main import run
from zoo.errors import ConfigError, DeviceError

TIMED = {"forward_ms", "step_ms", "us_per_output", "memory_mb", "rank", "outputs", "interacts"}


@pytest.fixture(scope="module")
def rows():
    seen = []
    found = bench.measure(
        lmax=2,
        batch=8,
        repeats=3,
        settings=("siso", "mimo"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(n, 4) for n in range(5)]
    return found


def test_rows(rows):
    *cases, machine = rows
    assert machine["what"] == "machine" and machine["threads"] == torch.get_num_threads()
    assert len(cases) == 2 * 2 * len(bench.NAMES)
    for row in cases:
        timed = TIMED | {"e3nn_over"} <= row.keys()
        assert timed != ("note" in row)
        if timed:
            assert all(row[name] > 0 for name in TIMED - {"interacts"})
            assert row["us_per_output"] == pytest.approx(1e3 * row["step_ms"] / row["outputs"])
    missing = [(r["setting"], r["lmax"], r["method"]) for r in cases if "note" in r]
    assert missing == [("siso", 1, "gaunt_grid"), ("siso", 1, "gaunt_fourier")]


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_ranks_by_counting(lmax):
    """Weights that only rescale each other don't count."""
    paths = {1: 5, 2: 14, 3: 30}[lmax]
    for method in ("cg", "cg_sparse"):
        assert bench.rank(bench.product("mimo", lmax, method, 1, "external")) == paths
    for method in ("gaunt_grid", "gaunt_fourier", "matrix"):
        # L + 1, L + 1 and 2 L + 1 weights, two of them to spare
        rank = bench.rank(bench.product("mimo", lmax, method, 1, "external"))
        assert rank == min(4 * lmax + 1, paths)
    assert bench.rank(bench.product("siso", lmax, "cg", 1, "external")) == 1
    assert bench.rank(bench.product("simo", lmax, "cg", 1, "external")) == 2 * lmax + 1


def test_interactability_by_counting():
    for lmax, (even, every) in {1: (5, 6), 2: (14, 19), 3: (30, 44)}.items():
        for method in ("gaunt_grid", "gaunt_fourier"):
            assert bench.interactability("mimo", lmax, method) == (even, every)
        for method in ("cg", "cg_sparse", "matrix", "vector_gaunt"):
            assert bench.interactability("mimo", lmax, method) == (every, every)
    assert bench.interactability("simo", 3, "gaunt_grid") == (4, 7)
    assert bench.interactability("siso", 3, "gaunt_grid") == (0, 1)


def test_memory_counts_what_lives_at_the_same_time():
    given = torch.ones(1000, dtype=torch.float64)
    with bench._Tally([given]) as tally:
        for _ in range(3):
            one = given * 2  # 8 kB each, the last one is gone when the next is there
            one.add_(1)
        given.view(10, 100).sum()
    assert 16_000 <= tally.peak <= 16_100
    del one
    assert tally.now <= 100


def test_the_peer_computes_the_same():
    ours = bench.product("mimo", 2, "cg", 3, "external")
    theirs = bench.product("mimo", 2, bench.PEER, 3, "external")
    x, y = torch.randn(2, 4, ours.irreps_in1.dim)
    weight = torch.randn(ours.weight_numel)
    assert torch.allclose(ours(x, y, weight), theirs(x, y, weight), atol=1e-5)


def test_files(rows, tmp_path):
    *cases, machine = rows
    table, paths, plot = report.write(tmp_path / "new", cases, machine)
    with table.open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == len(cases)
    assert float(written[0]["step_ms"]) == cases[0]["step_ms"]
    assert written[0]["cpu"] == machine["cpu"]
    with paths.open(newline="") as stream:
        listed = {row["path"]: row for row in csv.DictReader(stream) if row["setting"] == "mimo"}
    assert len(listed) == 19
    assert float(listed["1o x 1o -> 1e"]["gaunt_grid"]) == 0
    assert float(listed["1o x 1o -> 1e"]["vector_gaunt"]) != 0
    assert imread(plot).shape[0] > 500


def test_recommendation():
    def row(method, lmax, step, rank, interacts):
        found = {"setting": "mimo", "lmax": lmax, "method": method, "step_ms": step, "rank": rank}
        return found | {"interacts": interacts, "channels": 4, "device": "cpu"}

    rows = [
        row("cg", 2, 1.0, 14, "19/19"),
        row("gaunt_grid", 2, 2.0, 9, "14/19"),
        row("cg", 3, 4.0, 30, "44/44"),
        row("gaunt_grid", 3, 2.0, 13, "30/44"),
        row("matrix", 3, 3.0, 13, "44/44"),
        row("e3nn", 3, 0.1, 30, "44/44"),
    ]
    (text,) = report.recommendation(rows)
    assert text == (
        "mimo, L = 3, 4 channels, cpu: for the most freedom (30 dimensions of maps, 44/44 paths) "
        "take cg, 4 ms a step. gaunt_grid is 2 times as fast, with 13 dimensions and 30/44 paths; "
        "it is the faster one from L = 3 on. matrix reaches every path with 13 dimensions in 3 ms."
    )
    (text,) = report.recommendation(rows[:2])
    assert text.endswith("take cg, 1 ms a step; nothing measured here is clearly faster.")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"settings": ["mim"]}, ConfigError, "no setting 'mim'; did you mean 'mimo'"),
        ({"methods": ["gaunt"]}, ConfigError, "no method 'gaunt'"),
        ({"methods": []}, ConfigError, "no method was chosen"),
        ({"lmax": 13}, ConfigError, "lmax=13.*take 1 to 12"),
        ({"device": "cuda:99x"}, DeviceError, "no device is called"),
        ({"device": "meta"}, DeviceError, "'cpu' and 'cuda' only"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        bench.measure(**options)


def test_command(capsys, tmp_path):
    words = "bench tensor-products --lmax 1 --batch 4 --repeats 3 --settings mimo --no-so2".split()
    assert run([*words, "--methods", "cg,gaunt_grid", "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert (
        "setting  L  method" in out and "mimo, L = 1, 1 channel, cpu: for the most freedom" in out
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "tensor-products-paths.csv",
        "tensor-products.csv",
        "tensor-products.png",
    ]
