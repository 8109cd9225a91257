"""What DimeNet and DimeNet++ have in common: from a graph to what their output blocks see."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from zoo.errors import CapabilityError, ConfigError
from zoo.layers.atomistic import (
    SCALARS,
    AtomFeatures,
    AtomGraph,
    TracedTriplets,
    Triplets,
    directed_edges,
)
from zoo.models._atomistic import AtomisticModel
from zoo.models._dimenet_blocks import (
    AtomSum,
    EdgeEmbedding,
    Edges,
    Interaction,
    RadialBasis,
    SphericalRadialBasis,
)

OutputInit = Literal["by_target", "glorot_orthogonal", "zeros"]
#: targets whose output layers the authors' configuration starts at zero
ZERO_TARGETS = ("dipole_norm", "homo", "lumo", "gap", "zpve")
#: kinds of heads that DimeNets have
TARGETS = ("energy", "charges", *SCALARS)


class DirectionalNetwork(AtomisticModel):
    """Messages on directed edges that see angles; architectures bring interactions and heads.

    Args:
        architecture: for messages of errors.
        channels: of messages.
        sizes: further numbers that have to be positive, by name.
        num_spherical: degrees of the spherical basis.
        num_radial: radial functions of both bases.
        cutoff: (Å).
        envelope_exponent: of the envelope: its polynomial has one more.
        fixed: the paper's formulas rather than the authors' code.
        vertex: whose angles the authors' code takes.
        max_z: largest atomic number.
        heads: of energies, charges and scalar properties.
        extensive: whether scalar properties are sums over atoms, or all of them means.
        output_init: of the last layer of output blocks.
        interactions: one for each round.
        new_head: a head with fresh weights; says whether its last layers start at zero.
    """

    def __init__(  # noqa: PLR0913 - every hyper-parameter is an argument
        self,
        *,
        architecture: str,
        channels: int,
        sizes: Mapping[str, int],
        num_spherical: int,
        num_radial: int,
        cutoff: float,
        envelope_exponent: int,
        fixed: bool,
        vertex: Literal["middle", "end"],
        max_z: int,
        heads: Sequence[str],
        extensive: bool,
        output_init: OutputInit,
        interactions: Callable[[], list[Interaction]],
        new_head: Callable[[bool], nn.Module],
    ) -> None:
        _check(architecture, {**sizes, "hidden_channels": channels, "num_radial": num_radial})
        _check(architecture, {"num_spherical": num_spherical}, low=2)
        _check(architecture, {"max_z": max_z, "envelope_exponent": envelope_exponent})
        if max_z > 118:
            raise ConfigError(f"{architecture}: max_z is {max_z}; no element lies beyond 118")
        _check_heads(architecture, heads)
        by_target = output_init == "by_target"
        zeros = {t: t in ZERO_TARGETS if by_target else output_init == "zeros" for t in TARGETS}
        super().__init__(
            cutoff=cutoff,
            heads=heads,
            features=channels,
            channels=channels,
            max_z=max_z,
            own_heads={t: functools.partial(new_head, zeros[t]) for t in TARGETS},
            intensive=() if extensive else SCALARS,
        )
        power = envelope_exponent + 1
        self.degrees = num_spherical
        self.vertex: Literal["middle", "end"] = "middle" if fixed else vertex
        self.radial_basis = RadialBasis(cutoff, num_radial, power)
        self.spherical_basis = SphericalRadialBasis(
            cutoff, num_spherical, num_radial, power, divide=not fixed
        )
        self.edge_embedding = EdgeEmbedding(channels, num_radial, max_z, plain=fixed)
        self.interactions = nn.ModuleList(interactions())
        blocks = len(self.interactions) + 1
        self.atom_sums = nn.ModuleList(AtomSum(channels, num_radial) for _ in range(blocks))

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """What each output block sees of each atom."""
        edges = self._edges(graph)
        x = self.edge_embedding(graph.atomic_numbers, edges)
        seen = [self.atom_sums[0](x, edges)]
        for interaction, atom_sum in zip(self.interactions, self.atom_sums[1:], strict=True):
            x = interaction(x, edges)
            seen.append(atom_sum(x, edges))
        return AtomFeatures(scalars=torch.stack(seen).sum(0), state=tuple(seen))

    def _edges(self, graph: AtomGraph) -> Edges:
        directed = directed_edges(graph)
        atoms = graph.atomic_numbers.shape[0]
        traced = torch.compiler.is_compiling()  # with any number of pairs, none among them
        found = traced or len(graph.distances) > 0
        kind = TracedTriplets if traced else Triplets
        return Edges(
            directed=directed,
            radial=self.radial_basis(graph.distances),
            spherical=self.spherical_basis(graph.distances),
            triplets=kind(directed, atoms, self.degrees, self.vertex) if found else None,
            atoms=atoms,
        )

    def embedding(self) -> nn.Embedding:
        """One row of features per atomic number."""
        return self.edge_embedding.elements

    def blocks(self) -> list[nn.Module]:
        """Embedding and first output, interactions with their outputs, heads."""
        first = nn.ModuleList([self.radial_basis, self.edge_embedding, self.atom_sums[0]])
        rounds = zip(self.interactions, self.atom_sums[1:], strict=True)
        return [first, *(nn.ModuleList(pair) for pair in rounds), self.heads]


def _check(architecture: str, sizes: Mapping[str, int], low: int = 1) -> None:
    for name, value in sizes.items():
        if value < low:
            raise ConfigError(f"{architecture}: {name} is {value}; expected {low} or more")


def _check_heads(architecture: str, heads: Sequence[str]) -> None:
    for entry in heads:
        if entry in ("dipole", "polarizability", "forces", "stress"):
            raise CapabilityError(
                f"{architecture} has features of edges, no vectors of atoms: it can't have a head "
                f"{entry!r}; forces and stress come with 'energy', as its derivatives"
            )
