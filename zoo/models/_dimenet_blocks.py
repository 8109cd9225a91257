"""Blocks that DimeNet and DimeNet++ share: bases, embedding of edges, interaction, output."""

import abc
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.functional import polynomial_envelope, scatter_sum
from zoo.functional.activations import silu
from zoo.functional.pair_factors import pair_factors
from zoo.functional.spherical_basis import bessel_roots, spherical_bessel
from zoo.layers.atomistic import AtomFeatures, DirectedEdges, TracedTriplets, Triplets
from zoo.layers.constants import ConstantModule
from zoo.layers.radial import BesselBasis
from zoo.layers.silu import SiLULayers, in_turn


@torch.no_grad()
def glorot_orthogonal_(weight: Tensor) -> None:
    """An orthogonal matrix, scaled to Glorot's variance 2 / (fan_in + fan_out)."""
    nn.init.orthogonal_(weight)
    if weight.numel() > 1:
        weight.mul_((2.0 / (sum(weight.shape) * weight.var())).sqrt())


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with the authors' initial weights."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    glorot_orthogonal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def dense(inputs: int, outputs: int | None = None, *, bias: bool = True) -> SiLULayers:
    """A linear layer and SiLU."""
    return SiLULayers(linear(inputs, outputs or inputs, bias=bias))


@dataclass
class Edges:
    """What a batch looks like to a block.

    Attributes:
        directed: both directions of every pair, the second half the reverse of the first.
        radial: radial basis of each pair.
        spherical: radial parts of the spherical basis of each pair.
        triplets: angles; None where there is no edge.
        atoms: number of atoms.
    """

    directed: DirectedEdges
    radial: Float[Tensor, "pairs basis"]
    spherical: Float[Tensor, "pairs degrees basis"]
    triplets: Triplets | TracedTriplets | None
    atoms: int


def both(value: Float[Tensor, "pairs *rest"]) -> Float[Tensor, "edges *rest"]:
    """What belongs to a pair, for its two directions."""
    return torch.cat([value, value])


