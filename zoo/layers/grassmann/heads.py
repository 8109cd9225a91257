"""Classes as subspaces.

Wang et al., Get the Best of Both Worlds: Improving Accuracy and Transferability by Grassmann Class
Representation, NeurIPS 2023, arXiv:2308.01547: logit_c = gamma |S_c^T x / |x||, the length of the
projection of the feature vector's direction onto the subspace of the class.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from zoo.layers.grassmann.parameter import Parametrization, SubspaceParameter

#: added under the root, where a feature orthogonal to a subspace would have an infinite gradient
SMALL = 1e-12


class SubspaceHead(nn.Module):
    """Logits of classes that are subspaces of the feature space.

    Args:
        in_channels: length n of a feature vector.
        out_channels: how many classes.
        subspace_dim: dimension k of each class.
        scale: gamma.
        parametrization: how the subspaces are held; see `SubspaceParameter`. The authors descend
            along geodesics, which "geoopt" with `geoopt.optim.RiemannianSGD` does.

    Raises:
        ConfigError: for a dimension above n, or an unknown parametrization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        subspace_dim: int = 8,
        scale: float = 25.0,
        parametrization: Parametrization = "qr",
    ) -> None:
        super().__init__()
        self.scale = scale
        self.subspaces = SubspaceParameter(
            out_channels, in_channels, subspace_dim, parametrization=parametrization
        )

    def forward(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch classes"]:
        """Logits between 0 and gamma."""
        direction = nnf.normalize(x, dim=-1)
        parts = torch.einsum("bn,cnk->bck", direction, self.subspaces())
        return self.scale * torch.sqrt(parts.square().sum(-1) + SMALL)

    def extra_repr(self) -> str:
        """The scale."""
        return f"scale={self.scale}"
