"""Frames of edges: the Wigner matrices that take features into them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.functional.irreps import check_degrees
from zoo.functional.rotate import EdgeRotation
from zoo.functional.wigner import WIGNER_LIMIT, edge_quaternion, wigner_entries, wigner_matrix


class EdgeFrames(nn.Module):
    """Wigner matrices of the rotations that take edges to the polar axis y.

    They are the same in every call (no random roll), evaluated in float64, and rounded to the
    precision of the vectors. `D @ x[source]` takes features into the frames and keeps |m| <= mmax;
    `D.mT @ y` takes them back.

    Args:
        lmax: highest degree.
        mmax: highest order kept in the frame; None for `lmax`.

    Raises:
        ConfigError: `mmax` beyond `lmax`, or `lmax` beyond the tables.
    """

    def __init__(self, lmax: int, mmax: int | None = None) -> None:
        super().__init__()
        self.mmax = check_degrees(lmax, mmax, limit=WIGNER_LIMIT)
        self.lmax = lmax

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return f"lmax={self.lmax}, mmax={self.mmax}"

    def forward(
        self, vectors: Float[Tensor, "edges 3"]
    ) -> Float[Tensor, "edges kept coefficients"]:
        """One matrix per edge, rows order-major, columns degree-major.

        Args:
            vectors: edges, none of zero length.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            return wigner_matrix(edge_quaternion(vectors), self.lmax, self.mmax)

    def rotation(
        self,
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        num_nodes: int,
    ) -> EdgeRotation:
        """The same rotations, ready to gather features from nodes and to sum them onto nodes.

        Many times faster than the products with `forward`'s matrices, on the CPU, and the
        features of the nodes are never copied per edge.

        Args:
            vectors: edges, none of zero length.
            edge_index: the two ends of each edge.
            num_nodes: number of nodes.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            entries = wigner_entries(edge_quaternion(vectors), self.lmax, self.mmax)
        return EdgeRotation(entries, edge_index, num_nodes, self.lmax, self.mmax)
