"""How far from the origin the models of hyperbolic space can represent points.

Mishne, Wan, Wang, Yang: The Numerical Stability of Hyperbolic Representation Learning,
arXiv:2211.00181. In the Poincaré ball the largest number below one ends the space; on the
hyperboloid <x, x>_L = -1 is lost once a unit in the last place of x_0^2 is one. A Euclidean
parametrisation stores the tangent vector z at the origin instead and has no such limit; distances
of points exp0(z) in `zoo.functional.lorentz` are right as far as the ball reaches, and finite
beyond.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional import lorentz
from zoo.functional.precision import PRECISIONS

Representation = Literal["poincare", "lorentz"]


def representable_radius(model: Representation, dtype: torch.dtype) -> float:
    """The largest distance from the origin at which a model tells points apart, curvature -1.

    Poincaré: 2 artanh(1 - eps / 2), 17.33 in float32 and 37.43 in float64. Lorentz:
    arcosh(eps^(-1/2)), 8.66 and 18.71, half as much.

    Args:
        model: "poincare" or "lorentz".
        dtype: float32 or float64.

    Raises:
        ConfigError: another model or precision.
    """
    if dtype not in PRECISIONS or model not in ("poincare", "lorentz"):
        raise ConfigError(
            f"model={model!r}, dtype={dtype}: the limits are known for 'poincare' and 'lorentz' "
            "in torch.float32 and torch.float64"
        )
    eps = torch.finfo(dtype).eps
    if model == "lorentz":
        return math.acosh(eps**-0.5)
    return math.log(4.0 / eps - 1.0)  # artanh written out: 1 - eps / 2 has no digit to lose


def radius_errors(
    radii: Float[Tensor, " radii"], dtype: torch.dtype
) -> dict[str, Float[Tensor, " radii"]]:
    """Relative errors of distances to the origin, by what is stored of a point.

    Args:
        radii: true distances, float64.
        dtype: of what is stored and computed.

    Returns:
        `poincare`: a point of the ball, 2 artanh of its norm. `lorentz`: a point of the
        hyperboloid normalised by <x, x>_L, arcosh of its time. `euclidean`: z, by
        `lorentz.exp0` and `lorentz.dist`. Infinite where nothing finite comes out.
    """
    stored = radii.to(dtype)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "poincare": lambda r: 2 * torch.atanh(torch.tanh(r / 2)),
        "lorentz": _by_time,
        "euclidean": _by_tangent,
    }
    found = {}
    for name, way in ways.items():
        error = (way(stored).double() / radii - 1).abs()
        found[name] = torch.where(error.isfinite(), error, math.inf)
    return found


def _by_time(r: Tensor) -> Tensor:
    time, space = torch.cosh(r), torch.sinh(r)
    return torch.acosh(time / torch.sqrt(time.square() - space.square()))


def _by_tangent(r: Tensor) -> Tensor:
    z = torch.stack([r, torch.zeros_like(r)], dim=-1)
    return lorentz.dist(lorentz.exp0(z), lorentz.exp0(torch.zeros_like(z)))
