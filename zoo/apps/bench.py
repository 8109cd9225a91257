"""Benchmarks of the atoms domain: training step, memory, neighbour lists, start-up, scatter, data.

Every row names its unit; `ratio` is the peer over ours (above one: ours is faster or smaller)
except for the neighbour list, where it is ours over vesin's. Ratios are medians over rounds in
which both took their turn.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from vesin import NeighborList

from zoo.apps import _bench_models
from zoo.apps._memory import peak_memory, reset_peak
from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.datasets.atoms import to_batch
from zoo.errors import ZooError
from zoo.functional import neighbor_list, scatter_sum

Row = dict[str, Any]


def atoms(
    name: str = "tensornet", *, repeats: int = 20, peers: str | Path | None = None
) -> list[Row]:
    """Times and memory of an architecture and of what serves every architecture on atoms.

    Args:
        name: architecture or preset.
        repeats: timed rounds.
        peers: folder with the authors' packages, see `zoo.apps._peers` and, for eSCN and
            EquiformerV2, `zoo.apps._peers_fairchem`.

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`; the last one is the machine.
    """
    folder = Path(peers) if peers is not None else None
    rows = [_step(name, repeats, folder), _memory(name, folder), *_construction(name)]
    rows += [_small_lists(repeats), _large_list(max(repeats // 2, 3))]
    rows += [_start("import zoo"), _start("import zoo.cli.main as m; m.run(['list'])")]
    trained = _bench_models.MATCHES[name].trained if name in _bench_models.MATCHES else name
    rows += [_overhead(trained, repeats), _scatter(repeats)]
    return [*rows, {"what": "machine", **machine()}]


def data(
    name: str = "tensornet", *, frames: int = 100_000, megabytes: int = 1024, steps: int = 40
) -> list[Row]:
    """Speed and memory of reading data, see `zoo.apps._bench_data.measure`."""
    from zoo.apps._bench_data import measure

    return measure(name=name, frames=frames, megabytes=megabytes, steps=steps)


# --- the training step ------------------------------------------------------------------------


def workload() -> list[Atoms]:
    """Eight random molecules of 21 atoms."""
    rng = np.random.default_rng(3)
    return [cluster(rng, 21) for _ in range(8)]


def cluster(rng: np.random.Generator, size: int) -> Atoms:
    """Random H, C, N, O, F atoms at least 0.9 Å apart, as dense as a molecule."""
    points: list[np.ndarray] = []
    while len(points) < size:
        point = rng.normal(size=3) * 0.9 * size ** (1 / 3)
        if all(np.linalg.norm(point - other) > 0.9 for other in points):
            points.append(point)
    return Atoms(rng.choice([1, 6, 7, 8, 9], size), positions=np.array(points))


def contestants(name: str, folder: Path | None) -> dict[str, Callable[[], None]]:
    """Training steps on the workload: ours and, where it is installed, the authors'."""
    return _bench_models.contestants(name, folder, to_batch(workload(), dtype=torch.float32))


def _step(name: str, repeats: int, folder: Path | None) -> Row:
    seconds = interleaved(contestants(name, folder), repeats=repeats)
    row: Row = {
        "what": f"{name}: training step, 8 x 21 atoms (ms)",
        "ours": median_ms(seconds["ours"]),
    }
    if "peer" not in seconds:
        known = name in _bench_models.MATCHES
        return row | {"peer": None, "note": "peer not installed" if known else "none"}
    return row | {
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
        "target": _bench_models.MATCHES[name].target,
    }


def _memory(name: str, folder: Path | None) -> Row:
    """Peak resident memory above the imported baseline, each side in its own process."""
    row: Row = {"what": f"{name}: peak memory of the step (MB)"}
    for side in ("ours", "peer"):
        found = _child(
            "from zoo.apps import bench; import json, sys; "
            f"sys.stdout.write(json.dumps(bench.peak({name!r}, {side!r}, {_text(folder)})))"
        )
        row[side] = json.loads(found)
    if row["peer"] is None:
        return row
    target = _bench_models.MATCHES[name].memory
    return row | {"ratio": row["peer"] / row["ours"], "target": target}


def _construction(name: str) -> list[Row]:
    """Building both models anew, after both were built before."""
    match = _bench_models.MATCHES.get(name)
    if match is None or match.build is None:
        return []
    seconds = interleaved(match.build, repeats=2, warmup=1)
    row: Row = {"what": f"{name}: construction (ms)"}
    row |= {side: median_ms(taken) for side, taken in seconds.items()}
    return [row | {"ratio": median_ratio(seconds["peer"], seconds["ours"]), "target": ">= 100"}]


def peak(name: str, side: str, folder: str | None) -> float | None:
    """MB above the memory after imports that a few steps take; None without this contestant."""
    # both sides import everything and build both models before the baseline is read
    steps = contestants(name, Path(folder) if folder else None)
    if side not in steps:
        return None
    before = reset_peak()
    for _ in range(3):
        steps[side]()
    return peak_memory() - before


# --- neighbour lists --------------------------------------------------------------------------


def _small_lists(repeats: int) -> Row:
    rng = np.random.default_rng(0)
    molecules = [cluster(rng, int(n)) for n in rng.integers(6, 13, size=64)]
    batch = to_batch(molecules, dtype=torch.float32)
    run = {"ours": lambda: neighbor_list(batch.pos, 5.0, batch.batch, batch.cell, batch.pbc)}
    seconds = interleaved(run, repeats=repeats)
    return {
        "what": f"neighbour list: 64 molecules, {len(batch.pos)} atoms, 5 Å (ms)",
        "ours": median_ms(seconds["ours"]),
        "target": "< 2",
    }


def _large_list(repeats: int) -> Row:
    crystal = bulk("Cu", cubic=True) * (14, 14, 13)
    crystal.rattle(0.05, seed=0)
    batch = to_batch(crystal, dtype=torch.float64)
    host = NeighborList(cutoff=5.0, full_list=True)
    run: dict[str, Callable[[], object]] = {
        "ours": lambda: neighbor_list(batch.pos, 5.0, batch.batch, batch.cell, batch.pbc),
        "vesin": lambda: host.compute(crystal.positions, crystal.cell.array, True, "ijS"),
    }
    seconds = interleaved(run, repeats=repeats)
    return {
        "what": f"neighbour list: {len(crystal)} periodic atoms, 5 Å, against vesin (ms)",
        "ours": median_ms(seconds["ours"]),
        "peer": median_ms(seconds["vesin"]),
        "ratio": median_ratio(seconds["ours"], seconds["vesin"]),
        "target": "<= 2",
    }


# --- start-up, training overhead, scatter ------------------------------------------------------


def _start(code: str) -> Row:
    """Seconds of a fresh interpreter on `code`, without the interpreter's own start."""

    def run(text: str) -> Callable[[], object]:
        return lambda: _child(text)

    seconds = interleaved({"code": run(code), "none": run("")}, repeats=5, warmup=1)
    spent = (median_ms(seconds["code"]) - median_ms(seconds["none"])) / 1e3
    words = "import zoo" if code == "import zoo" else "zoo list"
    return {"what": f"{words} (s)", "ours": spent, "target": "< 1"}


def _overhead(name: str, repeats: int) -> Row:
    from zoo.apps._bench_training import overhead

    pure, trained = overhead(name, steps=max(2 * repeats, 20))
    return {
        "what": f"{name}: fine-tuning step against a bare loop (ms)",
        "ours": 1e3 * trained,
        "peer": 1e3 * pure,
        "ratio": trained / pure,
        "target": "<= 1.10",
    }


def _scatter(repeats: int) -> Row:
    row: Row = {"what": "scatter: 20 000 x 128 rows into 1 000, against torch-scatter (ms)"}
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(20_000, 128, generator=generator)
    index = torch.randint(1000, (20_000,), generator=generator)
    run: dict[str, Callable[[], object]] = {"ours": lambda: scatter_sum(source, index, 1000)}
    if importlib.util.find_spec("torch_scatter") is not None:
        run["peer"] = lambda: scatter_sum(source, index, 1000, backend="torch_scatter")
    seconds = interleaved(run, repeats=repeats)
    row["ours"] = median_ms(seconds["ours"])
    if "peer" not in seconds:
        return row | {"note": "torch-scatter not installed (make scatter)"}
    return row | {
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
    }


def _child(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ZooError(f"a benchmark process failed: {_last(done.stderr.splitlines())}")
    return done.stdout


def _last(lines: Iterable[str]) -> str:
    return next(reversed([line for line in lines if line.strip()]), "no message")


def _text(folder: Path | None) -> str:
    return "None" if folder is None else repr(str(folder))
