r"""Networks for signals on one graph, equivariant to its automorphisms.

The linear maps are those of Pearce-Crump, Graph automorphism group equivariant neural networks
(arXiv:2307.07810): between tensor powers of R^n, n the number of nodes, that commute with every
permutation of the nodes which keeps the edges. The paper spans them by bilabelled graphs; here they
have the basis of the orbits of tuples of nodes, which spans the same space. A pointwise activation
between two of them keeps the symmetry. The network is our own, as the paper has none.
"""

from collections.abc import Sequence
from itertools import product
from typing import Literal, cast, get_args

import numpy as np
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import tensor_power as tp
from zoo.layers.tensor_power import TensorPowerLinear, check_pointwise_activation
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.models.ign import ACTIVATIONS, Activation
from zoo.registry import register

GraphName = Literal["cycle", "path", "grid", "torus", "complete", "given"]


@register("graph_automorphism")
class GraphAutomorphism(SampleModel):
    """Numbers or classes for signals on a graph, or for its nodes.

    Args:
        graph: "cycle", "path", "complete" of size[0] nodes; "grid", "torus" of size[0] by size[1],
            ...; or "given", by `edges`.
        size: of the graph; for "given", the number of nodes.
        edges: pairs of nodes, for "given".
        directed: whether a pair of `edges` is one arrow, or both.
        in_channels: numbers at each node.
        out_channels: numbers to predict, or classes.
        hidden_channels: of hidden signals.
        num_layers: maps between hidden signals, the first one from the input.
        order: of hidden signals: 1, one number for each node, or 2, one for each pair.
        activation: "relu", "silu" or "tanh", entry by entry.
        task: "node", an answer for each node, or "sample", one for the signal.
        regression: `prediction` instead of `logits`.

    Raises:
        ConfigError: for sizes below 1, unknown names, edges of nodes that aren't there, an order
            whose maps would take too much memory.
    """

    domain = "sequence"

    def __init__(  # noqa: PLR0913
        self,
        *,
        graph: GraphName = "cycle",
        size: list[int] | None = None,
        edges: list[list[int]] | None = None,
        directed: bool = False,
        in_channels: int = 1,
        out_channels: int = 1,
        hidden_channels: int = 16,
        num_layers: int = 3,
        order: int = 1,
        activation: Activation = "relu",
        task: Literal["node", "sample"] = "node",
        regression: bool = True,
    ) -> None:
        if min(in_channels, hidden_channels, num_layers) < 1 or order not in (1, 2):
            raise ConfigError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels}, "
                f"num_layers={num_layers}, order={order}: expected at least 1 of each, order 1 or 2"
            )
        nodes, pairs = _graph(graph, [12] if size is None else size, edges, directed)
        super().__init__(
            sample_shape=(nodes, in_channels),
            outputs=("prediction" if regression else "logits",),
        )
        self.symmetry, self.task = "Aut(G)", task
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {
            name: "equivariant" if task == "node" else "invariant"
            for name in (*self.outputs, "embedding")
        }
        self.group = tp.graph_automorphisms(pairs, nodes)
        self.activation = ACTIVATIONS[activation]()
        check_pointwise_activation(self.group, self.activation)
        first = TensorPowerLinear(self.group, 1, order, in_channels, hidden_channels)
        rest = (
            TensorPowerLinear(self.group, order, order, hidden_channels, hidden_channels)
            for _ in range(num_layers - 1)
        )
        self.layers = nn.ModuleList([first, *rest])
        self.readout = TensorPowerLinear(
            self.group, order, int(task == "node"), hidden_channels, hidden_channels
        )
        self.hidden_channels = hidden_channels
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh linear head, the same at every node."""
        return nn.Linear(self.hidden_channels, out_channels)

    def blocks(self) -> list[nn.Module]:
        """Layers, readout and head."""
        return [*self.layers, self.readout, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Predictions.

        Args:
            batch: `x` (samples, nodes, in_channels), nodes in the order of the graph's.

        Returns:
            `prediction` or `logits` (samples, nodes, out_channels), or (samples, out_channels), and
            `embedding`, which they were read from.
        """
        x = cast(dict[str, Tensor], batch)["x"].mT
        for layer in self.layers:
            x = self.activation(layer(x))
        x = self.activation(self.readout(x))
        rows = x.mT if self.task == "node" else x
        return {self.outputs[0]: self.head(rows), "embedding": rows}


def _graph(
    name: str, size: Sequence[int], edges: Sequence[Sequence[int]] | None, directed: bool
) -> tuple[int, np.ndarray]:
    """The number of nodes, and edges (2, e)."""
    if name not in get_args(GraphName):
        raise ConfigError(f"graph={name!r}: expected one of {', '.join(get_args(GraphName))}")
    axes = 1 if name not in ("grid", "torus") else max(len(size), 1)
    if len(size) != axes or min(size) < 1:
        raise ConfigError(f"size={list(size)} of a {name}: expected {axes} number(s), 1 or more")
    if (name == "given") != (edges is not None) or (directed and edges is None):
        raise ConfigError("edges, and their direction, are for graph='given', and needed there")
    nodes = int(np.prod(size))
    if edges is not None:
        odd = [pair for pair in edges if len(pair) != 2]
        if odd:
            raise ConfigError(f"edges hold {odd[0]}: expected pairs of nodes")
        pairs = np.array([*edges], dtype=np.int64).reshape(-1, 2).T
    elif name == "complete":
        pairs = np.array([(i, j) for i in range(nodes) for j in range(i)]).reshape(-1, 2).T
    else:
        pairs = _lattice(size, closed=name in ("cycle", "torus"))
    return nodes, pairs if directed else np.concatenate([pairs, pairs[::-1]], axis=1)


def _lattice(size: Sequence[int], closed: bool) -> np.ndarray:
    """Neighbours along each axis (2, e), the first and the last joined if closed."""
    found = []
    for place in product(*map(range, size)):
        for axis, length in enumerate(size):
            following = list(place)
            following[axis] = (place[axis] + 1) % length
            if closed or place[axis] + 1 < length:
                ends = [int(np.ravel_multi_index(p, size)) for p in (place, tuple(following))]
                found += [ends] if ends[0] != ends[1] else []
    return np.array(found, dtype=np.int64).reshape(-1, 2).T
