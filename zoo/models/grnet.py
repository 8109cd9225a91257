"""GrNet: a network of subspaces.

Huang, Wu, Van Gool, Building Deep Networks on Grassmann Manifolds, AAAI 2018, arXiv:1611.05742:

    (FRMap, ReOrth, ProjMap, ProjPooling, OrthMap) x layers, ProjMap, linear

on orthonormal bases (n, p). Formulas and deviations stand with the layers, in
`zoo.layers.grassmann.maps`: forward is the authors', gradients are those of the formulas. The
authors move W on the manifold of matrices of fixed rank; here it is a free matrix, which any
optimiser trains. What leaves depends on the subspaces alone.

`geometry="euclidean"` is the flat counterpart: a perceptron on the entries of the projection
matrices, which see subspaces alone as well, as wide as makes it the same number of parameters.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import grassmann
from zoo.layers.grassmann import FRMap, OrthMap, ProjectorLinear, ProjMap, ProjPool, ReOrth
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

#: layers on subspaces, or ordinary ones on the entries of projection matrices
Geometry = Literal["grassmann", "euclidean"]


class FlatProjectors(nn.Module):
    """One hidden layer on the entries of projection matrices.

    Args:
        size: n of the (n, n) matrices.
        out_channels: outputs of the linear map that is to follow.
        parameters: about how many there are to be, that map included.
    """

    def __init__(self, size: int, *, out_channels: int, parameters: int) -> None:
        super().__init__()
        width = (parameters - out_channels) / (size * size + 1 + out_channels)
        self.width = max(1, round(width))
        self.linear = nn.Linear(size * size, self.width)

    def forward(self, x: Float[Tensor, "batch channels n p"]) -> Float[Tensor, "batch width"]:
        """Features."""
        return torch.relu(self.linear((x @ x.mT).flatten(1)))


def count_parameters(module: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(p.numel() for p in module.parameters())


class SubspaceModel(SampleModel):
    """What classifiers of subspaces share: which inputs they take.

    Args:
        in_channels: rows n of the bases.
        subspace_dim: columns p.
        project: whether bases that are not orthonormal are repaired instead of refused.
    """

    domain = "matrix"
    bases = True

    def __init__(self, *, in_channels: int, subspace_dim: int, project: bool) -> None:
        super().__init__(sample_shape=(in_channels, subspace_dim))
        self.symmetry = "Gr(p, n)"
        self.project = project
        self.subspace_dim = subspace_dim
        self.layers = nn.ModuleList()
        #: features of the flat counterpart; None where layers are geometric
        self.flat_width: int | None = None

    def check(self, batch: SampleBatch) -> None:
        """Refuses bases that are not orthonormal, or don't have full rank."""
        x = batch["x"]
        where = f"{type(self).__name__}, x"
        if self.project:
            grassmann.check_rank(x, where=where)
        else:
            grassmann.check(x, where=where, precision=torch.float32)

    def subspaces(self, batch: SampleBatch) -> Tensor:
        """Orthonormal bases (samples, 1, n, p)."""
        x: Tensor = batch["x"]
        return (grassmann.project(x) if self.project else x)[:, None]

    def blocks(self) -> list[nn.Module]:
        """The layers, and the head."""
        return [*self.layers, self.head]

    def flatten(self, out_channels: int) -> None:
        """Puts the flat counterpart, of as many parameters, in the place of layers and head."""
        size = int(self.sample_shape[0] or 0) if self.sample_shape else 0
        flat = FlatProjectors(size, out_channels=out_channels, parameters=count_parameters(self))
        self.layers = nn.ModuleList([flat])
        self.flat_width = flat.width
        self.head = nn.Linear(flat.width, out_channels)


@register("grnet")
class GrNet(SubspaceModel):
    """Classifies subspaces, given by orthonormal bases.

    Args:
        in_channels: rows n of the bases.
        subspace_dim: columns p, the dimension of the subspaces.
        out_channels: classes.
        hidden_channels: rows behind each full-rank map, before pooling.
        num_filters: full-rank maps of the first layer; each channel passes through one in those
            that follow.
        pool: size of the patches that are averaged; 1 averages nothing.
        geometry: "grassmann", or "euclidean" for the flat counterpart of as many parameters.
        project: whether bases that are not orthonormal are repaired instead of refused.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        subspace_dim: int,
        out_channels: int,
        hidden_channels: Sequence[int] = (16,),
        num_filters: int = 8,
        pool: int = 2,
        geometry: Geometry = "grassmann",
        project: bool = False,
    ) -> None:
        super().__init__(in_channels=in_channels, subspace_dim=subspace_dim, project=project)
        if not hidden_channels:
            raise ConfigError("hidden_channels is empty: GrNet needs one full-rank map at least")
        self.num_filters = num_filters
        size, channels = in_channels, 1
        for rows in hidden_channels:
            if rows // pool < subspace_dim:
                raise ConfigError(
                    f"hidden_channels has {rows}: pooling by {pool} leaves {rows // pool} rows, "
                    f"too few for subspaces of {subspace_dim} dimensions"
                )
            maps = FRMap(size, rows, in_channels=channels, out_channels=num_filters)
            block = (maps, ReOrth(), ProjMap(), ProjPool(pool), OrthMap(subspace_dim))
            self.layers.append(nn.Sequential(*block))
            size, channels = rows // pool, num_filters
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
        """Projectors, and a linear map of the matrices of all channels."""
        if self.flat_width is not None:
            return nn.Linear(self.flat_width, out_channels)
        last = ProjectorLinear(self.size, channels=self.num_filters, out_channels=out_channels)
        return nn.Sequential(ProjMap(), last)
