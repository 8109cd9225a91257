r"""Geometric Clifford algebra networks on moving points (Ruhe et al., ICML 2023).

Ruhe, Gupta, de Keninck, Welling, Brandstetter, *Geometric Clifford algebra networks*,
arXiv:2302.06594. The places of a point in several frames are channels of trivectors of
P(R_{3,0,1}); every linear layer lets learnt rotations with translations act on them and sums with
learnt weights, y_o = sum_i w_oi k_oi x_i reverse(k_oi); multivectors are gated by numbers of theirs
and normalised by their mean length. Points of a sample hear of each other by messages on the
complete graph:

    h_i <- h_i + update(n_i, mean over j of message(n_i, n_j)),  n = norm(h),

and the last layer's points are the steps from the last frame.

Deviations: see `zoo.layers.clifford.conjugation`; the network is ours, as the authors' experiments
are not published; places are counted from the centre of the last frame, which makes translations
exact. `geometry="real"` is the same network with ordinary linear maps of all coordinates and SiLU:
one matrix of 9 numbers for each pair of channels, where the group action has 8 and a weight.
"""

from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import clifford
from zoo.functional.complete_graph import complete_edges
from zoo.functional.scatter import scatter_mean
from zoo.layers.clifford import (
    ConjugateLinear,
    MultivectorGate,
    MultivectorGroupNorm,
    embed_points,
    read_points,
)
from zoo.layers.clifford.conjugation import ORIGIN, POINT, Gate
from zoo.models._inputs import SampleBatch, get
from zoo.models._sample import SampleModel
from zoo.registry import register

Geometry = Literal["clifford", "real"]


