"""Edges of eSCN in groups around their atoms, and the parts of their frames that are needed.

A linear layer acts on channels and a rotation on coefficients, so the two commute: what eSCN
applies to rotated features of every edge can be applied to the features of every atom, and the
edges of an atom then share one matrix product. Edges are therefore kept in slots, `width` for each
group; a group belongs to one atom, and an atom with more edges has several groups.

Lists of tensors are annotated as lists of anything: a checker of their items would draw some at
random and so use up random numbers of its caller.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.functional import scatter_sum

#: slots per edge above which atoms are given several small groups instead of one as wide as any
WASTE = 1.5


@dataclass
class Groups:
    """Edges grouped by one of their atoms.

    Attributes:
        width: slots of each group.
        atom: whose each group is; None if each atom has exactly one group, in order.
        edge: number of the edge in each slot; any edge where the slot is empty.
        filled: whether there is an edge in the slot.
        place: slot of each edge.
        atoms: number of atoms.
    """

    width: int
    atom: Int[Tensor, " groups"] | None
    edge: Int[Tensor, " slots"]
    filled: Bool[Tensor, " slots"]
    place: Int[Tensor, " edges"]
    atoms: int

    def of_atoms(self, value: Float[Tensor, "atoms *shape"]) -> Float[Tensor, "groups *shape"]:
        """What belongs to an atom, for each group."""
        return value if self.atom is None else value.index_select(0, self.atom)

    def onto_atoms(self, value: Float[Tensor, "groups *shape"]) -> Float[Tensor, "atoms *shape"]:
        """Sums over the groups of each atom."""
        return value if self.atom is None else scatter_sum(value, self.atom, self.atoms)

    def spread(self, value: Float[Tensor, "edges *shape"]) -> Float[Tensor, "slots *shape"]:
        """What belongs to an edge, for each slot; empty slots hold some other edge's."""
        return value.index_select(0, self.edge)

    def collect(self, value: Float[Tensor, "slots *shape"]) -> Float[Tensor, "edges *shape"]:
        """What lies in the slots, for each edge."""
        return value.index_select(0, self.place)


