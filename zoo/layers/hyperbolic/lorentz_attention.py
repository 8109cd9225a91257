r"""Attention, aggregation and the Transformer block of the Lorentz model.

Chen et al., Fully Hyperbolic Neural Networks, arXiv:2105.14686, sections 3.3 and 3.4:

- the weight of key k for query q is the softmax of (2/c + 2 <q, k>_L) / scale + bias, minus the
  squared Lorentz distance over a learnt scale;
- values are combined by the Lorentz centroid; a residual is added inside a linear map;
- no layer norm anywhere.

Weights and centroid are exactly equivariant under the isometries O+(1, n) when queries, keys and
values are moved together; the linear maps around them are not (see `lorentz_linear`).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import lorentz, scatter_sum
from zoo.functional.precision import check_precision
from zoo.layers.hyperbolic.lorentz_linear import LorentzLinear


class LorentzAttention(nn.Module):
    """Attention of points to points.

    Args:
        features: dimension of the space.
        c: absolute curvature.
        scale: of the logits at first; sqrt(features) if None.
    """

    def __init__(self, features: int, *, c: float = 1.0, scale: float | None = None) -> None:
        super().__init__()
        self.c = c
        start = math.sqrt(features) if scale is None else scale
        self.scale = nn.Parameter(torch.tensor(start))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def weights(
        self,
        query: Float[Tensor, "*batch queries point"],
        key: Float[Tensor, "*batch keys point"],
        mask: Bool[Tensor, "*mask queries keys"] | None = None,
    ) -> Float[Tensor, "*batch queries keys"]:
        """Attention weights; a query that may look at nothing gets zeros.

        Args:
            query: points.
            key: points.
            mask: true where a query may look; broadcasts.

        Raises:
            DeviceError: half precision.
        """
        inner = query[..., 1:] @ key[..., 1:].mT - query[..., :1] * key[..., :1].mT
        check_precision("LorentzAttention", inner)
        logits = (2.0 / self.c + 2.0 * inner) / self.scale + self.bias
        if mask is None:
            return torch.softmax(logits, dim=-1)
        logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
        return torch.softmax(logits, dim=-1) * mask

    def forward(
        self,
        query: Float[Tensor, "*batch queries point"],
        key: Float[Tensor, "*batch keys point"],
        value: Float[Tensor, "*batch keys values"],
        mask: Bool[Tensor, "*mask queries keys"] | None = None,
    ) -> Float[Tensor, "*batch queries values"]:
        """Centroids of the values; the origin for a query that may look at nothing.

        Args:
            query: points.
            key: points.
            value: points.
            mask: true where a query may look; broadcasts.
        """
        return lorentz.normalize(self.weights(query, key, mask) @ value, c=self.c)


class LorentzMultiHeadAttention(nn.Module):
    """Several attentions side by side, merged by a linear map.

    Args:
        features: dimension of the space of input and output.
        heads: how many; they divide `features`.
        c: absolute curvature.
        dropout: in the linear maps.

    Raises:
        ConfigError: heads that don't divide the features.
    """

    def __init__(self, features: int, heads: int, *, c: float = 1.0, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or features % heads:
            raise ConfigError(f"features={features} is not divisible by heads={heads}")
        each = features // heads
        self.query, self.key, self.value = (
            LorentzLinear(features, each, out_heads=heads, c=c, dropout=dropout, init=0.02)
            for _ in range(3)
        )
        self.heads = heads
        self.attention = LorentzAttention(each, c=c, scale=math.sqrt(features))
        self.merge = LorentzLinear(each, features, in_heads=heads, c=c, dropout=dropout, init=0.02)

    def forward(
        self,
        x: Float[Tensor, "*batch queries point"],
        context: Float[Tensor, "*batch keys point"] | None = None,
        *,
        mask: Bool[Tensor, "*mask queries keys"] | None = None,
        residual: bool = False,
    ) -> Float[Tensor, "*batch queries point"]:
        """Points.

        Args:
            x: points that look.
            context: points that are looked at; x itself if None.
            mask: true where a point may look; broadcasts, the same for all heads.
            residual: adds x inside the merging map.
        """
        context = x if context is None else context
        query, key, value = (
            self._split(part(source))
            for part, source in ((self.query, x), (self.key, context), (self.value, context))
        )
        if mask is not None:
            mask = mask.unsqueeze(-3)  # (*mask, 1, queries, keys)
        mixed = self.attention(query, key, value, mask).transpose(-3, -2).flatten(-2)
        merged: Tensor = self.merge(mixed, x if residual else None)
        return merged

    def _split(self, points: Tensor) -> Tensor:
        """(*batch, heads, points, each + 1)."""
        return (points if self.heads > 1 else points.unsqueeze(-2)).transpose(-3, -2)


class LorentzTransformerBlock(nn.Module):
    """Attention with residual, then two linear maps with a ReLU and residual; no layer norm.

    Args:
        features: dimension of the space.
        heads: of the attention.
        hidden: dimension between the two linear maps; four times `features` if None.
        c: absolute curvature.
        dropout: in all linear maps.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        hidden: int | None = None,
        c: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = 4 * features if hidden is None else hidden
        self.attention = LorentzMultiHeadAttention(features, heads, c=c, dropout=dropout)
        self.first = LorentzLinear(features, hidden, c=c, init=0.02)
        self.second = LorentzLinear(
            hidden, features, c=c, dropout=dropout, activation=torch.relu, init=0.02
        )

    def forward(
        self,
        x: Float[Tensor, "*batch queries point"],
        *,
        mask: Bool[Tensor, "*mask queries queries"] | None = None,
    ) -> Float[Tensor, "*batch queries point"]:
        """Points.

        Args:
            x: points.
            mask: true where a point may look; broadcasts.
        """
        x = self.attention(x, mask=mask, residual=True)
        out: Tensor = self.second(self.first(x), x)
        return out


class LorentzAggregation(nn.Module):
    """The Lorentz centroid of each node and its neighbours.

    Args:
        features: dimension of the space.
        c: absolute curvature.
        attention: weighs neighbours by sigmoid((2/c + 2 <q, k>_L) / sqrt(features) + 20), queries
            and keys by linear maps, as in the authors' graph networks; otherwise all alike. Twenty
            is theirs: near the start all weights are one.
    """

    def __init__(self, features: int, *, c: float = 1.0, attention: bool = False) -> None:
        super().__init__()
        self.c, self.root = c, math.sqrt(features)
        self.query = LorentzLinear(features, features, c=c) if attention else None
        self.key = LorentzLinear(features, features, c=c) if attention else None

    def forward(
        self, x: Float[Tensor, "nodes point"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "nodes point"]:
        """Points; a node without neighbours keeps its own.

        Args:
            x: points.
            edge_index: sources and targets.
        """
        nodes = torch.arange(x.shape[0], device=x.device)
        source, target = torch.cat([edge_index, torch.stack([nodes, nodes])], dim=1)
        messages = x.index_select(0, source)
        if self.query is not None and self.key is not None:
            pair = self.query(x).index_select(0, target), self.key(x).index_select(0, source)
            closeness = 2.0 / self.c + 2.0 * lorentz.product(*pair, keepdim=True)
            messages = messages * torch.sigmoid(closeness / self.root + 20.0)
        return lorentz.normalize(scatter_sum(messages, target, x.shape[0]), c=self.c)
