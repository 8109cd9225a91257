"""What distances and surroundings atoms had in training, and how far new ones lie from them.

Distances: for each pair of elements, which bins of the distance were ever filled. The gap of a
pair of atoms is its distance (Å) from the nearest filled bin of its elements, zero inside one.

Surroundings: the smooth coordination of an atom counts its neighbours of each element,

    n_i(Z) = sum_j s(d_ij),   s falling smoothly from 1 to 0 between 1.2 and 1.5 times the sum of
                              the covalent radii (ASE's), or the cutoff where that is shorter,

and the rounded numbers are remembered. The excess of an atom is how many neighbours it would have
to gain or lose to reach the nearest remembered surroundings of its element. Both measures are
continuous in the positions and blind to rotations and to the order of atoms.
"""

from typing import NamedTuple

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from zoo.layers.atomistic import AtomGraph
from zoo.layers.atomistic._reference import ELEMENTS

INNER, OUTER = 1.2, 1.5
#: bins of a distance table, from zero to the cutoff; few where there are very many pairs
BINS, FEW_BINS, MANY_PAIRS = 256, 64, 1000
#: how many different surroundings are remembered at most, the commonest
MAX_SURROUNDINGS = 2000
_FULL = 255


class Gaps(NamedTuple):
    """For each atom the pair that fits worst: its gap, the other atom, and two distances (Å)."""

    gap: Float[Tensor, " atoms"]
    partner: Int[Tensor, " atoms"]
    distance: Float[Tensor, " atoms"]
    nearest: Float[Tensor, " atoms"]


def pair_key(graph: AtomGraph) -> Int[Tensor, " pairs"]:
    """A number for the two elements of each pair, whichever comes first."""
    z = graph.atomic_numbers[graph.pairs]
    return z.amin(0) * ELEMENTS + z.amax(0)


def pair_bin(distance: Tensor, cutoff: float, bins: int) -> Tensor:
    """The bin of each distance."""
    return (distance * (bins / cutoff)).long().clamp(0, bins - 1)


def coordination(graph: AtomGraph, cutoff: float) -> Float[Tensor, "atoms elements"]:
    """Smooth number of neighbours of each element (column: atomic number), float64 on the CPU."""
    numbers, (j, i) = graph.atomic_numbers.cpu(), graph.pairs.cpu()
    distance = graph.distances.detach().cpu().double()
    radii = torch.from_numpy(covalent_radii[:ELEMENTS])
    reach = radii[numbers[i]] + radii[numbers[j]]
    outer = (OUTER * reach).clamp(max=cutoff)
    inner = outer * (INNER / OUTER)
    t = ((outer - distance) / (outer - inner)).clamp(0.0, 1.0)
    weight = t * t * (3.0 - 2.0 * t)
    found = torch.zeros(len(numbers) * ELEMENTS, dtype=torch.float64)
    found.index_add_(0, i * ELEMENTS + numbers[j], weight)
    found.index_add_(0, j * ELEMENTS + numbers[i], weight)
    return found.reshape(len(numbers), ELEMENTS)


class DistanceTable:
    """Filled bins of each pair of elements.

    Args:
        keys: of the pairs of elements, as `pair_key` gives them, ascending.
        counts: (pairs of elements, bins), how often each bin was met, 255 for that or more.
        cutoff: Å.
    """

    def __init__(self, keys: Tensor, counts: Tensor, cutoff: float) -> None:
        self.keys, self.counts, self.cutoff = keys, counts, cutoff
        bins = counts.shape[1]
        filled = counts > 0
        index = torch.arange(bins).expand_as(filled)
        below = torch.where(filled, index, -1).cummax(1).values
        above = torch.where(filled, index, 2 * bins).flip(1).cummin(1).values.flip(1)
        width = cutoff / bins
        # edges of the nearest filled bins; one infinitely far away where there is none
        self.below = torch.where(below < 0, -torch.inf, (below + 1) * width)
        self.above = torch.where(above >= bins, torch.inf, above * width)

    def gaps(self, graph: AtomGraph) -> Gaps:
        """The worst pair of each atom; an atom without neighbours has none."""
        keys, pairs = pair_key(graph).cpu(), graph.pairs.cpu()
        distance = graph.distances.detach().cpu().double()
        atoms = len(graph.atomic_numbers)
        zero = torch.zeros(atoms, dtype=torch.float64)
        none = torch.full((atoms,), -1)
        if not len(distance):
            return Gaps(zero, none, zero, zero)
        row = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        known = self.keys[row] == keys
        column = pair_bin(distance, self.cutoff, self.counts.shape[1])
        below, above = self.below[row, column], self.above[row, column]
        inside = known & (self.counts[row, column] > 0)
        low, high = distance - below, above - distance
        nearest = torch.where(low <= high, below, above)
        gap = torch.where(inside, 0.0, torch.minimum(low, high))
        # elements that were never neighbours at all
        gap = torch.where(known, gap, self.cutoff)
        nearest = torch.where(known, nearest, torch.inf)
        return _worst(atoms, pairs, gap, distance, nearest)


def _worst(atoms: int, pairs: Tensor, gap: Tensor, distance: Tensor, nearest: Tensor) -> Gaps:
    """The pair with the largest gap of each atom."""
    own = torch.cat([pairs[0], pairs[1]])
    other = torch.cat([pairs[1], pairs[0]])
    order = gap.repeat(2).argsort(stable=True)
    last = torch.full((atoms,), -1).scatter_reduce(0, own[order], torch.arange(len(own)), "amax")
    which = order[last.clamp(min=0)]
    alone, pair = last < 0, which % len(gap)
    return Gaps(
        gap[pair].masked_fill(alone, 0.0),
        other[which].masked_fill(alone, -1),
        distance[pair].masked_fill(alone, 0.0),
        nearest[pair].masked_fill(alone, 0.0),
    )


class Surroundings:
    """Remembered coordination numbers.

    Args:
        elements: atomic numbers that were seen, ascending.
        rows: (surroundings, 1 + elements + 1): the element of an atom, its neighbours of each
            element seen, and those of any other element (always zero).
    """

    def __init__(self, elements: Tensor, rows: Tensor) -> None:
        self.elements = elements
        self.rows = rows
        self.owner = rows[:, 0].long()
        self.numbers = rows[:, 1:].double()

    def columns(self, found: Float[Tensor, "atoms elements"]) -> Float[Tensor, "atoms columns"]:
        """Coordination numbers by the elements seen, and of all others together."""
        seen = found[:, self.elements]
        return torch.cat([seen, (found.sum(1) - seen.sum(1)).clamp(min=0.0)[:, None]], dim=1)

    def excess(
        self, numbers: Int[Tensor, " atoms"], found: Float[Tensor, "atoms columns"]
    ) -> tuple[Float[Tensor, " atoms"], Int[Tensor, " atoms"]]:
        """Neighbours to gain or lose, and the nearest remembered row.

        Args:
            numbers: atomic numbers.
            found: from `columns`.

        Returns:
            Zero and -1 for atoms of elements that were never seen.
        """
        excess = torch.zeros(len(numbers), dtype=torch.float64)
        nearest = torch.full((len(numbers),), -1)
        for z in numbers.unique().tolist():
            here, rows = numbers == z, (self.owner == z).nonzero()[:, 0]
            if len(rows):
                distance = torch.cdist(found[here], self.numbers[rows], p=1.0)
                excess[here], best = distance.min(1)
                nearest[here] = rows[best]
        return excess, nearest
