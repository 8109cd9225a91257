"""Heads: from equivariant features of atoms to properties of structures.

Energy heads give a number per atom. "forces" and "stress" are direct heads: what they give is no
derivative of the energy, so it costs no backward pass and conserves nothing. Scalar properties and
atomic charges have heads like those of energies. An architecture can bring heads of its own for
any kind (`AtomisticModel(own_heads=...)`); those here serve every architecture whose features have
vectors and tensors.

Dipole and polarizability are built as in PaiNN (Schuett, Unke, Gastegger, arXiv:2102.03150): atomic
charges and polarizabilities from scalars, anisotropic parts from the vectors and tensors of the
architecture.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from ase.data import atomic_masses
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import scatter_mean, scatter_sum, to_matrix
from zoo.layers.atomistic._features import AtomFeatures, AtomGraph
from zoo.layers.atomistic._properties import SCALARS
from zoo.layers.constants import ConstantModule


def _perceptron(channels: int, out: int) -> nn.Sequential:
    half = max(channels // 2, 1)
    layers = nn.Linear(channels, half), nn.Linear(half, out)
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.SiLU(), layers[1])


class EnergyHead(nn.Module):
    """A scalar per atom: Linear, SiLU, Linear.

    Args:
        features: scalars per atom.
        channels: vector and tensor channels (unused).
    """

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.network = _perceptron(features, 1)

    def forward(self, x: AtomFeatures) -> Float[Tensor, " atoms"]:
        """Atomic energies before scale and references."""
        energies: Tensor = self.network(x.scalars)
        return energies.squeeze(-1)


class DipoleHead(ConstantModule):
    """Dipole moment about the centre of mass, sum_i q_i (r_i - R) + mu_i (e Å).

    The atomic charges q_i are shifted so that they add up to the total charge; mu_i is a gated
    sum of the atom's vectors.

    Args:
        features: scalars per atom.
        channels: vector channels.
    """

    masses: Tensor

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.network = _perceptron(features, 1 + channels)
        self.register_constant("masses", lambda: torch.as_tensor(atomic_masses).double())

    def forward(
        self, x: AtomFeatures, graph: AtomGraph, pos: Float[Tensor, "atoms 3"]
    ) -> Float[Tensor, "graphs 3"]:
        """Dipole moments (e Å)."""
        if x.vectors is None:
            raise ConfigError("a dipole head needs an architecture with vector features")
        out = self.network(x.scalars)
        charges, gates = out[:, 0], out[:, 1:]
        size, batch = graph.num_graphs, graph.batch
        total = scatter_mean(charges, batch, size)
        atoms = scatter_sum(torch.ones_like(charges), batch, size).clamp(min=1)
        charges = charges - (total - graph.charge / atoms)[batch]
        mass = self.masses[graph.atomic_numbers]
        centre = scatter_sum(mass[:, None] * pos, batch, size)
        centre = centre / scatter_sum(mass, batch, size).clamp(min=1e-12)[:, None]
        local = torch.einsum("xnf,nf->nx", x.vectors, gates)
        return scatter_sum(charges[:, None] * (pos - centre[batch]) + local, batch, size)


class _TensorHead(nn.Module):
    """A symmetric tensor per atom, a_i Id + S_i; S_i is a gated sum of symmetric traceless tensors.

    Args:
        features: scalars per atom.
        channels: tensor channels.
    """

    title: ClassVar[str]

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.network = _perceptron(features, 1 + channels)

    def atomic(self, x: AtomFeatures) -> Float[Tensor, "atoms 3 3"]:
        """The tensor of each atom."""
        if x.tensors is None:
            raise ConfigError(f"a {self.title} head needs an architecture with tensor features")
        out = self.network(x.scalars)
        return _symmetric(out[:, 0], torch.einsum("cnf,nf->cn", x.tensors, out[:, 1:]))


class PolarizabilityHead(_TensorHead):
    """Polarizability, the sum of the atoms' tensors (Å^3 unless the data say otherwise)."""

    title = "polarizability"

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "graphs 3 3"]:
        """Symmetric polarizability tensors."""
        return scatter_sum(self.atomic(x), graph.batch, graph.num_graphs)


class StressHead(_TensorHead):
    """Direct stress, the mean of the atoms' tensors: a supercell has the stress of its cell."""

    title = "direct stress"

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "graphs 3 3"]:
        """Symmetric stress tensors before scaling."""
        return scatter_mean(self.atomic(x), graph.batch, graph.num_graphs)


class ForceHead(nn.Module):
    """Direct forces: a gated sum of the atom's vectors.

    Args:
        features: scalars per atom.
        channels: vector channels.
    """

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.network = _perceptron(features, channels)

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "atoms 3"]:
        """Forces before scaling."""
        if x.vectors is None:
            raise ConfigError("a direct force head needs an architecture with vector features")
        return torch.einsum("xnf,nf->nx", x.vectors, self.network(x.scalars))


def _symmetric(
    isotropic: Float[Tensor, " atoms"], symmetric: Float[Tensor, "5 atoms"]
) -> Float[Tensor, "atoms 3 3"]:
    """a Id + S from a and the five orthonormal components of S."""
    zeros = torch.zeros_like(symmetric[:3])
    components = torch.cat([isotropic[None] * 3**0.5, zeros, symmetric])  # (9, atoms)
    return to_matrix(components).permute(2, 0, 1)


#: kinds of heads that a model can be built with
HEADS: Mapping[str, type[nn.Module]] = {
    "energy": EnergyHead,
    "dipole": DipoleHead,
    "polarizability": PolarizabilityHead,
    "forces": ForceHead,
    "stress": StressHead,
    "charges": EnergyHead,
    **dict.fromkeys(SCALARS, EnergyHead),
}


def new_head(entry: str, features: int, channels: int) -> nn.Module:
    """A head with fresh weights.

    Args:
        entry: a kind, or "energy/<name>".
        features: scalars per atom.
        channels: vector and tensor channels.
    """
    return HEADS[entry.partition("/")[0]](features, channels)
