"""`SO2Convolution` against the same map as an e3nn tensor product, and its growth with the degree.

Every edge has features of its own, (lmax + 1)^2 x channels, and the weights are shared. Ours goes
from vectors to messages: frames, Wigner matrices, into the frame, the map, and back. The peer gets
the harmonics of the edges ready-made. Times are of forward and backward, with the gradients of
features and weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from e3nn import o3
from torch import Tensor

from zoo.apps._timing import interleaved, median_ms, median_ratio
from zoo.functional import (
    channel_irreps,
    coefficient_degrees,
    edge_quaternion,
    to_e3nn,
    wigner_matrix,
)
from zoo.functional.so2_paths import to_tensor_product
from zoo.layers.equivariant import EdgeFrames, SO2Convolution

Row = dict[str, Any]
#: the least ratio to the peer at each mmax, and the largest exponent of the growth
TARGETS = {None: 15.0, 2: 30.0}
EXPONENT = 3.0
#: e3nn takes minutes to generate the code of the tensor product beyond this degree
PEER_LIMIT = 6
CPU = torch.device("cpu")


def measure(
    repeats: int = 5,
    *,
    lmax: int = 6,
    channels: int = 32,
    edges: int = 500,
    device: torch.device = CPU,
    progress: Callable[[int, int], None] | None = None,
    degrees: Sequence[int] = (2, 4, 6, 8, 10),
) -> list[Row]:
    """Times of the convolution with all orders and with |m| <= 2, of the peer, and the growth.

    Args:
        repeats: timed rounds.
        lmax: highest degree of the comparison; beyond `PEER_LIMIT` ours alone is timed.
        channels: of features and results.
        edges: number of edges.
        device: to run on.
        progress: called with the parts done and their number.
        degrees: values of lmax for the growth.

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`, as those of `zoo.apps.bench`.
    """
    report = progress or (lambda done, total: None)
    report(0, 2)
    rows = _against_e3nn(repeats, _Sizes(lmax, channels, edges, device))
    report(1, 2)
    rows.append(_growth(max(repeats, 5), _Sizes(lmax, channels, edges, device), degrees))
    report(2, 2)
    return rows


@dataclass(frozen=True)
class _Sizes:
    lmax: int
    channels: int
    edges: int
    device: torch.device


def _case(sizes: _Sizes) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(sizes.edges, 3, generator=generator)
    x = torch.randn(sizes.edges, (sizes.lmax + 1) ** 2, sizes.channels, generator=generator)
    return vectors.to(sizes.device), x.to(sizes.device).requires_grad_()


def _layer(sizes: _Sizes, mmax: int | None) -> SO2Convolution:
    channels = sizes.channels
    layer = SO2Convolution(sizes.lmax, mmax, in_channels=channels, out_channels=channels)
    return layer.to(sizes.device)


def _backward(out: Tensor) -> Tensor:
    out.square().sum().backward()
    if out.is_cuda:
        torch.cuda.synchronize(out.device)
    return out.detach()


def _ours(layer: SO2Convolution, vectors: Tensor, x: Tensor) -> Callable[[], Tensor]:
    sizes = layer.linear.sizes
    frames = EdgeFrames(sizes.lmax, sizes.mmax)
    own = torch.arange(len(vectors), device=x.device).expand(2, -1)  # each edge has its node

    def step() -> Tensor:
        return _backward(layer(x, frames.rotation(vectors, own, len(vectors))))

    return step


def _theirs(layer: SO2Convolution, vectors: Tensor, x: Tensor) -> Callable[[], Tensor]:
    lmax, channels = layer.linear.sizes.lmax, layer.linear.sizes.inputs
    features = channel_irreps(lmax, channels)
    product = o3.FullyConnectedTensorProduct(
        features, channel_irreps(2 * lmax, 1), features, internal_weights=False, shared_weights=True
    ).to(x.device)
    weight = to_tensor_product(layer.paths(), product).requires_grad_()
    # the row m = 0 of D, times sqrt(2l + 1): e3nn's own harmonics end at degree 11
    rows = wigner_matrix(edge_quaternion(vectors), 2 * lmax, 0).sum(1)
    harmonics = rows * torch.sqrt(2.0 * coefficient_degrees(2 * lmax) + 1).to(rows)
    flat = to_e3nn(x.detach()).requires_grad_()

    def step() -> Tensor:
        return _backward(product(flat, harmonics, weight))

    return step


def _against_e3nn(repeats: int, sizes: _Sizes) -> list[Row]:
    vectors, x = _case(sizes)
    layers = {mmax: _layer(sizes, mmax) for mmax in TARGETS if (mmax or 0) <= sizes.lmax}
    steps = {str(mmax): _ours(layer, vectors, x) for mmax, layer in layers.items()}
    note = f"no peer beyond L={PEER_LIMIT}"
    if sizes.lmax <= PEER_LIMIT:
        steps["peer"] = _theirs(layers[None], vectors, x)
        difference = float((to_e3nn(steps["None"]()) - steps["peer"]()).abs().max())
        note = f"with M=L the two agree to {difference:.1e}"
    seconds = interleaved(steps, repeats=repeats)
    rows = []
    for mmax in layers:
        orders = sizes.lmax if mmax is None else mmax
        row: Row = {
            "what": f"SO2Convolution, L={sizes.lmax}, M={orders}, {sizes.channels} channels, "
            f"{sizes.edges} edges, against e3nn (ms)",
            "ours": median_ms(seconds[str(mmax)]),
            "note": note,
        }
        if "peer" in seconds:
            row["peer"] = median_ms(seconds["peer"])
            row["ratio"] = median_ratio(seconds["peer"], seconds[str(mmax)])
            row["target"] = f">= {TARGETS[mmax]:g}"
        rows.append(row)
    return rows


def _growth(repeats: int, sizes: _Sizes, degrees: Sequence[int]) -> Row:
    steps: dict[str, Callable[[], Tensor]] = {}
    for lmax in degrees:
        one = replace(sizes, lmax=lmax)
        steps[str(lmax)] = _ours(_layer(one, None), *_case(one))
    seconds = interleaved(steps, repeats=repeats)
    times = [median_ms(seconds[str(lmax)]) for lmax in degrees]
    listed = ", ".join(f"L={n}: {t:.3g} ms" for n, t in zip(degrees, times, strict=True))
    return {
        "what": f"SO2Convolution, M=L: exponent of the growth from L={degrees[0]} to {degrees[-1]}",
        "ours": exponent(degrees, times),
        "target": f"<= {EXPONENT:g}",
        "note": listed,
    }


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The slope of log(time) over log(size), least squares."""
    x, y = [math.log(s) for s in sizes], [math.log(t) for t in times]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
