"""TensorNet: matrix features over R^3 for atoms (Simeon, De Fabritiis, arXiv:2306.06482).

Every atom carries, per channel, a 3x3 matrix X = I + A + S: trace, antisymmetric and symmetric
traceless part. The equations below are those of the authors' package torchmd-net 3.1, which the
default configuration reproduces digit by digit; phi is the cosine cutoff and e the radial basis.

    embedding    X_i = sum_j phi (W_l e + b_l) Z_ij [Id, [r]_x, r r^T - Id/3],  j = i included
                 Z_ij = W [emb_i, emb_j] + b;  I, A, S mixed and gated by an MLP of norms
    interaction  X <- X / (|X|^2 + 1);  Y = mix(X);  M_i = sum_j f_ij Y_j, degree by degree
                 C = (1 + 0.1 q)(Y M + M Y) [O(3)]  or  2 Y M [SO(3)]
                 dX = mix(C / (|C|^2 + 1));  X <- X + dX + (1 + 0.1 q) dX^2
    readout      SiLU(W LayerNorm([|I|^2, |A|^2, |S|^2]))

How it is computed here differs from how it is written: features are kept in nine orthonormal
components rather than as matrices; the radial network runs once per pair of atoms, not per
directed edge; and the embedding, which is linear in e and depends on the neighbour only through
its element, is summed over neighbours in the radial basis, element by element, before any channel
is touched.

Deviations from the paper: self-loops (j = i, with r = 0) and the double cutoff are those of the
authors' code. Of their radial bases the exponential and the Gaussian one are offered; their
`static_shapes` and `cutoff_lower` are not.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import (
    cosine_cutoff,
    direction_components,
    pair_message,
    scatter_sum,
)
from zoo.functional.cartesian import DEGREE, SIZES
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.layers.cartesian import ComponentLinear, MatrixProduct
from zoo.layers.radial import ExpNormBasis, GaussianBasis
from zoo.models._atomistic import AtomisticModel
from zoo.models._tensornet_torchmd import convert_state
from zoo.registry import register

Group = Literal["O(3)", "SO(3)"]
RadialBasis = Literal["expnorm", "gauss"]
_BASES = {"expnorm": ExpNormBasis, "gauss": GaussianBasis}
#: how strongly the total charge scales products of features
CHARGE_FACTOR = 0.1


def _silu_layers(*sizes: int) -> nn.Sequential:
    """Linear layers between these numbers of features, each followed by SiLU."""
    steps = itertools.pairwise(sizes)
    return nn.Sequential(*(part for a, b in steps for part in (nn.Linear(a, b), nn.SiLU())))


class TensorEmbedding(nn.Module):
    """First matrix features, from elements, distances and directions.

    Args:
        channels: feature channels.
        num_rbf: radial functions.
        max_z: largest atomic number.
    """

    def __init__(self, channels: int, num_rbf: int, max_z: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(max_z + 1, channels)
        self.element_pair = nn.Linear(2 * channels, channels)
        self.radial = nn.ModuleList(nn.Linear(num_rbf, channels) for _ in SIZES)
        self.norm = nn.LayerNorm(channels)
        self.gate = _silu_layers(channels, 2 * channels, 3 * channels)
        self.mix = ComponentLinear(channels)

    def forward(
        self,
        graph: AtomGraph,
        radial: Float[Tensor, "pairs basis"],
        self_radial: Float[Tensor, " basis"],
        envelope: Float[Tensor, " pairs"],
    ) -> Float[Tensor, "9 atoms channels"]:
        """Features of each atom from the atoms around it.

        Args:
            graph: atoms and pairs.
            radial: basis functions of each pair, envelope included.
            self_radial: basis functions at distance zero.
            envelope: cosine cutoff of each pair.
        """
        kinds, kind = graph.kinds()
        density = _density(graph, kind, len(kinds), radial, self_radial, envelope)
        x = self._from_density(density, kinds, kind)
        atoms, channels = x.shape[1:]
        gates = self.gate(self.norm(x.square().sum(0))).reshape(atoms, 3, channels).unbind(1)
        mixed = self.mix(x).split(SIZES)
        return torch.cat([part * gate for part, gate in zip(mixed, gates, strict=True)])

    def _from_density(
        self, density: Float[Tensor, "9 atoms kinds basis"], kinds: Tensor, kind: Tensor
    ) -> Float[Tensor, "9 atoms channels"]:
        """sum_j (u_i + v_j) W e_ij from the neighbour density of each element."""
        channels = self.elements.embedding_dim
        table = self.elements(kinds)
        pair = self.element_pair
        own = (table @ pair.weight[:, :channels].T + pair.bias)[kind]  # (atoms, channels)
        other = table @ pair.weight[:, channels:].T  # (kinds, channels)
        total = density.sum(2)  # (9, atoms, basis)
        parts = []
        split = zip(self.radial, density.split(SIZES), total.split(SIZES), strict=True)
        for linear, by_kind, by_any in split:
            # no get_parameter: FSDP puts plain tensors in their place for the forward pass
            weight, bias = cast(nn.Linear, linear).weight, cast(nn.Linear, linear).bias
            w = torch.cat([weight, bias[:, None]], dim=1)  # (channels, basis)
            joint = other[:, None, :] * w.T[None]  # (kinds, basis, channels)
            neighbours = by_kind.flatten(2) @ joint.flatten(0, 1)
            parts.append(own * (by_any @ w.T) + neighbours)
        return torch.cat(parts)


def _density(
    graph: AtomGraph,
    kind: Tensor,
    kinds: int,
    radial: Float[Tensor, "pairs basis"],
    self_radial: Float[Tensor, " basis"],
    envelope: Float[Tensor, " pairs"],
) -> Float[Tensor, "9 atoms kinds basis_and_one"]:
    """sum_j phi [e, 1] (x) [Id, [r]_x, S(r)] over the neighbours of each element, self included."""
    source, target = graph.pairs
    atoms = kind.shape[0]  # a number that stays free where the model is traced
    basis = torch.cat([radial, torch.ones_like(envelope)[:, None]], dim=1) * envelope[:, None]
    # vectors point from target to source; the authors' from source to target
    forward = direction_components(-graph.vectors / graph.distances[:, None])
    flip = torch.cat([forward[:, :1], -forward[:, 1:4], forward[:, 4:]], dim=1)
    outer = torch.cat([forward, flip])[:, :, None] * torch.cat([basis, basis])[:, None, :]
    # an atom counts among its own neighbours, at distance zero: sqrt(3) = |Id|, no direction
    alone = torch.cat([self_radial, self_radial.new_ones(1)]) * 3.0**0.5
    alone = nn.functional.pad(alone, (0, 8 * len(alone))).expand(atoms, -1)
    rows = torch.cat(
        [
            target * kinds + kind[source],
            source * kinds + kind[target],
            torch.arange(atoms, device=kind.device) * kinds + kind,
        ]
    )
    summed = scatter_sum(torch.cat([outer.flatten(1), alone]), rows, atoms * kinds)
    return summed.reshape(atoms, kinds, 9, -1).permute(2, 0, 1, 3)


class TensorInteraction(nn.Module):
    """One round of messages and matrix products.

    Args:
        channels: feature channels.
        num_rbf: radial functions.
        group: symmetry of the product.
    """

    def __init__(self, channels: int, num_rbf: int, group: Group) -> None:
        super().__init__()
        self.group = group
        self.radial = _silu_layers(num_rbf, channels, 2 * channels, 3 * channels)
        self.mix_in = ComponentLinear(channels)
        self.mix_out = ComponentLinear(channels)
        self.product = MatrixProduct(symmetric=group == "O(3)")

    def forward(
        self,
        x: Float[Tensor, "9 atoms channels"],
        graph: AtomGraph,
        radial: Float[Tensor, "pairs_and_one basis"],
        envelope: Float[Tensor, "pairs_and_one"],
        charge: Float[Tensor, "atoms 1"],
    ) -> Float[Tensor, "9 atoms channels"]:
        """Updated features.

        Args:
            x: features.
            graph: atoms and pairs.
            radial: basis functions of each pair and, last, at distance zero.
            envelope: cosine cutoff of the same.
            charge: 1 + 0.1 times the total charge, per atom.
        """
        x = x / (x.square().sum(0) + 1.0)
        y = self.mix_in(x)
        weight = self.radial(radial) * envelope[:, None]
        weight = weight.unflatten(1, (3, -1)).transpose(0, 1)  # (3, pairs + 1, channels)
        between, own = weight.split([graph.distances.shape[0], 1], dim=1)
        alone = [w * part for w, part in zip(own, y.split(SIZES), strict=True)]
        message = pair_message(between, y, graph.pairs, DEGREE) + torch.cat(alone)
        product = self.product(y, message)
        if self.group == "O(3)":
            product = product * charge
        dx = self.mix_out(product / (product.square().sum(0) + 1.0))
        updated: Tensor = x + dx + charge * self.product.square(dx)
        return updated


@register("tensornet")
class TensorNet(AtomisticModel):
    """TensorNet on molecules and crystals, with total charge.

    Args:
        hidden_channels: feature channels.
        num_layers: rounds of messages; 0 keeps the embedding alone.
        num_rbf: radial functions.
        cutoff: distance (Å) below which atoms are neighbours.
        group: "O(3)", or "SO(3)" to let features tell mirror images apart.
        max_z: largest atomic number.
        heads: what to predict, from "energy" (eV, with forces and stress), "dipole" (e Å) and
            "polarizability" (Å³).
        trainable_rbf: whether centres and widths of the radial basis are trained.
        rbf: "expnorm", which is finest at short distances, or "gauss", evenly spaced.
    """

    def __init__(
        self,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        num_rbf: int = 32,
        cutoff: float = 4.5,
        group: Group = "O(3)",
        max_z: int = 118,
        heads: Sequence[str] = ("energy",),
        trainable_rbf: bool = False,
        rbf: RadialBasis = "expnorm",
    ) -> None:
        _check_sizes(hidden_channels, num_layers, num_rbf, max_z)
        super().__init__(
            cutoff=cutoff,
            heads=heads,
            features=hidden_channels,
            channels=hidden_channels,
            max_z=max_z,
        )
        self.basis = _BASES[rbf](cutoff, num_rbf, trainable=trainable_rbf)
        self.tensor_embedding = TensorEmbedding(hidden_channels, num_rbf, max_z)
        self.layers = nn.ModuleList(
            TensorInteraction(hidden_channels, num_rbf, group) for _ in range(num_layers)
        )
        self.readout_norm = nn.LayerNorm(3 * hidden_channels)
        self.readout = nn.Linear(3 * hidden_channels, hidden_channels)

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Scalars, vectors and tensors of each atom."""
        # the last row is distance zero: what an atom tells itself
        distances = torch.cat([graph.distances, graph.distances.new_zeros(1)])
        radial = self.basis(distances)
        envelope = cosine_cutoff(distances, self.cutoff)
        x = self.tensor_embedding(graph, radial[:-1], radial[-1], envelope[:-1])
        charge = (1.0 + CHARGE_FACTOR * graph.charge)[graph.batch][:, None]
        for layer in self.layers:
            x = layer(x, graph, radial, envelope, charge)
        parts = x.split(SIZES)
        norms = torch.cat([part.square().sum(0) for part in parts], dim=-1)
        scalars = nn.functional.silu(self.readout(self.readout_norm(norms)))
        return AtomFeatures(scalars=scalars, vectors=parts[1], tensors=parts[2])

    def embedding(self) -> nn.Embedding:
        """One row of features per atomic number."""
        return self.tensor_embedding.elements

    def blocks(self) -> list[nn.Module]:
        """Embedding, layers, readout, heads."""
        readout = nn.ModuleList([self.readout_norm, self.readout])
        return [self.tensor_embedding, *self.layers, readout, self.heads]


def _check_sizes(hidden_channels: int, num_layers: int, num_rbf: int, max_z: int) -> None:
    for name, value, low in (
        ("hidden_channels", hidden_channels, 1),
        ("num_layers", num_layers, 0),
        ("num_rbf", num_rbf, 2),
        ("max_z", max_z, 1),
    ):
        if value < low:
            raise ConfigError(f"tensornet: {name} is {value}; expected {low} or more")
    if max_z > 118:
        raise ConfigError(f"tensornet: max_z is {max_z}; no element lies beyond 118")


#: what turns other packages' state dicts and configurations into constructor arguments and weights
CONVERTERS = {"torchmd-net": convert_state}
