"""From coefficients of spherical harmonics to values on a grid of the sphere, and back."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.irreps import check_degrees, coefficient_degrees, order_major_index
from zoo.functional.sphere import (
    ALIASING_LIMIT,
    e3nn_grid,
    from_grid_matrix,
    gauss_legendre,
    to_grid_matrix,
)
from zoo.layers.constants import ConstantModule

Layout = Literal["degree", "order"]
Rule = Literal["e3nn", "gauss_legendre"]
_RULES = {"e3nn": e3nn_grid, "gauss_legendre": gauss_legendre}


def escn_resolution(lmax: int, mmax: int) -> tuple[int, int]:
    """The grid that eSCN takes (Passaro, Zitnick, arXiv:2302.03655, as in their code).

    2 (L + 1) polar angles; 2 M + 1 azimuths where M < L, which is what orders up to M need, and
    2 (L + 1) + 1 where M = L.

    Args:
        lmax: highest degree L.
        mmax: highest order M.
    """
    return 2 * (lmax + 1), (2 * (lmax + 1) if mmax == lmax else 2 * mmax) + 1


class SphereGrid(ConstantModule):
    """Matrices that take coefficients to a product grid on the sphere and back.

    Args:
        lmax: highest degree.
        mmax: highest order that the coefficients have; None for `lmax`.
        resolution: polar angles and azimuths.
        layout: of the coefficients: "degree" (degree-major), or "order" (order-major, restricted to
            |m| <= mmax, see `zoo.functional.irreps`).
        rule: quadrature: "e3nn", evenly spaced angles (an even number of polar ones), as eSCN and
            EquiformerV2 have it, or "gauss_legendre", which needs half as many polar angles.
        normalization: of the harmonics: "integral", "component" or "norm", see
            `zoo.functional.sphere`.
        rescale: multiply degrees l > mmax by sqrt((2l + 1) / (2 mmax + 1)) both ways, as
            EquiformerV2 does to make up for the orders that are missing.
        allow_aliasing: accept a grid on which the kept coefficients mix.

    Raises:
        ConfigError: `mmax` beyond `lmax`, an unknown rule or layout, or a grid too coarse; the
            message gives the measured aliasing.
    """

    to_matrix: Tensor
    from_matrix: Tensor

    def __init__(
        self,
        lmax: int,
        mmax: int | None = None,
        *,
        resolution: tuple[int, int],
        layout: Layout = "degree",
        rule: Rule = "e3nn",
        normalization: str = "integral",
        rescale: bool = False,
        allow_aliasing: bool = False,
    ) -> None:
        super().__init__()
        self.mmax = check_degrees(lmax, mmax)
        self.lmax = lmax
        self.resolution = resolution
        if rule not in _RULES or layout not in ("degree", "order"):
            raise ConfigError(
                f"rule={rule!r}, layout={layout!r}; expected one of {', '.join(_RULES)}, and "
                "'degree' or 'order'"
            )
        points, weights = _RULES[rule](*resolution)
        kept = _kept(lmax, self.mmax, layout)
        there = to_grid_matrix(lmax, points, normalization=normalization)[:, kept]
        back = from_grid_matrix(
            lmax, points, weights, normalization=normalization, allow_aliasing=True
        )[kept]
        if not allow_aliasing:
            _refuse_aliasing(back @ there, lmax, self.mmax, resolution)
        if rescale:
            degrees = coefficient_degrees(lmax)[kept].double()
            factor = ((2 * degrees + 1) / (2 * self.mmax + 1)).clamp(min=1.0).sqrt()
            there, back = there * factor, back * factor[:, None]
        self.register_constant("to_matrix", lambda: there.clone())
        self.register_constant("from_matrix", lambda: back.clone())

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return f"lmax={self.lmax}, mmax={self.mmax}, resolution={self.resolution}"

    def to_grid(
        self, x: Float[Tensor, "rows coefficients channels"]
    ) -> Float[Tensor, "rows points channels"]:
        """Values on the grid."""
        return torch.bmm(self.to_matrix.expand(x.shape[0], -1, -1), x)

    def from_grid(
        self, values: Float[Tensor, "rows points channels"]
    ) -> Float[Tensor, "rows coefficients channels"]:
        """Coefficients of values on the grid."""
        return torch.bmm(self.from_matrix.expand(values.shape[0], -1, -1), values)


def _kept(lmax: int, mmax: int, layout: Layout) -> Tensor:
    """Degree-major positions of |m| <= mmax in the order of the layout."""
    index = order_major_index(lmax, mmax)
    return index if layout == "order" else index.sort().values


def _refuse_aliasing(product: Tensor, lmax: int, mmax: int, resolution: tuple[int, int]) -> None:
    error = float((product - torch.eye(len(product)).to(product)).abs().max())
    if error > ALIASING_LIMIT:
        raise ConfigError(
            f"a grid of {resolution[0]} x {resolution[1]} points is too coarse for lmax={lmax}, "
            f"mmax={mmax}: going there and back changes coefficients by up to {error:.2g} (limit "
            f"{ALIASING_LIMIT:g}); {2 * (lmax + 1)} x {2 * mmax + 1} points of e3nn's rule or "
            f"{lmax + 1} x {2 * mmax + 1} of Gauss and Legendre suffice; allow_aliasing=True "
            "accepts the error"
        )
