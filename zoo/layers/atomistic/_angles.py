"""Sums over the triplets k -> j -> i of neighbouring edges, without a list of them.

An angular message of the edge j -> i is sum_k P_l(cos a_kji) g_l(kj) over the edges k -> j that do
not come from i. For the edges around one atom j these are matrix products with the small matrices
P_l(cos a_kji), rows i and columns k; triplets are never listed and nothing is as long as they are.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from zoo.functional import angular_sums, pair_factors
from zoo.functional.angular_messages import angular_messages
from zoo.functional.spherical_basis import legendre
from zoo.layers.atomistic._edges import DirectedEdges

#: numbers in padded matrices per number that is needed, above which atoms are sorted by width
_WASTE = 2.0
Vertex = Literal["middle", "end"]


class Triplets:
    """Legendre polynomials of the angles between edges k -> j and j -> i.

    Edges lie in slots around the atom j in which k -> j ends, as many for each atom as its widest
    neighbour has; atoms of very different numbers of neighbours are sorted into several widths.

    Args:
        edges: both directions of every pair, none left out.
        atoms: number of atoms.
        degrees: polynomials P_0 to P_(degrees-1).
        vertex: whose angle: "middle", between j -> i and k -> j (zero if they go straight on), or
            "end", at i between j and k, as the published weights of DimeNet have it.
    """

    def __init__(
        self, edges: DirectedEdges, atoms: int, degrees: int, vertex: Vertex = "middle"
    ) -> None:
        self.degrees = degrees
        counts = torch.bincount(edges.target, minlength=atoms)
        self._place(edges.target, counts, sizes := _widths(counts))
        #: P_l for each width: (atoms, width i, width k, degrees), zero for i = k and empty slots
        self.matrices: list[Tensor] = []
        vectors = _directions(edges, vertex).index_select(0, self.edge)
        for here, filled, (_, width) in zip(
            vectors.split(self.sizes), self.filled.split(self.sizes), sizes, strict=True
        ):
            shape = (-1, width)
            matrix = _matrix(here.unflatten(0, shape), filled.unflatten(0, shape), degrees, vertex)
            self.matrices.append(matrix)

    def _place(self, target: Tensor, counts: Tensor, sizes: list[tuple[Tensor, int]]) -> None:
        """Where each edge lies, and which edge in each slot; any edge where it is empty."""
        first = torch.zeros_like(counts)
        start = 0
        self.sizes = []
        for members, width in sizes:
            first[members] = start + width * torch.arange(len(members), device=counts.device)
            self.sizes.append(len(members) * width)
            start += self.sizes[-1]
        order = target.argsort(stable=True)
        number = torch.arange(len(order), device=order.device)
        rank = torch.empty_like(order)
        rank[order] = number - (counts.cumsum(0) - counts)[target[order]]
        self.place = first[target] + rank
        self.edge = order.new_zeros(start)
        self.edge[self.place] = number
        self.filled = torch.zeros(start, dtype=torch.bool, device=order.device)
        self.filled[self.place] = True
        # messages of j -> i stand around j as well, in the slot of the reverse edge
        self.reverse = number.roll(len(number) // 2)
        #: where edges k -> j are read and j -> i written
        self.slots = [
            angular_sums.Slots(here.view(-1, width), self.reverse[here].view(-1, width), counts[m])
            for here, (m, width) in zip(self.edge.split(self.sizes), sizes, strict=True)
        ]

    def sum(
        self, values: Float[Tensor, "edges degrees channels"]
    ) -> Float[Tensor, "edges channels"]:
        """sum_k sum_l P_l(cos a_kji) values[kj, l] for each edge j -> i."""
        if len(values) == len(self.place) and angular_sums.runs(values, self.matrices):
            parts = zip(self.matrices, self.slots, strict=True)
            return angular_sums.angular_sums(values, *parts, plain=self._sum)
        return self._sum(values, *self.matrices)

    def messages(
        self,
        x: Float[Tensor, "edges channels"],
        radial: Float[Tensor, "pairs degrees basis"],
        weight: Float[Tensor, "degrees basis channels"],
    ) -> Float[Tensor, "edges channels"]:
        """`sum` of the features of edges times functions of distances, `pair_factors`."""
        if len(x) == len(self.place) and angular_sums.runs(x, self.matrices, radial, weight):
            parts = zip(self.matrices, self.slots, strict=True)
            return angular_messages(x, radial, weight, *parts, plain=self._messages)
        return self.sum(pair_factors.pair_factors(x, radial, weight))

    def _messages(self, x: Tensor, radial: Tensor, *others: Tensor) -> Tensor:
        *matrices, weight = others
        return self._sum(pair_factors.plain(x, radial, weight), *matrices)

    def _sum(self, values: Tensor, *matrices: Tensor) -> Tensor:
        slots = _exchange(values.flatten(1), self.edge, self.place)
        found = []
        for matrix, here in zip(matrices, slots.split(self.sizes), strict=True):
            around = here.reshape(len(matrix), -1, values.shape[2])  # (atoms, k * degrees, ...)
            found.append((matrix.flatten(2) @ around).flatten(0, 1))
        return self._collect(found)

    def project(
        self, values: Float[Tensor, "edges channels"]
    ) -> Float[Tensor, "edges degrees channels"]:
        """sum_k P_l(cos a_kji) values[kj] for each edge j -> i and each degree."""
        slots = _exchange(values, self.edge, self.place)
        found = []
        for matrix, here in zip(self.matrices, slots.split(self.sizes), strict=True):
            atoms, width = matrix.shape[:2]
            rows = matrix.transpose(2, 3).flatten(1, 2)  # (atoms, i * degrees, k)
            sums = rows @ here.reshape(atoms, width, -1)
            found.append(sums.reshape(atoms * width, -1))
        collected = self._collect(found)
        return collected.reshape(len(collected), self.degrees, -1)

    def _collect(self, found: list[Tensor]) -> Tensor:
        """What stands in the slots around j, for the edges j -> i."""
        slots = found[0] if len(found) == 1 else torch.cat(found)
        return _exchange(slots, self.place[self.reverse], self.reverse[self.edge])


class _Exchange(Function):
    """Rows by index; the inverse index, so that no derivative has to add up rows.

    Rows that `take` never names, and those it names without `give` saying so, are multiplied by
    zero before or after: what they hold, and what derivatives are given to them, has no effect.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, take: Tensor, give: Tensor) -> Tensor:
        ctx.save_for_backward(take, give)
        return value.index_select(0, take)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        take, give = ctx.saved_tensors
        return _exchange(grad, give, take), None, None


