"""The parts of TDN (arXiv:2507.01131): radial functions, graph attention, block, heads."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import scatter_sum
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.layers.equivariant import (
    EquivariantLayerNorm,
    NormKind,
    apply_matrices,
    attention_weights,
    smooth_leaky_relu,
)


@dataclass
class TDNEdges:
    """The directed edges of a batch: all pairs, or kept ones, with what every layer reads of them.

    `matrices` hold the harmonics of an edge, already contracted with the coupling; `basis` has a
    row per distance, and `row` says which one an edge has.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    matrices: Float[Tensor, "edges rows rows"]
    basis: Float[Tensor, "distances functions"]
    row: Int[Tensor, " edges"] | None
    envelope: Float[Tensor, " edges"] | None
    atoms: int

    def spread(self, weights: Tensor) -> Tensor:
        """From distances to edges."""
        return torch.cat([weights, weights]) if self.row is None else weights[self.row]


class LearnedGaussians(nn.Module):
    """Normal densities of a scaled distance, (w r / cutoff + b), with centres and widths to learn.

    Args:
        cutoff: (Å).
        size: number of functions.
    """

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.mean = nn.Parameter(torch.rand(size))
        self.std = nn.Parameter(torch.empty(size).uniform_(1 / size, 1.0))
        self.weight = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, r: Float[Tensor, " distances"]) -> Float[Tensor, "distances functions"]:
        """Values at distances `r` (Å)."""
        x = (self.weight * (r / self.cutoff) + self.bias)[:, None]
        width = self.std.abs() + 1e-5
        density = torch.exp(-0.5 * ((x - self.mean) / width).square())
        return density / (math.sqrt(2 * math.pi) * width)


def radial_profile(functions: int, hidden: int, out: int) -> nn.Sequential:
    """Two hidden layers with LayerNorm and SiLU.

    Args:
        functions: of the radial basis.
        hidden: channels.
        out: weights per distance.
    """
    layers: list[nn.Module] = []
    for size in (functions, hidden):
        layers += [nn.Linear(size, hidden), nn.LayerNorm(hidden), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, out))


class ChannelLinear(nn.Module):
    """One matrix for the channels of all degrees, and a bias on the scalars.

    Args:
        channels: of the features.
        out: channels of the result.
        bias: whether the scalars have one, zero at first.
    """

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, channels))
        bound = 1 / math.sqrt(channels)
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x: Float[Tensor, "nodes rows channels"]) -> Float[Tensor, "nodes rows out"]:
        """The mapped features, degree-major."""
        y = nn.functional.linear(x, self.weight)
        if self.bias is None:
            return y
        return torch.cat([y[:, :1] + self.bias, y[:, 1:]], dim=1)


