r"""Invariant graph networks of order 2 (Maron, Ben-Hamu, Shamir, Lipman, ICLR 2019).

arXiv:1812.09902. A graph is a tensor over pairs of nodes: its adjacency matrix, and the features of
the nodes on the diagonal. Layers are the linear maps (R^n)^(x)2 -> (R^n)^(x)2 that are equivariant
to the order of the nodes, 15 for each pair of channels, with a pointwise activation between; the
maps to order 0 or 1 read the answer for a graph or its nodes.

`products=True` adds, after each layer, products of matrices of two mixtures of the channels (Maron,
Ben-Hamu, Serviansky, Lipman, Provably powerful graph networks, NeurIPS 2019, arXiv:1905.11136): the
network then can count triangles, which one of order 2 without them can't (Chen et al., NeurIPS
2020, arXiv:2002.04025).

Deviations: graphs of several sizes make one batch, padded and masked, so that a graph's answer does
not depend on its company; no batch normalisation.
"""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.layers.tensor_power import Normalize, TensorPowerLinear, check_pointwise_activation
from zoo.models._graph import GraphModel, GraphTask
from zoo.models._inputs import SampleBatch
from zoo.registry import register

Activation = Literal["relu", "silu", "tanh"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@register("ign")
class IGN(GraphModel):
    """Answers for graphs, nodes or pairs, from tensors over all pairs of nodes.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: of the tensors.
        num_layers: maps of order 2 -> 2.
        mlp_channels: of the layer between the last tensors and the head.
        products: adds products of matrices.
        activation: "relu", "silu" or "tanh", entry by entry.
        normalize: what a sum over nodes is divided by: "mean" takes their number, "sum" 1; or a
            number. Counts need "sum" or a number.
        task: "graph", "node", "edge" (pairs in `edge_label_index`, or the edges), or "link".
        regression: `prediction` instead of `logits`.

    Raises:
        ConfigError: for sizes below 1, unknown names.
    """

    def __init__(
        self,
        *,
        in_channels: int = 16,
        out_channels: int = 2,
        hidden_channels: int = 16,
        num_layers: int = 3,
        mlp_channels: int = 64,
        products: bool = False,
        activation: Activation = "relu",
        normalize: Normalize = "mean",
        task: GraphTask = "graph",
        regression: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            width=mlp_channels,
            task=task,
            regression=regression,
        )
        if num_layers < 1 or hidden_channels < 1:
            raise ConfigError(
                f"num_layers={num_layers}, hidden_channels={hidden_channels}: expected at least 1"
            )
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ConfigError(f"activation={activation!r}: expected one of {known}")
        self.activation = ACTIVATIONS[activation]()
        check_pointwise_activation("S", self.activation)
        sizes = [in_channels + 1, *[hidden_channels] * num_layers]
        self.layers = nn.ModuleList(
            TensorPowerLinear("S", 2, 2, a, b, normalize=normalize)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        count = num_layers if products else 0
        self.products = nn.ModuleList(_Product(hidden_channels, normalize) for _ in range(count))
        order = 0 if task == "graph" else 1
        self.readout = TensorPowerLinear(
            "S", 2, order, hidden_channels, hidden_channels, normalize=normalize
        )
        self.mlp = nn.Linear(hidden_channels, mlp_channels)

    def blocks(self) -> list[nn.Module]:
        """Layers, each with its product, then readout, perceptron and head."""
        pairs: list[nn.Module] = []
        for number, layer in enumerate(self.layers):
            pairs += [layer, *self.products[number : number + 1]]
        return [*pairs, self.readout, self.mlp, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Answers for graphs, nodes or pairs; see `GraphModel.answers`.

        Args:
            batch: `x` (nodes, in_channels) and `edge_index` (2, edges); an edge i -> j is the entry
                (i, j), once however often it is there.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        tensor, mask = pair_tensors(graph.x, graph.edge_index, graph.get("ptr"))
        for number, layer in enumerate(self.layers):
            tensor = self.activation(layer(tensor, mask=mask))
            if self.products:
                tensor = self.products[number](tensor, mask)
        read = self.readout(tensor, mask=mask)
        if self.task == "graph":
            return self.of_graphs(self.activation(self.mlp(self.activation(read))))
        nodes = read.movedim(1, -1)[mask]
        return self.answers(self.activation(self.mlp(self.activation(nodes))), graph)

    def of_graphs(self, rows: Tensor) -> dict[str, Tensor]:
        """The answers for graphs, of what the head reads."""
        return {self.outputs[0]: self.head(rows), "embedding": rows}


class _Product(nn.Module):
    """[X, (A X)(B X)] mixed: products of matrices over pairs of nodes."""

    def __init__(self, channels: int, normalize: Normalize) -> None:
        super().__init__()
        self.normalize = normalize
        self.factors = nn.Conv2d(channels, 2 * channels, 1)
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        for layer in (self.factors, self.mix):  # entries keep their size
            nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (graphs, channels, n, n) and which nodes exist (graphs, n)."""
        pairs = (mask[:, None, :, None] & mask[:, None, None, :]).to(x)
        left, right = (self.factors(x) * pairs).chunk(2, dim=1)
        product = left @ right
        if self.normalize == "mean":
            product = product / mask.sum(dim=1).clamp(min=1).to(x)[:, None, None, None]
        elif not isinstance(self.normalize, str):
            product = product / self.normalize
        mixed: Tensor = self.mix(torch.cat([x, product], dim=1))
        return mixed * pairs


def pair_tensors(
    x: Tensor, edge_index: Tensor, ptr: Tensor | Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    """Graphs as tensors over pairs of nodes.

    Args:
        x: features (nodes, f).
        edge_index: (2, edges).
        ptr: where each graph's nodes begin, and the end; None for one graph.

    Returns:
        (graphs, 1 + f, n, n), the adjacency and the features on the diagonal, padded with zeros to
        the most nodes n; and which nodes exist (graphs, n).
    """
    nodes = x.shape[0]
    starts = torch.as_tensor([0, nodes] if ptr is None else ptr, device=x.device)
    counts = starts.diff()
    graphs = counts.shape[0]
    most = torch.sym_max(counts.max().item() if graphs else 0, 1)
    owner = torch.repeat_interleave(counts)
    place = torch.arange(nodes, device=x.device) - starts[owner]
    tensor = x.new_zeros(graphs, 1 + x.shape[1], most, most)
    source, target = edge_index
    tensor[owner[source], 0, place[source], place[target]] = 1.0
    tensor[owner, 1:, place, place] = x
    return tensor, torch.arange(most, device=x.device) < counts[:, None]
