"""GyroGr: a network of subspaces from gyrovector operations, with GyroBN.

Nguyen, Yang, Building Neural Networks on Matrix Manifolds: A Gyrovector Space Approach, ICML 2023,
arXiv:2305.04560, with the batch norm of Chen et al., Gyrogroup Batch Normalization, ICLR 2025:

    (GyroTranslation, ProjMap, ProjPooling, OrthMap, GyroBN) x layers, hyperplanes (MLR)

on orthonormal bases (n, p). The exponential map is the default; `method="cayley"` is the correct
Cayley map, and `legacy=True` what the published numbers of GyroBN were computed with (see
`zoo.functional.grassmann` and `zoo.layers.grassmann.batch_norm`). What leaves depends on the
subspaces alone. `geometry="euclidean"` is the flat counterpart (see `zoo.models.grnet`).
"""

from typing import Literal

from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional.grassmann import Method
from zoo.layers.grassmann import (
    GyroBatchNorm,
    GyroMLR,
    GyroTranslation,
    OrthMap,
    ProjectorMLR,
    ProjMap,
    ProjPool,
)
from zoo.models._inputs import SampleBatch
from zoo.models.grnet import Geometry, SubspaceModel
from zoo.registry import register


@register("gyrogr")
class GyroGr(SubspaceModel):
    """Classifies subspaces, given by orthonormal bases.

    Args:
        in_channels: rows n of the bases.
        subspace_dim: columns p, the dimension of the subspaces; below the rows behind each pooling.
        out_channels: classes.
        num_filters: translations of the first layer; each channel passes through one in those that
            follow.
        num_layers: how many.
        pool: size of the patches that are averaged; 1 averages nothing.
        batch_norm: whether GyroBN follows each layer.
        mlr: "projector" for hyperplanes of projectors, smooth; "gyro" for hyperplanes of the
            gyrovector space, whose logits jump on cut loci.
        method: "exp" or "cayley", of translations and batch norms.
        mean_steps: of the batch norms' Karcher iteration in training.
        momentum: of the batch norms' running statistics.
        legacy: translations and batch norms as in the authors' code.
        geometry: "grassmann", or "euclidean" for the flat counterpart of as many parameters.
        project: whether bases that are not orthonormal are repaired instead of refused.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        subspace_dim: int,
        out_channels: int,
        num_filters: int = 8,
        num_layers: int = 1,
        pool: int = 2,
        batch_norm: bool = True,
        mlr: Literal["projector", "gyro"] = "projector",
        method: Method = "exp",
        mean_steps: int = 1,
        momentum: float = 0.1,
        legacy: bool = False,
        geometry: Geometry = "grassmann",
        project: bool = False,
    ) -> None:
        super().__init__(in_channels=in_channels, subspace_dim=subspace_dim, project=project)
        if num_layers < 1 or in_channels // pool**num_layers <= subspace_dim:
            raise ConfigError(
                f"{num_layers} layers with pooling by {pool} leave "
                f"{in_channels // pool**num_layers} of {in_channels} rows; at least 1 layer and "
                f"more rows than the {subspace_dim} dimensions of a subspace are needed"
            )
        self.num_filters, self.mlr = num_filters, mlr
        method = "legacy" if legacy else method
        size, channels = in_channels, 1
        for _ in range(num_layers):
            turn = GyroTranslation(
                size, subspace_dim, in_channels=channels, out_channels=num_filters, method=method
            )
            size, channels = size // pool, num_filters
            block: list[nn.Module] = [turn, ProjMap(), ProjPool(pool), OrthMap(subspace_dim)]
            if batch_norm:
                norm = GyroBatchNorm(
                    size,
                    subspace_dim,
                    channels=channels,
                    method=method,
                    mean_steps=mean_steps,
                    momentum=momentum,
                    legacy=legacy,
                )
                block.append(norm)
            self.layers.append(nn.Sequential(*block))
        self.size = size
        self.head = self.make_head(out_channels)
        if geometry == "euclidean":
            self.flatten(out_channels)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """`logits` (samples, classes)."""
        x = self.subspaces(batch)
        for layer in self.layers:
            x = layer(x)
        return {"logits": self.head(x)}

    def make_head(self, out_channels: int) -> nn.Module:
        """Hyperplanes."""
        if self.flat_width is not None:
            return nn.Linear(self.flat_width, out_channels)
        kind = ProjectorMLR if self.mlr == "projector" else GyroMLR
        return kind(
            self.size, self.subspace_dim, channels=self.num_filters, out_channels=out_channels
        )
