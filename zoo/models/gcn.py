"""Graph convolutional networks (Kipf, Welling, ICLR 2017), by PyG's `GCNConv`.

arXiv:1609.02907, equation 9: H <- ReLU(D^{-1/2} (A + I) D^{-1/2} H W). The last convolution has no
activation, so that with the head it is the usual last layer. The baseline that sheaf networks are
held against.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import relu
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from zoo.errors import ConfigError
from zoo.models._graph import GraphModel, GraphTask, check_dropout
from zoo.models._inputs import SampleBatch
from zoo.registry import register


@register("gcn")
class GCN(GraphModel):
    """Classifies nodes, pairs of nodes or graphs, or predicts numbers, by averages of neighbours.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: of the layers.
        num_layers: convolutions.
        dropout: of the input of every convolution but the first, and of the head.
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
        num_layers: int = 2,
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
        self.dropout, self.input_dropout = dropout, input_dropout
        sizes = [in_channels, *[hidden_channels] * num_layers]
        self.convolutions = nn.ModuleList(
            GCNConv(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def blocks(self) -> list[nn.Module]:
        """Convolutions and head."""
        return [*self.convolutions, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Answers for nodes, pairs or graphs; see `GraphModel.answers`.

        Args:
            batch: `x` (nodes, in_channels) and `edge_index` (2, edges); messages run from row 0
                to row 1, self-loops are added.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        x = drop(graph.x, self.input_dropout, self.training)
        for place, convolution in enumerate(self.convolutions):
            if place:
                x = drop(relu(x), self.dropout, self.training)
            x = convolution(x, graph.edge_index)
        return self.answers(drop(x, self.dropout, self.training), graph)
