"""The path-shared product against e3nn with the same weights, and its growth with the degree.

Messages: features of all degrees up to L times the harmonics of an edge, one weight for each edge
and channel. e3nn's `TensorProduct` gets all paths of the same degrees, and each path the same
weight; results are compared before anything is timed. Channel by channel: two features of as many
channels, through the factors, against e3nn's "uuu".

The growth is that of messages with `CPTensorProduct` (each edge's harmonics contracted once),
`TensorProduct` by "cg" and "gaunt_grid", and of `SO2Convolution`, which mixes channels as well, and
of "cp" channel by channel. Times are of forward and backward, with the gradients of both inputs and
the weights.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from e3nn import o3
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter
from torch import Tensor

from zoo._files import write_atomic
from zoo.apps._bench_so2 import exponent
from zoo.apps._timing import interleaved, median_ms, median_ratio
from zoo.functional import to_e3nn
from zoo.layers.equivariant import CPTensorProduct, EdgeFrames, SO2Convolution, TensorProduct

Row = dict[str, Any]
Step = Callable[[], object]
#: the least ratio of e3nn's time to ours
TARGET = 3.0
#: what the growth is measured of, and how it is drawn
COLOURS = {
    "cp": "#b07c1f",
    "cp, channel by channel": "#dcb35c",
    "cg": "#1f6f8b",
    "gaunt_grid": "#c8553d",
    "SO(2), mixes channels": "#5f8f4e",
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """Of a case."""

    lmax: int
    channels: int
    edges: int
    device: torch.device = CPU


def measure(
    repeats: int = 5,
    *,
    lmax: int = 6,
    channels: int = 128,
    edges: int = 200,
    device: torch.device = CPU,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Times against e3nn at degree 3 (or `lmax`, if lower), and of all methods from 1 to `lmax`.

    Args:
        repeats: timed rounds.
        lmax: highest degree of the growth, up to 6.
        channels: of the features; the growth is measured with a quarter of them.
        edges: samples.
        device: to run on.
        progress: called with the parts done and their number.

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`, `note`; those of the growth have
        `lmax`, `method` and `ms` as well.
    """
    report = progress or (lambda done, total: None)
    parts = lmax + 2
    report(0, parts)
    compared = Sizes(min(3, lmax), channels, edges, device)
    rows = [_messages(repeats, compared)]
    report(1, parts)
    rows.append(_channelwise(repeats, compared))
    found: dict[str, list[float]] = {}
    for degree in range(1, lmax + 1):
        report(1 + degree, parts)
        steps = _growing(Sizes(degree, max(channels // 4, 1), edges, device))
        for name, seconds in interleaved(steps, repeats=repeats).items():
            found.setdefault(name, []).append(median_ms(seconds))
    report(parts, parts)
    return [*rows, *(_growth(name, times) for name, times in found.items())]


def plot(path: Path, rows: Sequence[Row], title: str) -> None:
    """Step times over the degree, one line for each method.

    Args:
        path: of the PNG.
        rows: what `measure` returned.
        title: with the machine.
    """
    figure = Figure(figsize=(6.4, 4.8), dpi=110, layout="constrained")
    axis = figure.subplots()
    for row in rows:
        if "times" in row:
            degrees = list(range(1, len(row["times"]) + 1))
            name = row["method"]
            colour = COLOURS[name]
            axis.plot(degrees, row["times"], color=colour, marker="o", markersize=3.5, label=name)
    axis.set_xlabel("L")
    axis.set_ylabel("step (ms)")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(visible=True, which="major", color="#e6e6e6", linewidth=0.7)
    axis.legend(frameon=False)
    axis.set_title(title, fontsize=9)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomic(path, buffer.getvalue())


# --- cases --------------------------------------------------------------------------------------


def irreps(lmax: int, channels: int) -> o3.Irreps:
    """All degrees with even parity, so that every path is allowed."""
    return o3.Irreps([(channels, (degree, 1)) for degree in range(lmax + 1)])


def peer(lmax: int, channels: int, second: int) -> tuple[o3.TensorProduct, Tensor]:
    """e3nn's product over all paths, and what a path-shared weight is in its normalisation.

    Args:
        lmax: highest degree.
        channels: of the features and the result.
        second: channels of the other input.

    Returns:
        The product, and the factor of each path's weight.
    """
    mode = "uvu" if second == 1 else "uuu"
    first, other = irreps(lmax, channels), irreps(lmax, second)
    paths = [
        (i, j, k, mode, True)
        for i in range(lmax + 1)
        for j in range(lmax + 1)
        for k in range(abs(i - j), min(i + j, lmax) + 1)
    ]
    module = o3.TensorProduct(
        first, other, first, paths, internal_weights=False, shared_weights=False
    )
    # e3nn multiplies w3j by sqrt((2 l3 + 1) / paths into k)
    counts = [sum(path[2] == k for path in paths) for k in range(lmax + 1)]
    scale = [(counts[path[2]] / (2 * path[2] + 1)) ** 0.5 for path in paths]
    return module, torch.tensor(scale)


def _case(sizes: Sizes, second: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, the other input and a weight per sample and channel."""
    generator = torch.Generator().manual_seed(0)
    rows = (sizes.lmax + 1) ** 2
    shapes = ((rows, sizes.channels), (rows, second), (sizes.channels,))
    x, y, w = (
        torch.randn(sizes.edges, *shape, generator=generator).to(sizes.device).requires_grad_()
        for shape in shapes
    )
    return x, y, w


def _step(function: Callable[[], Tensor], wanted: Sequence[Tensor]) -> Step:
    def run() -> object:
        out = function()
        found = torch.autograd.grad(out.square().sum(), wanted)
        if out.is_cuda:
            torch.cuda.synchronize(out.device)
        return found

    return run


def _compared(sizes: Sizes, second: int) -> tuple[dict[str, Step], float]:
    """Steps of ours and e3nn's with the same weights, and how far the results are apart."""
    x, y, w = _case(sizes, second)
    mode: Any = "uvu" if second == 1 else "uuu"
    ours = CPTensorProduct(sizes.lmax, sizes.channels, second, mode=mode, weights="external").to(
        sizes.device
    )
    module, scale = peer(sizes.lmax, sizes.channels, second)
    module = module.to(sizes.device)
    flat = [to_e3nn(t.detach()).requires_grad_() for t in (x, y)]
    shared = w.detach()[:, None] * scale.to(w)[:, None]  # (edges, paths, channels)
    weight = shared.flatten(1).requires_grad_()
    steps = {
        "ours": _step(lambda: ours(x, y, w), [x, y, w]),
        "peer": _step(lambda: module(*flat, weight), [*flat, weight]),
    }
    with torch.no_grad():
        mine, theirs = to_e3nn(ours(x, y, w)), module(*flat, weight)
    return steps, float((mine - theirs).abs().max() / theirs.abs().max())


def _messages(repeats: int, sizes: Sizes) -> Row:
    return _row("messages, one channel of harmonics", repeats, sizes, 1)


def _channelwise(repeats: int, sizes: Sizes) -> Row:
    return _row("channel by channel, through the factors", repeats, sizes, sizes.channels)


def _row(what: str, repeats: int, sizes: Sizes, second: int) -> Row:
    steps, difference = _compared(sizes, second)
    seconds = interleaved(steps, repeats=repeats)
    row: Row = {
        "what": f"CPTensorProduct, exact rank, L={sizes.lmax}, {sizes.channels} channels, "
        f"{sizes.edges} edges, {what}, against e3nn (ms)",
        "ours": median_ms(seconds["ours"]),
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]),
        "note": f"the two agree to {difference:.1e}",
    }
    return row | ({"target": f">= {TARGET:g}"} if second == 1 else {})


def _growing(sizes: Sizes) -> Mapping[str, Step]:
    """One step of each method."""
    x, y, w = _case(sizes, 1)
    lmax, channels, device = sizes.lmax, sizes.channels, sizes.device
    cp = CPTensorProduct(lmax, channels, weights="external").to(device)
    wide = CPTensorProduct(lmax, channels, channels, mode="uuu", weights="external").to(device)
    other = _case(sizes, channels)[1]
    steps = {
        "cp": _step(lambda: cp(x, y, w), [x, y, w]),
        "cp, channel by channel": _step(lambda: wide(x, other, w), [x, other, w]),
    }
    features, harmonics = irreps(lmax, channels), irreps(lmax, 1)
    flat = [to_e3nn(t.detach()).requires_grad_() for t in (x, y)]
    for method in ("cg", "gaunt_grid"):
        steps[method] = _by_method(method, features, harmonics, flat)
    return steps | {"SO(2), mixes channels": _convolution(sizes, x)}


def _by_method(
    method: str, features: o3.Irreps, harmonics: o3.Irreps, flat: Sequence[Tensor]
) -> Step:
    product = TensorProduct(features, harmonics, features, method, weights="external")
    product = product.to(flat[0].device)
    weight = torch.ones(len(flat[0]), product.weight_numel).to(flat[0]).requires_grad_()
    return _step(lambda: product(*flat, weight), [*flat, weight])


def _convolution(sizes: Sizes, x: Tensor) -> Step:
    channels = sizes.channels
    layer = SO2Convolution(sizes.lmax, None, in_channels=channels, out_channels=channels)
    layer = layer.to(sizes.device)
    frames = EdgeFrames(sizes.lmax, sizes.lmax)
    vectors = torch.randn(sizes.edges, 3, generator=torch.Generator().manual_seed(1)).to(x)
    own = torch.arange(sizes.edges, device=x.device).expand(2, -1)  # each edge has its node
    wanted = [x, *layer.parameters()]
    return _step(lambda: layer(x, frames.rotation(vectors, own, sizes.edges)), wanted)


def _growth(name: str, times: Sequence[float]) -> Row:
    degrees = range(1, len(times) + 1)
    row: Row = {"what": f"growth of {name}", "method": name, "times": list(times)}
    row["note"] = ", ".join(f"L={n}: {t:.3g} ms" for n, t in zip(degrees, times, strict=True))
    if len(times) > 3:
        # by the number of degrees, from where the operations outweigh the overhead
        row["what"] += f": exponent in L + 1, from L=3 to {len(times)}"
        row["ours"] = exponent([n + 1 for n in degrees][2:], times[2:])
    return row
