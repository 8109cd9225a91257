r"""HyboNet: fully hyperbolic graph networks of the Lorentz model.

Chen, Han, Lin, Zhao, Liu, Li, Sun, Zhou, "Fully Hyperbolic Neural Networks", ACL 2022,
arXiv:2105.14686. Features enter as tangents at the origin; each layer is a Lorentz linear map and
the Lorentz centroid of every node's neighbourhood. Nodes are classified by minus the squared
Lorentz distance to a centre per class, 2/c + 2 <x, c_k>_L + b_k, and pairs are scored alike; the
authors train both with a margin loss (`task.loss: {kind: margin}` in recipes).

Deviations: curvature is an argument (the authors' graph code has c = 1); centres of classes are
tangents at the origin, so that any optimiser trains them; scores of pairs are shifted by two, as a
logit needs (order and margin don't see it).

`geometry="euclidean"` is the same network on vectors with as many parameters: ordinary linear maps
with a learnt scale, means of neighbours, squared distances.
"""

import math
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.functional import lorentz, scatter_mean
from zoo.layers.hyperbolic.lorentz_attention import LorentzAggregation
from zoo.layers.hyperbolic.lorentz_linear import (
    LorentzDistanceHead,
    LorentzEmbedding,
    LorentzLinear,
)
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Geometry = Literal["lorentz", "euclidean"]
Task = Literal["node", "link"]
#: added to scores of pairs, so that near pairs have positive logits
SHIFT = 2.0


class FlatLinear(nn.Module):
    """A linear map of features + 1 coordinates, with one learnt scale.

    Args:
        inputs: features.
        outputs: features.
        activation: of the input.
        dropout: behind it.
    """

    def __init__(self, inputs: int, outputs: int, *, relu: bool, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + 1, outputs + 1)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.relu, self.dropout = relu, nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "nodes inputs"]) -> Float[Tensor, "nodes outputs"]:
        """New features."""
        x = self.dropout(torch.relu(x) if self.relu else x)
        out: Tensor = self.log_scale.exp() * self.linear(x)
        return out


class FlatAggregation(nn.Module):
    """The mean of each node and its neighbours."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """New features."""
        nodes = torch.arange(x.shape[0], device=x.device)
        source, target = torch.cat([edge_index, torch.stack([nodes, nodes])], dim=1)
        return scatter_mean(x.index_select(0, source), target, x.shape[0])


class FlatHead(nn.Module):
    """Logits -|x - (0, c_k)|^2 + b_k.

    Args:
        features: of the space of the centres.
        classes: how many.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, features) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (nodes, classes)."""
        centres = nn.functional.pad(self.centres, (1, 0))
        return self.bias - (x[:, None] - centres).square().sum(-1)


class HyboNetLayer(nn.Module):
    """A linear map, then the centroid of each neighbourhood.

    Args:
        linear: of points or vectors.
        aggregation: of nodes along edges.
    """

    def __init__(self, linear: nn.Module, aggregation: nn.Module) -> None:
        super().__init__()
        self.linear, self.aggregation = linear, aggregation

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """New points."""
        out: Tensor = self.aggregation(self.linear(x), edge_index)
        return out


class PairScore(nn.Module):
    """2 minus the squared (Lorentz) distance of two nodes; nothing is learnt.

    Args:
        flat: Euclidean space.
        c: absolute curvature.
    """

    def __init__(self, *, flat: bool, c: float) -> None:
        super().__init__()
        self.flat, self.c = flat, c

    def forward(self, x: Tensor, pairs: Tensor) -> Tensor:
        """Scores (pairs,)."""
        first, second = x.index_select(0, pairs[0]), x.index_select(0, pairs[1])
        if self.flat:
            return SHIFT - (first - second).square().sum(-1)
        # 2 (cosh(d) - 1) / c = 4 u / c, without the cancellation of 2/c + 2 <x, y>
        return SHIFT - 4.0 / self.c * lorentz.half_square(first, second, c=self.c)


@register("hybonet")
class HyboNet(SampleModel):
    """Classifies nodes, or predicts links.

    Args:
        in_channels: features of a node.
        out_channels: classes; for links nothing depends on it.
        hidden_channels: dimension of the space.
        num_layers: rounds of messages.
        task: "node" gives logits of nodes, "link" scores of the pairs in `edge_label_index`.
        activation: on the coordinates before each linear map but the first.
        attention: weighs neighbours by their distance instead of all alike.
        dropout: of coordinates before each linear map.
        c: absolute curvature.
        geometry: "lorentz", or "euclidean" for the same network on vectors.

    Raises:
        ConfigError: no layers, or attention in Euclidean geometry.
    """

    domain = "graph"

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int = 2,
        hidden_channels: int = 16,
        num_layers: int = 2,
        task: Task = "node",
        activation: Literal["relu"] | None = "relu",
        attention: bool = False,
        dropout: float = 0.0,
        c: float = 1.0,
        geometry: Geometry = "lorentz",
    ) -> None:
        super().__init__(
            sample_shape=(in_channels,), outputs=("logits",) if task == "node" else ("score",)
        )
        if num_layers < 1 or not c > 0 or (attention and geometry == "euclidean"):
            raise ConfigError(
                f"num_layers={num_layers}, c={c}, attention={attention}, geometry={geometry!r}: at "
                "least one layer, c above zero, attention in Lorentz geometry only"
            )
        self.task, self.c, self.flat, self.width = task, c, geometry == "euclidean", hidden_channels
        self.embedding = LorentzEmbedding(c=c)
        self.layers = nn.ModuleList(
            self._layer(
                in_channels if index == 0 else hidden_channels,
                relu=activation is not None and index > 0,
                attention=attention,
                dropout=dropout,
            )
            for index in range(num_layers)
        )
        if task == "node":
            self.head = self.make_head(out_channels)
        self.pairs = PairScore(flat=self.flat, c=c)

    def _layer(self, inputs: int, *, relu: bool, attention: bool, dropout: float) -> HyboNetLayer:
        width = self.width
        if self.flat:
            flat = FlatLinear(inputs, width, relu=relu, dropout=dropout)
            return HyboNetLayer(flat, FlatAggregation())
        activation = torch.relu if relu else None
        linear = LorentzLinear(inputs, width, c=self.c, activation=activation, dropout=dropout)
        return HyboNetLayer(linear, LorentzAggregation(width, c=self.c, attention=attention))

    def make_head(self, out_channels: int) -> nn.Module:
        """A centre for each class."""
        if self.task == "link":
            return super().make_head(out_channels)
        if self.flat:
            return FlatHead(self.width, out_channels)
        return LorentzDistanceHead(self.width, out_channels, c=self.c)

    def blocks(self) -> list[nn.Module]:
        """The layers, and the head."""
        return [*self.layers, *([self.head] if self.task == "node" else [])]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of nodes, or scores of pairs.

        Args:
            batch: `x` (nodes, features), `edge_index`; `edge_label_index` (2, pairs) for links,
                the edges themselves where it is absent.

        Returns:
            `logits` (nodes, classes), or `score` (pairs,).
        """
        data = cast(Data, batch)
        x: Tensor = data.x
        x = nn.functional.pad(x, (1, 0), value=1.0) if self.flat else self.embedding(x)
        for layer in self.layers:
            x = layer(x, data.edge_index)
        if self.task == "node":
            return {"logits": self.head(x)}
        pairs = data.get("edge_label_index")
        return {"score": self.pairs(x, data.edge_index if pairs is None else pairs)}
