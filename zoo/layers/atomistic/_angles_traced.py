"""The sums of `Triplets` in operations that a trace can hold: no size is read from a number.

Eager code sorts atoms by their numbers of neighbours and skips what is empty. A trace has one
width for all atoms, that of the widest, which it leaves open.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.pair_factors import pair_factors
from zoo.layers.atomistic._angles import Vertex, _directions, _matrix
from zoo.layers.atomistic._edges import DirectedEdges


class TracedTriplets:
    """What `Triplets` gives, of edges whose number isn't known yet.

    Args:
        edges: both directions of every pair, none left out.
        atoms: number of atoms.
        degrees: polynomials P_0 to P_(degrees-1).
        vertex: whose angle; see `Triplets`.
    """

    def __init__(
        self, edges: DirectedEdges, atoms: int, degrees: int, vertex: Vertex = "middle"
    ) -> None:
        target = edges.target
        counts = torch.zeros(atoms, dtype=torch.int64, device=target.device)
        counts = counts.index_add(0, target, torch.ones_like(target))
        width: int = counts.max().item()  # type: ignore[assignment]  # a symbol in a trace
        torch._check(width >= 0)
        order = target.argsort(stable=True)
        number = torch.arange(target.shape[0], device=target.device)
        rank = number - (counts.cumsum(0) - counts)[target[order]]
        place = torch.zeros_like(order).index_copy(0, order, rank) + width * target
        self.atoms, self.width, self.degrees, self.place = atoms, width, degrees, place
        edge = order.new_zeros(atoms * width).index_copy(0, place, number)
        filled = order.new_zeros(atoms * width).index_copy(0, place, torch.ones_like(place)) > 0
        vectors = _directions(edges, vertex).index_select(0, edge).view(atoms, width, 3)
        #: P_l, (atoms, width i, width k, degrees), zero for i = k and empty slots
        self.matrix = _matrix(vectors, filled.view(atoms, width), degrees, vertex)
        # messages of j -> i stand around j as well, in the slot of the reverse edge
        pairs = target.shape[0] // 2
        self.out = torch.cat([place[pairs:], place[:pairs]])

    def sum(
        self, values: Float[Tensor, "edges degrees channels"]
    ) -> Float[Tensor, "edges channels"]:
        """sum_k sum_l P_l(cos a_kji) values[kj, l] for each edge j -> i."""
        # all sizes in full: what -1 stands for is unknown where there may be no edge
        shape = (self.atoms, self.width * self.degrees, values.shape[2])
        slots = self._spread(values.flatten(1)).view(shape)
        found = self.matrix.flatten(2) @ slots
        return found.flatten(0, 1).index_select(0, self.out)

    def messages(
        self,
        x: Float[Tensor, "edges channels"],
        radial: Float[Tensor, "pairs degrees basis"],
        weight: Float[Tensor, "degrees basis channels"],
    ) -> Float[Tensor, "edges channels"]:
        """`sum` of the features of edges times functions of distances, `pair_factors`."""
        return self.sum(pair_factors(x, radial, weight))

    def project(
        self, values: Float[Tensor, "edges channels"]
    ) -> Float[Tensor, "edges degrees channels"]:
        """sum_k P_l(cos a_kji) values[kj] for each edge j -> i and each degree."""
        slots = self._spread(values).view(self.atoms, self.width, values.shape[1])
        found = self.matrix.transpose(2, 3).flatten(1, 2) @ slots  # (atoms, i * degrees, channels)
        rows = found.reshape(self.atoms * self.width, self.degrees, values.shape[1])
        return rows.index_select(0, self.out)

    def _spread(self, values: Tensor) -> Tensor:
        """Rows of edges in their slots, zeros in the others."""
        slots = values.new_zeros(self.atoms * self.width, values.shape[1])
        return slots.index_add(0, self.place, values)
