"""The layout of irreducible representations of O(3), shared with e3nn.

Within a degree l the 2l + 1 components are those of e3nn's real harmonics, m = -l, ..., l with the
polar axis y: m > 0 goes with cos(m phi), m < 0 with sin(|m| phi), where phi is the angle of (z, x).
The components of l = 1 are x, y, z. Features of all degrees up to lmax lie degree by degree,
(nodes, (lmax + 1)^2, channels); degree l takes the rows l^2 to (l + 1)^2 ("degree-major").

In the frame of an edge only orders |m| <= mmax are kept, and they lie order by order ("order-
major"): m = 0 for l = 0..lmax, then for m = 1..mmax first +m, then -m for l = m..lmax.
"""

import functools
from collections.abc import Sequence

import torch
from e3nn import o3
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional._wigner_tables import kept_rows


def check_degrees(lmax: int, mmax: int | None = None, *, limit: int | None = None) -> int:
    """Validates a maximal degree and order.

    Args:
        lmax: highest degree.
        mmax: highest order; None for `lmax`.
        limit: highest degree of the table about to be used.

    Returns:
        The highest order.

    Raises:
        ConfigError: a negative number, lmax beyond the limit, or mmax beyond lmax.
    """
    mmax = lmax if mmax is None else mmax
    if lmax < 0 or mmax < 0:
        raise ConfigError(f"lmax={lmax}, mmax={mmax}: neither can be negative")
    if limit is not None and lmax > limit:
        raise ConfigError(f"lmax={lmax} is beyond the tables, which end at {limit}; lower it")
    if mmax > lmax:
        raise ConfigError(
            f"mmax={mmax} exceeds lmax={lmax}: degree l has orders up to l; set mmax <= lmax"
        )
    return mmax


@functools.cache
def _degree_list(lmax: int) -> Tensor:
    return torch.tensor([degree for degree in range(lmax + 1) for _ in range(2 * degree + 1)])


def coefficient_degrees(lmax: int) -> Int[Tensor, " coefficients"]:
    """The degree of each coefficient in degree-major layout."""
    return _degree_list(check_degrees(lmax)).clone()


@functools.cache
def _order_major(lmax: int, mmax: int) -> Tensor:
    return torch.tensor([degree * degree + degree + m for degree, m in kept_rows(lmax, mmax)])


def order_major_index(lmax: int, mmax: int | None = None) -> Int[Tensor, " kept"]:
    """Degree-major positions of the coefficients |m| <= mmax, in order-major layout.

    Args:
        lmax: highest degree.
        mmax: highest order; None for `lmax`.

    Raises:
        ConfigError: `mmax` beyond `lmax`.
    """
    return _order_major(lmax, check_degrees(lmax, mmax)).clone()


def order_sizes(lmax: int, mmax: int | None = None) -> list[int]:
    """Rows of each order in order-major layout: lmax + 1, then 2 (lmax - m + 1) for each m."""
    mmax = check_degrees(lmax, mmax)
    return [lmax + 1, *(2 * (lmax - m + 1) for m in range(1, mmax + 1))]


def channel_irreps(lmax: int, channels: int, *, parity: bool = False) -> o3.Irreps:
    """e3nn's irreps of features (nodes, (lmax + 1)^2, channels).

    Args:
        lmax: highest degree.
        channels: multiplicity of each degree.
        parity: odd degrees flip under inversion, as spherical harmonics do; otherwise all are
            even, which stands for SO(3), where inversions don't act.
    """
    signs = [(-1) ** degree if parity else 1 for degree in range(lmax + 1)]
    return o3.Irreps([(channels, (degree, sign)) for degree, sign in enumerate(signs)])


def to_e3nn(
    x: Float[Tensor, "*nodes coefficients channels"], degrees: Sequence[int] | None = None
) -> Float[Tensor, "*nodes flat"]:
    """Features in the flattened layout of e3nn: per degree, channels times components.

    Args:
        x: features, degree-major.
        degrees: the degrees that `x` holds, in order; None for 0, 1, 2, ...
    """
    blocks = x.split([2 * degree + 1 for degree in _degrees(x.shape[-2], degrees)], dim=-2)
    return torch.cat([block.transpose(-1, -2).flatten(-2) for block in blocks], dim=-1)


def from_e3nn(
    flat: Float[Tensor, "*nodes flat"], channels: int, degrees: Sequence[int] | None = None
) -> Float[Tensor, "*nodes coefficients channels"]:
    """The inverse of `to_e3nn`, for the same multiplicity in every degree.

    Raises:
        ConfigError: the width does not fit the multiplicity and degrees.
    """
    if channels <= 0 or flat.shape[-1] % channels:
        raise ConfigError(f"a row of {flat.shape[-1]} numbers can't hold {channels} channels")
    sizes = [2 * degree + 1 for degree in _degrees(flat.shape[-1] // channels, degrees)]
    blocks = flat.split([size * channels for size in sizes], dim=-1)
    parts = [
        block.unflatten(-1, (channels, size)).transpose(-1, -2)
        for block, size in zip(blocks, sizes, strict=True)
    ]
    return torch.cat(parts, dim=-2)  # (*nodes, coefficients, channels)


def _degrees(coefficients: int, degrees: Sequence[int] | None) -> Sequence[int]:
    if degrees is None:
        lmax = round(coefficients**0.5) - 1
        degrees = range(lmax + 1)
    if sum(2 * degree + 1 for degree in degrees) != coefficients:
        raise ConfigError(
            f"{coefficients} coefficients are not those of the degrees {list(degrees)}, which have "
            f"{sum(2 * degree + 1 for degree in degrees)}"
        )
    return degrees
