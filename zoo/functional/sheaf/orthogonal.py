"""Orthogonal matrices from numbers without constraints, batches of small ones.

All maps are smooth with finite derivatives of any order. The parameters fill the part of a matrix
strictly below its diagonal, row by row.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.sheaf.small import from_entries

Orthogonal = Literal["householder", "cayley", "matrix_exp", "euler"]
METHODS: tuple[str, ...] = get_args(Orthogonal)
_PLANE, _SPACE = 2, 3  # sizes whose entries are written out


def parameter_count(size: int) -> int:
    """Parameters of an orthogonal matrix of this size, size (size - 1) / 2."""
    return size * (size - 1) // 2


def orthogonal(
    theta: Float[Tensor, "*batch parameters"], size: int, method: Orthogonal
) -> Float[Tensor, "*batch size size"]:
    """Orthogonal matrices by one of the four maps; see each.

    Raises:
        ConfigError: for an unknown method, or Euler angles of another size than 2 or 3.
    """
    if method == "householder":
        return householder(theta, size)
    if method == "cayley":
        return cayley(theta, size)
    if method == "matrix_exp":
        return matrix_exp(theta, size)
    if method == "euler":
        return euler(theta, size)
    raise ConfigError(f"method={method!r}: expected one of {', '.join(METHODS)}")


def householder(
    theta: Float[Tensor, "*batch parameters"],
    size: int,
    *,
    determinant: Literal[-1, 1] | Float[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch size size"]:
    r"""Products of reflections, Q = H_1 \cdots H_d with H_i = I - 2 a_i a_i^T / |a_i|^2.

    Neural Sheaf Diffusion (arXiv:2202.04579), section 5. a_i is column i of a matrix with ones on
    the diagonal and the parameters below it, so that the last reflection has nothing to learn: it
    turns the sign of the last axis, and det Q = (-1)^d whatever the parameters.

    Args:
        theta: any numbers.
        size: d.
        determinant: 1 or -1, the component of O(d), for all or for each matrix (then the last
            axis is turned or not); None for that of the authors, (-1)^d.
    """
    _check(theta, size)
    last = -1.0 if determinant is None else determinant * (-1.0) ** (size - 1)
    if size in (_PLANE, _SPACE):
        entries = (_reflected_plane if size == _PLANE else _reflected_space)(theta, last)
        return from_entries(entries, size)
    columns = _lower(theta, size) + torch.eye(size, dtype=theta.dtype, device=theta.device)
    signs = theta.new_ones(*theta.shape[:-1], size)
    signs[..., -1] = last
    q: Tensor = torch.diag_embed(signs)
    for i in reversed(range(size - 1)):
        a = columns[..., :, i]
        scale = 2.0 / a.square().sum(dim=-1)
        # only rows from i on differ from zero in a
        row = (a.unsqueeze(-2) @ q) * scale[..., None, None]
        q = q - a.unsqueeze(-1) * row
    return q


def _reflected_plane(theta: Tensor, last: Tensor | float) -> list[Tensor]:
    """(I - s a a^T) diag(1, last), a = (1, p), s = 2 / |a|^2."""
    (p,) = theta.unbind(-1)
    s = 2.0 / (1.0 + p * p)
    off = -s * p
    return [1.0 - s, off * last, off, (1.0 + off * p) * last]


def _reflected_space(theta: Tensor, last: Tensor | float) -> list[Tensor]:
    """H_1 H_2 diag(1, 1, last) = (H_2 + a m^T) diag(1, 1, last).

    a = (1, p, q) and b = (0, 1, r) are the two axes, s and t are 2 / |a|^2 and 2 / |b|^2,
    m = s t (a b) b - s a.
    """
    p, q, r = theta.unbind(-1)
    s, t = 2.0 / (1.0 + p * p + q * q), 2.0 / (1.0 + r * r)
    c = s * t * (p + q * r)
    m, n, tr = c - s * p, c * r - s * q, t * r
    columns = [
        (1.0 - s, -s * p, -s * q),
        (m, 1.0 - t + p * m, q * m - tr),
        (n * last, (p * n - tr) * last, (1.0 - tr * r + q * n) * last),
    ]
    return [columns[j][i] for i in range(_SPACE) for j in range(_SPACE)]


def cayley(theta: Float[Tensor, "*batch parameters"], size: int) -> Float[Tensor, "*batch d d"]:
    """Cayley's map, (I - A/2)^-1 (I + A/2) of the skew matrix A of the parameters; in SO(d)."""
    _check(theta, size)
    if size == _PLANE:
        (p,) = theta.unbind(-1)
        scale = 1.0 / (1.0 + 0.25 * p * p)
        cos, sin = 2.0 * scale - 1.0, scale * p
        return from_entries([cos, -sin, sin, cos], size)
    if size == _SPACE:
        return from_entries(_cayley_space(theta), size)
    a = _skew(theta, size)
    eye = torch.eye(size, dtype=theta.dtype, device=theta.device)
    out: Tensor = torch.linalg.solve(eye - 0.5 * a, eye + 0.5 * a)
    return out


