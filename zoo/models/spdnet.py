"""SPDNet: a network of symmetric positive definite matrices.

Huang and Van Gool, "A Riemannian network for SPD matrix learning" (AAAI 2017, arXiv:1608.04233):

    (BiMap Y = W^T X W, ReEig max(L, floor)) x layers, LogEig, linear,

the last BiMap without ReEig, whose place LogEig takes (section 3 and the experiments). Batch norms
stand between BiMap and ReEig (Brooks et al., NeurIPS 2019; Chen et al., ICLR 2024).

Deviations, each with a switch: the vector behind LogEig is the upper triangle with off-diagonal
entries times sqrt 2 (`full_vector=True`: all entries, as the authors); W moves by Cayley's map,
which any optimiser trains (`parametrization="geoopt"`: a point of the Stiefel manifold, for
Riemannian optimisers, as the authors); W starts as a random orthonormal frame, where the authors
take singular vectors of a random positive matrix.

With `input_norm="lie_aim"`, and adapted to what it sees, the logits are invariant under
X -> T X T^T with one lower triangular T of positive diagonal for all samples (see
`zoo.models.gyrospd`); the model then says so in `symmetry`.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import spd
from zoo.layers.spd import (
    BiMap,
    FrontEnd,
    LogEig,
    ReEig,
    SPDNorm,
    StiefelParametrization,
    SymmetricVector,
    make_spd_norm,
)
from zoo.models._adaptive import AdaptiveModel, domain_of
from zoo.models._front import optional_front_end
from zoo.models._inputs import SampleBatch
from zoo.registry import register


class SPDBlock(nn.Module):
    """BiMap, then a batch norm if there is one, then what lifts eigenvalues.

    Args:
        in_channels: rows of the matrices.
        out_channels: rows behind it, at most as many.
        floor: of ReEig; None has none.
        norm: the batch norm.
        parametrization: of W, see `BiMap`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        floor: float | None,
        norm: nn.Module | None,
        parametrization: StiefelParametrization,
    ) -> None:
        super().__init__()
        self.bimap = BiMap(in_channels, out_channels, parametrization=parametrization)
        self.norm = norm
        self.reeig = None if floor is None else ReEig(floor)

    def forward(self, x: Tensor, domain: Tensor | None) -> Tensor:
        """SPD matrices (batch, out_channels, out_channels)."""
        x = self.bimap(x)
        if self.norm is not None:
            x = self.norm(x, domain)
        return x if self.reeig is None else self.reeig(x)


@register("spdnet")
class SPDNet(AdaptiveModel):
    """Classifies SPD matrices, or signals through a front end.

    Args:
        in_channels: rows of the matrices, or channels of the signals.
        out_channels: classes.
        hidden_channels: rows behind each BiMap, none growing; None for two BiMaps that halve.
        floor: of the eigenvalues in ReEig.
        rectify_last: whether eigenvalues are lifted before LogEig too; costs nothing, since LogEig
            needs the same eigendecomposition.
        full_vector: all entries of the logarithm instead of its upper triangle.
        batch_norm: batch norm behind each BiMap; None has none.
        input_norm: batch norm of the input matrices; None has none.
        num_domains: statistics for so many domains; None for one set of all.
        parametrization: of W: "cayley" for any optimiser, "geoopt" for Riemannian ones.
        front_end: "covariance" or "augmented" takes signals; None takes matrices.
        order: delayed copies of the augmented covariance.
        lag: delay between them, in samples.
        shrinkage: of the front end's covariances towards a multiple of the identity.
        project: whether matrices that are not symmetric positive definite are repaired, by the
            nearest ones with a small positive eigenvalue, instead of refused.
    """

    domain = "matrix"
    accepts = ("signal",)

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: Sequence[int] | None = None,
        floor: float = 1e-4,
        rectify_last: bool = False,
        full_vector: bool = False,
        batch_norm: SPDNorm | None = None,
        input_norm: SPDNorm | None = None,
        num_domains: int | None = None,
        parametrization: StiefelParametrization = "cayley",
        front_end: FrontEnd | None = None,
        order: int = 4,
        lag: int = 1,
        shrinkage: float = 0.0,
        project: bool = False,
    ) -> None:
        shape = (in_channels, in_channels if front_end is None else None)
        super().__init__(domain="matrix" if front_end is None else "signal", sample_shape=shape)
        self.project = project
        self.front = optional_front_end(front_end, order=order, lag=lag, shrinkage=shrinkage)
        size = in_channels if self.front is None else self.front.channels(in_channels)
        sizes = _halves(size) if hidden_channels is None else tuple(hidden_channels)
        if not sizes:
            raise ConfigError("hidden_channels is empty: SPDNet needs one BiMap at least")
        self.input_norm = _norm(input_norm, size, num_domains)
        self.layers = nn.ModuleList()
        for index, rows in enumerate(sizes):
            last = index == len(sizes) - 1
            block = SPDBlock(
                size,
                rows,
                floor=None if last else floor,
                norm=_norm(batch_norm, rows, num_domains),
                parametrization=parametrization,
            )
            self.layers.append(block)
            size = rows
        self.size = size
        self.logeig = LogEig(floor if rectify_last else None)
        self.vector = SymmetricVector(full=full_vector)
        self.head = self.make_head(out_channels)

    @property
    def symmetry(self) -> str:
        """The group under which adapted logits are invariant."""
        invariant = self.hparams["input_norm"] == "lie_aim" and not self.hparams["project"]
        # shrinkage adds a multiple of the identity, which congruences don't know
        return "T+(n)" if invariant and self.hparams["shrinkage"] == 0.0 else "none"

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear layer on the tangent space."""
        return nn.Linear(self.vector.length(self.size), out_channels)

    def blocks(self) -> list[nn.Module]:
        """Front end, input norm, blocks, head."""
        first = [part for part in (self.front, self.input_norm) if part is not None]
        return [*first, *self.layers, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses matrices that are not symmetric positive definite, unless they are repaired."""
        if self.front is None and not self.project:
            spd.check(cast(dict[str, Tensor], batch)["x"], where="SPDNet: x")

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, n, n), or (batch, channels, times) with a front end; `domain`
                (batch,) where domains are told apart.

        Returns:
            `logits` (batch, classes).

        Raises:
            ManifoldError: for matrices that are not positive definite.
            DataError: for signals too short for their covariances.
        """
        x = cast(dict[str, Tensor], batch)["x"]
        domain = domain_of(batch)
        if self.front is not None:
            x = self.front(x)
        if self.project:
            x = spd.project(x)
        if self.input_norm is not None:
            x = self.input_norm(x, domain)
        for layer in self.layers:
            x = layer(x, domain)
        return {"logits": self.head(self.vector(self.logeig(x)))}


def _halves(size: int) -> tuple[int, int]:
    half = (size + 1) // 2
    return half, (half + 1) // 2


def _norm(name: SPDNorm | None, size: int, num_domains: int | None) -> nn.Module | None:
    return None if name is None else make_spd_norm(name, size, num_domains=num_domains)
