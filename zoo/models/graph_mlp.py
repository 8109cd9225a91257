"""A multilayer perceptron on the features of nodes, which never looks at an edge.

    (linear, ReLU, dropout) x layers, linear.

No paper: the baseline that tells what a graph's edges are worth.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.models._graph import GraphModel, GraphTask, check_dropout
from zoo.models._inputs import SampleBatch
from zoo.registry import register


@register("graph_mlp")
class GraphMLP(GraphModel):
    """Classifies nodes, pairs of nodes or graphs, or predicts numbers, from features alone.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: of the layers.
        num_layers: hidden layers.
        dropout: of their outputs.
        input_dropout: of the features of nodes.
        task: "node", "edge" (pairs in `edge_label_index`, or the edges), "graph", or "link".
        regression: `prediction` instead of `logits`.

    Raises:
        ConfigError: for sizes below 1, an unknown task, dropouts outside [0, 1).
    """

    def __init__(
        self,
        *,
        in_channels: int = 16,
        out_channels: int = 2,
        hidden_channels: int = 32,
        num_layers: int = 1,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        task: GraphTask = "node",
        regression: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            width=hidden_channels,
            task=task,
            regression=regression,
        )
        check_dropout(dropout=dropout, input_dropout=input_dropout)
        if num_layers < 1:
            raise ConfigError(f"num_layers={num_layers}: expected at least 1")
        self.input_dropout = input_dropout
        sizes = [in_channels, *[hidden_channels] * num_layers]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout))
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def blocks(self) -> list[nn.Module]:
        """Layers and head."""
        return [*self.layers, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Answers for nodes, pairs or graphs; see `GraphModel.answers`.

        Args:
            batch: `x` (nodes, in_channels); `edge_index` says at most which pairs to answer for.
        """
        graph = cast(Data, batch)
        assert graph.x is not None  # the base has checked
        x = drop(graph.x, self.input_dropout, self.training)
        for layer in self.layers:
            x = layer(x)
        return self.answers(x, graph)
