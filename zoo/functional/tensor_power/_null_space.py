"""Equivariant maps of any matrix group, as the null space of the conditions.

A map W, seen as a tensor of order l + k, is equivariant if g acts on its l outputs, and g^-T on its
k inputs, without changing it, and if the sum of X over the outputs and -X^T over the inputs
annihilates it for X of the Lie algebra (Finzi, Welling, Wilson, arXiv:2104.09459, equation 5).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._groups import Group, along

#: entries of a map at most: their square is held in memory
ENTRIES = 4096
_TOLERANCE = 1e-10  # of squares of singular values, relative to the largest
_BEGINNING = 1e-6  # smaller entries begin no row


def null_space(
    group: Group, n: int, order_in: int, order_out: int
) -> Float[Tensor, "count entries"]:
    """The orthonormal basis in echelon form of the equivariant maps, as rows, in float64.

    It depends on the space alone, not on how or where it was computed: weights of a layer that are
    stored mean the same maps when they are read.

    One condition after another cuts down the space that is left. An element that differs from
    the identity by less than 1e-5 is not told from it.

    Args:
        group: any.
        n: dimension of the space.
        order_in: k.
        order_out: l.

    Returns:
        (count, n^(l+k)), outputs first.

    Raises:
        ConfigError: for maps with too many entries.
    """
    m = order_in + order_out
    size = n**m
    if size > ENTRIES:
        raise ConfigError(
            f"a numerical basis of {group} with n={n} and orders {order_in} -> {order_out} has "
            f"maps of {size} entries, and would take {size**2 * 8 / 2**20:.0f} MB; at most "
            f"{ENTRIES} entries are taken. Take lower orders, or kind='diagram' or 'orbit'"
        )
    basis = torch.eye(size, dtype=torch.float64)
    for element in group.generators(n):
        basis = _cut(basis, _changed(basis, element, n, order_in, order_out))
    for element in group.lie_algebra(n):
        basis = _cut(basis, _derived(basis, element, n, order_in, order_out))
    return _echelon(basis)


def _changed(rows: Tensor, element: Tensor, n: int, order_in: int, order_out: int) -> Tensor:
    """(rho(g) - 1) of each row."""
    x = rows.reshape(-1, *[n] * (order_out + order_in))
    dual = torch.linalg.inv(element).mT
    for axis in range(1, x.ndim):
        x = along(x, element if axis <= order_out else dual, axis)
    return x.reshape(rows.shape) - rows


def _derived(rows: Tensor, element: Tensor, n: int, order_in: int, order_out: int) -> Tensor:
    """d rho(X) of each row, X of length 1."""
    x = rows.reshape(-1, *[n] * (order_out + order_in))
    unit = element / torch.linalg.norm(element).clamp(min=1e-300)
    total = torch.zeros_like(x)
    for axis in range(1, x.ndim):
        total += along(x, unit if axis <= order_out else -unit.mT, axis)
    return total.reshape(rows.shape)


def _cut(basis: Tensor, images: Tensor) -> Tensor:
    """The part of a space whose image vanishes."""
    if len(basis) == 0:
        return basis
    values, vectors = torch.linalg.eigh(images @ images.mT)
    kept = vectors[:, values <= _TOLERANCE * max(float(values[-1]), 1.0)]
    rows: Tensor = torch.linalg.qr(basis.mT @ kept)[0].mT
    return rows


def _echelon(basis: Tensor) -> Tensor:
    """The orthonormal basis of a space whose rows begin ever later, with positive numbers."""
    turn = basis.new_zeros(0, len(basis))  # rows of it, from the columns where a row begins
    for column in basis.T:
        if len(turn) == len(basis):
            break
        rest = column
        for _ in range(2):  # twice is enough (Kahan)
            rest = rest - (turn @ rest) @ turn
        length = torch.linalg.vector_norm(rest)
        if length > _BEGINNING:
            turn = torch.cat([turn, (rest / length)[None]])
    return turn @ basis
