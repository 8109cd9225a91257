"""The matrix product: irreps as operators, multiplied (Unke and Maennel, e3x, arXiv:2401.07595).

    z^k_m = n_k w3_k <O_km, X Y>,   X = sum_i w1_i sum_m x^i_m O_im

with the operators O of `zoo.functional.matrix_tensor` on the degrees 0..n, n = ceil((L1 + L2) / 2),
one more where there are irreps with p = -(-1)^l, and <A, B> the sum over products of their
elements. Each path of irreps has the weight w1_i w2_j w3_k times a number fixed by the
construction, which `couplings` states. n_k makes the components of z have variance one if those
of x and y have it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.functional.matrix_tensor import matrix_blocks
from zoo.layers.equivariant._legs import Irrep, Leg, Legs
from zoo.layers.equivariant._method import DegreeWeighted, single_kinds


class MatrixProduct(DegreeWeighted):
    """By products of matrices of (n + 1)^2 rows.

    Args:
        legs: both inputs and the output.
    """

    tables1: Tensor
    tables2: Tensor
    tables3: Tensor

    @staticmethod
    def expresses(a: Irrep, b: Irrep, c: Irrep) -> bool:
        """Every coupling except those of 0o: no operator on 0e + 1o + 2e + ... is one."""
        return Irrep(0, -1) not in (a, b, c)

    def __init__(self, legs: Legs) -> None:
        #: n, the highest degree of the space the matrices act on
        self.size = (legs.in1.lmax + legs.in2.lmax + 1) // 2
        if any(entry.kind < 0 for leg in legs for entry in leg.entries):
            self.size += 1  # the largest block, of degrees n and n, has no irreps of this parity
        super().__init__(legs, single_kinds(legs), 3 * (self.size + 1) ** 4)
        for n, leg in enumerate(legs, 1):
            self.register_constant(f"tables{n}", _bound(leg, self.size))
        self.normalize()

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        dim = (self.size + 1) ** 2
        left = (x.flatten(1).T @ self.tables1).view(-1, dim, dim)  # (columns, dim, dim)
        right = (y.flatten(1).T @ self.tables2).view(-1, dim, dim)
        return (self.tables3 @ (left @ right).flatten(1).T).view(self.out_size, *x.shape[1:])


def _bound(leg: Leg, size: int) -> Callable[[], Tensor]:
    return lambda: torch.cat([matrix_blocks(*leg.entries[i], size).flatten(1) for i in leg.order])
