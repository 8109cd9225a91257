r"""HyboNet on knowledge graphs: scores of triples.

Chen et al., "Fully Hyperbolic Neural Networks", ACL 2022, arXiv:2105.14686, section 4.1. Entities
are points of the hyperboloid, a relation is a Lorentz linear map f_r of its own, and a triple
(h, r, t) scores

    margin - d_L^2(f_r(h), t) + b_h + b_t,    d_L^2(x, y) = -2/c - 2 <x, y>_L,

which is a logit. Entities are held as tangents at the origin, cut at `max_norm`, so that any
optimiser trains them. The time of f_r(h) is sigmoid(u_0) max_scale + floor, max_scale fixed, as in
the authors' code; residuals keep f_r near the identity at first.
"""

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import lorentz
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Geometry = Literal["lorentz", "euclidean"]


@register("hybonet_kg")
class HyboNetKG(SampleModel):
    """Predicts links of a knowledge graph.

    Args:
        num_nodes: entities.
        num_relations: relations.
        hidden_channels: dimension of the space.
        margin: added to minus the squared distance.
        max_norm: longest tangent vector of an entity.
        max_scale: spread of the times of mapped heads.
        c: absolute curvature.
        geometry: "lorentz", or "euclidean" for x -> W_r x and squared distances of vectors, with
            as many parameters.

    Raises:
        ConfigError: counts that are not positive.
    """

    domain = "graph"
    fields = ("edge_index",)
    transductive = True

    def __init__(
        self,
        *,
        num_nodes: int,
        num_relations: int,
        hidden_channels: int = 32,
        margin: float = 8.0,
        max_norm: float = 1.5,
        max_scale: float = 2.5,
        c: float = 1.0,
        geometry: Geometry = "lorentz",
    ) -> None:
        super().__init__(outputs=("score",))
        if min(num_nodes, num_relations, hidden_channels) < 1 or not min(max_norm, c) > 0:
            raise ConfigError(
                f"num_nodes={num_nodes}, num_relations={num_relations}, hidden_channels="
                f"{hidden_channels}, max_norm={max_norm}, c={c} must be positive"
            )
        self.margin, self.max_norm, self.max_scale, self.c = margin, max_norm, max_scale, c
        self.num_nodes, self.num_relations = num_nodes, num_relations
        self.flat, width = geometry == "euclidean", hidden_channels
        start = torch.randn(num_nodes, width) / math.sqrt(width)
        self.entities = nn.Parameter(start)
        self.relations = nn.Parameter(torch.randn(num_relations, width + 1, width + 1) * 0.02)
        self.shifts = nn.Parameter(torch.zeros(num_relations, width + 1))
        self.biases = nn.Parameter(torch.zeros(num_nodes))

    def check(self, batch: SampleBatch) -> None:
        """Refuses entities and relations that the model was not made for."""
        data = cast(Data, batch)
        pairs, kinds = self._triples(data)
        for what, values, limit in (
            ("entities", pairs, self.num_nodes),
            ("relations", kinds, self.num_relations),
        ):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise UnsupportedInputError(
                    f"the triples have {what} {int(values.min())}..{int(values.max())}; "
                    f"{self._title()} knows 0..{limit - 1}"
                )

    def points(self) -> Tensor:
        """All entities: points (nodes, width + 1), or vectors with a leading one."""
        length = self.entities.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        z = self.entities * (self.max_norm / length).clamp(max=1.0)
        return nn.functional.pad(z, (1, 0), value=1.0) if self.flat else lorentz.exp0(z, c=self.c)

    def moved(self, x: Tensor, kinds: Tensor) -> Tensor:
        """f_r(x), row by row: points (triples, width + 1)."""
        u = x + torch.einsum("tij,tj->ti", self.relations[kinds], x) + self.shifts[kinds]
        if self.flat:
            return u
        floor = 1.1 / math.sqrt(self.c)
        time = torch.sigmoid(u[:, :1]) * self.max_scale + floor
        square = u[:, 1:].square().sum(-1, keepdim=True).clamp(min=1e-8)
        factor = torch.sqrt((time.square() - 1.0 / self.c) / square)
        return lorentz.lift(factor * u[:, 1:], c=self.c)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Scores of triples.

        Args:
            batch: `edge_label_index` (2, triples), heads and tails, with their relations in
                `edge_label_type` (triples,); absent, the edges and `edge_type`; relations that
                nothing names are the first.

        Returns:
            `score` (triples,), logits.
        """
        pairs, kinds = self._triples(cast(Data, batch))
        points = self.points()
        head, tail = points.index_select(0, pairs[0]), points.index_select(0, pairs[1])
        moved = self.moved(head, kinds)
        if self.flat:
            square = (moved - tail).square().sum(-1)
        else:
            square = 4.0 / self.c * lorentz.half_square(moved, tail, c=self.c)
        return {"score": self.margin - square + self.biases[pairs[0]] + self.biases[pairs[1]]}

    @staticmethod
    def _triples(data: Data) -> tuple[Tensor, Tensor]:
        pairs, kinds = data.get("edge_label_index"), data.get("edge_label_type")
        if pairs is None:
            pairs, kinds = data.edge_index, data.get("edge_type")
        if kinds is None:
            kinds = torch.zeros(pairs.shape[1], dtype=torch.int64, device=pairs.device)
        if kinds.shape[0] != pairs.shape[1]:
            raise UnsupportedInputError(
                f"{pairs.shape[1]} pairs have {kinds.shape[0]} relations; each needs one in "
                "edge_label_type (edge_type for edges)"
            )
        return pairs, kinds
