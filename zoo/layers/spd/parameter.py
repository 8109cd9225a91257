"""Positive definite matrices as parameters."""

from typing import Literal, cast, get_args

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.spd import eigen

#: how the matrix is held: as the symmetric logarithm, or as a point for Riemannian optimisers
Parametrization = Literal["exp", "geoopt"]


class SPDParameter(nn.Module):
    """A learnable symmetric positive definite matrix P, the identity at first.

    Args:
        size: n.
        parametrization: "exp" holds S and P = exp((S + S^T) / 2), which any optimiser trains;
            "geoopt" holds P itself as a `geoopt.ManifoldParameter` with the affine-invariant
            metric, for geoopt's Riemannian optimisers (weight decay off).

    Raises:
        ConfigError: for a size below one or an unknown parametrization.
    """

    def __init__(self, size: int, *, parametrization: Parametrization = "exp") -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"size={size}: a positive definite matrix needs at least one row")
        if parametrization not in get_args(Parametrization):
            offer = nearest(str(parametrization), get_args(Parametrization))
            raise ConfigError(f"unknown parametrization {parametrization!r}: {offer}")
        self.parametrization = parametrization
        self.raw: nn.Parameter
        if parametrization == "exp":
            self.raw = nn.Parameter(torch.zeros(size, size))
        else:
            manifold = geoopt.SymmetricPositiveDefinite()
            point = geoopt.ManifoldParameter(torch.eye(size), manifold=manifold)
            self.raw = cast(nn.Parameter, point)

    def forward(self) -> Float[Tensor, "n n"]:
        """P."""
        return self.power(1.0)

    def power(self, exponent: float) -> Float[Tensor, "n n"]:
        """P^p.

        Args:
            exponent: p, any real number.
        """
        if self.parametrization == "exp":
            return eigen(exponent * self.raw).exp().matrix()
        return eigen(self.raw).power(exponent).matrix()

    def log(self) -> Float[Tensor, "n n"]:
        """log P."""
        if self.parametrization == "exp":
            return 0.5 * (self.raw + self.raw.mT)
        return eigen(self.raw).log().matrix()

    @torch.no_grad()
    def set_(self, value: Float[Tensor, "n n"]) -> None:
        """Sets P to a positive definite matrix.

        Raises:
            ManifoldError: for a matrix that is not positive definite.
        """
        held = eigen(value).log().matrix() if self.parametrization == "exp" else value
        self.raw.copy_(held)

    def extra_repr(self) -> str:
        """Size and parametrization."""
        return f"size={self.raw.shape[-1]}, parametrization={self.parametrization!r}"
