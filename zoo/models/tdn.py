"""TDN: graph attention with a factorised tensor product (Lin et al., arXiv:2507.01131).

Atoms carry spherical features x of degrees up to L, with as many channels in each. With GA the
attention of `TDNAttention`, whose products are those of `zoo.layers.equivariant.SharedCoupling`
between features and the harmonics of edges, LN an equivariant layer norm, and FF two linear maps
around a gate,

    x   = embedding(z) delta_l0 + W sum_j w(r_ij) T(r_ij) u / sqrt(average degree)
    x  <- x + GA(LN(x));  x <- x + FF(LN(x))       num_layers times
    x   = LN(x)
    E   = sum_i MLP(x_00);   F = GA(x)_1m          F only where forces are a head of their own

The product's factors are frozen. With rank="exact" (the default) it is the full path-shared
Clebsch-Gordan product and the network commutes with rotations; with rank="quadratic", the authors'
7 L^2 terms, it does so up to the error of the factors.

Two modes. Conservative (the default): forces and stress are derivatives of the energy, messages
carry an envelope that is C2 at the cutoff, no neighbour is dropped, and one norm serves all
degrees. As published (the preset `tdn-6l`): direct forces, no envelope, a norm of each degree.

Deviations from the authors' code: atoms without neighbours stay in the graph, and their forces are
zero; biases are added, not written into a tensor that others read; the linear map behind the degree
embedding follows the sum over neighbours, so its bias counts once per atom; the energy is not
divided by the root of the average number of atoms, which the scale of the head takes over. Since
an edge's harmonics have one channel, the sum over terms of the factors is done once per edge, for
all layers and channels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import coefficient_degrees, polynomial_envelope, spherical_harmonics
from zoo.functional.cp_factors import EXACT_ERROR
from zoo.layers.atomistic import AtomFeatures, AtomGraph, directed_edges
from zoo.layers.equivariant import EquivariantLayerNorm, NormKind, SharedCoupling
from zoo.models._atomistic import AtomisticModel
from zoo.models._spherical import spherical_features
from zoo.models._tdn_blocks import (
    DegreeEmbedding,
    LearnedGaussians,
    TDNAttention,
    TDNBlock,
    TDNEdges,
    TDNEnergyHead,
    TDNForceHead,
    TDNState,
    check_heads,
)
from zoo.registry import register

#: neighbours per atom in the authors' training data (their subset of PubChemQCR)
AVERAGE_DEGREE = 18.6
#: least values of arguments
_LEAST = {
    "lmax": 1,
    "num_layers": 1,
    "hidden_channels": 1,
    "num_heads": 1,
    "num_basis": 2,
    "radial_channels": 1,
    "max_z": 1,
}


@register("tdn")
class TDN(AtomisticModel):
    """A Tensor Decomposition Network on molecules and crystals.

    Args:
        lmax: highest degree L of the features, up to 6.
        num_layers: transformer blocks.
        hidden_channels: channels of every degree.
        num_heads: of the attention.
        num_basis: Gaussians of the distance.
        radial_channels: hidden channels of the radial weights.
        rank: terms of the product's factors: "exact", "quadratic" (the authors' 7 L^2), or a
            number of terms that ships.
        cutoff: distance (Å) below which atoms are neighbours.
        max_neighbors: how many of them an atom keeps at most, the nearest; None for all.
        envelope: "polynomial" multiplies messages by a C2 envelope; None is the published form,
            which jumps at the cutoff.
        norm: layer norm, "rms_norm_sh" (one scale for all degrees), "layer_norm_sh", or
            "layer_norm" (published: one for each degree, which turns the noise of a degree that is
            nearly zero, as it is in symmetric surroundings, into steep forces).
        average_degree: neighbours per atom, whose root divides the first sum over them.
        alpha_dropout: of attention weights, while training.
        max_z: largest atomic number.
        heads: what to predict: "energy" (eV, with forces and stress as derivatives), direct
            "forces"; "dipole" and, from lmax 2 on, "polarizability".
    """

    symmetry = "SO(3)"

    def __init__(  # noqa: PLR0913  # hyper-parameters are arguments
        self,
        *,
        lmax: int = 1,
        num_layers: int = 4,
        hidden_channels: int = 128,
        num_heads: int = 4,
        num_basis: int = 128,
        radial_channels: int = 64,
        rank: int | str = "exact",
        cutoff: float = 4.5,
        max_neighbors: int | None = None,
        envelope: Literal["polynomial"] | None = "polynomial",
        norm: NormKind = "rms_norm_sh",
        average_degree: float = AVERAGE_DEGREE,
        alpha_dropout: float = 0.0,
        max_z: int = 118,
        heads: Sequence[str] = ("energy",),
    ) -> None:
        _check({**locals()})

        def attention(out_channels: int) -> TDNAttention:
            return TDNAttention(
                hidden_channels,
                num_heads,
                num_basis,
                radial_channels,
                out_channels,
                dropout=alpha_dropout,
            )

        super().__init__(
            cutoff=cutoff,
            heads=heads,
            features=hidden_channels,
            channels=hidden_channels,
            max_z=max_z,
            own_heads={
                "energy": lambda: TDNEnergyHead(hidden_channels),
                "forces": lambda: TDNForceHead(attention(1)),
            },
        )
        self.lmax = lmax
        self.max_neighbors = max_neighbors
        self.envelope = envelope
        self.coupling = SharedCoupling(lmax, rank)
        #: whether the symmetry is exact: it is not with factors that aren't
        self.exact = self.coupling.error < EXACT_ERROR
        self.basis = LearnedGaussians(cutoff, num_basis)
        self.element_embedding = nn.Embedding(max_z + 1, hidden_channels)
        nn.init.uniform_(self.element_embedding.weight, -1.0, 1.0)
        self.degree_embedding = DegreeEmbedding(
            hidden_channels, num_basis, radial_channels, average_degree
        )
        self.layers = nn.ModuleList(
            TDNBlock(lmax, hidden_channels, attention(hidden_channels), norm)
            for _ in range(num_layers)
        )
        self.norm = EquivariantLayerNorm(lmax, hidden_channels, norm)

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Scalars, vectors and tensors of each atom, and what the direct head reads besides."""
        edges = self.edges(graph)
        x = self.degree_embedding(edges)
        scalars = x[:, :1] + self.element_embedding(graph.atomic_numbers)[:, None]
        x = torch.cat([scalars, x[:, 1:]], dim=1)
        for layer in self.layers:
            x = layer(x, edges)
        x = self.norm(x)
        return spherical_features(x, state=TDNState(x, edges))

    def edges(self, graph: AtomGraph) -> TDNEdges:
        """The directed edges of a graph and everything that the layers need of them.

        Args:
            graph: atoms and pairs.
        """
        edges = directed_edges(graph, self.max_neighbors)
        row: Tensor | None = None
        if edges.pairs is None:
            distances = edges.distances
            row = torch.arange(distances.shape[0], device=distances.device)
            harmonics = spherical_harmonics(edges.vectors, self.lmax)
        else:  # both directions of a pair have one distance, and harmonics up to their signs
            distances = graph.distances
            one_way = spherical_harmonics(graph.vectors, self.lmax)
            signs = 1 - 2 * (coefficient_degrees(self.lmax) % 2)
            harmonics = torch.cat([one_way, one_way * signs.to(one_way)])
        envelope = None
        if self.envelope is not None:
            envelope = polynomial_envelope(edges.distances, self.cutoff)
        return TDNEdges(
            source=edges.source,
            target=edges.target,
            matrices=self.coupling.matrices(harmonics),
            basis=self.basis(distances),
            row=row,
            envelope=envelope,
            atoms=graph.atomic_numbers.shape[0],
        )

    def embedding(self) -> nn.Embedding:
        """One row of features per atomic number."""
        return self.element_embedding

    def blocks(self) -> list[nn.Module]:
        """Embedding, transformer blocks, last norm, heads."""
        first = nn.ModuleList([self.element_embedding, self.basis, self.degree_embedding])
        return [first, *self.layers, self.norm, self.heads]


def _check(given: Mapping[str, Any]) -> None:
    for name, low in _LEAST.items():
        if given[name] < low:
            raise ConfigError(f"tdn: {name} is {given[name]}; expected {low} or more")
    if given["max_z"] > 118:
        raise ConfigError(f"tdn: max_z is {given['max_z']}; no element is beyond 118")
    if not 0 < given["average_degree"] < math.inf:
        raise ConfigError(
            f"tdn: average_degree is {given['average_degree']}; expected a number above 0"
        )
    if not 0 <= given["alpha_dropout"] < 1:
        raise ConfigError(
            f"tdn: alpha_dropout is {given['alpha_dropout']}; expected a probability in [0, 1)"
        )
    if given["max_neighbors"] is not None and given["max_neighbors"] < 1:
        raise ConfigError(
            f"tdn: max_neighbors is {given['max_neighbors']}; expected 1 or more, or None for all"
        )
    check_heads(given["hidden_channels"], given["num_heads"])
