r"""Layers of "Hyperbolic Graph Convolutional Neural Networks" (Chami et al., arXiv:1910.12933).

On the Poincaré ball, the model of all commands that the authors give. The curvature may differ
from layer to layer and be learnt.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout

from zoo.errors import ConfigError
from zoo.functional import scatter_sum
from zoo.layers.hyperbolic.hnn import ACTIVATIONS, Activation
from zoo.layers.hyperbolic.poincare_space import FlatSpace, PoincareSpace

#: where neighbours are averaged: in the tangent space of the origin, or in that of each node
Aggregation = Literal["origin", "local"]


class HGCNLinear(nn.Module):
    """(W x) + exp0(b), with dropout of weights.

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        space: where they live.
        dropout: of the entries of W.
        bias: adds exp0 of a vector.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.space, self.dropout = space, dropout
        weight = torch.empty(out_channels, in_channels)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(weight, gain=2**0.5))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "nodes inputs"]) -> Float[Tensor, "nodes outputs"]:
        """New points."""
        weight = dropout(self.weight, self.dropout, self.training)
        out = self.space.matvec(weight, x)
        return out if self.bias is None else self.space.add(out, self.space.exp0(self.bias))


class HGCNAggregation(nn.Module):
    """The mean over each node and its neighbours, in a tangent space.

    Args:
        channels: of the points.
        space: where they live.
        attention: weighs neighbours by sigmoid(w [log0 x_i, log0 x_j] + b), which is not normalised
            again, as in the authors' code.
        where: "origin" averages log0 of the points; "local" averages log_{x_i} at each node.
    """

    def __init__(
        self,
        channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        attention: bool = False,
        where: Aggregation = "origin",
    ) -> None:
        super().__init__()
        if where not in ("origin", "local"):
            raise ConfigError(f"unknown aggregation {where!r}: 'origin' or 'local'")
        self.space, self.where = space, where
        self.attention = nn.Linear(2 * channels, 1) if attention else None

    def forward(
        self, x: Float[Tensor, "nodes channels"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "nodes channels"]:
        """New points; each node receives along the edges that end at it, and from itself."""
        nodes = torch.arange(x.shape[0], device=x.device)
        source, target = torch.cat([edge_index, torch.stack([nodes, nodes])], 1)
        weight = self._weights(x, source, target)[:, None]
        if self.where == "local":
            centre = x.index_select(0, target)
            steps = weight * self.space.log(centre, x.index_select(0, source))
            return self.space.exp(x, scatter_sum(steps, target, x.shape[0]))
        logs = self.space.log0(x).index_select(0, source)
        return self.space.exp0(scatter_sum(weight * logs, target, x.shape[0]))

    def _weights(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Of every edge; those that end at a node add up to one without attention."""
        count = torch.bincount(target, minlength=x.shape[0])
        weight = (1.0 / count.to(x.dtype)).index_select(0, target)
        if self.attention is None:
            return weight
        logs = self.space.log0(x)
        # w [x_i, x_j] = w_1 x_i + w_2 x_j: one product per node, not per edge
        left, right = self.attention.weight.reshape(2, -1)
        scores = (logs @ left).index_select(0, target) + (logs @ right).index_select(0, source)
        return weight * torch.sigmoid(scores + self.attention.bias)


class HGCNActivation(nn.Module):
    """From the space of one layer to that of the next, exp0'(f(log0(x))).

    Args:
        space: where the points come from.
        following: where they go.
        activation: f.
    """

    def __init__(
        self,
        space: PoincareSpace | FlatSpace,
        following: PoincareSpace | FlatSpace,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.space, self.following, self.activation = space, following, activation

    def forward(self, x: Float[Tensor, "nodes channels"]) -> Float[Tensor, "nodes channels"]:
        """Points of the next space."""
        return self.following.exp0(ACTIVATIONS[self.activation](self.space.log0(x)))


class FermiDirac(nn.Module):
    """Link scores: the logit (r - d^2) / t of p = 1 / (exp((d^2 - r) / t) + 1).

    Args:
        r: the squared distance at which a link is as likely as not.
        t: how fast the probability falls.

    Raises:
        ConfigError: a t that is not positive.
    """

    def __init__(self, r: float = 2.0, t: float = 1.0) -> None:
        super().__init__()
        if not t > 0:
            raise ConfigError(f"t={t}: the temperature must be positive")
        self.r, self.t = r, t

    def forward(self, square_dist: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
        """Logits of the pairs."""
        return (self.r - square_dist) / self.t
