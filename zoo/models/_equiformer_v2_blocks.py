"""The parts of EquiformerV2 (arXiv:2306.12059): edge-degree embedding, feed-forward net, block."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.layers.equivariant import (
    ActivationKind,
    BackScale,
    EdgeBatch,
    ElementTables,
    EquivariantLayerNorm,
    FeatureActivation,
    NormKind,
    RadialNetwork,
    SO3Linear,
    escn_resolution,
    feature_grid,
)
from zoo.layers.equivariant.attention import AttentionSizes, GraphAttention, radial_width

FeedForwardKind = Literal["separable_grid_mlp", "grid_mlp", "separable_s2", "s2", "gate"]
FEED_FORWARD_KINDS: tuple[str, ...] = get_args(FeedForwardKind)
#: kinds whose degree 0 does not depend on the degrees above
_SEPARATE = ("separable_grid_mlp", "separable_s2", "gate")


class EdgeDegreeEmbedding(nn.Module):
    """What the neighbours' distances and elements say: sum_j D^T (w_l(r_ij) delta_m0) / degree.

    Args:
        lmax: highest degree.
        mmax: highest order in the frames of other layers, which the scale of degrees follows.
        channels: of the features.
        radial: gives (lmax + 1) * channels weights per edge.
        average_degree: what the sum is divided by.
    """

    def __init__(
        self, lmax: int, mmax: int, channels: int, radial: RadialNetwork, average_degree: float
    ) -> None:
        super().__init__()
        self.lmax = lmax
        self.channels = channels
        self.radial = radial
        self.back = BackScale(lmax, mmax)
        self.average_degree = average_degree

    def forward(self, edges: EdgeBatch) -> Float[Tensor, "nodes coefficients channels"]:
        """Features of each node."""
        weights = self.radial(edges).unflatten(1, (self.lmax + 1, self.channels))
        if edges.envelope is not None:
            weights = weights * edges.envelope[:, None, None]
        summed: Tensor = self.back(edges.rotation.narrow(0).scatter(weights))
        return summed / self.average_degree


class FeedForward(nn.Module):
    """SO3Linear, a nonlinearity, SO3Linear.

    The kinds: "separable_grid_mlp" (published): three linear maps with SiLU between them at every
    point of a grid, degree 0 from an MLP of the scalars; "grid_mlp": the grid alone;
    "separable_s2", "s2", "gate": see `FeatureActivation`.

    Args:
        lmax: highest degree.
        channels: of the input.
        hidden: channels inside.
        out_channels: of the output.
        kind: of the nonlinearity.
        resolution: of the grid.

    Raises:
        ConfigError: an unknown kind, or a grid too coarse for the degrees.
    """

    def __init__(
        self,
        lmax: int,
        channels: int,
        hidden: int,
        out_channels: int,
        *,
        kind: FeedForwardKind,
        resolution: tuple[int, int],
    ) -> None:
        super().__init__()
        if kind not in FEED_FORWARD_KINDS:
            raise ConfigError(f"unknown network {kind!r}: {nearest(kind, FEED_FORWARD_KINDS)}")
        self.kind = kind
        self.first = SO3Linear(lmax, channels, hidden)
        self.second = SO3Linear(lmax, hidden, out_channels)
        self.grid_mlp: nn.ModuleList | None = None
        if kind in ("separable_grid_mlp", "grid_mlp"):
            self.grid = feature_grid(lmax, lmax, resolution=resolution, layout="degree")
            self.grid_mlp = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(3))
            extra = hidden if kind == "separable_grid_mlp" else 0
        else:
            self.act = FeatureActivation(
                cast(ActivationKind, kind),
                lmax,
                lmax,
                hidden,
                resolution=resolution,
                layout="degree",
            )
            extra = self.act.scalars
        self.scalars = nn.Linear(channels, extra) if extra else None

    def forward(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "nodes coefficients out_channels"]:
        """The network's features.

        Args:
            x: features, degree-major.
        """
        extra = self._extra(x)
        x = self.first(x)
        if self.grid_mlp is None:
            x = self.act(extra, x)
        else:
            x = self._on_grid(x, *self.grid_mlp)
            if self.scalars is not None:
                x = torch.cat([nn.functional.silu(extra)[:, None], x[:, 1:]], dim=1)
        out: Tensor = self.second(x)
        return out

    def scalar(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "nodes out_channels"]:
        """Degree 0 of the network's features; the degrees above are computed only where it must.

        Args:
            x: features, degree-major.
        """
        if self.kind not in _SEPARATE:
            whole: Tensor = self(x)
            return whole[:, 0]
        hidden = self.first.degree(x[:, :1], 0)[:, 0] if self.kind == "gate" else self._extra(x)
        return self.second.degree(nn.functional.silu(hidden)[:, None], 0)[:, 0]

    def _on_grid(self, x: Tensor, first: nn.Module, second: nn.Module, third: nn.Module) -> Tensor:
        """The perceptron at every point. Its outer maps commute with the grid and skip it."""
        values = nn.functional.silu(self.grid.to_grid(first(x)))
        out: Tensor = third(self.grid.from_grid(nn.functional.silu(second(values))))
        return out

    def _extra(self, x: Tensor) -> Tensor:
        if self.scalars is None:
            return x.new_zeros(x.shape[0], 0)
        extra: Tensor = self.scalars(x[:, 0])
        return extra


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Args:
        lmax: highest degree.
        channels: of the features.
        attention: of the block.
        feed_forward: of the block.
        norm: of both steps.
        drop_path: probability that a structure skips a step, while training.
        dropout: of the channels of a step's result, while training.
    """

    def __init__(
        self,
        lmax: int,
        channels: int,
        attention: GraphAttention,
        feed_forward: FeedForward,
        *,
        norm: NormKind,
        drop_path: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm_1 = EquivariantLayerNorm(lmax, channels, norm)
        self.attention = attention
        self.norm_2 = EquivariantLayerNorm(lmax, channels, norm)
        self.feed_forward = feed_forward
        self.drop_path = drop_path
        self.dropout = dropout

    def forward(
        self,
        x: Float[Tensor, "nodes coefficients channels"],
        edges: EdgeBatch,
        batch: Int[Tensor, " nodes"],
        num_graphs: int,
    ) -> Float[Tensor, "nodes coefficients channels"]:
        """Updated features.

        Args:
            x: features, degree-major.
            edges: with everything about them.
            batch: the structure of each node.
            num_graphs: how many structures there are.
        """
        x = x + self._dropped(self.attention(self.norm_1(x), edges), batch, num_graphs)
        return x + self._dropped(self.feed_forward(self.norm_2(x)), batch, num_graphs)

    def _dropped(self, x: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        if self.training and self.drop_path > 0:
            kept = x.new_ones(num_graphs, 1, 1)
            x = x * nn.functional.dropout(kept, self.drop_path)[batch]
        if self.training and self.dropout > 0:
            # whole channels of an atom, so that no degree is bent
            x = x * nn.functional.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.dropout)
        return x


@dataclass(frozen=True)
class Plan:
    """The hyper-parameters that the parts share, and how parts are made from them.

    The attributes are arguments of `EquiformerV2`.
    """

    lmax: int
    mmax: int
    hidden_channels: int
    attention_channels: int
    num_heads: int
    alpha_channels: int
    value_channels: int
    feed_forward_channels: int
    edge_channels: int
    num_basis: int
    norm: NormKind
    activation: ActivationKind
    feed_forward: FeedForwardKind
    grid_resolution: int | None
    share_radial: bool
    renormalize: bool
    elements: ElementTables
    average_degree: float
    alpha_dropout: float
    drop_path: float
    dropout: float
    max_z: int

    def attention(self, out_channels: int, dropout: float) -> GraphAttention:
        """An attention with fresh weights."""
        lmax, mmax, channels = self.lmax, self.mmax, self.hidden_channels
        sizes = AttentionSizes(
            self.attention_channels, self.num_heads, self.alpha_channels, self.value_channels
        )
        return GraphAttention(
            lmax,
            mmax,
            channels,
            sizes,
            out_channels,
            radial=self.radial(radial_width(lmax, mmax, channels, shared=self.share_radial)),
            activation=FeatureActivation(
                self.activation,
                lmax,
                mmax,
                sizes.hidden,
                resolution=self._resolution(mmax),
                layout="order",
            ),
            share_radial=self.share_radial,
            renormalize=self.renormalize,
            dropout=dropout,
        )

    def radial(self, out: int) -> RadialNetwork:
        """A network with fresh weights that gives `out` weights per edge."""
        return RadialNetwork(
            self.num_basis,
            self.edge_channels,
            out,
            elements=self.max_z + 1,
            tables=self.elements,
        )

    def network(self, out_channels: int) -> FeedForward:
        """A feed-forward network with fresh weights."""
        return FeedForward(
            self.lmax,
            self.hidden_channels,
            self.feed_forward_channels,
            out_channels,
            kind=self.feed_forward,
            resolution=self._resolution(self.lmax),
        )

    def block(self) -> TransformerBlock:
        """A block with fresh weights."""
        return TransformerBlock(
            self.lmax,
            self.hidden_channels,
            self.attention(self.hidden_channels, self.alpha_dropout),
            self.network(self.hidden_channels),
            norm=self.norm,
            drop_path=self.drop_path,
            dropout=self.dropout,
        )

    def edge_degree(self) -> EdgeDegreeEmbedding:
        """The first embedding's part from edges, with fresh weights."""
        radial = self.radial((self.lmax + 1) * self.hidden_channels)
        return EdgeDegreeEmbedding(
            self.lmax, self.mmax, self.hidden_channels, radial, self.average_degree
        )

    def _resolution(self, mmax: int) -> tuple[int, int]:
        if self.grid_resolution is None:
            return escn_resolution(self.lmax, mmax)
        return self.grid_resolution, self.grid_resolution
