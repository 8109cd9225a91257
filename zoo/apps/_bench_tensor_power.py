"""`zoo bench tensor-power`: the layer of S_n from order 2 to order 2 against its dense maps.

The peer has the 15 maps as one dense tensor (15, n^2, n^2), applies them to the input and mixes
maps and channels; what depends on n alone, the dense maps, is made before. At n = 64 they take
1 GB, at n = 128 they would take 16 GB.

Forward and backward, float32; contestants take turns in one run, and `ratio` is the median over
rounds of the peer's time over ours. Memory is the peak above what was in use before, each in a
process of its own. Run it with OMP_NUM_THREADS=1 for what the targets are about, one thread.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.apps._memory import peak_memory, reset_peak
from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.errors import ZooError
from zoo.functional import tensor_power as tp
from zoo.layers.tensor_power import TensorPowerLinear

Row = dict[str, Any]

CHANNELS, BATCH = 16, 4
#: n of the comparison with dense maps, and those at which the layer alone is measured
NODES = 64
LARGE = (64, 128, 256)


def measure(*, repeats: int = 5, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`; the last one is the machine.
    """
    jobs: list[Callable[[], Row]] = [lambda: _time(repeats)]
    jobs += [lambda n=n: _alone(n, repeats) for n in LARGE]  # type: ignore[misc]
    jobs += [_memory, _growth]
    rows: list[Row] = []
    for job in jobs:
        if progress is not None:
            progress(len(rows), len(jobs))
        rows.append(job())
    return [*rows, {"what": "machine", **machine()}]


def _what(n: int) -> str:
    return f"S(n), orders 2 -> 2, n = {n}, {CHANNELS} channels, {BATCH} samples"


def _time(repeats: int) -> Row:
    sides = contestants(NODES)
    found = interleaved(
        {name: lambda side=side: _train(side) for name, side in sides.items()},  # type: ignore[misc]
        repeats=repeats,
        warmup=1,
    )
    return {
        "what": f"{_what(NODES)}, against dense maps: forward + backward (ms)",
        "ours": median_ms(found["ours"]),
        "peer": median_ms(found["peer"]),
        "ratio": median_ratio(found["peer"], found["ours"]),
        "target": ">= 10",
    }


def _alone(n: int, repeats: int) -> Row:
    side = contestants(n, dense=False)["ours"]
    seconds = interleaved({"ours": lambda: _train(side)}, repeats=repeats)
    return {"what": f"{_what(n)}: forward + backward (ms)", "ours": median_ms(seconds["ours"])}


def _memory() -> Row:
    n = LARGE[1]
    row: Row = {"what": f"{_what(n)}: peak memory (MB)", "ours": _peak(n)}
    return row | {"target": "<= 1024"}


def _growth() -> Row:
    small, large = LARGE[1:]
    ratio = _peak(large) / _peak(small)
    what = f"peak memory at n = {large} over that at n = {small}; {(large / small) ** 2:.0f} is n^2"
    return {"what": what, "ratio": ratio, "target": "<= 4.5"}


def _peak(n: int) -> float:
    code = (
        "from zoo.apps import _bench_tensor_power as bench; import json, sys; "
        f"sys.stdout.write(json.dumps(bench.peak({n})))"
    )
    return float(json.loads(_child(code)))


def peak(n: int) -> float:
    """MB above the memory before that a forward and backward pass takes."""
    side = contestants(n, dense=False)["ours"]
    before = reset_peak()
    _train(side)
    return peak_memory() - before


def _child(code: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise ZooError(f"a measurement in a process of its own failed: {done.stderr[-500:]}")
    return done.stdout


def _train(forward: Callable[[], Tensor]) -> None:
    """Forward and backward; gradients add up in the leaves, for all contestants alike."""
    forward().square().sum().backward()


def contestants(n: int, *, dense: bool = True) -> dict[str, Callable[[], Tensor]]:
    """The layer and its dense form, of the same leaves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = TensorPowerLinear("S", 2, 2, CHANNELS, CHANNELS, bias=False, normalize="sum")
        x = (torch.randn(BATCH, CHANNELS, n, n) / n).requires_grad_()

    def ours() -> Tensor:
        out: Tensor = layer(x)
        return out

    if not dense:
        return {"ours": ours}
    maps = torch.stack([tp.dense(diagram, n, 2).float() for diagram in layer.diagrams])
    flat = maps.reshape(-1, n * n)  # (15 n^2, n^2)

    def peer() -> Tensor:
        applied = flat @ x.reshape(-1, n * n).T  # (15 n^2, samples x channels)
        each = applied.reshape(len(maps), n * n, BATCH, CHANNELS)
        return torch.einsum("ocd,dibc->boi", layer.weight, each).reshape(BATCH, CHANNELS, n, n)

    return {"ours": ours, "peer": peer}
