"""What networks on sheaves share: features in, stalks, the fixed coordinates, the answer."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout, elu
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.functional import sheaf as on_sheaf
from zoo.layers.sheaf import ShareableSheaf
from zoo.models._graph import GraphModel, GraphTask, check_dropout
from zoo.models._inputs import Raw, SampleBatch


class SheafModel(GraphModel):
    """The encoder and the head of a network on a sheaf.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: channels of each stalk coordinate.
        stalk_dim: d.
        low_pass: one more stalk coordinate that averages over neighbours.
        high_pass: one more that takes differences.
        activation: whether ELU follows the encoder.
        second_linear: a second linear map after the first.
        input_dropout: of the features.
        dropout: of hidden features.
        task: see `GraphModel`.
        regression: see `GraphModel`.

    Raises:
        ConfigError: for sizes below 1, dropouts outside [0, 1), an unknown task.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        stalk_dim: int,
        low_pass: bool,
        high_pass: bool,
        activation: bool,
        second_linear: bool,
        input_dropout: float,
        dropout: float,
        task: GraphTask,
        regression: bool,
    ) -> None:
        if min(in_channels, hidden_channels, stalk_dim) < 1:
            raise ConfigError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels}, "
                f"stalk_dim={stalk_dim}: expected at least 1 of each"
            )
        check_dropout(dropout=dropout, input_dropout=input_dropout)
        # the order of the authors' code
        signs = [-1.0] * high_pass + [1.0] * low_pass
        hidden = (stalk_dim + len(signs)) * hidden_channels
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            width=hidden,
            task=task,
            regression=regression,
        )
        self.signs, self.stalks = signs, stalk_dim + len(signs)
        self.channels, self.input_dropout, self.dropout = hidden_channels, input_dropout, dropout
        self.activation = activation
        # the last graph: training sees one again and again
        self._graph: tuple[Tensor, on_sheaf.Pattern] | None = None
        self.encoder = nn.Linear(in_channels, hidden)
        self.second = nn.Linear(hidden, hidden) if second_linear else None

    def encoders(self) -> list[nn.Module]:
        """The first blocks."""
        return [self.encoder] if self.second is None else [self.encoder, self.second]

    def prepare(self, inputs: Raw) -> SampleBatch:
        """As of every model; mappings with `x` and `edge_index` are graphs, too."""
        if isinstance(inputs, Mapping) and {"x", "edge_index"} <= set(inputs):
            inputs = Data(**inputs)
        return super().prepare(inputs)

    def pattern(self, edge_index: Int[Tensor, "2 edges"], nodes: int) -> on_sheaf.Pattern:
        """The graph's undirected pairs; a graph that is no such is made so, with a warning."""
        if self._graph is not None:
            known, pattern = self._graph
            if nodes == pattern.nodes and same(known, edge_index):
                return pattern
        with torch.inference_mode(False):  # a graph that is kept may be trained on later
            own = edge_index.clone()
            pattern = on_sheaf.Pattern(on_sheaf.undirected_pairs(own, nodes), nodes)
        self._graph = own, pattern
        return pattern

    def encode(self, x: Float[Tensor, "nodes features"]) -> Float[Tensor, "nodes width channels"]:
        """Features of stalks."""
        x = self.encoder(dropout(x, self.input_dropout, self.training))
        x = dropout(elu(x) if self.activation else x, self.dropout, self.training)
        if self.second is not None:
            x = self.second(x)
        stalks: Tensor = x.unflatten(1, (self.stalks, self.channels))
        return stalks

    def with_fixed(
        self, laplacian: on_sheaf.SheafLaplacian, pairs: Int[Tensor, "2 pairs"], nodes: int
    ) -> ShareableSheaf:
        """A Laplacian and that of the coordinates with nothing to learn."""
        if not self.signs:
            return (laplacian,)
        fixed = on_sheaf.fixed_laplacian(pairs, nodes, self.signs, laplacian.off.dtype)
        return laplacian, fixed


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same place."""
    alike = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
    return alike and torch.equal(a, b)
