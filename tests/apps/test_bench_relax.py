"""The benchmark of relaxation: both sides do the same work, and the rows say so."""

from zoo.apps._bench_relax import measure, workload
from zoo.cli import _common
from zoo.cli.bench import COLUMNS


def test_rows() -> None:
    seen: list[tuple[int, int]] = []
    *rows, machine = measure(structures=4, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert rows[0]["ratio"] > 0
    shares = {row["what"]: row["ours"] for row in rows if "share" in row["what"]}
    assert list(shares.values()) == [1.0, 1.0]
    assert machine["what"] == "machine"
    assert f"{rows[0]['ratio']:.4g}" in _common.table(rows, COLUMNS)


def test_molecules_have_only_known_elements() -> None:
    frames = workload(100, {1, 8})
    assert {int(z) for frame in frames for z in frame.numbers} == {1, 8}
    assert min(map(len, frames)) > 2
