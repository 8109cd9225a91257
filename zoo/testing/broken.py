"""Deliberately broken models, each with the check that must reject it.

They differ from `HonestPotential`, which passes, in one step each. The test suite proves with
them that no check passes whatever it is given; a new check comes with a model that fails it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.functional import scatter_mean, scatter_sum
from zoo.testing._honest import HonestPotential


@dataclass(frozen=True)
class Broken:
    """A broken model.

    Attributes:
        model: its class, built without arguments.
        check: the check that must fail.
        dtype: the precision in which it must.
    """

    model: type[nn.Module]
    check: str
    dtype: str = "float64"


class AbsolutePositions(HonestPotential):
    """Its energy depends on where the structure is."""

    def atomic_energy(self, batch: Any, pos: Tensor, *rest: Any) -> Tensor:
        return super().atomic_energy(batch, pos, *rest) + 1e-3 * pos.square().sum(-1)


class PreferredAxis(HonestPotential):
    """Lengths along z count a little more."""

    def distances(self, vectors: Tensor) -> Tensor:
        return super().distances(vectors * vectors.new_tensor([1.0, 1.0, 1.001]))


class LowPrecision(HonestPotential):
    """Runs in float32 inside, whatever its own precision."""

    def distances(self, vectors: Tensor) -> Tensor:
        return super().distances(vectors.float()).to(vectors.dtype)


class WrongParity(HonestPotential):
    """Adds a triple product of directions, which a mirror turns around, to the energy."""

    def atomic_energy(
        self, batch: Any, pos: Tensor, rho: Tensor, index: Tensor, vectors: Tensor
    ) -> Tensor:
        atomic = super().atomic_energy(batch, pos, rho, index, vectors)
        soft = self.envelope(self.distances(vectors))[:, None] * vectors
        a, b, c = (
            scatter_sum(soft * vectors.square().sum(-1, keepdim=True) ** k, index[1], len(pos))
            * (1 + self.element(batch.atomic_numbers)[:, k : k + 1])
            for k in range(3)
        )
        a, b, c = (scatter_sum(v, batch.batch, batch.num_graphs)[batch.batch] for v in (a, b, c))
        triple: Tensor = torch.linalg.cross(a, b).mul(c).sum(-1)
        return atomic + 1e-3 * triple


class PseudoVector(HonestPotential):
    """Its dipole is a cross product: right under rotations, wrong under inversion."""

    def properties(
        self, batch: Any, rho: Tensor, index: Tensor, vectors: Tensor
    ) -> dict[str, Tensor]:
        found = super().properties(batch, rho, index, vectors)
        soft = self.envelope(self.distances(vectors))[:, None] * vectors
        other = scatter_sum(soft, index[1], len(batch.pos)) * self.bias(batch.atomic_numbers)
        total = scatter_sum(other, batch.batch, batch.num_graphs)
        return found | {"dipole": torch.linalg.cross(found["dipole"], total)}


class DroppedEdge(HonestPotential):
    """Loses the last edge of the list."""

    def edges(self, batch: Any) -> tuple[Tensor, Tensor]:
        index, shift = super().edges(batch)
        return index[:, :-1], shift[:-1]


class _Capped(HonestPotential):
    """Keeps a number of edges for each atom, in the order of `rank`."""

    limit = 32

    def rank(self, batch: Any, index: Tensor, shift: Tensor) -> np.ndarray:
        return np.arange(index.shape[1])

    def edges(self, batch: Any) -> tuple[Tensor, Tensor]:
        index, shift = super().edges(batch)
        target = index[1].numpy()
        order = np.lexsort((self.rank(batch, index, shift), target))
        first = np.searchsorted(target[order], target[order])
        keep = torch.from_numpy(order[np.arange(len(order)) - first < self.limit])
        return index[:, keep], shift[keep]


class CappedByOrder(_Capped):
    """Keeps the first 32 neighbours of each atom."""


class CappedByDistance(_Capped):
    """Keeps the 32 nearest neighbours of each atom."""

    def rank(self, batch: Any, index: Tensor, shift: Tensor) -> np.ndarray:
        images = torch.einsum("es,esx->ex", shift.to(batch.pos), batch.cell[batch.batch[index[1]]])
        vectors = batch.pos.detach()[index[0]] + images - batch.pos.detach()[index[1]]
        lengths: np.ndarray = vectors.norm(dim=-1).cpu().numpy()
        return lengths


class BatchStatistics(HonestPotential):
    """Normalises by the mean over the whole batch."""

    def density(self, *parts: Any) -> Tensor:
        rho = super().density(*parts)
        return rho - 0.1 * rho.mean(0)


class MinimumImage(HonestPotential):
    """Sees at most one image of each atom and no image of itself."""

    def edges(self, batch: Any) -> tuple[Tensor, Tensor]:
        index, shift = super().edges(batch)
        seen: set[tuple[int, int]] = set()
        keep = []
        for j, i in index.T.tolist():
            keep.append(i != j and (j, i) not in seen)
            seen.add((j, i))
        mask = torch.tensor(keep, dtype=torch.bool)
        return index[:, mask], shift[mask]


class UnrelatedForce(HonestPotential):
    """Leaves a part of the energy out of the forces."""

    def atomic_energy(self, batch: Any, pos: Tensor, rho: Tensor, *rest: Any) -> Tensor:
        return super().atomic_energy(batch, pos, rho, *rest) + 0.01 * rho.detach().sum(-1)


class VirialSign(HonestPotential):
    """Its stress has the opposite sign."""

    def stress(self, by_strain: Tensor, cell: Tensor) -> Tensor:
        return -super().stress(by_strain, cell)


class HardCutoff(HonestPotential):
    """Nothing fades at the cutoff: the energy jumps."""

    def envelope(self, r: Tensor) -> Tensor:
        return torch.ones_like(r)


class KinkAtCutoff(HonestPotential):
    """Fades linearly: the energy is continuous, the force jumps."""

    def envelope(self, r: Tensor) -> Tensor:
        return (1 - r / self.cutoff).clamp(min=0.0)


class NoNeighbours(HonestPotential):
    """Divides by the number of neighbours."""

    def density(self, batch: Any, index: Tensor, r: Tensor) -> Tensor:
        count = torch.bincount(index[1], minlength=len(batch.pos)).to(r.dtype)
        return super().density(batch, index, r) / count[:, None]


class EdgesNeeded(HonestPotential):
    """Takes the largest distance of a list that may be empty."""

    def distances(self, vectors: Tensor) -> Tensor:
        r = super().distances(vectors)
        return r + 0.0 * r.max()


class MeanPooling(HonestPotential):
    """Averages the atoms: two copies far apart have the energy of one."""

    def total(self, atomic: Tensor, batch: Any) -> Tensor:
        return scatter_mean(atomic.double(), batch.batch, batch.num_graphs)


class BentOnly(HonestPotential):
    """Needs directions that do not cancel: infinite for an atom midway between two others."""

    def atomic_energy(
        self, batch: Any, pos: Tensor, rho: Tensor, index: Tensor, vectors: Tensor
    ) -> Tensor:
        unit = vectors / self.distances(vectors)[:, None]
        gram = scatter_sum(unit[:, :, None] * unit[:, None, :], index[1], len(pos))
        volume: Tensor = torch.linalg.det(gram)
        return super().atomic_energy(batch, pos, rho, index, vectors) + 0.01 * volume.abs().sqrt()


class CoincidentDivision(HonestPotential):
    """Divides by distances."""

    def distances(self, vectors: Tensor) -> Tensor:
        return vectors.square().sum(-1).sqrt()

    def density(self, batch: Any, index: Tensor, r: Tensor) -> Tensor:
        return super().density(batch, index, r + 0.01 / r)


class DetachedForce(HonestPotential):
    """Its forces carry no graph: training on them moves nothing."""

    def gradients(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        by_pos, by_strain = super().gradients(*parts)
        return by_pos.detach(), by_strain.detach()


class DetachedPositions(HonestPotential):
    """Its forces can't be differentiated by the positions it was given."""

    def positions(self, batch: Any) -> Tensor:
        pos: Tensor = batch.pos
        return pos.detach().requires_grad_()


