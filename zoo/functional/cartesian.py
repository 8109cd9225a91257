"""3x3 matrices over R^3 in irreducible components: 1 (trace) + 3 (antisymmetric) + 5 (symmetric).

The nine components are coordinates in an orthonormal basis of the matrices under the Frobenius
product, so the squared norm of a matrix is the plain sum of squares of its components:

    0      Id / sqrt(3)
    1..3   [e_k]_x / sqrt(2), the matrices of the cross product with x, y, z
    4..8   (e_a e_b^T + e_b e_a^T) / sqrt(2) for yz, xz, xy; (xx - yy) / sqrt(2);
           (2 zz - xx - yy) / sqrt(6)

Rotations act within the three groups. Under inversion a matrix built from a vector v as
a Id + [v]_x + S(v) keeps 0 and 4..8 and flips 1..3: the antisymmetric part is a polar vector.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

#: how many components the groups have; `x.split(SIZES)` takes nine components apart
SIZES: tuple[int, int, int] = (1, 3, 5)
#: the group of each component
DEGREE: tuple[int, ...] = (0, 1, 1, 1, 2, 2, 2, 2, 2)


@functools.cache
def _basis() -> Tensor:
    basis = torch.zeros(9, 3, 3, dtype=torch.float64)
    basis[0] = torch.eye(3, dtype=torch.float64) / math.sqrt(3)
    for k, (a, b) in enumerate([(1, 2), (2, 0), (0, 1)]):  # x, y, z in cyclic order
        basis[1 + k, b, a], basis[1 + k, a, b] = math.sqrt(0.5), -math.sqrt(0.5)
        basis[4 + k, b, a] = basis[4 + k, a, b] = math.sqrt(0.5)
    basis[7] = torch.diag(torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)) / math.sqrt(2)
    basis[8] = torch.diag(torch.tensor([-1.0, -1.0, 2.0], dtype=torch.float64)) / math.sqrt(6)
    return basis


def component_table() -> Float[Tensor, "9 9"]:
    """The orthonormal basis matrices as rows (xx, xy, ..., zz), float64, a fresh copy."""
    return _basis().reshape(9, 9).clone()


class _MatrixProduct(Function):
    """A B, or A B + B A, for matrices whose indices come first, (3, 3, *shape).

    The derivatives of either are products of the same kind: with respect to A they are
    G B^T, or G B^T + B^T G.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, symmetric: bool) -> Any:
        ctx.save_for_backward(a, b)
        ctx.symmetric = symmetric
        # rank-one updates of contiguous blocks; batched 3x3 BLAS calls are far slower
        out = a[:, 0, None] * b[None, 0]
        out.addcmul_(a[:, 1, None], b[None, 1])
        out.addcmul_(a[:, 2, None], b[None, 2])
        if symmetric:
            for k in range(3):
                out.addcmul_(b[:, k, None], a[None, k])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, b = ctx.saved_tensors
        grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_a = _matrix_product(grad, b.transpose(0, 1), ctx.symmetric)
        if ctx.needs_input_grad[1]:
            grad_b = _matrix_product(a.transpose(0, 1), grad, ctx.symmetric)
        return grad_a, grad_b, None


_matrix_product: Callable[..., Tensor] = _MatrixProduct.apply


def matrix_product(
    a: Float[Tensor, "3 3 *shape"], b: Float[Tensor, "3 3 *shape"], *, symmetric: bool = False
) -> Float[Tensor, "3 3 *shape"]:
    """Products A B, or anticommutators A B + B A, of 3x3 matrices whose indices come first.

    Args:
        a: left factors.
        b: right factors.
        symmetric: whether to add B A.
    """
    return _matrix_product(a, b, symmetric)


def to_matrix(
    components: Float[Tensor, "9 *shape"], table: Float[Tensor, "9 9"] | None = None
) -> Float[Tensor, "3 3 *shape"]:
    """The matrices with these components, row and column indices first.

    Args:
        components: in the orthonormal basis.
        table: `component_table()` in the precision of `components`, if at hand.
    """
    table = component_table().to(components) if table is None else table
    flat = table.T @ components.reshape(9, -1)
    return flat.reshape(3, 3, *components.shape[1:])


def from_matrix(
    matrices: Float[Tensor, "3 3 *shape"], table: Float[Tensor, "9 9"] | None = None
) -> Float[Tensor, "9 *shape"]:
    """Components of matrices; the inverse of `to_matrix`."""
    table = component_table().to(matrices) if table is None else table
    flat = table @ matrices.reshape(9, -1)
    return flat.reshape(9, *matrices.shape[2:])


def direction_components(unit: Float[Tensor, "edges 3"]) -> Float[Tensor, "edges 9"]:
    """Components of Id + [u]_x + (u u^T - Id / 3) for unit vectors u.

    Args:
        unit: unit vectors.

    Returns:
        sqrt(3), sqrt(2) u, and the five of u u^T without its trace.
    """
    x, y, z = unit.unbind(-1)
    one = torch.full_like(x, math.sqrt(3.0))
    root2 = math.sqrt(2.0)
    symmetric = [
        root2 * y * z,
        root2 * x * z,
        root2 * x * y,
        (x * x - y * y) / root2,
        (2 * z * z - x * x - y * y) / math.sqrt(6.0),
    ]
    return torch.stack([one, root2 * x, root2 * y, root2 * z, *symmetric], dim=-1)
