"""Deliberately broken models outside atoms, each with the check that must reject it.

They differ from the honest models, which pass, in one step each. The test suite proves with them
that no check passes whatever it is given; a new check comes with a model that fails it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing._honest_samples import (
    HonestBases,
    HonestCongruence,
    HonestGraph,
    HonestLorentz,
    HonestMatrix,
    HonestPoints,
)
from zoo.testing.broken import Broken


class ZeroLogits(HonestMatrix):
    """Its output is zero for every sample, so nothing else can be said of it."""

    def classified(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": 0.0 * super().classified(features)["logits"]}


class ActiveDropout(HonestMatrix):
    """Drops features while evaluating."""

    def invariants(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().invariants(x), 0.5)


class LearnsInEvaluation(HonestMatrix):
    """Its running mean moves whenever it is called."""

    def normalised(self, x: Tensor) -> Tensor:
        mean = self.norm.running_mean
        assert isinstance(mean, Tensor)
        mean.lerp_(x.detach().mean(0), 0.1)
        return super().normalised(x)


class BatchStatistics(HonestMatrix):
    """Normalises by the batch while evaluating."""

    def normalised(self, x: Tensor) -> Tensor:
        return super().normalised(x - 0.1 * x.mean(0))


class GraphStatistics(HonestGraph):
    """Normalises nodes by those of all graphs in the batch."""

    def normalised(self, x: Tensor) -> Tensor:
        return super().normalised(x - 0.1 * x.mean(0))


class NumberedNodes(HonestGraph):
    """Knows the places of nodes in their graph."""

    def neighbours(self, batch: Any, x: Tensor) -> Tensor:
        place: Tensor = torch.arange(len(x)) - batch.ptr[batch.batch]
        return super().neighbours(batch, x) + 0.01 * place[:, None]


class DroppedEdge(HonestGraph):
    """Loses the last edge of the list."""

    def neighbours(self, batch: Any, x: Tensor) -> Tensor:
        shorter = batch.clone()
        shorter.edge_index = batch.edge_index[:, :-1]
        return super().neighbours(shorter, x)


class DividesByDegree(HonestGraph):
    """Divides by the number of neighbours."""

    def neighbours(self, batch: Any, x: Tensor) -> Tensor:
        degree = torch.bincount(batch.edge_index[1], minlength=len(x)).to(x.dtype)
        return super().neighbours(batch, x) / degree[:, None]


class PreferredAxis(HonestPoints):
    """Lengths along the last axis count a little more."""

    def lengths(self, x: Tensor) -> Tensor:
        return super().lengths(x * x.new_tensor([1.0, 1.0, 1.001]))


class Handed(HonestPoints):
    """Adds a triple product, which a mirror turns around."""

    def extra(self, batch: Any, x: Tensor) -> Tensor:
        first, second, third = (x[batch.ptr[:-1] + k % 2] * (1 + k) for k in range(3))
        weights = torch.tanh(self.lengths(x))[:, None] * x
        sums = torch.zeros_like(first).index_add(0, batch.batch, weights)
        triple: Tensor = torch.linalg.cross(first, second).mul(sums).sum(-1, keepdim=True)
        extra: Tensor = 0.01 * triple + 0.0 * third.sum(-1, keepdim=True)
        return extra


class AbsolutePositions(HonestPoints):
    """Depends on where the cloud is."""

    def centred(self, batch: Any) -> Tensor:
        pos: Tensor = batch.pos
        return super().centred(batch) + 1e-3 * pos


class ReadsEntries(HonestMatrix):
    """Looks at one entry of the matrix, which a rotation changes."""

    def invariants(self, x: Tensor) -> Tensor:
        return super().invariants(x) + 1e-3 * x[:, 0, :1]


class ForgetsTheMean(HonestCongruence):
    """Compares with the identity, whatever it has seen."""

    def reference(self, x: Tensor) -> Tensor:
        return torch.eye(4, dtype=x.dtype)


class ReadsBasis(HonestBases):
    """Looks at the basis, not at the subspace."""

    def view(self, u: Tensor) -> Tensor:
        return super().view(u) + 1e-3 * u[..., :1]


class EuclideanProducts(HonestLorentz):
    """Forgets the sign of time."""

    def products(self, x: Tensor) -> Tensor:
        products: Tensor = torch.einsum("bsf,btf->bst", x, x)
        return products


class NaiveSpectrum(HonestMatrix):
    """Differentiates eigenvectors, which repeated eigenvalues do not have."""

    def invariants(self, x: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(x)
        logarithm = (vectors * values.log()[..., None, :]) @ vectors.mT
        squares: Tensor = logarithm.square().sum((-2, -1))
        return super().invariants(x) + squares[:, None]


class PlainNorm(HonestPoints):
    """Takes lengths whose derivative at zero is infinite."""

    def lengths(self, x: Tensor) -> Tensor:
        lengths: Tensor = x.square().sum(-1).sqrt()
        return lengths


class DetachedFactor(HonestMatrix):
    """Leaves a factor out of the gradient."""

    def classified(self, features: Tensor) -> dict[str, Tensor]:
        logits = super().classified(features)["logits"]
        return {"logits": logits * logits.detach()}


class LowPrecision(HonestMatrix):
    """Runs in float32 inside, whatever its own precision."""

    def normalised(self, x: Tensor) -> Tensor:
        return super().normalised(x.float().to(x.dtype))


class DeadParameter(HonestMatrix):
    """Has a parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(3))


