"""Subspaces as parameters."""

from collections.abc import Callable
from typing import Any, Literal, Self, cast, get_args

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional import grassmann, polar
from zoo.layers.grassmann.manifold import GrassmannExact

#: how a subspace is held: any matrix, a tangent vector, or a point for Riemannian optimisers
Parametrization = Literal["qr", "exp", "geoopt"]


class HoldsBases(nn.Module):
    """A module whose orthonormal bases stay orthonormal when it is cast to a finer precision.

    Attributes:
        bases: names of the parameters and buffers that are orthonormal bases.
    """

    bases: tuple[str, ...] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = {name: getattr(self, name).dtype for name in self.bases}
        module: Any = super()._apply(fn, recurse)
        with torch.no_grad():
            for name, dtype in before.items():
                held = getattr(self, name)
                if held.dtype == torch.float64 != dtype:
                    held.copy_(polar.polar(held))
        return module  # type: ignore[no-any-return]


class SubspaceParameter(HoldsBases):
    """Learnable subspaces, drawn uniformly at first.

    Args:
        shape: (..., n, p).
        parametrization: "qr" holds any matrix W and takes the Q of its QR decomposition; "exp"
            holds a tangent vector at the subspace drawn first and takes its exponential; any
            optimiser trains both. "geoopt" holds the basis itself as a `geoopt.ManifoldParameter`
            on `GrassmannExact`, for geoopt's Riemannian optimisers (weight decay off).

    Raises:
        ConfigError: for an unknown parametrization, or p above n.
    """

    base: Tensor

    def __init__(self, *shape: int, parametrization: Parametrization = "qr") -> None:
        super().__init__()
        if parametrization not in get_args(Parametrization):
            offer = nearest(str(parametrization), get_args(Parametrization))
            raise ConfigError(f"unknown parametrization {parametrization!r}: {offer}")
        if not 1 <= shape[-1] <= shape[-2]:
            raise ConfigError(
                f"subspaces of R^{shape[-2]} have 1 to {shape[-2]} dimensions, not {shape[-1]}"
            )
        self.parametrization = parametrization
        start = grassmann.random(shape)
        self.raw: nn.Parameter
        if parametrization == "geoopt":
            point = geoopt.ManifoldParameter(start, manifold=GrassmannExact())
            self.raw = cast(nn.Parameter, point)
            self.bases = ("raw",)
        elif parametrization == "exp":
            self.register_buffer("base", start)
            self.raw = nn.Parameter(torch.zeros_like(start))
            self.bases = ("base",)
        else:
            self.raw = nn.Parameter(start)

    def forward(self) -> Float[Tensor, "... n p"]:
        """Orthonormal bases."""
        if self.parametrization == "geoopt":
            return self.raw
        if self.parametrization == "exp":
            return grassmann.exp(self.base, grassmann.tangent(self.base, self.raw))
        return polar.orthonormalize(self.raw)

    @torch.no_grad()
    def set_(self, value: Float[Tensor, "... n p"]) -> None:
        """Sets the subspaces.

        Raises:
            ManifoldError: for bases that aren't orthonormal.
        """
        grassmann.check(value, where="SubspaceParameter.set_")
        if self.parametrization == "exp":
            self.base.copy_(value)
            self.raw.zero_()
        else:
            self.raw.copy_(value)

    def extra_repr(self) -> str:
        """Shape and parametrization."""
        return f"{tuple(self.raw.shape)}, parametrization={self.parametrization!r}"