_exchange: Callable[[Tensor, Tensor, Tensor], Tensor] = _Exchange.apply


def _widths(counts: Int[Tensor, " atoms"]) -> list[tuple[Tensor, int]]:
    """Atoms and the number of slots they are given; several sizes where one would waste much."""
    members = counts.nonzero().squeeze(1)
    degree = counts[members]
    widest = int(degree.max())
    if len(members) * widest**2 <= _WASTE * int(degree.square().sum()):
        return [(members, widest)]
    size = torch.ceil(torch.log2(degree.double())).long()
    groups = [members[size == s] for s in size.unique().tolist()]
    return [(group, int(counts[group].max())) for group in groups]


def _directions(edges: DirectedEdges, vertex: Vertex) -> Tensor:
    """Unit vectors where they are all that angles need, else vectors."""
    return edges.vectors / edges.distances[:, None] if vertex == "middle" else edges.vectors


def _matrix(vectors: Tensor, filled: Tensor, degrees: int, vertex: Vertex) -> Tensor:
    """P_l of the angles between the edges around each atom, from their `_directions`."""
    width = filled.shape[1]
    own = torch.eye(width, dtype=torch.bool, device=filled.device)
    kept = filled[:, None, :] & filled[:, :, None] & ~own  # (atoms, i, k)
    if vertex == "middle":  # between j -> i, a reversed vector, and k -> j
        cosine = -(vectors @ vectors.mT)
    else:
        back, across = -vectors[:, :, None], vectors[:, None] - vectors[:, :, None]
        squares = torch.where(kept, across.square().sum(-1), 1.0)  # 1: no slope where i = k
        norms = squares.sqrt() * vectors.norm(dim=-1)[:, :, None]
        cosine = (back * across).sum(-1) / norms
    cosine = torch.where(kept, cosine, 0.0)  # rounding beyond +-1 does no harm to polynomials
    return legendre(cosine, degrees, kept)