class Cancellation(HonestMatrix):
    """Subtracts large numbers: float32 loses its digits."""

    def classified(self, features: Tensor) -> dict[str, Tensor]:
        return super().classified((features + 1e6) - 1e6)


class RoundedTable(HonestMatrix):
    """Its constants went through float32 once."""

    def table(self) -> Tensor:
        return super().table().float().double()


class LeakingPrecision(HonestMatrix):
    """Its output is float64 in a float32 model."""

    def classified(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": super().classified(features)["logits"].double()}


class UnsavedWeights(HonestMatrix):
    """A part of its weights is a plain attribute, which no state holds."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = torch.randn(1).item()

    def invariants(self, x: Tensor) -> Tensor:
        return super().invariants(x) + self.extra


class UnsavedStatistics(HonestMatrix):
    """Its running statistics are in no state."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0.0

    def normalised(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = float(x.detach().mean())
        return super().normalised(x) + self.seen


class Reseeding(HonestMatrix):
    """Uses up torch's global random numbers in a call."""

    def invariants(self, x: Tensor) -> Tensor:
        return super().invariants(x) + 0.0 * torch.rand(1).item()


BROKEN_SAMPLES: Sequence[Broken] = (
    Broken(ZeroLogits, "outputs"),
    Broken(ActiveDropout, "evaluation"),
    Broken(LearnsInEvaluation, "evaluation"),
    Broken(BatchStatistics, "batching"),
    Broken(GraphStatistics, "batching"),
    Broken(NumberedNodes, "permutation"),
    Broken(DroppedEdge, "permutation"),
    Broken(DividesByDegree, "isolated_node"),
    Broken(DividesByDegree, "odd_inputs"),
    Broken(PreferredAxis, "rotation"),
    Broken(Handed, "reflection"),
    Broken(AbsolutePositions, "translation"),
    Broken(ReadsEntries, "rotation"),
    Broken(ForgetsTheMean, "congruence"),
    Broken(ReadsBasis, "basis"),
    Broken(EuclideanProducts, "isometry"),
    Broken(NaiveSpectrum, "odd_inputs"),
    Broken(PlainNorm, "odd_inputs"),
    Broken(DetachedFactor, "derivatives"),
    Broken(LowPrecision, "derivatives"),
    Broken(DeadParameter, "reach"),
    Broken(Cancellation, "precision", "float32"),
    Broken(RoundedTable, "double"),
    Broken(LeakingPrecision, "dtypes", "float32"),
    Broken(UnsavedWeights, "save_load"),
    Broken(UnsavedStatistics, "save_load"),
    Broken(Reseeding, "global_state"),
)
