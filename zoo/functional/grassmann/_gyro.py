r"""Gyrovector operations on Grassmann manifolds, on bases, about the origin I = [1; 0].

With the tangent vector D = log_I(V) and the skew matrix w_V = D I^T - I D^T,

    V (+) U = exp(w_V) U,    t (x) U = exp(t w_U) I,    (-) U = exp(-w_U) I

(Nguyen, Yang, Building Neural Networks on Matrix Manifolds, arXiv:2305.04560). `method="cayley"`
puts the Cayley map (1 - w / 2)^{-1} (1 + w / 2) in the place of exp, which agrees to third order
in w: V is then undone by (-) V only to that order. `method="legacy"` is (1 - w) (1 + w)^{-1}, as
in the code that the published results of GyroBN were computed with: it turns the wrong way, by
about twice the angle, so that (-) V (+) V is far from I. It is here to reproduce those results.

w has rank 2p, and every one of these maps is applied through p or 2p dimensional matrices.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.grassmann import _basis as bases
from zoo.functional.precision import check_precision

Method = Literal["exp", "cayley", "legacy"]
METHODS = ("exp", "cayley", "legacy")

Basis = Float[Tensor, "... n p"]


def to_skew(x: Basis, v: Basis) -> Float[Tensor, "... n n"]:
    """The skew matrix v x^T - x v^T, whose exponential moves x along the geodesic of v."""
    half = v @ x.mT
    return half - half.mT


def turn(x: Basis, v: Basis, z: Float[Tensor, "... n k"], *, method: Method = "exp") -> Tensor:
    """The rotation exp(v x^T - x v^T), or the Cayley map in its place, applied to columns z.

    Args:
        x: basis.
        v: tangent vector at x.
        z: columns to turn.
        method: "exp", "cayley" or "legacy" (see the head of this module).

    Raises:
        ConfigError: for another method.
        DeviceError: half precision.
    """
    if method == "exp":
        return bases.rotate(x, v, z)
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}: {nearest(method, METHODS)}")
    check_precision("grassmann.turn", v, z)
    # (1 - a w)^{-1} (1 + a w) = 1 + 2a F (1 - a H^T F)^{-1} H^T with w = F H^T
    a = 0.5 if method == "cayley" else -1.0
    left = torch.cat(torch.broadcast_tensors(v, -x), dim=-1)
    right = torch.cat(torch.broadcast_tensors(x, v), dim=-1)
    small = torch.eye(left.shape[-1], dtype=x.dtype, device=x.device) - a * right.mT @ left
    inner, seen = _broadcast(small, right.mT @ z)
    turned: Tensor = z + 2 * a * (left @ torch.linalg.solve(inner, seen))
    return turned


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices with the leading axes of both."""
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.expand(*lead, *a.shape[-2:]), b.expand(*lead, *b.shape[-2:])


def gyro_add(v: Basis, u: Basis, *, method: Method = "exp") -> Basis:
    """V (+) U = exp(w_V) U.

    Args:
        v: basis of the left operand; not on the cut locus of the origin.
        u: basis of the right operand.
        method: "exp", "cayley" or "legacy".
    """
    base = bases.origin(v.shape[-2:], dtype=v.dtype, device=v.device)
    return turn(base, bases.log(base.expand_as(v), v), u, method=method)


def gyro_scale(t: float | Float[Tensor, "..."], u: Basis, *, method: Method = "exp") -> Basis:
    """t (x) U = exp(t w_U) I.

    Args:
        t: factor; a tensor broadcasts against the leading axes.
        u: basis; not on the cut locus of the origin.
        method: "exp", "cayley" or "legacy".
    """
    base = bases.origin(u.shape[-2:], dtype=u.dtype, device=u.device)
    factor = t[..., None, None] if isinstance(t, Tensor) else t
    return turn(base, factor * bases.log(base.expand_as(u), u), base, method=method)


def gyro_inverse(u: Basis, *, method: Method = "exp") -> Basis:
    """(-) U = exp(-w_U) I.

    Args:
        u: basis; not on the cut locus of the origin.
        method: "exp", "cayley" or "legacy".
    """
    return gyro_scale(-1.0, u, method=method)


def from_coordinates(v: Float[Tensor, "... rest p"]) -> Float[Tensor, "... n p"]:
    """The tangent vector [0; B] at the origin of free coordinates B (n - p, p)."""
    p = v.shape[-1]
    return torch.cat([v.new_zeros(*v.shape[:-2], p, p), v], dim=-2)


def to_coordinates(v: Float[Tensor, "... n p"]) -> Float[Tensor, "... rest p"]:
    """The free coordinates B (n - p, p) of a tangent vector [0; B] at the origin."""
    return v[..., v.shape[-1] :, :]
