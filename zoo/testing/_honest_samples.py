"""Small honest models outside atoms, one per kind of symmetry, and bases of the broken ones.

They pass every check. Each step is a method, for a broken model to override.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional import scatter_sum
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel


class _Small(SampleModel):
    """A head on invariant features of a sample, with a batch norm and dropout between."""

    def __init__(self, shape: tuple[int | None, ...], features: int, channels: int = 6) -> None:
        super().__init__(sample_shape=shape)
        self.hparams: dict[str, Any] = {}
        self.inner = nn.Linear(features, channels)
        self.norm = nn.BatchNorm1d(channels)
        self.dropout = nn.Dropout(0.2)
        self.head = self.make_head(3)
        self.register_buffer("offset", self.table().to(self.inner.weight), persistent=False)

    def table(self) -> Float[Tensor, " channels"]:
        """Constants in float64 that no float32 number holds."""
        return torch.arange(1, 7, dtype=torch.float64) / 3

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Constants come from the table in every precision."""
        result = super()._apply(fn, recurse)
        self.offset = self.table().to(self.inner.weight)
        return result

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear layer."""
        return nn.Linear(6, out_channels)

    def normalised(self, x: Tensor) -> Tensor:
        """The batch norm."""
        found: Tensor = self.norm(x)
        return found

    def classified(self, features: Tensor) -> dict[str, Tensor]:
        """From invariant features to logits."""
        hidden = torch.tanh(self.inner(features)) + self.offset
        return {"logits": self.head(self.dropout(self.normalised(hidden)))}


class HonestGraph(_Small):
    """Labels of nodes by two sums over neighbours. Group S(n)."""

    domain = "graph"
    symmetry = "S(n)"

    def __init__(self) -> None:
        super().__init__((3,), 9)

    def neighbours(self, batch: Any, x: Tensor) -> Tensor:
        """The mean over a node and its neighbours."""
        source, target = batch.edge_index
        ones = scatter_sum(torch.ones_like(source, dtype=x.dtype), target, len(x))
        return (x + scatter_sum(x[source], target, len(x))) / (1 + ones[:, None])

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits (nodes, 3)."""
        x: Tensor = batch["x"]
        once = self.neighbours(batch, x)
        return self.classified(torch.cat([x, once, self.neighbours(batch, torch.tanh(once))], -1))


class HonestPoints(_Small):
    """A label of a cloud by its distances from the centre. Group S(n) x E(n)."""

    domain = "points"
    symmetry = "S(n) x E(n)"

    def __init__(self) -> None:
        super().__init__((3,), 3)

    def centred(self, batch: Any) -> Tensor:
        """Positions relative to the mean of their cloud."""
        size = batch.num_graphs
        counts = batch.ptr.diff().to(batch.pos.dtype)
        mean = scatter_sum(batch.pos, batch.batch, size) / counts[:, None]
        pos: Tensor = batch.pos
        centred: Tensor = pos - mean[batch.batch]
        return centred

    def lengths(self, x: Tensor) -> Tensor:
        """Squared distances."""
        return x.square().sum(-1)

    def extra(self, batch: Any, x: Tensor) -> Tensor | float:
        """Added to the first feature of each cloud."""
        return 0.0

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits (clouds, 3)."""
        x = self.centred(batch)
        squared = self.lengths(x)
        powers = torch.stack([torch.exp(-squared), torch.tanh(squared), squared], -1)
        features = scatter_sum(powers, batch["batch"], batch.num_graphs)  # type: ignore[union-attr]
        first = features[:, :1] + self.extra(batch, x)
        return self.classified(torch.cat([first, features[:, 1:]], -1))


class HonestMatrix(_Small):
    """A label of a matrix by traces of powers. Group O(n): X -> R X R^T."""

    domain = "matrix"
    symmetry = "O(n)"

    def __init__(self) -> None:
        super().__init__((4, 4), 3)

    def reference(self, x: Tensor) -> Tensor:
        """What matrices are compared with (4, 4)."""
        return torch.eye(4, dtype=x.dtype, device=x.device)

    def invariants(self, x: Tensor) -> Tensor:
        """Traces of A, A^2 and the logarithm of the determinant, A = X M^-1."""
        relative = x @ torch.linalg.inv(self.reference(x))
        traces = [torch.einsum("bii->b", m) for m in (relative, relative @ relative)]
        return torch.stack([*map(torch.tanh, traces), torch.linalg.slogdet(relative)[1]], -1)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits (samples, 3)."""
        return self.classified(self.invariants(batch["x"]))


class HonestCongruence(HonestMatrix):
    """The same relative to the mean of an unlabelled batch. Group GL(n)."""

    symmetry = "GL(n)"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.eye(4))

    def reference(self, x: Tensor) -> Tensor:
        mean: Tensor = self.mean
        return mean

    def adapt(self, batch: SampleBatch) -> None:
        """Takes the mean of a batch."""
        self.mean = batch["x"].mean(0)


class HonestBases(_Small):
    """A label of a subspace by its projector. Group Gr(p, n)."""

    domain = "matrix"
    symmetry = "Gr(p, n)"

    def __init__(self) -> None:
        super().__init__((4, 2), 16)

    def view(self, u: Tensor) -> Tensor:
        """The projector."""
        return u @ u.mT

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits (samples, 3)."""
        return self.classified(self.view(batch["x"]).flatten(1))


class HonestLorentz(_Small):
    """A label of a sequence of points in spacetime by their products. Group O(1, n)."""

    domain = "sequence"
    symmetry = "O(1, n)"

    def __init__(self) -> None:
        super().__init__((3, 4), 9)

    def products(self, x: Tensor) -> Tensor:
        """<x_s, x_t> = -x_s0 x_t0 + sum of the others."""
        signs = x.new_tensor([-1.0, 1.0, 1.0, 1.0])
        return torch.einsum("bsf,btf->bst", x * signs, x)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits (samples, 3)."""
        return self.classified(torch.tanh(0.1 * self.products(batch["x"])).flatten(1))


HONEST = (
    HonestGraph,
    HonestPoints,
    HonestMatrix,
    HonestCongruence,
    HonestBases,
    HonestLorentz,
)
