r"""Hyperbolic graph convolutional networks (Chami, Ying, Ré, Leskovec, NeurIPS 2019).

arXiv:1910.12933, on the Poincaré ball: node features enter as tangent vectors at the origin; each
layer is a Möbius linear map with bias, an average over neighbours in a tangent space, and an
activation that takes points from the curvature of one layer to that of the next. Nodes are
classified by a linear layer on log0 of the last points; links are scored by the Fermi-Dirac
decoder of squared distances.

Deviations from the authors' code: neighbours are summed over edges, not over a dense matrix; the
last layer's curvature is learnt too; the margin at the boundary is the same in float32 and float64
(theirs is 4e-3 and 1e-5). `num_layers` counts convolutions.
"""

from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch_geometric.data import Data

from zoo.errors import CapabilityError, ConfigError
from zoo.layers.hyperbolic.hnn import Activation
from zoo.layers.hyperbolic.poincare_graph import (
    Aggregation,
    FermiDirac,
    HGCNActivation,
    HGCNAggregation,
    HGCNLinear,
)
from zoo.layers.hyperbolic.poincare_space import (
    FlatSpace,
    Geometry,
    PoincareSpace,
    borrow,
    make_space,
)
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


class HGCNLayer(nn.Module):
    """Linear map, aggregation and activation.

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        space: of the points.
        following: the space of the new points.
        activation: between the two.
        dropout: of weights.
        attention: weighs neighbours.
        aggregation: the tangent space in which neighbours are averaged.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        following: PoincareSpace | FlatSpace,
        *,
        activation: Activation,
        dropout: float,
        attention: bool,
        aggregation: Aggregation,
    ) -> None:
        super().__init__()
        self.linear = HGCNLinear(in_channels, out_channels, space, dropout=dropout)
        self.aggregate = HGCNAggregation(
            out_channels, space, attention=attention, where=aggregation
        )
        self.act = HGCNActivation(space, following, activation)
        borrow(self.linear)
        borrow(self.aggregate)
        self.act.__dict__["following"] = self.act._modules.pop("following")
        borrow(self.act)

    def forward(
        self, x: Float[Tensor, "nodes inputs"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "nodes outputs"]:
        """Points of the next space."""
        out: Tensor = self.act(self.aggregate(self.linear(x), edge_index))
        return out


@register("hgcn")
class HGCN(SampleModel):
    """Classifies nodes or scores links.

    Args:
        in_channels: features of a node.
        hidden_channels: dimension of the points.
        out_channels: classes of nodes; not used for links.
        num_layers: convolutions.
        task: "node" gives `logits`, "link" gives `score` for the pairs in `edge_label_index`.
        c: the curvature of every ball is -c at first.
        margin: how close to the boundary points may come, in units of the ball's radius, in every
            precision: weights then mean the same in float32 and float64. geoopt's for float32.
        trainable_curvature: learns the curvature of every layer.
        activation: between layers.
        dropout: of the weights of linear maps, and of the input of the classifier.
        attention: weighs neighbours.
        aggregation: "origin" or "local", the tangent space in which neighbours are averaged.
        fermi_r: squared distance at which a link is as likely as not.
        fermi_t: how fast its probability falls.
        geometry: "poincare", or "euclidean" for the flat counterpart (a GCN with the same
            parameters but the curvatures).
    """

    domain = "graph"

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        out_channels: int = 2,
        hidden_channels: int = 16,
        num_layers: int = 2,
        task: Literal["node", "link"] = "node",
        c: float = 1.0,
        margin: float = 4e-3,
        trainable_curvature: bool = True,
        activation: Activation = "relu",
        dropout: float = 0.0,
        attention: bool = False,
        aggregation: Aggregation = "origin",
        fermi_r: float = 2.0,
        fermi_t: float = 1.0,
        geometry: Geometry = "poincare",
    ) -> None:
        output = "logits" if task == "node" else "score"
        super().__init__(sample_shape=(in_channels,), outputs=(output,))
        if num_layers < 1 or min(in_channels, hidden_channels) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels}, "
                f"num_layers={num_layers}, dropout={dropout}: sizes must be at least 1 and "
                "0 <= dropout < 1"
            )
        self.task, self.dropout, self.hidden_channels = task, dropout, hidden_channels
        self.spaces = nn.ModuleList(
            make_space(geometry, c, trainable=trainable_curvature, margin=margin)
            for _ in range(num_layers + 1)
        )
        spaces = [cast(PoincareSpace | FlatSpace, space) for space in self.spaces]
        sizes = [in_channels, *[hidden_channels] * num_layers]
        self.layers = nn.ModuleList(
            HGCNLayer(
                sizes[k],
                sizes[k + 1],
                spaces[k],
                spaces[k + 1],
                activation=activation,
                dropout=dropout,
                attention=attention,
                aggregation=aggregation,
            )
            for k in range(num_layers)
        )
        if task == "node":
            self.head = self.make_head(out_channels)
        else:
            self.decoder = FermiDirac(fermi_r, fermi_t)
            # small inputs for the contract suite, with pairs to score
            self.examples, self.odd_examples = self._link_examples, self._odd_link_examples

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh classifier of nodes.

        Raises:
            CapabilityError: for a model that scores links, which has no head.
        """
        if self.task != "node":
            raise CapabilityError("an HGCN with task='link' has no head; make one with task='node'")
        return nn.Linear(self.hidden_channels, out_channels)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [*self.layers, self.head if self.task == "node" else self.decoder]

    def _link_examples(self, rng: np.random.Generator, count: int) -> list[Data]:
        """Random trees with pairs to score."""
        return [self._tree(rng, int(rng.integers(5, 9))) for _ in range(count)]

    def _odd_link_examples(self, rng: np.random.Generator) -> dict[str, list[Data]]:
        """A node alone, no edges, features of zero."""
        bare, zero = self._tree(rng, 4), self._tree(rng, 4)
        bare.edge_index = torch.zeros(2, 0, dtype=torch.int64)
        zero.x = torch.zeros_like(cast(Tensor, zero.x))
        return {"one_node": [self._tree(rng, 1)], "no_edges": [bare], "zeros": [zero]}

    def _tree(self, rng: np.random.Generator, nodes: int) -> Data:
        pairs = [(i, int(rng.integers(0, i))) for i in range(1, nodes)]
        edges = torch.tensor(pairs + [(j, i) for i, j in pairs], dtype=torch.int64)
        width = cast(tuple[int, ...], self.sample_shape)[0]
        x = torch.from_numpy(rng.standard_normal((nodes, width)))
        graph = Data(x=x, edge_index=edges.reshape(-1, 2).T)
        graph.edge_label_index = torch.from_numpy(rng.integers(0, nodes, (2, 6)))
        return graph

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of all nodes, or scores of the pairs; and the points of all nodes.

        Args:
            batch: `x` (nodes, in_channels), `edge_index` (2, edges) and, for links,
                `edge_label_index` (2, pairs), the edges themselves where it is absent.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        first, last = (cast(PoincareSpace | FlatSpace, self.spaces[k]) for k in (0, -1))
        points = first.exp0(graph.x)
        for layer in self.layers:
            points = layer(points, graph.edge_index)
        if self.task == "node":
            logs = dropout(last.log0(points), self.dropout, self.training)
            return {"logits": self.head(logs), "embedding": points}
        pairs = graph.get("edge_label_index")
        ends = graph.edge_index if pairs is None else pairs
        a, b = (points.index_select(0, end) for end in ends)
        return {"score": self.decoder(last.square_dist(a, b)), "embedding": points}