def group_by(index: Int[Tensor, " edges"], atoms: int) -> Groups:
    """Groups edges by atom.

    Args:
        index: the atom of each edge; at least one edge.
        atoms: number of atoms.
    """
    if torch.compiler.is_compiling():  # the widest atom isn't known: each edge for itself
        number = torch.arange(index.shape[0], device=index.device)
        return Groups(1, index, number, torch.ones_like(index, dtype=torch.bool), number, atoms)
    counts = torch.bincount(index, minlength=atoms)
    width = int(counts.max())
    if width * atoms > WASTE * len(index):
        width = -(-len(index) // int((counts > 0).sum()))
    groups = (-(-counts // width)).clamp(min=1)
    order = index.argsort(stable=True)
    owner = index[order]
    rank = torch.arange(len(order), device=index.device) - (counts.cumsum(0) - counts)[owner]
    place = torch.empty_like(index)
    place[order] = (groups.cumsum(0) - groups)[owner] * width + rank
    slots = int(groups.sum()) * width
    edge = index.new_zeros(slots)
    edge[place] = torch.arange(len(index), device=index.device)
    filled = torch.zeros(slots, dtype=torch.bool, device=index.device)
    filled[place] = True
    one = len(edge) == atoms * width
    atom = None if one else torch.repeat_interleave(torch.arange(atoms).to(index), groups)
    return Groups(width, atom, edge, filled, place, atoms)


def frame_rows(
    matrix: Float[Tensor, "edges kept coefficients"], lmax: int, mmax: int
) -> Float[Tensor, "edges orders coefficients"]:
    """The rows of one order in all degrees as one row, for m = 0, +1, -1, +2, -2, ...

    A Wigner matrix has a block for each degree. Rows of the same order in different degrees have no
    column in common, so their sum is all of them: it has (L + 1)^2 numbers instead of mostly zeros.

    Args:
        matrix: from `zoo.functional.wigner_matrix`, rows order-major.
        lmax: highest degree.
        mmax: highest order.
    """
    sizes = [lmax + 1, *(lmax - m + 1 for m in range(1, mmax + 1) for _ in range(2))]
    return torch.stack([rows.sum(1) for rows in matrix.split(sizes, dim=1)], dim=1)


@dataclass
class Block:
    """Neighbouring groups and their edges, few enough to stay in the cache.

    Attributes:
        groups: which groups.
        edges: which edges, in the order of the groups.
        place: slot of each edge, counted from the first of the block.
        into: for each order m, matrices (groups, slots * rows, coefficients) from l = m on that
            take the atom's features into the frames: one row for m = 0, else the rows (+m, -m);
            then, for m > 0, the rows (-(-m), +m) of the imaginary part.
        back: for each degree, matrices (groups, slots * rows, 2l + 1) whose transpose takes
            messages out of the frames: zero in empty slots, and times the envelope.
    """

    groups: slice
    edges: slice
    place: Int[Tensor, " edges"]
    into: list[Any]
    back: list[Any]


@dataclass
class EdgeGeometry:
    """Everything about the edges that does not depend on features.

    Attributes:
        source, target: edges grouped by either of their atoms, in blocks.
        source_blocks, target_blocks: of these.
        turn: for each edge in the order of targets, its place in the order of sources.
        order: for each edge in the order of targets, its number.
        source_atom, target_atom: of each edge in the order of targets.
    """

    source: Groups
    target: Groups
    source_blocks: list[Any]
    target_blocks: list[Any]
    turn: Int[Tensor, " edges"]
    order: Int[Tensor, " edges"]
    source_atom: Int[Tensor, " edges"]
    target_atom: Int[Tensor, " edges"]


def edge_geometry(
    rows: Float[Tensor, "edges orders coefficients"],
    source: Int[Tensor, " edges"],
    target: Int[Tensor, " edges"],
    envelope: Float[Tensor, " edges"] | None,
    atoms: int,
    block: int,
) -> EdgeGeometry:
    """Groups the edges and lays out their frames.

    Args:
        rows: from `frame_rows`.
        source: atoms that edges come from.
        target: atoms that edges go to.
        envelope: factor of each message; 1 if None.
        atoms: number of atoms.
        block: edges of a block, about.
    """
    by_source, by_target = group_by(source, atoms), group_by(target, atoms)
    weight = by_target.filled.to(rows.dtype)
    if envelope is not None:
        weight = weight * by_target.spread(envelope)
    from_order = by_source.place.argsort()
    order = by_target.place.argsort()
    position = torch.empty_like(from_order)
    position[from_order] = torch.arange(order.shape[0], device=order.device)
    return EdgeGeometry(
        source=by_source,
        target=by_target,
        source_blocks=_blocks(by_source, by_source.spread(rows), None, block),
        target_blocks=_blocks(by_target, by_target.spread(rows), weight, block),
        turn=position[order],
        order=order,
        source_atom=source[order],
        target_atom=target[order],
    )


def _blocks(groups: Groups, rows: Tensor, weight: Tensor | None, size: int) -> list[Any]:
    """Cuts groups into blocks of about `size` edges; weights of the way back, if it is needed."""
    if torch.compiler.is_compiling():  # one block, of as many edges as there are
        every = slice(0, rows.shape[0])
        back = [] if weight is None else _back(rows * weight[:, None, None], groups.width)
        return [Block(every, every, groups.place, _into(rows, groups.width), back)]
    filled = groups.filled.unflatten(0, (-1, groups.width))
    ends = filled.sum(1).cumsum(0).tolist()
    place = groups.place.sort().values  # of the edges in the order of the slots
    found, start, first_edge = [], 0, 0
    for stop, last_edge in enumerate(ends, start=1):
        if last_edge - first_edge < size and stop < len(ends):
            continue
        slots = slice(start * groups.width, stop * groups.width)
        here = rows[slots]
        back = [] if weight is None else _back(here * weight[slots, None, None], groups.width)
        found.append(
            Block(
                groups=slice(start, stop),
                edges=slice(first_edge, last_edge),
                place=place[first_edge:last_edge] - slots.start,
                into=_into(here, groups.width),
                back=back,
            )
        )
        start, first_edge = stop, last_edge
    return found


def _into(rows: Float[Tensor, "slots orders coefficients"], width: int) -> list[Any]:
    found = [[rows[:, 0].unflatten(0, (-1, width))]]
    for m in range(1, rows.shape[1] // 2 + 1):
        pair = rows[:, 2 * m - 1 : 2 * m + 1, m * m :]
        twisted = torch.stack([-pair[:, 1], pair[:, 0]], dim=1)
        found.append([p.unflatten(0, (-1, width)).flatten(1, 2) for p in (pair, twisted)])
    return found


def _back(rows: Float[Tensor, "slots orders coefficients"], width: int) -> list[Any]:
    degrees = int(rows.shape[2] ** 0.5)
    found = []
    for degree in range(degrees):
        count = min(2 * degree + 1, rows.shape[1])
        block = rows[:, :count, degree * degree : (degree + 1) ** 2]
        found.append(block.unflatten(0, (-1, width)).flatten(1, 2))  # (groups, slots, 2l + 1)
    return found
