r"""Signed distances to hyperplanes of the Poincaré ball, and the layers made of them.

HNN's hyperplanes have a base point p and a normal a (Ganea et al., arXiv:1805.09112, eq. 25).
HNN++'s start from the origin and have a direction z and an offset r (Shimizu et al.,
arXiv:2006.08210, eq. 6), parameters of Euclidean space. HNN++'s linear layer takes the distances
to such hyperplanes as coordinates (eq. 7).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from zoo.errors import ConfigError
from zoo.functional._poincare_kernels import Curvature, gap, square
from zoo.functional._poincare_linear import from_planes
from zoo.functional._poincare_origin import exp0, log0, root
from zoo.functional.precision import check_precision
from zoo.functional.squares import asinh

#: the largest 2 sqrt(c)|r|, the distance of a hyperplane from the origin: no point is further out
LARGEST_OFFSET = {torch.float32: 20.0, torch.float64: 40.0}


def hyperplane_logits(
    x: Float[Tensor, "*batch dim"],
    p: Float[Tensor, "classes dim"],
    a: Float[Tensor, "classes dim"],
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch classes"]:
    r"""HNN's multinomial logistic regression (arXiv:1805.09112, eq. 25).

    logit_k = lambda_p |a| / sqrt(c) asinh(2 sqrt(c) <m, a> / ((1 - c|m|^2) |a|)), m = -p + x in
    the Möbius sense. The quotient is (alpha <x - p, a> - sigma <p, a>) / (alpha (1 - c|x|^2)) with
    alpha = 1 - c|p|^2 and sigma = c|x - p|^2, so no sum m is formed for each pair.

    Args:
        x: points.
        p: a point on each hyperplane.
        a: the normal of each, at p.
        c: the curvature is -c.
    """
    check_precision("poincare.hyperplane_logits", x, p, a)
    alpha, size = gap(p, c)[:, 0], _length(a)
    normal = a / size[:, None]
    offset = (p * normal).sum(-1)  # <p, a> / |a|
    apart = c * (square(x) - 2 * (x @ p.mT) + square(p)[:, 0])
    over = alpha * (x @ normal.mT - offset) - apart * offset
    scale = root(c)
    return 2 * size / (scale * alpha) * asinh(2 * scale * over / (alpha * gap(x, c)))


def unidirectional_logits(
    x: Float[Tensor, "*batch dim"],
    z: Float[Tensor, "dim classes"],
    r: Float[Tensor, " classes"] | None = None,
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch classes"]:
    r"""HNN++'s multinomial logistic regression (arXiv:2006.08210, eq. 6).

    v_k = 2|z_k| / sqrt(c) asinh(lambda_x <sqrt(c) x, [z_k]> cosh(2 sqrt(c) r_k)
    - (lambda_x - 1) sinh(2 sqrt(c) r_k)), with [z] = z / |z|.

    Args:
        x: points.
        z: a direction per column.
        r: the offset of each hyperplane from the origin; zero if left out.
        c: the curvature is -c.
    """
    check_precision("poincare.unidirectional_logits", x, z)
    inner, inverse, shift, size = _plane_parts(x, z, r, c)
    argument = inner * inverse if shift is None else torch.addcmul(shift, inner, inverse)
    return 2 * size / root(c) * asinh(argument)


def fully_connected(
    x: Float[Tensor, "*batch dim"],
    z: Float[Tensor, "dim out"],
    r: Float[Tensor, " out"] | None = None,
    *,
    c: Curvature = 1.0,
) -> Float[Tensor, "*batch out"]:
    r"""HNN++'s linear layer (arXiv:2006.08210, eq. 7).

    y = w / (1 + sqrt(1 + c|w|^2)), w_k = sinh(sqrt(c) v_k) / sqrt(c), with v of
    `unidirectional_logits`.

    Args:
        x: points.
        z: a direction per column.
        r: the offset of each hyperplane from the origin; zero if left out.
        c: the curvature is -c.
    """
    check_precision("poincare.fully_connected", x, z)
    inner, inverse, shift, size = _plane_parts(x, z, r, c)
    return from_planes(inner, inverse, shift, 2 * size, root(c))


def _length(x: Tensor, dim: int = -1) -> Tensor:
    """Norms that are never zero, so that directions exist."""
    tiny = torch.finfo(x.dtype).tiny
    return x.square().sum(dim).clamp(min=tiny).sqrt()


def _plane_parts(
    x: Tensor, z: Tensor, r: Tensor | None, c: Curvature
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """What the argument of asinh, inner * inverse + shift, is made of; and |z|.

    With alpha = 1 - c|x|^2 the argument is (<2 sqrt(c) x, [z]> cosh - (2 - alpha) sinh) / alpha.
    """
    scale, size = root(c), _length(z, 0)
    inverse = 1 / gap(x, c)
    if r is None:
        return x @ (2 * scale / size * z), inverse, None, size
    limit = LARGEST_OFFSET[x.dtype]
    angle = (2 * scale * r).clamp(-limit, limit)
    shift = torch.sinh(angle)
    columns = 2 * scale / size * torch.cosh(angle) * z
    return linear(x, columns.mT, -2 * shift), inverse, shift, size


def beta_concat(
    parts: Sequence[Float[Tensor, "*batch _"]], *, c: Curvature = 1.0
) -> Float[Tensor, "*batch dim"]:
    r"""Joins coordinates of several points into one point (arXiv:2006.08210, section 3.3).

    Each log0(x_i) is scaled by beta_n / beta_{n_i}, beta_n = B(n / 2, 1 / 2), which keeps the
    expected norm of random vectors, and exp0 follows.

    Args:
        parts: the points, each of its own dimension.
        c: the curvature is -c.

    Raises:
        ConfigError: nothing to join.
    """
    if not parts:
        raise ConfigError("beta_concat needs at least one tensor of points")
    whole = _beta(sum(part.shape[-1] for part in parts))
    logs = [log0(part, c=c) * (whole / _beta(part.shape[-1])) for part in parts]
    return exp0(torch.cat(logs, -1), c=c)


def beta_split(
    x: Float[Tensor, "*batch dim"], sizes: Sequence[int], *, c: Curvature = 1.0
) -> list[Tensor]:
    """The inverse of `beta_concat`.

    Args:
        x: points.
        sizes: the dimension of each part.
        c: the curvature is -c.

    Raises:
        ConfigError: sizes that don't add up to the dimension.
    """
    if sum(sizes) != x.shape[-1] or min(sizes, default=0) < 1:
        raise ConfigError(
            f"sizes={list(sizes)}: positive numbers that add up to {x.shape[-1]} are needed"
        )
    whole = _beta(x.shape[-1])
    parts = torch.split(log0(x, c=c), list(sizes), -1)
    return [exp0(part * (_beta(part.shape[-1]) / whole), c=c) for part in parts]


def beta_ratio(into: int, out_of: int) -> float:
    """beta_into / beta_out_of, the factor that keeps expected norms between dimensions."""
    return _beta(into) / _beta(out_of)


def _beta(n: int) -> float:
    """B(n / 2, 1 / 2)."""
    return math.exp(math.lgamma(n / 2) + math.lgamma(0.5) - math.lgamma((n + 1) / 2))
