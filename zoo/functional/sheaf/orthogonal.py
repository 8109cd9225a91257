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

Orthogonal = Literal["householder", "cayley", "matrix_exp", "euler"]
METHODS: tuple[str, ...] = get_args(Orthogonal)
_CLOSED = 3  # up to this size, Cayley's inverse has a closed form


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
    columns = _lower(theta, size) + torch.eye(size, dtype=theta.dtype, device=theta.device)
    signs = theta.new_ones(*theta.shape[:-1], size)
    last = -1.0 if determinant is None else determinant * (-1.0) ** (size - 1)
    signs[..., -1] = last
    q: Tensor = torch.diag_embed(signs)
    for i in reversed(range(size - 1)):
        a = columns[..., :, i]
        scale = 2.0 / a.square().sum(dim=-1)
        # only rows from i on differ from zero in a
        row = (a.unsqueeze(-2) @ q) * scale[..., None, None]
        q = q - a.unsqueeze(-1) * row
    return q


def cayley(theta: Float[Tensor, "*batch parameters"], size: int) -> Float[Tensor, "*batch d d"]:
    """Cayley's map, (I - A/2)^-1 (I + A/2) of the skew matrix A of the parameters; in SO(d)."""
    _check(theta, size)
    a = _skew(theta, size)
    eye = torch.eye(size, dtype=theta.dtype, device=theta.device)
    if size <= _CLOSED:  # A^3 = -|theta|^2 A
        scale = 1.0 / (1.0 + 0.25 * theta.square().sum(dim=-1))
        return eye + scale[..., None, None] * (a + 0.5 * a @ a)
    out: Tensor = torch.linalg.solve(eye - 0.5 * a, eye + 0.5 * a)
    return out


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
    if size not in (2, 3):
        raise ConfigError(
            f"Euler angles describe rotations of size 2 or 3, not {size}; take cayley"
        )
    _check(theta, size)
    cos, sin = torch.cos(2 * math.pi * theta), torch.sin(2 * math.pi * theta)
    if size == 2:  # noqa: PLR2004
        (c,), (s,) = cos.unbind(-1), sin.unbind(-1)
        plane: Tensor = torch.stack([c, -s, s, c], dim=-1).unflatten(-1, (2, 2))
        return plane
    (ca, cb, cg), (sa, sb, sg) = cos.unbind(-1), sin.unbind(-1)
    rows = [
        ca * cb, ca * sb * sg - sa * cg, ca * sb * cg + sa * sg,
        sa * cb, sa * sb * sg + ca * cg, sa * sb * cg - ca * sg,
        -sb, cb * sg, cb * cg,
    ]  # fmt: skip
    out: Tensor = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    return out


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