class LeakingPrecision(HonestPotential):
    """Its dipole is float64 in a float32 model."""

    def properties(self, *parts: Any) -> dict[str, Tensor]:
        found = super().properties(*parts)
        return found | {"dipole": found["dipole"].double()}


class UnsavedWeights(HonestPotential):
    """A part of its weights is a plain attribute, which no state holds."""

    def __init__(self, cutoff: float = 4.0, channels: int = 8) -> None:
        super().__init__(cutoff, channels)
        self.extra = torch.randn(1).item()

    def atomic_energy(self, *parts: Any) -> Tensor:
        return super().atomic_energy(*parts) + self.extra


class ReseedingModel(HonestPotential):
    """Uses up torch's global random numbers in a call."""

    def density(self, *parts: Any) -> Tensor:
        return super().density(*parts) + 0.0 * torch.rand(1).item()


class ZeroDipole(HonestPotential):
    """One of its outputs is zero for every structure, so nothing else can be said of it."""

    def properties(self, *parts: Any) -> dict[str, Tensor]:
        found = super().properties(*parts)
        return found | {"dipole": torch.zeros_like(found["dipole"])}


BROKEN: Sequence[Broken] = (
    Broken(ZeroDipole, "outputs"),
    Broken(PreferredAxis, "rotation"),
    Broken(PreferredAxis, "rotation", "float32"),
    Broken(LowPrecision, "rotation"),
    Broken(WrongParity, "reflection"),
    Broken(PseudoVector, "inversion"),
    Broken(AbsolutePositions, "translation"),
    Broken(DroppedEdge, "permutation"),
    Broken(BatchStatistics, "batching"),
    Broken(MinimumImage, "periodic"),
    Broken(UnrelatedForce, "forces"),
    Broken(VirialSign, "stress"),
    Broken(HardCutoff, "smoothness"),
    Broken(KinkAtCutoff, "smoothness"),
    Broken(CappedByOrder, "crowding"),
    Broken(CappedByDistance, "crowding"),
    Broken(NoNeighbours, "isolated_atom"),
    Broken(EdgesNeeded, "empty_edges"),
    Broken(MeanPooling, "separation"),
    Broken(BentOnly, "collinear"),
    Broken(CoincidentDivision, "coincident"),
    Broken(DetachedForce, "double_backward_parameters"),
    Broken(DetachedPositions, "double_backward_positions"),
    Broken(LeakingPrecision, "dtypes", "float32"),
    Broken(UnsavedWeights, "save_load"),
    Broken(ReseedingModel, "global_state"),
)
