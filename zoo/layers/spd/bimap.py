"""Bilinear maps of SPD matrices, Y = W^T X W with orthonormal columns W (SPDNet, arXiv:1608.04233).

W is a point of the Stiefel manifold. By default it is held without constraint: W = Cay(A) W_0 with
a fixed orthonormal W_0, drawn at first, and Cay(A) = (I - A / 2)^-1 (I + A / 2) of the skew matrix
A whose first columns are the parameter, zero at first. Any optimiser trains it; weight decay pulls
W towards W_0. As an option, W itself is a `geoopt.ManifoldParameter`.
"""

from typing import Literal, cast, get_args

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.errors import ConfigError, nearest
from zoo.functional.precision import check_precision

#: how W is held: by Cayley's map, or as a point for Riemannian optimisers
StiefelParametrization = Literal["cayley", "geoopt"]


class BiMap(nn.Module):
    """Y = W^T X W.

    Args:
        in_features: rows of X.
        out_features: rows of Y, at most as many.
        parametrization: "cayley" for any optimiser; "geoopt" for geoopt's Riemannian optimisers
            (weight decay off).

    Attributes:
        base: W_0 (in_features, out_features) of the "cayley" form, part of the weights.
        raw: the parameter, (in_features, out_features).

    Raises:
        ConfigError: for sizes below one, more rows of Y than of X, or an unknown parametrization.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        parametrization: StiefelParametrization = "cayley",
    ) -> None:
        super().__init__()
        if not 1 <= out_features <= in_features:
            raise ConfigError(
                f"BiMap from {in_features} to {out_features} rows: orthonormal columns need "
                "1 <= out_features <= in_features"
            )
        if parametrization not in get_args(StiefelParametrization):
            offer = nearest(str(parametrization), get_args(StiefelParametrization))
            raise ConfigError(f"unknown parametrization {parametrization!r} of BiMap: {offer}")
        self.in_features, self.out_features = in_features, out_features
        self.parametrization = parametrization
        self.raw: nn.Parameter
        start = nn.init.orthogonal_(torch.empty(in_features, out_features))
        if parametrization == "cayley":
            self.register_buffer("base", start)
            self.raw = nn.Parameter(torch.zeros(in_features, out_features))
        else:
            point = geoopt.ManifoldParameter(start, manifold=geoopt.Stiefel())
            self.raw = cast(nn.Parameter, point)

    @property
    def weight(self) -> Float[Tensor, "n k"]:
        """W, with orthonormal columns."""
        if self.parametrization == "geoopt":
            return self.raw
        half = 0.5 * pad(self.raw, (0, self.in_features - self.out_features))
        skew = half - half.mT
        identity = torch.eye(self.in_features, dtype=skew.dtype, device=skew.device)
        base = cast(Tensor, self.base)
        moved: Tensor = torch.linalg.solve(identity - skew, base + skew @ base)
        return moved

    @torch.no_grad()
    def set_(self, weight: Float[Tensor, "n k"]) -> None:
        """Sets W; the nearest matrix with orthonormal columns is taken.

        Raises:
            ConfigError: for another shape.
        """
        wanted = (self.in_features, self.out_features)
        if tuple(weight.shape) != wanted:
            raise ConfigError(f"BiMap's W has the shape {wanted}, not {tuple(weight.shape)}")
        left, _, right = torch.linalg.svd(weight.to(self.raw), full_matrices=False)
        polar = left @ right
        if self.parametrization == "geoopt":
            self.raw.copy_(polar)
        else:
            cast(Tensor, self.base).copy_(polar)
            self.raw.zero_()

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch k k"]:
        """The mapped matrices; symmetric positive definite where X is.

        Raises:
            DeviceError: in half precision.
        """
        check_precision("BiMap", x)
        weight = self.weight
        return (x @ weight).mT @ weight

    def extra_repr(self) -> str:
        """Sizes and parametrization."""
        return f"{self.in_features}, {self.out_features}, parametrization={self.parametrization!r}"
