"""A small honest potential, and the base of the deliberately broken ones.

Atoms carry a density of their neighbours, an energy that is a smooth function of it, and a vector
and a tensor built from the directions:

    rho_i = sum_j w(z_j) phi(r_ij) exp(-k r_ij),     E_i = MLP(rho_i) + b(z_i)
    mu = sum_i g(rho_i) sum_j phi(r_ij) r_ij,        alpha = sum_i h(rho_i) sum_j phi r_ij r_ij^T
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.functional import edge_vectors, neighbor_list, scatter_sum


class HonestPotential(nn.Module):
    """Passes every check. Each step is a method, for a broken model to override.

    Args:
        cutoff: (Å).
        channels: width of the densities.
    """

    def __init__(self, cutoff: float = 4.0, channels: int = 8) -> None:
        super().__init__()
        self.hparams = {"cutoff": cutoff, "channels": channels}
        self.cutoff = cutoff
        self.element = nn.Embedding(119, channels)
        self.bias = nn.Embedding(119, 1)
        self.decay = nn.Parameter(torch.linspace(0.2, 1.0, channels))
        self.energy = nn.Sequential(nn.Linear(channels, 8), nn.SiLU(), nn.Linear(8, 1))
        self.gates = nn.Linear(channels, 2)

    def edges(self, batch: Any) -> tuple[Int[Tensor, "2 edges"], Int[Tensor, "edges 3"]]:
        """The neighbour list."""
        return neighbor_list(batch.pos, self.cutoff, batch.batch, batch.cell, batch.pbc)

    def envelope(self, r: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
        """(1 - (r / cutoff)^2)^3: two continuous derivatives at the cutoff."""
        return (1 - (r / self.cutoff).square()).clamp(min=0.0) ** 3

    def distances(self, vectors: Float[Tensor, "edges 3"]) -> Float[Tensor, " edges"]:
        """Lengths, with finite derivatives at zero."""
        return (vectors.square().sum(-1) + 1e-8).sqrt()

    def density(
        self, batch: Any, index: Int[Tensor, "2 edges"], r: Float[Tensor, " edges"]
    ) -> Float[Tensor, "atoms channels"]:
        """What each atom sees of its neighbours."""
        radial = torch.exp(-self.decay * r[:, None]) * self.envelope(r)[:, None]
        weights = 1.0 + 0.3 * self.element(batch.atomic_numbers[index[0]])
        return scatter_sum(weights * radial, index[1], len(batch.pos))

    def atomic_energy(
        self,
        batch: Any,
        pos: Float[Tensor, "atoms 3"],
        rho: Float[Tensor, "atoms channels"],
        index: Int[Tensor, "2 edges"],
        vectors: Float[Tensor, "edges 3"],
    ) -> Float[Tensor, " atoms"]:
        """Energies of the atoms (eV)."""
        inner: Tensor = self.energy(rho * (1 + self.element(batch.atomic_numbers)))
        own: Tensor = self.bias(batch.atomic_numbers)
        return (inner + own).squeeze(-1)

    def total(self, atomic: Float[Tensor, " atoms"], batch: Any) -> Float[Tensor, " graphs"]:
        """Energies of the structures (eV), float64."""
        return scatter_sum(atomic.double(), batch.batch, batch.num_graphs)

    def positions(self, batch: Any) -> Float[Tensor, "atoms 3"]:
        """The positions that the forces are derivatives by."""
        pos: Tensor = batch.pos
        return pos if pos.requires_grad else pos.detach().requires_grad_()

    def gradients(self, energy: Tensor, pos: Tensor, strain: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives by positions and strain."""
        if not energy.requires_grad:
            return torch.zeros_like(pos), torch.zeros_like(strain)
        by_pos, by_strain = torch.autograd.grad(energy.sum(), (pos, strain), create_graph=True)
        return by_pos, by_strain

    def stress(self, by_strain: Tensor, cell: Tensor) -> Tensor:
        """(1/V) dE/dε."""
        volume: Tensor = torch.linalg.det(cell).abs()
        return by_strain / volume[:, None, None]

    def properties(
        self,
        batch: Any,
        rho: Float[Tensor, "atoms channels"],
        index: Int[Tensor, "2 edges"],
        vectors: Float[Tensor, "edges 3"],
    ) -> dict[str, Tensor]:
        """A vector and a tensor for each structure."""
        soft = self.envelope(self.distances(vectors))[:, None] * vectors
        gates = self.gates(rho)
        size, rows = batch.num_graphs, len(batch.pos)
        local = scatter_sum(soft, index[1], rows) * gates[:, :1]
        outer = soft[:, :, None] * vectors[:, None, :]
        tensors = scatter_sum(outer, index[1], rows) * gates[:, 1:, None]
        return {
            "dipole": scatter_sum(local, batch.batch, size),
            "polarizability": scatter_sum(tensors, batch.batch, size),
        }

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Energy, forces, dipole, polarizability, and stress where all directions are periodic."""
        with torch.enable_grad():
            pos = self.positions(batch)
            strain = torch.zeros_like(batch.cell, requires_grad=True)
            symmetric = 0.5 * (strain + strain.mT)
            moved = pos + torch.einsum("nx,nxy->ny", pos, symmetric[batch.batch])
            cell = batch.cell + batch.cell @ symmetric
            index, shift = self.edges(batch)
            vectors = edge_vectors(moved, index, shift, batch.batch, cell)
            rho = self.density(batch, index, self.distances(vectors))
            energy = self.total(self.atomic_energy(batch, moved, rho, index, vectors), batch)
            by_pos, by_strain = self.gradients(energy, pos, strain)
            found = {"energy": energy, "forces": -by_pos}
            if bool(batch.pbc.all()):
                found["stress"] = self.stress(by_strain, batch.cell)
            return found | self.properties(batch, rho, index, vectors)