class GatedLinear(nn.Module):
    """A linear map, SiLU of its scalars, and the degrees above times sigmoids of further scalars.

    Args:
        channels: of the features and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.values = ChannelLinear(channels, channels)
        self.gates = nn.Linear(channels, channels)
        nn.init.zeros_(self.gates.bias)

    def forward(
        self, x: Float[Tensor, "nodes rows channels"]
    ) -> Float[Tensor, "nodes rows channels"]:
        """The activated features, degree-major."""
        bias = self.values.bias
        assert bias is not None  # as made above
        y = nn.functional.linear(x, self.values.weight)  # one concatenation, at the end, is enough
        gate = torch.sigmoid(self.gates(x[:, :1]))
        return torch.cat([nn.functional.silu(y[:, :1] + bias), y[:, 1:] * gate], dim=1)


class TDNAttention(nn.Module):
    """Graph attention whose messages and values are path-shared products with the harmonics.

    Along an edge j -> i, with T the edge's matrix and w radial weights that both products share,

        m = w T (W_s x_j + W_d x_i);  e_h = q_h . SmoothLeakyReLU(W_a m_00);
        v = w T gate(W_v m);          out_i = W sum_j alpha_h v_h.

    Args:
        channels: of the features.
        heads: of the attention, which share the channels.
        functions: of the radial basis.
        radial_channels: hidden channels of the radial weights.
        out_channels: of the output.
        dropout: of attention weights, while training.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        functions: int,
        radial_channels: int,
        out_channels: int,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.source = ChannelLinear(channels, channels)
        self.target = ChannelLinear(channels, channels, bias=False)
        self.radial = radial_profile(functions, radial_channels, channels)
        self.alpha = nn.Linear(channels, channels)
        nn.init.zeros_(self.alpha.bias)
        bound = math.sqrt(6 / (heads + channels // heads))
        self.query = nn.Parameter(torch.empty(heads, channels // heads).uniform_(-bound, bound))
        self.value = GatedLinear(channels)
        self.out = ChannelLinear(channels, out_channels)

    def forward(
        self,
        x: Float[Tensor, "atoms rows channels"],
        edges: TDNEdges,
        rows: slice = slice(None),
    ) -> Float[Tensor, "atoms kept out_channels"]:
        """Messages summed over the edges of each atom.

        Args:
            x: features, degree-major.
            edges: with everything about them.
            rows: of the output to compute; without the first one there is no bias.
        """
        ends = self.source(x)[edges.source] + self.target(x)[edges.target]
        radial = edges.spread(self.radial(edges.basis))
        message = apply_matrices(edges.matrices, ends) * radial[:, None]
        weights = self._weights(message[:, 0], edges)
        # the radial weights of the second product and those of the heads are one factor
        spread = weights[:, :, None].expand(-1, -1, self.query.shape[1]).flatten(1)
        values = apply_matrices(edges.matrices[:, :, rows], self.value(message))
        summed = scatter_sum(
            (values * (radial * spread)[:, None]).flatten(1), edges.target, edges.atoms
        )
        summed = summed.unflatten(1, (-1, x.shape[2]))
        if rows.start:
            return nn.functional.linear(summed, self.out.weight)
        out: Tensor = self.out(summed)
        return out

    def _weights(self, scalars: Tensor, edges: TDNEdges) -> Tensor:
        """Of each edge and head."""
        alpha = smooth_leaky_relu(self.alpha(scalars)).unflatten(1, self.query.shape)
        logits = (alpha * self.query).sum(-1)
        weights = attention_weights(logits, edges.target, edges.atoms, edges.envelope)
        return nn.functional.dropout(weights, self.dropout, self.training)


class TDNBlock(nn.Module):
    """x + attention(norm(x)), then x + W gate(W norm(x)).

    Args:
        lmax: highest degree.
        channels: of the features.
        attention: of the block.
        norm: of both steps.
    """

    def __init__(self, lmax: int, channels: int, attention: TDNAttention, norm: NormKind) -> None:
        super().__init__()
        self.norm_1 = EquivariantLayerNorm(lmax, channels, norm)
        self.attention = attention
        self.norm_2 = EquivariantLayerNorm(lmax, channels, norm)
        self.feed_forward = nn.Sequential(GatedLinear(channels), ChannelLinear(channels, channels))

    def forward(
        self, x: Float[Tensor, "atoms rows channels"], edges: TDNEdges
    ) -> Float[Tensor, "atoms rows channels"]:
        """Updated features.

        Args:
            x: features, degree-major.
            edges: with everything about them.
        """
        x = x + self.attention(self.norm_1(x), edges)
        out: Tensor = x + self.feed_forward(self.norm_2(x))
        return out


class DegreeEmbedding(nn.Module):
    """First features of every degree: sum_j w(r_ij) u T_ij / sqrt(average degree), mapped.

    u are the scalars that every source is given, a learned number per channel.

    Args:
        channels: of the features.
        functions: of the radial basis.
        radial_channels: hidden channels of the radial weights.
        average_degree: neighbours per atom.
    """

    def __init__(
        self, channels: int, functions: int, radial_channels: int, average_degree: float
    ) -> None:
        super().__init__()
        self.radial = radial_profile(functions, radial_channels, channels)
        self.scalars = nn.Parameter(torch.empty(channels).uniform_(-1.0, 1.0))
        self.out = ChannelLinear(channels, channels)
        self.average_degree = average_degree

    def forward(self, edges: TDNEdges) -> Float[Tensor, "atoms rows channels"]:
        """Features of each atom.

        Args:
            edges: with everything about them.
        """
        radial = edges.spread(self.radial(edges.basis)) * self.scalars
        if edges.envelope is not None:
            radial = radial * edges.envelope[:, None]
        features = edges.matrices[:, 0, :, None] * radial[:, None]  # (edges, rows, channels)
        summed = scatter_sum(features.flatten(1), edges.target, edges.atoms)
        summed = summed.unflatten(1, features.shape[1:]) / math.sqrt(self.average_degree)
        out: Tensor = self.out(summed)
        return out


@dataclass
class TDNState:
    """What the direct head reads: the normalised features of the last block, and the edges."""

    nodes: Float[Tensor, "atoms rows channels"]
    edges: TDNEdges


class TDNEnergyHead(nn.Module):
    """A number per atom from its scalars: Linear, SiLU, Linear.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 1)
        )

    def forward(self, x: AtomFeatures) -> Float[Tensor, " atoms"]:
        """Atomic energies before scale and references."""
        energies: Tensor = self.network(x.scalars)
        return energies.squeeze(-1)


class TDNForceHead(nn.Module):
    """The degree 1 of an attention block, in one channel: a vector per atom.

    Args:
        attention: with one output channel.
    """

    def __init__(self, attention: TDNAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "atoms 3"]:
        """Forces before scaling."""
        state: Any = x.state
        assert isinstance(state, TDNState)  # the model of this head put it there
        out: Tensor = self.attention(state.nodes, state.edges, slice(1, 4))
        return out[:, :, 0]


def check_heads(channels: int, heads: int) -> None:
    """Refuses channels that heads can't share.

    Raises:
        ConfigError: with both numbers.
    """
    if channels % heads:
        raise ConfigError(
            f"tdn: hidden_channels={channels} can't be shared by num_heads={heads}; take a multiple"
        )
