r"""Representations of rotations by real vectors, for networks to predict.

Zhou, Barnes, Lu, Yang, Li, On the Continuity of Rotation Representations in Neural Networks, CVPR
2019, arXiv:1812.07035: no map from rotations to at most four numbers has a continuous inverse, so
that networks predict quaternions, axis-angle vectors and Euler angles badly near their jumps. Six
numbers (two columns, Gram-Schmidt) or five (their stereographic projection) suffice. Levinson et
al., An Analysis of SVD for Deep Rotation Estimation, NeurIPS 2020, arXiv:2006.14616: nine, taken
to the nearest rotation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.rotations import so3
from zoo.functional.rotations._convert import (
    axis_angle_to_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    normalized,
    quaternion_to_matrix,
)

#: the scale of the stereographic coordinates of the 5D representation
SPREAD = (math.sqrt(2) + 1, math.sqrt(2) + 1, math.sqrt(2))


def from_6d(a: Float[Tensor, "... 6"]) -> Float[Tensor, "... 3 3"]:
    """Gram-Schmidt: the first column along a[:3], the second in the plane of both.

    x = a / |a|, z = x x b / |x x b|, y = z x x, as columns. The two vectors must not be parallel;
    the gradient grows as one over the sine of their angle, and stays finite.

    Args:
        a: two vectors, one after the other.
    """
    x = normalized(a[..., :3])
    z = normalized(torch.linalg.cross(x, a[..., 3:]))
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)


def to_6d(r: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 6"]:
    """The first two columns; undone by `from_6d`."""
    return torch.cat([r[..., 0], r[..., 1]], dim=-1)


def from_5d(a: Float[Tensor, "... 5"]) -> Float[Tensor, "... 3 3"]:
    """The last three of the five numbers are the stereographic projection of four of the six.

    Args:
        a: the numbers.
    """
    s = a[..., 2:] * torch.tensor(SPREAD, dtype=a.dtype, device=a.device)
    square = s.square().sum(-1, keepdim=True)
    # a point of the sphere in R^4 divided by the length of its last three coordinates
    length = s.square().sum(-1, keepdim=True).clamp_min(1e-16).sqrt()
    first = (square - 1) / (2 * length)
    return from_6d(torch.cat([a[..., :2], first, s / length], dim=-1))


def to_5d(r: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 5"]:
    """The five numbers; undone by `from_5d`."""
    six = to_6d(r)
    four = normalized(six[..., 2:])
    s = four[..., 1:] / (1 - four[..., :1])
    spread = torch.tensor(SPREAD, dtype=r.dtype, device=r.device)
    return torch.cat([six[..., :2], s / spread], dim=-1)


def from_9d(a: Float[Tensor, "... 9"]) -> Float[Tensor, "... 3 3"]:
    """The rotation nearest to the 3 x 3 matrix of these rows (SVD).

    Args:
        a: the rows of a matrix, one after the other.
    """
    return so3.project(a.unflatten(-1, (3, 3)))


def to_9d(r: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 9"]:
    """The rows of the matrix; undone by `from_9d`."""
    return r.flatten(-2)


def _plain(a: Tensor) -> Tensor:
    matrix: Tensor = a.unflatten(-1, (3, 3))
    return matrix


@dataclass(frozen=True)
class Representation:
    """How rotations are written as vectors.

    Attributes:
        name: of the representation.
        size: how many numbers.
        to_matrix: vectors (..., size) -> matrices (..., 3, 3), for any vector.
        from_matrix: the other way; None where there is no preferred one.
        continuous: whether some continuous function undoes `to_matrix`.
    """

    name: str
    size: int
    to_matrix: Callable[[Tensor], Tensor]
    from_matrix: Callable[[Tensor], Tensor] | None
    continuous: bool


REPRESENTATIONS = {
    item.name: item
    for item in (
        Representation("6d", 6, from_6d, to_6d, True),
        Representation("5d", 5, from_5d, to_5d, True),
        Representation("svd9d", 9, from_9d, to_9d, True),
        Representation("matrix", 9, _plain, to_9d, True),
        Representation("quaternion", 4, quaternion_to_matrix, matrix_to_quaternion, False),
        Representation("axis_angle", 3, axis_angle_to_matrix, matrix_to_axis_angle, False),
        Representation("euler", 3, euler_to_matrix, None, False),
    )
}


def representation(name: str) -> Representation:
    """The representation of this name.

    Args:
        name: "6d", "5d", "svd9d", "matrix" (nine numbers as they are, which need not be a
            rotation), "quaternion", "axis_angle" or "euler".

    Raises:
        ConfigError: for another name.
    """
    if name not in REPRESENTATIONS:
        raise ConfigError(
            f"unknown representation of rotations {name!r}: {nearest(name, REPRESENTATIONS)}"
        )
    return REPRESENTATIONS[name]
