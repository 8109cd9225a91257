"""Real spherical harmonics, from e3nn, with named normalisations."""

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.irreps import check_degrees
from zoo.functional.wigner import check_lengths

#: highest degree of e3nn's spherical harmonics
HARMONICS_LIMIT = 11
#: |Y_l|^2 on the unit sphere is 2l + 1, 1, or (2l + 1) / 4 pi (orthonormal)
NORMALIZATIONS = ("component", "norm", "integral")


def spherical_harmonics(
    vectors: Float[Tensor, "edges 3"],
    lmax: int,
    *,
    normalization: str = "component",
    normalize: bool = True,
) -> Float[Tensor, "edges coefficients"]:
    """Y_lm for l = 0..lmax, degree-major, polar axis y (see `zoo.functional.irreps`).

    Args:
        vectors: directions, or points where `normalize` is off.
        lmax: highest degree, up to `HARMONICS_LIMIT`.
        normalization: "component": |Y_l|^2 = 2l + 1; "norm": 1; "integral": orthonormal on the
            sphere, (2l + 1) / 4 pi.
        normalize: whether to evaluate at the directions. Otherwise these are the solid harmonics
            r^l Y_l, polynomials that are finite with all derivatives at r = 0 too.

    Raises:
        ConfigError: `lmax` beyond the tables, an unknown normalisation.
        UnsupportedInputError: with `normalize`, vectors of zero length; names them.
    """
    check_degrees(lmax, limit=HARMONICS_LIMIT)
    check_normalization(normalization)
    if normalize:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        check_lengths(length)
        vectors = vectors / length
    degrees = list(range(lmax + 1))
    out: Tensor = o3.spherical_harmonics(degrees, vectors, False, normalization)
    return out


def check_normalization(name: str) -> None:
    """Refuses names other than `NORMALIZATIONS`.

    Raises:
        ConfigError: an unknown normalisation, with the known ones.
    """
    if name not in NORMALIZATIONS:
        raise ConfigError(
            f"normalization={name!r}: {nearest(name, NORMALIZATIONS)} "
            f"(one of {', '.join(NORMALIZATIONS)})"
        )
