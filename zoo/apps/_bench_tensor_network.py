"""`zoo bench tensor-network`: layers that go through their cores against multiplying them out.

Linear layers over a grid of widths, formats, ranks and rows, and two convolutions; forward, and
forward with backward. Both contractions are of the same layer and take turns in one run; `ratio` is
the median over rounds of the time with the weight multiplied out over the time through the cores.
Run it with OMP_NUM_THREADS=1 for one thread.

The aim: through the cores is faster wherever its operations, known beforehand, are below half.
"""

import itertools
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from torch import nn

from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.layers.tensor_network import Contraction, FactorizedConv2d, FactorizedLinear, MatrixFormat

Row = dict[str, Any]

#: inputs, outputs, and their modes where a format has several
WIDTHS: Final = (
    (256, 256, (16, 16), (16, 16)),
    (784, 512, (28, 28), (16, 32)),
    (1024, 1024, (8, 16, 8), (8, 16, 8)),
)
FORMATS: Final = ("cp", "tucker", "tt", "tr")
RANKS: Final = (2, 8, 32)
ROWS: Final = (1, 64, 1024)
#: channels, places along each side, batch
CONVS: Final = ((64, 16, 8), (128, 8, 8))


def measure(*, repeats: int = 7, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All rows.

    Args:
        repeats: timed rounds.
        progress: called with (rows done, rows in all).

    Returns:
        Rows with `what`, `operations` (of the cores over those of the full weight), `ours`,
        `peer` (ms), `ratio`, `target`; then how many below half of the operations are faster, and
        the machine.
    """
    jobs = [*_linears(), *_convs()]
    rows: list[Row] = []
    for what, layer, x, share in jobs:
        for backward in (False, True):
            if progress is not None:
                progress(len(rows), 2 * len(jobs))
            rows.append(_row(what, layer, x, share, backward, repeats))
    below = [row for row in rows if row["operations"] < 0.5]
    faster = sum(row["ratio"] > 1 for row in below)
    summary = {
        "what": f"faster, of {len(below)} with less than half the operations",
        "ours": faster,
        "target": f">= {len(below)}",
    }
    return [*rows, summary, {"what": "machine", **machine()}]


def _linears() -> list[tuple[str, nn.Module, torch.Tensor, float]]:
    jobs: list[tuple[str, nn.Module, torch.Tensor, float]] = []
    for (i, o, ins, outs), format, rank in itertools.product(WIDTHS, FORMATS, RANKS):
        chain = format in ("tt", "tr")
        layer = FactorizedLinear(
            i,
            o,
            in_shape=ins if chain else None,
            out_shape=outs if chain else None,
            format=cast(MatrixFormat, format),
            rank=rank,
        )
        for rows in ROWS:
            ours = layer.operations(rows, "factorized")
            share = ours / layer.operations(rows, "reconstructed")
            if share < 1:
                what = f"linear {i} -> {o}, {format} of rank {rank}, {rows} rows"
                jobs.append((what, layer, torch.randn(rows, i), share))
    return jobs


def _convs() -> list[tuple[str, nn.Module, torch.Tensor, float]]:
    jobs: list[tuple[str, nn.Module, torch.Tensor, float]] = []
    for (channels, side, batch), format in itertools.product(CONVS, FORMATS):
        layer = FactorizedConv2d(
            channels,
            channels,
            3,
            padding=1,
            format=cast(MatrixFormat, format),
            rank=4 if format == "tr" else channels // 4,
        )
        grid = (side, side)
        ours = layer.operations(batch, grid, "factorized")
        share = ours / layer.operations(batch, grid, "reconstructed")
        if share < 1:
            what = f"convolution 3 x 3 of {channels} channels on {side} x {side}, {format}"
            jobs.append((what, layer, torch.randn(batch, channels, *grid), share))
    return jobs


def _row(what: str, layer: Any, x: torch.Tensor, share: float, backward: bool, repeats: int) -> Row:
    def call(contraction: Contraction) -> None:
        layer.contraction = contraction
        if backward:
            layer(x).square().sum().backward()
        else:
            with torch.no_grad():
                layer(x)

    found = interleaved(
        {"ours": lambda: call("factorized"), "peer": lambda: call("reconstructed")},
        repeats=repeats,
    )
    return {
        "what": f"{what}: forward{' + backward' if backward else ''} (ms)",
        "operations": share,
        "ours": median_ms(found["ours"]),
        "peer": median_ms(found["peer"]),
        "ratio": median_ratio(found["peer"], found["ours"]),
        "target": "> 1" if share < 0.5 else "",
    }