class _Flat(nn.Module):
    """An ordinary linear map of all coordinates of all channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * in_channels, 3 * out_channels)

    def forward(self, x: Float[Tensor, "rows inputs 3"]) -> Float[Tensor, "rows outputs vector"]:
        """Channels of the output."""
        result: Tensor = self.linear(x.flatten(1)).unflatten(1, (-1, 3))
        return result


class GCANLayer(nn.Module):
    """One round of messages.

    Args:
        channels: points held by each point.
        geometry: of the linear maps.
        gate: of the multivectors.
        norm: whether what enters is divided by its mean length.
    """

    def __init__(self, channels: int, geometry: Geometry, gate: Gate, norm: bool) -> None:
        super().__init__()
        self.norm = MultivectorGroupNorm(channels, 3, center=False) if norm else nn.Identity()
        self.message = _perceptron(2 * channels, channels, geometry, gate)
        self.update = _perceptron(2 * channels, channels, geometry, gate)

    def forward(
        self, h: Float[Tensor, "points channels 3"], edges: Tensor
    ) -> Float[Tensor, "points channels 3"]:
        """New points held by each point.

        Args:
            h: what each point holds.
            edges: senders (row 0) and receivers (row 1).
        """
        n = self.norm(h)
        of, to = edges
        pairs = torch.cat([n.index_select(0, to), n.index_select(0, of)], dim=1)
        mean = scatter_mean(self.message(pairs), to, h.shape[0])
        update: Tensor = self.update(torch.cat([n, mean], dim=1))
        return h + update


@register("gcan")
class GCAN(SampleModel):
    """Predicts where points will be from where they were.

    Args:
        in_frames: frames that are seen; the last is `pos`, the others are in `x`.
        out_frames: frames that are predicted.
        hidden_channels: points held by each point.
        num_layers: rounds of messages.
        gate: "linear", "sum" or "mean"; see `MultivectorGate`; the real network has none.
        norm: whether what enters a round is divided by its mean length.
        geometry: "clifford", or "real" for ordinary linear maps.
    """

    domain = "points"

    def __init__(
        self,
        *,
        in_frames: int = 4,
        out_frames: int = 4,
        hidden_channels: int = 16,
        num_layers: int = 4,
        gate: Gate = "linear",
        norm: bool = True,
        geometry: Geometry = "clifford",
    ) -> None:
        super().__init__(sample_shape=(3,), outputs=("prediction",))
        if min(in_frames, out_frames, hidden_channels, num_layers) < 1:
            raise ConfigError(
                f"GCAN: in_frames={in_frames}, out_frames={out_frames}, hidden_channels="
                f"{hidden_channels}, num_layers={num_layers}; expected numbers >= 1"
            )
        check_gate("GCAN", geometry, gate)
        self.in_frames, self.out_frames = in_frames, out_frames
        #: how the contract suite carries predictions along
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        self.embedding = _linear(in_frames, hidden_channels, geometry)
        self.layers = nn.ModuleList(
            GCANLayer(hidden_channels, geometry, gate, norm) for _ in range(num_layers)
        )
        self.readout = _linear(hidden_channels, out_frames, geometry)

    def check(self, batch: SampleBatch) -> None:
        """Refuses points without their earlier places."""
        before, size = get(batch, "x"), 3 * (self.in_frames - 1)
        points = len(cast(Tensor, get(batch, "pos")))
        found = None if before is None else tuple(before.shape)
        if size and found != (points, size):
            raise UnsupportedInputError(
                f"{self._title()} takes x ({points}, {size}), the places of each point in the "
                f"{self.in_frames - 1} frames before pos, less pos; not {found}"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later places.

        Args:
            batch: PyG's `Batch` with `pos` (n, 3), the last frame, and `x` (n, 3 (in_frames - 1)),
                the frames before it in order, each less `pos`.

        Returns:
            `prediction` (n, out_frames, 3).
        """
        graph = cast(Batch, batch)
        pos: Tensor = graph.pos
        counts = torch.diff(graph.ptr)
        centre = scatter_mean(pos, graph.batch, counts.shape[0]).index_select(0, graph.batch)
        last = (pos - centre)[:, None]
        frames = last
        if self.in_frames > 1:
            frames = torch.cat([last + graph.x.unflatten(1, (-1, 3)), last], dim=1)
        edges = complete_edges(counts).flip(0)
        h = self.embedding(embed_points(frames))
        for layer in self.layers:
            h = layer(h, edges)
        return {"prediction": pos[:, None] + read_points(self.readout(h))}

    def examples(self, rng: np.random.Generator, count: int) -> list[Data]:
        """Random samples, for the contract suite."""
        return [self._example(rng, (4, 3, 5)[k % 3]) for k in range(count)]

    def odd_examples(self, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Points in one place that never move, and a single one."""
        still = self._example(rng, 4)
        still["pos"], still["x"] = torch.zeros_like(still.pos), torch.zeros_like(still.x)
        return {"coincident points": [still], "one point": [self._example(rng, 1)]}

    def _example(self, rng: np.random.Generator, points: int) -> Data:
        pos = torch.tensor(rng.normal(size=(points, 3)))
        return Data(pos=pos, x=torch.tensor(rng.normal(size=(points, 3 * (self.in_frames - 1)))))


def check_gate(title: str, geometry: Geometry, gate: Gate) -> None:
    """Refuses a gate of multivectors for a network without any.

    Raises:
        ConfigError: names both arguments.
    """
    if geometry == "real" and gate != "linear":
        raise ConfigError(
            f"{title}: gate={gate!r} with geometry='real', whose activation is SiLU; leave gate out"
        )


def _linear(in_channels: int, out_channels: int, geometry: Geometry) -> nn.Module:
    if geometry == "real":
        return _Flat(in_channels, out_channels)
    of = clifford.algebra(3, 0, 1)
    return ConjugateLinear(of, in_channels, out_channels, blades=POINT, constant=ORIGIN)


def _perceptron(in_channels: int, channels: int, geometry: Geometry, gate: Gate) -> nn.Module:
    between = nn.SiLU() if geometry == "real" else MultivectorGate(channels, 3, kind=gate)
    return nn.Sequential(
        _linear(in_channels, channels, geometry), between, _linear(channels, channels, geometry)
    )
