"""Products of matrix features."""

from jaxtyping import Float
from torch import Tensor

from zoo.functional import from_matrix, matrix_product, to_matrix
from zoo.functional.cartesian import component_table
from zoo.layers.constants import ConstantModule


class MatrixProduct(ConstantModule):
    """Y M + M Y (equivariant under O(3)) or 2 Y M (under SO(3) only), channel by channel.

    The products are formed with 3x3 matrices, 27 multiplications for a product against 81 and more
    in components, and only there; what is kept are components.

    Args:
        symmetric: whether to take the anticommutator.
    """

    table: Tensor

    def __init__(self, *, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.register_constant("table", component_table)

    def forward(
        self, left: Float[Tensor, "9 atoms channels"], right: Float[Tensor, "9 atoms channels"]
    ) -> Float[Tensor, "9 atoms channels"]:
        """The product in components."""
        y, m = to_matrix(left, self.table), to_matrix(right, self.table)
        product = matrix_product(y, m, symmetric=self.symmetric)
        return from_matrix(product if self.symmetric else 2.0 * product, self.table)

    def square(self, x: Float[Tensor, "9 atoms channels"]) -> Float[Tensor, "9 atoms channels"]:
        """x x, which is equivariant under O(3) in either case."""
        matrix = to_matrix(x, self.table)
        return from_matrix(matrix_product(matrix, matrix), self.table)
