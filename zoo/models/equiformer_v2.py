"""EquiformerV2: equivariant transformer of high degrees (Liao, Wood, Das, Smidt, arXiv:2306.12059).

Atoms carry spherical features x of degrees up to L. With GA the graph attention of
`zoo.layers.equivariant.attention`, which works in the frames of the edges with orders up to M, FFN
a feed-forward network and LN an equivariant layer norm,

    x   = embedding(z) delta_l0 + sum_j D^T (w_l(r_ij) delta_m0) / 23.4
    x  <- x + GA(LN(x));  x <- x + FFN(LN(x))      num_layers times
    x   = LN(x)
    E   = sum_i FFN(x)_l0;   F = GA(x)_l1          F only where forces are a head of their own

The equations are those of the authors' code in fairchem-core 1.10, whose weights convert. Frames
are deterministic here; theirs are rolled at random in every call, and can't be differentiated.

Two modes. Conservative (the default): forces and stress are derivatives of the energy, weights of
messages carry an envelope, and no neighbour is dropped. As published (the presets): direct forces,
no envelope, the 20 nearest neighbours; energies and forces jump as neighbours come and go.

Deviations: `num_distance_basis`, `attn_activation` and `ffn_activation` are arguments of theirs
that their code ignores; several resolutions at once (`lmax_list` of more than one) and the unused
`use_s2_act_attn` are not offered. Their rank-2 head sends the components of degree 2 through
perceptrons with biases, which rotations do not commute with; the stress head here is the degrees 0
and 2 of a feed-forward network.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import torch
from torch import nn

from zoo.errors import ConfigError
from zoo.functional import polynomial_envelope
from zoo.layers.atomistic import AtomFeatures, AtomGraph, directed_edges
from zoo.layers.equivariant import (
    ActivationKind,
    EdgeBatch,
    EdgeFrames,
    ElementTables,
    EquivariantLayerNorm,
    NormKind,
    element_tables,
    table_weights,
)
from zoo.layers.radial import GaussianBasis
from zoo.models._atomistic import AtomisticModel
from zoo.models._equiformer_v2_blocks import FeedForwardKind, Plan
from zoo.models._equiformer_v2_fairchem import FROZEN, convert_state
from zoo.models._equiformer_v2_heads import FinalFeatures, ScalarHead, TensorHead, VectorHead
from zoo.models._equiformer_v2_init import initialise
from zoo.models._fairchem import unwrap
from zoo.models._spherical import spherical_features
from zoo.registry import register

#: neighbours per atom in the authors' training data (IS2RE 100k), which sums are divided by
AVERAGE_DEGREE = 23.395238876342773
#: least values of arguments
_LEAST = {
    "lmax": 1,
    "mmax": 0,
    "num_layers": 1,
    "hidden_channels": 1,
    "attention_channels": 1,
    "num_heads": 1,
    "alpha_channels": 1,
    "value_channels": 1,
    "feed_forward_channels": 1,
    "edge_channels": 1,
    "num_basis": 2,
    "max_z": 1,
}


@register("equiformer_v2")
class EquiformerV2(AtomisticModel):
    """EquiformerV2 on molecules and crystals.

    Args:
        lmax: highest degree L of the features.
        mmax: highest order M in the frames of the edges.
        num_layers: transformer blocks.
        hidden_channels: channels of every degree.
        attention_channels: hidden channels of the attention.
        num_heads: of the attention.
        alpha_channels: per head, for the weights.
        value_channels: per head, for the values.
        feed_forward_channels: hidden channels of the feed-forward networks.
        edge_channels: hidden channels of the radial networks.
        num_basis: Gaussians of the distance.
        basis_width: of the Gaussians, in units of their spacing.
        cutoff: distance (Å) below which atoms are neighbours.
        max_neighbors: how many of them an atom keeps at most, the nearest; None for all.
        envelope: "polynomial" multiplies weights and messages by a C2 envelope; None is the
            published form, which jumps at the cutoff.
        norm: layer norm, "layer_norm_sh" (published), "layer_norm" or "rms_norm_sh".
        activation: in the attention, "separable_s2" (published), "s2" or "gate".
        feed_forward: "separable_grid_mlp" (published), "grid_mlp", "separable_s2", "s2" or "gate".
            With both set to "gate" equivariance is exact.
        grid_resolution: polar angles and azimuths of the grids; None for the smallest good ones.
        share_radial: one radial weight per degree, whatever the order.
        renormalize: a LayerNorm before the weights of the attention.
        elements: element tables of the radial networks: "own", "shared" or "none".
        average_degree: what sums over neighbours are divided by in the first embedding.
        alpha_dropout: of attention weights, while training.
        drop_path: probability that a structure skips a step of a block, while training.
        dropout: of channels after each step of a block, while training.
        init: of the linear maps, "uniform" or "normal".
        max_z: largest atomic number.
        heads: what to predict: "energy" (eV, with forces and stress as derivatives), and direct
            "forces" and "stress"; "dipole" and "polarizability".
    """

    symmetry = "SO(3)"
    #: energy heads have the authors' parameters for degrees above 0, which no energy depends on
    idle_parameters = True

    def __init__(  # noqa: PLR0913  # hyper-parameters are arguments
        self,
        *,
        lmax: int = 6,
        mmax: int = 2,
        num_layers: int = 12,
        hidden_channels: int = 128,
        attention_channels: int = 64,
        num_heads: int = 8,
        alpha_channels: int = 64,
        value_channels: int = 16,
        feed_forward_channels: int = 128,
        edge_channels: int = 128,
        num_basis: int = 600,
        basis_width: float = 2.0,
        cutoff: float = 12.0,
        max_neighbors: int | None = None,
        envelope: Literal["polynomial"] | None = "polynomial",
        norm: NormKind = "layer_norm_sh",
        activation: ActivationKind = "separable_s2",
        feed_forward: FeedForwardKind = "separable_grid_mlp",
        grid_resolution: int | None = 18,
        share_radial: bool = False,
        renormalize: bool = True,
        elements: ElementTables = "own",
        average_degree: float = AVERAGE_DEGREE,
        alpha_dropout: float = 0.0,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        init: Literal["uniform", "normal"] = "uniform",
        max_z: int = 89,
        heads: Sequence[str] = ("energy",),
    ) -> None:
        given = {**locals()}
        plan = Plan(**{field.name: given[field.name] for field in fields(Plan)})
        _check(given)
        super().__init__(
            cutoff=cutoff,
            heads=heads,
            features=hidden_channels,
            channels=hidden_channels,
            max_z=max_z,
            own_heads={
                "energy": lambda: ScalarHead(plan.network(1)),
                "forces": lambda: VectorHead(plan.attention(1, 0.0)),
                "stress": lambda: TensorHead(plan.network(1)),
            },
        )
        #: whether the symmetry is exact: grids alias
        self.exact = activation == "gate" and feed_forward == "gate"
        self.max_neighbors = max_neighbors
        self.envelope = envelope
        self.basis = GaussianBasis(cutoff, num_basis)
        self.basis.coefficient /= basis_width**2
        self.element_embedding = nn.Embedding(max_z + 1, hidden_channels)
        self.tables = element_tables(max_z + 1, edge_channels) if elements == "shared" else None
        self.frames = EdgeFrames(lmax, mmax)
        self.edge_degree = plan.edge_degree()
        self.layers = nn.ModuleList(plan.block() for _ in range(num_layers))
        self.norm = EquivariantLayerNorm(lmax, hidden_channels, norm)
        initialise(self, init)

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Scalars, vectors and tensors of each atom, and what the heads read besides."""
        edges = self.edges(graph)
        x = self.edge_degree(edges)
        scalars = x[:, :1] + self.element_embedding(graph.atomic_numbers)[:, None]
        x = torch.cat([scalars, x[:, 1:]], dim=1)
        for layer in self.layers:
            x = layer(x, edges, graph.batch, graph.num_graphs)
        x = self.norm(x)
        return spherical_features(x, state=FinalFeatures(x, edges))

    def edges(self, graph: AtomGraph) -> EdgeBatch:
        """The directed edges of a graph and everything that the layers need of them.

        Args:
            graph: atoms and pairs.
        """
        edges = directed_edges(graph, self.max_neighbors)
        if edges.pairs is None:
            distances, row = edges.distances, torch.arange(edges.distances.shape[0])
        else:  # both directions of a pair have one distance
            distances, row = graph.distances, torch.arange(edges.pairs).repeat(2)
        envelope = None
        if self.envelope is not None:
            envelope = polynomial_envelope(edges.distances, self.cutoff)
        numbers = graph.atomic_numbers
        ends = torch.stack([edges.source, edges.target])
        return EdgeBatch(
            target=edges.target,
            row=row.to(edges.source.device),
            basis=self.basis(distances),
            kinds=numbers[ends],
            rotation=self.frames.rotation(edges.vectors, ends, numbers.shape[0]),
            envelope=envelope,
            tables=table_weights(self.tables or ()),
            num_nodes=numbers.shape[0],
        )

    def embedding(self) -> nn.Embedding:
        """One row of features per atomic number."""
        return self.element_embedding

    def blocks(self) -> list[nn.Module]:
        """Embedding, transformer blocks, last norm, heads."""
        first = nn.ModuleList([self.element_embedding, self.edge_degree])
        if self.tables is not None:
            first.append(self.tables)
        return [first, *self.layers, self.norm, self.heads]


def _check(given: Mapping[str, Any]) -> None:
    for name, low in _LEAST.items():
        if given[name] < low:
            raise ConfigError(f"equiformer_v2: {name} is {given[name]}; expected {low} or more")
    if given["max_z"] > 118:
        raise ConfigError(f"equiformer_v2: max_z is {given['max_z']}; no element is beyond 118")
    for name, allowed in (("envelope", ("polynomial", None)), ("init", ("uniform", "normal"))):
        if given[name] not in allowed:
            raise ConfigError(
                f"equiformer_v2: {name} is {given[name]!r}; expected one of "
                f"{', '.join(map(repr, allowed))}"
            )


#: what turns other packages' state dicts and configurations into constructor arguments and weights
CONVERTERS = {"fairchem": convert_state}
#: reads what lies around a state dict
WRAPPERS = {"fairchem": functools.partial(unwrap, frozen=FROZEN)}
