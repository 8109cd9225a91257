"""Rotations of space as axis-angle vectors, quaternions and Euler angles.

Matrices act on columns, R r. Quaternions are (w, x, y, z).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional import wigner
from zoo.functional.angles import angle_over_sine
from zoo.functional.precision import check_precision
from zoo.functional.squares import sinc_root

#: shortest vector that is divided by its own length
SHORTEST = 1e-8


def hat(v: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """The skew matrix of the cross product: hat(v) r = v x r."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    flat = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    matrix: Tensor = flat.unflatten(-1, (3, 3))
    return matrix


def vee(k: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 3"]:
    """The vector of the skew part of a matrix; undoes `hat`."""
    pairs = [(2, 1), (0, 2), (1, 0)]
    return torch.stack([(k[..., i, j] - k[..., j, i]) / 2 for i, j in pairs], dim=-1)


def axis_angle_to_matrix(v: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """exp(hat(v)): the rotation about v by |v| radians (Rodrigues), smooth at v = 0.

    Args:
        v: axis times angle, radians.

    Raises:
        DeviceError: half precision.
    """
    check_precision("axis_angle_to_matrix", v)
    square = v.square().sum(-1)[..., None, None]
    k = hat(v)
    eye = torch.eye(3, dtype=v.dtype, device=v.device)
    # (1 - cos t) / t^2 = (sin(t / 2) / (t / 2))^2 / 2, without cancellation
    return eye + sinc_root(square) * k + sinc_root(square / 4).square() / 2 * (k @ k)


def matrix_to_quaternion(r: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 4"]:
    """The unit quaternion with w >= 0; finite derivatives at every rotation.

    4 q q^T is linear in R. Its row with the largest diagonal entry, normalised, is q up to its
    sign, and that entry is at least 1.

    Args:
        r: rotations.

    Raises:
        DeviceError: half precision.
    """
    check_precision("matrix_to_quaternion", r)
    m = [[r[..., i, j] for j in range(3)] for i in range(3)]
    one = torch.ones_like(m[0][0])
    a, b, c = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    d, e, f = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    x, y, z = m[0][0], m[1][1], m[2][2]
    flat = [one + x + y + z, a, b, c, a, one + x - y - z, d, e]
    flat += [b, d, one - x + y - z, f, c, e, f, one - x - y + z]
    products = torch.stack(flat, dim=-1).unflatten(-1, (4, 4))
    best = products.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    row = products.gather(-2, index).squeeze(-2)
    q = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(q[..., :1] < 0, -q, q)


def quaternion_to_matrix(q: Float[Tensor, "... 4"]) -> Float[Tensor, "... 3 3"]:
    """The rotation of a quaternion of any length but zero (below 1e-8 the result shrinks).

    Args:
        q: quaternions (w, x, y, z).
    """
    unit = normalized(q).reshape(-1, 4)
    return wigner.quaternion_to_matrix(unit).reshape(*q.shape[:-1], 3, 3)


def matrix_to_axis_angle(r: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 3"]:
    """Axis times angle, 0 <= angle <= pi: vee of the logarithm.

    From the quaternion (cos t/2, sin t/2 axis): to rounding at every angle, with finite derivatives
    of every order at 0 and pi. At pi one of the two axes is taken.

    Args:
        r: rotations.
    """
    q = matrix_to_quaternion(r)
    return 2 * angle_over_sine(q[..., :1]) * q[..., 1:]


def euler_to_matrix(angles: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """R_z(c) R_y(b) R_x(a) of the angles (a, b, c).

    Args:
        angles: radians.
    """
    x, y, z = (_about(axis, angles[..., axis]) for axis in range(3))
    return z @ y @ x


def _about(axis: int, angle: Tensor) -> Tensor:
    unit = torch.eye(3, dtype=angle.dtype, device=angle.device)[axis]
    return axis_angle_to_matrix(angle[..., None] * unit)


def normalized(v: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """v / |v|, and v / 1e-8 for shorter ones, so that value and gradient are finite at zero.

    Raises:
        DeviceError: half precision, in which the square of 1e-8 is zero.
    """
    check_precision("a representation of rotations", v)
    square = v.square().sum(-1, keepdim=True)
    return v / square.clamp_min(SHORTEST**2).sqrt()
