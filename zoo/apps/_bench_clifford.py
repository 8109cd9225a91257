"""`zoo bench clifford`: geometric products with weights against their einsum formulation.

The peer is written here from its formula: the weights of the paths are spread over the dense table
of the algebra, and one einsum multiplies three factors. Forward and backward, float32, eager;
contestants take turns in one run, and `ratio` is the median over rounds of the peer's time over
ours. Run it with OMP_NUM_THREADS=1 for what the targets are about, one thread.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.functional import clifford
from zoo.functional.clifford import Algebra, algebra

Row = dict[str, Any]

BATCH, CHANNELS = 1024, 32
#: signature, target of the product of each channel with itself
WEIGHTED = (((3, 0, 0), ">= 3"), ((1, 3, 0), ">= 10"), ((5, 0, 0), ">= 20"))
CONNECTED = (((3, 0, 0), ">= 50"),)


def measure(*, repeats: int = 10, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `ours`, `peer` (ms), `ratio`, `target`; the last one is the machine.
    """
    jobs = [(s, target, False) for s, target in WEIGHTED]
    jobs += [(s, target, True) for s, target in CONNECTED]
    rows: list[Row] = []
    for signature, target, connected in jobs:
        if progress is not None:
            progress(len(rows), len(jobs))
        rows.append(_row(algebra(*signature), target, connected, repeats))
    return [*rows, {"what": "machine", **machine()}]


def _row(of: Algebra, target: str, connected: bool, repeats: int) -> Row:
    ours, peer = contestants(of, connected=connected)
    seconds = interleaved(
        {"ours": lambda: _train(ours), "peer": lambda: _train(peer)}, repeats=repeats, warmup=1
    )
    kind = f"connected product, {CHANNELS} -> {CHANNELS}" if connected else "weighted product"
    return {
        "what": f"{kind}, Cl{of.signature}: {BATCH} x {CHANNELS}, forward + backward (ms)",
        "ours": median_ms(seconds["ours"]),
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
        "target": target,
    }


def contestants(
    of: Algebra, *, connected: bool, batch: int = BATCH, channels: int = CHANNELS
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Our product and the einsum, of the same leaves; both as the public layout has them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, y = (torch.randn(batch, channels, of.blades).requires_grad_() for _ in range(2))
        shape = (channels,) * (1 + connected)
        weight = torch.randn(*shape, len(of.paths)).requires_grad_()
    table = _dense(of)
    formula = "bni,mnijk,bnk->bmj" if connected else "bni,nijk,bnk->bnj"
    product = clifford.connected_product if connected else clifford.weighted_product

    def peer() -> Tensor:
        return torch.einsum(formula, x, _spread(weight, of) * table, y)

    return lambda: product(x, y, weight, of), peer


def _spread(weight: Tensor, of: Algebra) -> Tensor:
    """(..., paths) as (..., left, output, right): first per grades, then per blades."""
    grades = of.dimension + 1
    left, out, right = torch.tensor(of.paths).T
    by_grade = weight.new_zeros((*weight.shape[:-1], grades, grades, grades))
    by_grade[..., left, out, right] = weight
    sizes = torch.tensor(of.sizes)
    for axis in (-3, -2, -1):
        by_grade = by_grade.repeat_interleave(sizes, dim=axis)
    return by_grade


def _dense(of: Algebra) -> Tensor:
    """The dense table (left, output, right) of signs."""
    table = np.zeros((of.blades,) * 3, dtype=np.float32)
    i, k = np.nonzero(of.signs)
    table[i, of.target[i, k], k] = of.signs[i, k]
    return torch.from_numpy(table)


def _train(forward: Callable[[], Tensor]) -> None:
    """Forward and backward; gradients add up in the leaves, for both contestants alike."""
    forward().square().sum().backward()