def _cayley_space(theta: Tensor) -> list[Tensor]:
    """I + k (A + A^2 / 2), A w = v x w, A^2 = v v^T - |v|^2 I, k = 1 / (1 + |v|^2 / 4)."""
    z, y, x = theta.unbind(-1)
    y = -y
    k = 1.0 / (1.0 + 0.25 * (x * x + y * y + z * z))
    h = 0.5 * k
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, h * x * y, h * x * z, h * y * z
    kx, ky, kz = k * x, k * y, k * z
    return [
        1.0 - h * (yy + zz), xy - kz, xz + ky,
        xy + kz, 1.0 - h * (xx + zz), yz - kx,
        xz - ky, yz + kx, 1.0 - h * (xx + yy),
    ]  # fmt: skip


def matrix_exp(theta: Float[Tensor, "*batch parameters"], size: int) -> Float[Tensor, "*batch d d"]:
    """The exponential of the skew matrix of the parameters; in SO(d)."""
    _check(theta, size)
    out: Tensor = torch.linalg.matrix_exp(_skew(theta, size))
    return out


def euler(theta: Float[Tensor, "*batch parameters"], size: int) -> Float[Tensor, "*batch d d"]:
    """Rotations by 2 pi theta about the axes z, y, x (d = 3), or in the plane (d = 2).

    Raises:
        ConfigError: for another d.
    """
    if size not in (_PLANE, _SPACE):
        raise ConfigError(
            f"Euler angles describe rotations of size 2 or 3, not {size}; take cayley"
        )
    _check(theta, size)
    cos, sin = torch.cos(2 * math.pi * theta), torch.sin(2 * math.pi * theta)
    if size == _PLANE:
        (c,), (s,) = cos.unbind(-1), sin.unbind(-1)
        return from_entries([c, -s, s, c], size)
    (ca, cb, cg), (sa, sb, sg) = cos.unbind(-1), sin.unbind(-1)
    rows = [
        ca * cb, ca * sb * sg - sa * cg, ca * sb * cg + sa * sg,
        sa * cb, sa * sb * sg + ca * cg, sa * sb * cg - ca * sg,
        -sb, cb * sg, cb * cg,
    ]  # fmt: skip
    return from_entries(rows, size)


def _lower(theta: Tensor, size: int) -> Tensor:
    """The parameters strictly below the diagonal."""
    rows, columns = torch.tril_indices(size, size, offset=-1, device=theta.device)
    flat = theta.new_zeros(*theta.shape[:-1], size * size)
    out: Tensor = flat.index_copy(-1, rows * size + columns, theta).unflatten(-1, (size, size))
    return out


def _skew(theta: Tensor, size: int) -> Tensor:
    lower = _lower(theta, size)
    return lower - lower.mT


def _check(theta: Tensor, size: int) -> None:
    wanted = parameter_count(size)
    if theta.shape[-1] != wanted:
        raise ConfigError(
            f"an orthogonal matrix of size {size} has {wanted} parameters, not {theta.shape[-1]}"
        )