class RadialBasis(nn.Module):
    """u(d) sin(f_n d) / d with d = r / cutoff, DimeNet's eq. 7 without its factor sqrt(2 / cutoff).

    Args:
        cutoff: (Å).
        size: functions; their frequencies f_n, n pi at first, are trained.
        power: of the envelope's polynomial u.
    """

    def __init__(self, cutoff: float, size: int, power: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power
        self.basis = BesselBasis(cutoff, size, trainable=True)

    def forward(self, r: Float[Tensor, " pairs"]) -> Float[Tensor, "pairs basis"]:
        """Values at distances `r` (Å)."""
        unscaled: Tensor = self.basis(r) * (self.cutoff**3 / 2) ** 0.5  # sin(f_n d) / d
        return polynomial_envelope(r, self.cutoff, self.power)[:, None] * unscaled


class SphericalRadialBasis(ConstantModule):
    """u(d) N_ln j_l(z_ln d), the radial parts of the spherical basis; N_ln as in eq. 6.

    The factor sqrt((2l+1) / 4 pi) of the Legendre polynomials stands here as well.

    Args:
        cutoff: (Å).
        degrees: l = 0 to degrees - 1.
        size: n = 1 to size.
        power: of the envelope's polynomial u.
        divide: whether u is divided by d, as the authors' code does and their weights need.
    """

    roots: Tensor
    norms: Tensor

    def __init__(self, cutoff: float, degrees: int, size: int, power: int, divide: bool) -> None:
        super().__init__()
        self.cutoff, self.power, self.divide = cutoff, power, divide
        self.register_constant("roots", lambda: bessel_roots(degrees, size))
        self.register_constant("norms", lambda: _norms(degrees, size))

    def forward(self, r: Float[Tensor, " pairs"]) -> Float[Tensor, "pairs degrees basis"]:
        """Values at distances `r` (Å)."""
        d = r / self.cutoff
        envelope = polynomial_envelope(r, self.cutoff, self.power)
        envelope = envelope / d if self.divide else envelope
        waves = spherical_bessel(d[:, None, None] * self.roots)
        return envelope[:, None, None] * self.norms * waves


def _norms(degrees: int, size: int) -> Tensor:
    """sqrt(2) / |j_(l+1)(z_ln)| sqrt((2l+1) / 4 pi), float64."""
    roots = bessel_roots(degrees, size)
    padded = torch.cat([roots[:1], roots])[None].transpose(0, 2)  # (size, degrees + 1, 1)
    above = spherical_bessel(padded)[:, 1:, 0].T  # j_(l+1) at the roots of j_l
    degree = torch.arange(degrees, dtype=torch.float64)[:, None]
    norms: Tensor = (2.0**0.5 / above.abs()) * ((2 * degree + 1) / (4 * torch.pi)).sqrt()
    return norms


class EdgeEmbedding(nn.Module):
    """First messages, silu(W [h_target, h_source, radial] + b).

    Args:
        channels: of messages and elements.
        num_radial: radial functions.
        max_z: largest atomic number.
        plain: whether the radial part is linear, as the paper has it; the authors' code gives it a
            bias and SiLU.
    """

    def __init__(self, channels: int, num_radial: int, max_z: int, *, plain: bool) -> None:
        super().__init__()
        self.elements = nn.Embedding(max_z + 1, channels)
        nn.init.uniform_(self.elements.weight, -(3.0**0.5), 3.0**0.5)
        self.radial = linear(num_radial, channels, bias=not plain)
        self.mix = linear(3 * channels, channels)
        self.plain = plain

    def forward(
        self, atomic_numbers: Int[Tensor, " atoms"], edges: Edges
    ) -> Float[Tensor, "edges channels"]:
        """Messages of each edge."""
        radial = self.radial(edges.radial)
        radial = radial if self.plain else silu(radial)
        target, source, between = self.mix.weight.split(self.elements.embedding_dim, dim=1)
        h = self.elements(atomic_numbers)
        x = (h @ target.T + self.mix.bias).index_select(0, edges.directed.target)
        x = x + (h @ source.T).index_select(0, edges.directed.source)
        return silu(x + both(radial @ between.T))


class Residual(nn.Module):
    """x + silu(W silu(W x + b) + b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(dense(channels), dense(channels))

    def forward(self, x: Float[Tensor, "edges channels"]) -> Float[Tensor, "edges channels"]:
        """The updated messages."""
        return in_turn(x, *self.layers, skip=True)


class Interaction(nn.Module, abc.ABC):
    """Messages k -> j flow into the messages j -> i; architectures differ in `angular`.

    Args:
        channels: of messages.
        num_before_skip: residual layers before the skip connection.
        num_after_skip: residual layers after it.
    """

    def __init__(self, channels: int, num_before_skip: int, num_after_skip: int) -> None:
        super().__init__()
        self.own = dense(channels)
        self.other = dense(channels)
        self.before = nn.Sequential(*(Residual(channels) for _ in range(num_before_skip)))
        self.skip = dense(channels)
        self.after = nn.Sequential(*(Residual(channels) for _ in range(num_after_skip)))

    @abc.abstractmethod
    def angular(
        self, x: Float[Tensor, "edges channels"], edges: Edges
    ) -> Float[Tensor, "edges channels"]:
        """What each edge j -> i hears from the edges k -> j."""

    def forward(
        self, x: Float[Tensor, "edges channels"], edges: Edges
    ) -> Float[Tensor, "edges channels"]:
        """The updated messages."""
        h = self.own(x) + self.angular(self.other(x), edges)
        updated: Tensor = self.after(self.skip(self.before(h)) + x)
        return updated


class AtomSum(nn.Module):
    """sum_j (W radial_ji) * m_ji, what an output block sees of an atom.

    Args:
        channels: of messages.
        num_radial: radial functions.
    """

    def __init__(self, channels: int, num_radial: int) -> None:
        super().__init__()
        self.radial = linear(num_radial, channels, bias=False)

    def forward(
        self, x: Float[Tensor, "edges channels"], edges: Edges
    ) -> Float[Tensor, "atoms channels"]:
        """Features of each atom."""
        weighted = pair_factors(x, edges.radial[:, None], self.radial.weight.T[None])
        return scatter_sum(weighted[:, 0], edges.directed.target, edges.atoms)


class BlockSumHead(nn.Module):
    """An energy per atom: the sum of one perceptron for each output block.

    Args:
        blocks: output blocks.
        channels: what a block sees of an atom.
        hidden: channels after a first linear layer without bias; None for none.
        num_layers: layers with SiLU before the last one.
        zeros: whether the last layers start at zero.
    """

    def __init__(
        self, blocks: int, channels: int, hidden: int | None, num_layers: int, *, zeros: bool
    ) -> None:
        super().__init__()
        width = hidden or channels
        self.networks = nn.ModuleList()
        for _ in range(blocks):
            up = [linear(channels, width, bias=False)] if hidden else []
            last = linear(width, 1, bias=False)
            if zeros:
                nn.init.zeros_(last.weight)
            self.networks.append(nn.Sequential(*up, *map(dense, [width] * num_layers), last))

    def forward(self, x: AtomFeatures) -> Float[Tensor, " atoms"]:
        """Atomic energies before scale and references."""
        found = [self._energy(net, t) for net, t in zip(self.networks, x.state, strict=True)]
        return torch.stack(found).sum(0).squeeze(-1)

    @staticmethod
    def _energy(network: nn.Module, x: Tensor) -> Tensor:
        *first, last = cast(nn.Sequential, network)
        layers = [part for part in first if isinstance(part, SiLULayers)]
        for part in first[: len(first) - len(layers)]:
            x = part(x)
        found: Tensor = last(in_turn(x, *layers) if layers else x)
        return found
